"""What experiments share: what they are told, the table and the pictures that they make, and what they cost."""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from ... import plots
from ...run import archive

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Bench", "Outcome", "Table", "mean_and_error", "timed", "variance_and_error", "z_score"]

_T = TypeVar("_T")


class Bench(NamedTuple):
    """What every experiment is told: its data, where networks are kept and where they run, whether bars are shown."""

    data: Any = None
    folder: Path | None = None
    device: str = "cpu"
    progress: bool = False


@dataclass(frozen=True)
class Table:
    """Rows of numbers and words under names, as text and as comma-separated values.

    Examples
    --------
    >>> print(Table(("sampler", "calls", "Frechet"), [("ddpm", 200, 3.91234)]))
    sampler  calls  Frechet
    ddpm       200    3.912
    >>> Table(("sampler", "calls"), [("ddpm", 200), ("ddim", 20)])["calls"]
    [200, 20]
    """

    columns: tuple[str, ...]
    rows: Sequence[tuple[Any, ...]]

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"a row must have {len(self.columns)} entries, {', '.join(self.columns)}, got {row}")

    def __getitem__(self, column: str) -> list[Any]:
        """A column."""
        i = self.columns.index(column)
        return [row[i] for row in self.rows]

    def where(self, **wanted: Any) -> list[dict[str, Any]]:
        """The rows with these entries, as dicts."""
        found = (dict(zip(self.columns, row, strict=True)) for row in self.rows)
        return [row for row in found if all(row[name] == value for name, value in wanted.items())]

    def __str__(self) -> str:
        texts = [self.columns, *(tuple(map(_short, row)) for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
        words = [isinstance(value, str) for value in (self.rows[0] if self.rows else self.columns)]
        lines = (
            "  ".join(t.ljust(w) if left else t.rjust(w) for t, w, left in zip(text, widths, words, strict=True))
            for text in texts
        )
        return "\n".join(line.rstrip() for line in lines)

    def csv(self) -> str:
        """Comma-separated values, numbers in full; what is unknown is empty."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows([["" if value is None else _plain(value) for value in row] for row in self.rows])
        return text.getvalue()


@dataclass(frozen=True)
class Outcome:
    """What an experiment found.

    Attributes
    ----------
    name : str
        Of the experiment.
    table : Table
        Its numbers.
    notes : sequence of str
        How it was run, and how the numbers are to be read.
    figures : mapping of str to matplotlib.axes.Axes
        An axes of each picture, by what is appended to the name of its file.
    files : list of pathlib.Path
        What was written.
    """

    name: str
    table: Table
    notes: Sequence[str]
    figures: Mapping[str, Axes] = field(default_factory=dict, repr=False)
    files: list[Path] = field(default_factory=list)

    def __str__(self) -> str:
        written = [f"written: {', '.join(map(str, self.files))}"] if self.files else []
        return "\n".join([self.name, "", str(self.table), "", *self.notes, *written])

    def write(self, folder: Path) -> None:
        """Write NAME.csv, the pictures, and NAME.txt, which is what is printed; each file is whole or not there."""
        self._put(folder, ".csv", self.table.csv().encode())
        for name, ax in self.figures.items():
            picture = io.BytesIO()
            plots.save(ax, picture)
            self._put(folder, f"-{name}.png" if name else ".png", picture.getvalue())
        self._put(folder, ".txt", f"{self}\n".encode())

    def _put(self, folder: Path, ending: str, content: bytes) -> None:
        file = folder / f"{self.name}{ending}"
        with archive.replacing(str(file)) as opened:
            opened.write(content)
        self.files.append(file)


def timed(work: Callable[[], _T]) -> tuple[_T, float]:
    """What ``work()`` returns, and the CPU seconds of all threads that it took."""
    began = time.process_time()
    done = work()
    return done, time.process_time() - began


def mean_and_error(values: np.ndarray) -> tuple[float, float]:
    """Mean and its standard error."""
    values = np.asarray(values, np.float64)
    return float(values.mean()), float(values.std() / math.sqrt(len(values)))


def variance_and_error(values: np.ndarray) -> tuple[float, float]:
    """Variance and its standard error, by the fourth moment."""
    away = (np.asarray(values, np.float64) - np.mean(values, dtype=np.float64)) ** 2
    return mean_and_error(away)


def z_score(value: float, error: float, exact: float) -> float | None:
    """How many standard errors a value is from the exact one; None where there is no error."""
    return (value - exact) / error if error > 0 else None


def _plain(value: Any) -> Any:
    """Numbers of numpy as Python's."""
    return value.item() if isinstance(value, np.generic) else value


def _short(value: Any) -> str:
    """A number in four digits; what is unknown is a dash."""
    value = _plain(value)
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
