"""Results in files: a result writes itself with `Report.save`, and `load` reads it again."""

from __future__ import annotations

from os import PathLike
from typing import Any

import numpy as np

from ..engine.statistics import Nodes
from . import files
from .report import Report
from .step import Settings


class Savable(Report):
    """How what was gathered of many chains travels, for `sdefast.run.result.Result` to derive from."""

    settings: Settings
    _states: Any
    _nodes: tuple[Nodes, ...]
    _counts: np.ndarray | None
    _final: np.ndarray | None

    def _to_record(self) -> dict[str, Any]:
        nodes = tuple(
            (np.array(list(nodes), np.int64).reshape(-1, 2), np.array(list(nodes.values()))) for nodes in self._nodes
        )
        states = None if self._states is None else np.asarray(self._states)
        return {**super()._to_record(), "_states": states, "_nodes": nodes}

    @classmethod
    def _from_record(cls, record: dict[str, Any]) -> Savable:
        nodes = tuple(
            {(at[0], at[1]): node for at, node in zip(keys.tolist(), values, strict=True)}
            for keys, values in record["_nodes"]
        )
        result: Savable = cls(**{**record, "_nodes": nodes})
        result._check_arrays()
        return result

    def _check_arrays(self) -> None:
        """ValueError if they are not as large as the settings say."""
        s, bins = self.settings, 0 if self.settings.histogram is None else self.settings.histogram.bins + 2
        n_times, n_rows, n_chains = len(s.saves), s.stepping.n_rows, s.n_chains
        n_kept = n_rows if s.kept_rows is None else s.kept_rows
        n_counted = n_kept if s.counted is None else s.counted.n
        arrays = [
            (self._states, (n_times, n_kept, n_chains), s.dtype), (self._final, (n_rows, n_chains), s.dtype),
            (self._counts, (n_times, n_counted, bins), np.dtype(np.int64)),
        ]  # fmt: skip
        for gathered, nodes in zip(s.gathering.all, self._nodes, strict=True):
            arrays += [(node, (n_times, gathered.layout.size), np.dtype(float)) for node in nodes.values()]
        for array, shape, dtype in arrays:
            if array is not None and (array.shape != shape or array.dtype != dtype):
                raise ValueError(f"an array is {array.dtype} of {array.shape}, not {dtype} of {shape}")


def load(path: str | PathLike[str]) -> Any:
    """Read a result that its ``save`` wrote: all its numbers are as they were.

    Functions that the run was given compute what they did, though they need not be known here: a loaded run can be
    resumed and merged, with its own ``model`` or with an equal one.

    Parameters
    ----------
    path : str or os.PathLike
        The file.

    Returns
    -------
    Simulation, Descent, Chains, ...
        Of the kind that was saved.

    Raises
    ------
    TypeError
        If the path is none.
    FileNotFoundError
        If there is no file.
    ValueError
        If it is another file, is damaged, or was written in a later format; if it needs a class of a user's that has
        not been defined here.
    MemoryError
        If it cannot fit; refused before allocation.

    Examples
    --------
    >>> import os, tempfile
    >>> import sdefast as sf
    >>> run = sf.simulate(sf.OrnsteinUhlenbeck(), x0=1.0, t1=1.0, n_steps=10, n_paths=1000, seed=7)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run.save(os.path.join(folder, "ou.npz"))
    ...     again = sf.load(os.path.join(folder, "ou.npz"))
    >>> bool((again.x == run.x).all()), again.describe() == run.describe()
    (True, True)
    """
    return files.read(path, "result")
