"""What every result can do, be it of many chains or of one run without noise: files, tables, its settings in words."""

from __future__ import annotations

from abc import ABC, abstractmethod
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from . import files
from .records import Recorded

if TYPE_CHECKING:
    import xarray


class Report(Recorded, ABC):
    """A result, which knows what was asked for and what came of it at every saved time."""

    #: the family's words for the call and for time
    call: ClassVar[str] = "the call"
    time_word: ClassVar[str] = "time"

    @property
    @abstractmethod
    def t(self) -> np.ndarray:
        """Saved times, of shape (n_times,)."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """The settings as plain numbers and strings."""

    @abstractmethod
    def _tabulated(self) -> dict[str, tuple[tuple[str, ...], Any]]:
        """What `to_xarray` holds: names, the axes after time, values."""

    def _axes(self) -> dict[str, np.ndarray]:
        """The axes that all of it begins with, with their coordinates."""
        return {self.time_word: self.t}

    def _coordinates(self) -> dict[str, np.ndarray]:
        """Coordinates of the axes after them, where they have any."""
        return {}

    def save(self, path: str | PathLike[str]) -> None:
        """Write all of it to a file, of which `sdefast.load` makes the same result in another process.

        The file is an archive of numpy's, in which ``header.json`` has the versions and every setting. Functions that
        the run was given travel as what they compute, and nothing is pickled. States on a GPU come back in the host's
        memory.

        Parameters
        ----------
        path : str or os.PathLike
            Where to, taken as it is. A file that is there is replaced once the new one is whole.

        Raises
        ------
        TypeError, ValueError
            If the path is none or that of a folder; if a function that the run was given refers to values that have
            changed since then, or the model is of a class that cannot be written.
        FileNotFoundError
            If its folder is not there.

        Examples
        --------
        >>> import os, tempfile
        >>> import sdefast as sf
        >>> run = sf.simulate(sf.SDE(lambda t, x, p: -x[0], lambda t, x, p: 0.5), x0=1.0, t1=1.0, n_steps=8, n_paths=10)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     run.save(os.path.join(folder, "run.npz"))
        ...     again = sf.load(os.path.join(folder, "run.npz"))
        >>> further = sf.simulate(again.model, resume=again, n_steps=8)
        >>> further.t
        array([2.])
        """
        files.write(path, "result", self)

    def to_xarray(self) -> xarray.Dataset:
        """What there is at the saved times as an `xarray.Dataset`: of many chains states (if kept), mean, variance, ...

        Its axes are time, chain and component, in the family's words.

        Raises
        ------
        ImportError
            If xarray is not installed.
        """
        try:
            import xarray
        except ImportError:
            raise ImportError("to_xarray needs xarray: pip install xarray") from None
        first = self._axes()
        data = {name: ((*first, *axes), value) for name, (axes, value) in self._tabulated().items()}
        return xarray.Dataset(data, {**first, **self._coordinates()}, attrs=self.describe())
