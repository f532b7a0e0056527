"""Types of the compiled extension; a test holds them against the module."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

_Real = TypeVar("_Real", np.float32, np.float64)

isa: Final[str]
isas: Final[tuple[str, ...]]
chains_per_block: Final[int]
compiler: Final[str]
steps: Final[dict[str, str]]
lanes: Final[dict[str, int]]
largest_wide_dim: Final[int]
largest_dim: Final[int]
most_wide_draws: Final[int]
most_gathers: Final[int]

def normals(seed: int, first_chain: int, first_draw: int, out: NDArray[np.floating]) -> None: ...
def uniforms(seed: int, first_chain: int, first_draw: int, out: NDArray[np.floating]) -> None: ...
def words(seed: int, stream: int, first_chain: int, first_draw: int, out: NDArray[np.uint32]) -> None: ...
def exp(x: NDArray[_Real]) -> NDArray[_Real]: ...
def log(x: NDArray[_Real]) -> NDArray[_Real]: ...
def pow(x: NDArray[_Real], power: NDArray[_Real]) -> NDArray[_Real]: ...

class ScoreSteps:
    def __init__(
        self, seed: int, first_chain: int, n_chains: int, dim: int, double_state: bool, float32_noise: bool
    ) -> None: ...
    def step(
        self, x: NDArray[np.floating], score: NDArray[np.floating], h: float, noise: float, number: int
    ) -> int: ...

def know_torch(tensor: type, empty_like: Callable[..., Any], increment_version: Callable[..., Any]) -> bool: ...
def field_step_at_once(
    x: Any,
    output: Any,
    row: NDArray[np.float64],
    seed: Any,
    first_sample: Any,
    t: Any,
    threads: Any,
    in_place: bool,
    /,
) -> Any: ...
def field_row_at_once(
    x: Any,
    output: Any,
    out: Any,
    h1: Any,
    h2: Any,
    kept: Any,
    given: Any,
    row: NDArray[np.float64],
    noisy: bool,
    seed: Any,
    first_sample: Any,
    step: Any,
    threads: Any,
    /,
) -> Any: ...
def field_step(
    doubles: bool,
    row: NDArray[np.float64],
    n_samples: int,
    elements: int,
    x: int,
    output: int,
    output_type: int,
    h1: int,
    h2: int,
    out: int,
    kept: int,
    noisy: bool,
    given: int,
    seed: int | NDArray[np.uint64],
    first_sample: int,
    step: int | NDArray[np.int64],
    first_unit: int,
    last_unit: int,
) -> int: ...
def field_squares(doubles: bool, x: int, n_samples: int, elements: int) -> NDArray[np.float64]: ...
def field_units(n_samples: int, elements: int) -> int: ...
def statistics_size(dim: int, moments: int, extremes: bool, covariance: bool) -> int: ...
def run(
    step: str | tuple[int, str],
    coefficients: NDArray[np.float64],
    noise_dim: int,
    uniform_dim: int,
    signs: bool,
    seed: int,
    first_chain: int,
    first_step: int,
    n_steps: int,
    state: NDArray[np.floating],
    float32_noise: bool,
    saves: NDArray[np.int64],
    saved: NDArray[np.floating] | None,
    statistics: tuple[tuple[bool, int, int, int, bool, bool, NDArray[np.float64]], ...],
    observer: tuple[str | tuple[int, str], int, NDArray[np.float64], NDArray[np.float64]] | None,
    histogram: tuple[float, float, NDArray[np.int64], int, bool] | None,
    normals: NDArray[np.floating] | None,
    data: tuple[NDArray[np.floating], int, bool, int] | None,
    table: NDArray[np.floating] | None,
    uniform_words: bool,
    abort: NDArray[np.uint8],
) -> None: ...
