"""The same simulation over a grid of parameters."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from os import PathLike
from typing import Any

import numpy as np

from .. import checks
from ..engine.tiles import BLOCK
from ..run import options
from ..run.checkpoint import Checkpoint
from ..run.where import Where
from .models.base import Model, check_model
from .result import Simulation
from .simulate import simulate
from .swept import Sweep

#: Seconds of a cell below which several run side by side: so long Ctrl-C waits for them.
_SHORT = 0.2

#: Options of `simulate` that a sweep decides, or that are of one run.
_DECIDED = ("progress",)


def sweep(
    model: Model,
    over: Mapping[str, Any],
    *,
    common_noise: bool = True,
    paths: bool = False,
    seed: int | None = None,
    first_chain: int = 0,
    threads: int | None = None,
    resume: Sweep | None = None,
    checkpoint: str | PathLike[str] | None = None,
    **simulation: Any,
) -> Sweep:
    """Simulate a model for every combination of values of its parameters.

    A cell is to the last bit what `simulate` gives for its parameters alone. Nothing is compiled for other values, and
    cells that are soon done run side by side.

    Parameters
    ----------
    model : Model
        Any model with parameters: `SDE`, `BlackScholes`, ...
    over : mapping of str to array_like
        Values of parameters by name, of shape (n,) each: the grid has an axis for each name.

    Other Parameters
    ----------------
    common_noise : bool
        Drive all cells by the same noise (common random numbers: Glasserman, Monte Carlo Methods in Financial
        Engineering, 2004, section 7.1), so that differences between them have small errors; otherwise cell k takes the
        chains after those of cell k - 1, from the next multiple of 4096 on.
    paths : bool
        Keep the states at the saved times.
    seed : int
        That of all cells; a random one by default, recorded in the results.
    first_chain : int
        Number of the first path of the first cell.
    threads : int
        Worker threads; by default the processors that this process may use.
    resume : Sweep
        Go on from the end of this sweep, of the same model over the same values, which kept its final states, for
        ``n_steps`` more steps: every cell as by ``simulate(resume=...)``.
    checkpoint : path
        A file in which to keep what is done of all cells, and from which the same call goes on, as for `simulate`.
        Cells then run one after the other.
    **simulation
        What else `simulate` takes: ``x0``, ``t1``, ``n_steps``, ``n_paths`` (of every cell), ``expectations``, ...

    Returns
    -------
    Sweep
        With ``mean``, ``variance``, ``standard_error`` of shape (*shape, n_times, dim), ``expectations``, and ``runs``.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not the model's, values are not finite numbers of one dimension, or `simulate` refuses a cell.

    Examples
    --------
    >>> import numpy as np
    >>> import sdefast as sf
    >>> rates = np.linspace(0.0, 0.1, 5)
    >>> found = sf.sweep(sf.BlackScholes(sigma=0.2), {"mu": rates}, x0=1.0, t1=1.0, n_steps=10, n_paths=4000, seed=1,
    ...                  method="exact")
    >>> bool((abs(found.mean[:, 0, 0] - np.exp(rates)) < 5 * found.standard_error[:, 0, 0]).all())
    True
    """
    check_model(model)
    given = [name for name in _DECIDED if name in simulation]
    if given:
        raise TypeError(f"a sweep is made of many runs: leave out {', '.join(given)}, and save runs of cells")
    values = _checked(model, over)
    cells = [model.with_parameters(dict(zip(values, cell, strict=True))) for cell in product(*values.values())]
    where = Where.of(simulation.get("device", "cpu"), threads, simulation.get("executor"))
    common = checks.flag("common_noise", common_noise)
    if resume is not None:
        _refuse_another(resume, values, {"seed": seed is not None, "first_chain": first_chain != 0})
    with Checkpoint.of(checkpoint, "sweep", where.gpu is not None) as keeping:
        kept = keeping.cells(len(cells), over=values, common_noise=common)
        fixed = {"paths": paths, "threads": threads, **simulation}
        if resume is None:
            fixed["seed"] = options.seed(keeping.seed if seed is None else seed)
        apart = 0 if common or resume is not None else _apart(simulation)

        def run(k: int) -> Simulation:
            own = {"first_chain": first_chain + k * apart} if resume is None else {"resume": resume.runs.flat[k]}
            return simulate(cells[k], checkpoint=None if kept is None else kept[k], **own, **fixed)  # type: ignore[arg-type]

        runs = np.empty(len(cells), object)
        try:
            runs[:] = _all(run, len(cells), where) if kept is None else [run(k) for k in range(len(cells))]
        except BaseException:
            keeping.stopped()
            raise
        keeping.finish()
    return Sweep(values, runs.reshape([len(of) for of in values.values()]))


def _refuse_another(before: Any, values: Mapping[str, np.ndarray], given: Mapping[str, bool]) -> None:
    """Errors where a sweep cannot go on from another one."""
    if not isinstance(before, Sweep):
        raise TypeError(f"resume must be the result of an earlier sweep, got {checks.shown(before)}")
    extra = [name for name, is_given in given.items() if is_given]
    if extra:
        raise TypeError(f"a resumed sweep goes on with the earlier one's settings: leave out {', '.join(extra)}")
    same = list(before.over) == list(values)
    if not same or any(not np.array_equal(before.over[name], of) for name, of in values.items()):
        raise ValueError("resume goes on over the same values: over must be that of the earlier sweep")


def _checked(model: Model, over: Any) -> dict[str, np.ndarray]:
    """The values of parameters, as arrays."""
    if not isinstance(over, Mapping) or not over:
        raise TypeError(f"over must be a mapping of names of parameters to values, got {over!r}")
    unknown = [name for name in over if name not in model.numbers()]
    if unknown:
        known = ", ".join(model.numbers())
        raise ValueError(
            f"over must have names of the model's parameters, {known}, got {', '.join(map(repr, unknown))}"
        )
    values = {name: checks.array(f"over[{name!r}]", given) for name, given in over.items()}
    for name, of in values.items():
        if of.ndim != 1 or not len(of):
            raise ValueError(f"over[{name!r}] must be of shape (n,), got {of.shape}")
    return values


def _apart(simulation: Mapping[str, Any]) -> int:
    """Chains from the first of a cell to that of the next: whole blocks."""
    n = options.many("n_paths", simulation.get("n_paths"))
    chains = n // 2 if simulation.get("antithetic") else n
    return -(-chains // BLOCK) * BLOCK


def _all(run: Callable[[int], Simulation], n: int, where: Where) -> list[Simulation]:
    """All cells: one after the other, or side by side if the second, which has all kernels, takes no time."""
    found = [run(0)]
    started = time.perf_counter()
    found += [run(1)] if n > 1 else []
    is_short = time.perf_counter() - started < _SHORT
    if where.gpu is not None or where.executor is not None or where.threads == 1 or not is_short:
        return found + [run(k) for k in range(len(found), n)]
    # (a pool of its own: cells wait for tiles of the default one)
    pool = ThreadPoolExecutor(where.threads, thread_name_prefix="sdefast-sweep")
    try:
        return found + list(pool.map(run, range(len(found), n)))
    finally:
        pool.shutdown(cancel_futures=True)


__all__ = ["sweep"]
