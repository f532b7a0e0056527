"""Which iteration a call of `sgd` asks for, once it is known that there is a kernel for it."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np

from ... import checks
from ..laws import epochs
from ..problem import LeastSquares
from .base import MOST_INPUTS, MOST_ROWS, DescentStep
from .iteration import MOST_DRAWS, MOST_PARAMETERS, MOST_SAMPLES, Iteration
from .momentum import MomentumIteration
from .noisy import NoisyIteration
from .reduced import ReducedIteration

#: Where the noise of the gradients comes from.
NOISES = ("sampled", "gaussian", "isotropic")

#: Parameters of streams up to which iterations are kept for the next call, with the expressions and the source of
#: their kernels: these take longer to make than a small call runs. Data and large matrices are not kept alive.
_KEPT_PARAMETERS = 64

#: Entries of matrices at most that are written out in a compiled iteration: more would take too long.
_MOST_ENTRIES = 1024


def of(problem: LeastSquares, per_parameter: bool, asked: dict[str, Any], on_gpu: bool) -> DescentStep:
    """The iteration for the arguments that ``usual`` names, or None for these."""
    usual = {
        "batch_size": 1, "sampling": "replacement", "noise": "sampled", "reduced": False, "averaging": None,
        "average_from": 0, "momentum": 0.0,
    }  # fmt: skip
    asked = {name: default if asked[name] is None else asked[name] for name, default in usual.items()}
    batch, reduced = asked["batch_size"], checks.flag("reduced", asked["reduced"])
    order = _order(problem, asked["sampling"])
    sampling = "replacement" if order else checks.choice("sampling", asked["sampling"], epochs.SAMPLINGS)
    noise = checks.choice("noise", asked["noise"], NOISES)
    averaged, momentum = checks.averaging(asked["averaging"]), checks.momentum(asked["momentum"])
    tail = checks.average_from(asked["average_from"], averaged)
    if noise != "sampled":
        others = {
            "sampling='shuffle'": sampling == "shuffle", "averaging": averaged, "reduced=True": reduced,
            "momentum": momentum, "order of rows in sampling": order,
        }  # fmt: skip
        for name, given in others.items():
            if given:
                raise ValueError(f"noise={noise!r} draws no samples and knows no {name}")
        return _noisy(problem, batch, per_parameter, "full" if noise == "gaussian" else "isotropic", noise)
    if reduced:
        if sampling == "shuffle":
            raise ValueError("sampling='shuffle' needs a problem on data, of which reduced=True knows no chain")
        if order:
            raise ValueError("sampling must be 'replacement' if reduced=True, got an order of rows")
        if momentum:
            raise ValueError("momentum must be 0 if reduced=True: the error alone has no velocity")
        return _made(ReducedIteration, problem, checks.count("batch_size", batch), per_parameter, averaged)
    return _sampled(problem, batch, per_parameter, averaged, sampling == "shuffle", tail, order, momentum, on_gpu)


def _order(problem: LeastSquares, sampling: Any) -> tuple[int, ...]:
    """Numbers of rows where ``sampling`` is their order, () where it is a word."""
    if isinstance(sampling, str):
        return ()
    rows = checks.array("sampling", sampling, shape=(None,))
    if problem.n_data is None:
        raise ValueError("sampling as an order of rows needs a problem on data: LeastSquares(data=(X, y))")
    if len(rows) == 0 or (rows != np.rint(rows)).any() or rows.min() < 0 or rows.max() >= problem.n_data:
        raise ValueError(f"sampling must hold numbers of rows from 0 to {problem.n_data - 1}, got {sampling!r}")
    return tuple(rows.astype(np.int64).tolist())


_Kind = TypeVar("_Kind", bound=DescentStep)


def _made(kind: Callable[..., _Kind], problem: LeastSquares, *how: Any) -> _Kind:
    """An iteration on a problem, the one of the last such call if it was kept."""
    if problem.is_finite or problem.dim > _KEPT_PARAMETERS:
        return kind(problem, *how)
    kept: _Kind = _kept(kind, problem, *how)
    return kept


@lru_cache(maxsize=64)
def _kept(kind: Callable[..., Any], *how: Any) -> Any:
    return kind(*how)


def _sampled(
    problem: LeastSquares, batch_size: Any, per_parameter: bool, averaged: bool, shuffled: bool, tail: int,
    order: tuple[int, ...], momentum: float, on_gpu: bool,
) -> Iteration:  # fmt: skip
    batch = checks.count("batch_size", batch_size, most=MOST_SAMPLES)
    if shuffled and problem.n_data is None:
        raise ValueError("sampling='shuffle' needs a problem on data: LeastSquares(data=(X, y))")
    if shuffled and batch > (problem.n_data or 0):
        raise ValueError(f"batch_size must be at most the {problem.n_data} rows of the data, got {batch}")
    if shuffled and on_gpu:
        raise ValueError("sampling='shuffle' needs device='cpu': an epoch's order is too much memory for a card's runs")
    how, d = (batch, per_parameter, averaged, shuffled, tail, order), problem.dim
    kind: Any = MomentumIteration if momentum else Iteration
    iteration: Iteration = _made(kind, problem, *how, *((momentum,) if momentum else ()))
    if iteration.is_built_in:
        if d > MOST_PARAMETERS:
            raise ValueError(f"sgd takes up to {MOST_PARAMETERS} parameters, got {d}")
        if not problem.is_finite and batch * (d + 1) > MOST_DRAWS:
            raise ValueError(f"batch_size must be at most {MOST_DRAWS // (d + 1)} for {d} parameters, got {batch}")
        return iteration
    _refuse_uncompiled(iteration)
    return iteration


def _refuse_uncompiled(iteration: Iteration) -> None:
    """Errors of what is too long for straight-line kernels."""
    d, batch, most = iteration.dim, iteration.batch_size, MOST_ROWS // (iteration.n_rows // iteration.dim)
    correlated = iteration.coordinates.root is not None
    what = f"{'correlated ' * correlated}parameters{' with averaging' * iteration.averaged}"
    why = "with momentum" if iteration.momentum else "with these inputs and step sizes"
    why = "with rows in a given order" if iteration.order else why
    why = "with ridge or label noise" if iteration.problem.is_penalised else why
    most = min(most, math.isqrt(MOST_INPUTS)) if correlated else most
    if d > most:
        raise ValueError(f"sgd takes up to {most} {what} {why}, got {d}")
    n_inputs = batch * d * (d if correlated else 1)
    if n_inputs > MOST_INPUTS:
        raise ValueError(
            f"batch_size={batch} with {d} {what} is too large {why}: a compiled kernel takes {MOST_INPUTS} numbers an "
            f"iteration, not {n_inputs}"
        )


def _noisy(problem: LeastSquares, batch_size: Any, per_parameter: bool, covariance: str, noise: str) -> NoisyIteration:
    if covariance == "full" and problem.covariance is None:
        raise ValueError(f"noise={noise!r} needs Gaussian inputs, not {problem!r}; 'isotropic' takes any")
    if problem.dim > MOST_ROWS:
        raise ValueError(f"noise={noise!r} takes up to {MOST_ROWS} parameters, got {problem.dim}")
    iteration = _made(NoisyIteration, problem, checks.count("batch_size", batch_size), per_parameter, covariance)
    entries = np.count_nonzero(iteration.hessian) + np.count_nonzero(iteration.root)
    if entries > _MOST_ENTRIES:
        why = "step sizes per parameter" if per_parameter else "noise that does not commute with the Hessian"
        raise ValueError(
            f"{problem.dim} correlated parameters with {why} are too many for a compiled kernel, which takes matrices "
            f"of {_MOST_ENTRIES} entries together, not {entries}"
        )
    return iteration
