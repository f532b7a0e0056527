"""What of SDEs a GPU does by a source of its own: the linear step, in loops."""

from __future__ import annotations

from functools import lru_cache

from ..cuda.emit import steps_in_loops
from ..cuda.kernels import PathsProgram
from ..jit.emit import CLOCK, indent


@lru_cache(maxsize=256)
def linear(dim: int, n_draws: int, dtype: str, noise_dtype: str, uniform_grid: bool, given: bool) -> PathsProgram:
    """The kernel of the step X += M X + c + L Z of ``csrc/sde/linear.hpp``; coefficients are M, c, L row by row."""
    source = steps_in_loops(_LinearSteps(dim, n_draws, uniform_grid), n_draws, noise_dtype, given)
    return PathsProgram(source, dtype, noise_dtype)


class _LinearSteps:
    """The linear step in loops over arrays of a thread's own: as straight code it would take minutes to compile."""

    is_short, needs_k = False, True

    def __init__(self, dim: int, n_draws: int, uniform_grid: bool) -> None:
        self.dim, self.n_draws, self.uniform_grid = dim, n_draws, uniform_grid
        self.constants: dict[str, str] = {}

    def _each(self, line: str) -> list[str]:
        return [f"for j in range({self.dim}):", f"    {line}"]

    def load(self) -> list[str]:
        made = [f"{name} = cuda.local.array({self.dim}, L)" for name in "xy"]
        return [*made, *self._each("x[j] = state[j, i]")]

    def record(self) -> list[str]:
        return self._each("saved[save, j, i] = x[j]")

    def store(self) -> list[str]:
        return self._each("state[j, i] = x[j]")

    def setup(self) -> list[str]:
        return ["r = 0"]

    def lines(self, index: int) -> list[str]:
        """Step number k."""
        d, m = self.dim, self.n_draws
        first = len(CLOCK)
        row = [
            f"total, b = c[r, {first + d * d} + a], 0",
            f"while b < {d}:", f"    total, b = fma_(c[r, {first} + a * {d} + b], x[b], total), b + 1",
            "b = 0",
            f"while b < {m}:", f"    total, b = fma_(c[r, {first + d * d + d} + a * {m} + b], z[b], total), b + 1",
            "y[a], a = add_(x[a], total), a + 1",
        ]  # fmt: skip
        again = [] if self.uniform_grid else ["r = k - first_step"]
        # (counted by hand: numba's range costs some instructions a turn)
        return [*again, "a = 0", f"while a < {d}:", *indent(row), *self._each("x[j] = y[j]")]
