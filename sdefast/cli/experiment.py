"""The experiment that the options of ``python -m sdefast sgd`` ask for."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from .. import checks
from ..least_squares.experiments import presets
from ..least_squares.experiments.presets import OUExperiment
from ..least_squares.inputs import law_of
from ..least_squares.laws.epochs import SAMPLINGS
from ..least_squares.problem import LeastSquares
from ..run.schedule import Schedule

#: Options that change an experiment, and not only how it is run
_CHANGES = (
    "theta_star", "noise_std", "covariance", "inputs", "data", "step_size", "theta0", "batch_size", "averaging",
    "sampling", "momentum", "average_from", "ridge", "label_noise", "steps",
)  # fmt: skip


def experiment(options: argparse.Namespace) -> presets.Experiment:
    """The preset that is asked for, or figure 1, with what the options change in it."""
    changed = [name for name in _CHANGES if getattr(options, name) is not None]
    base = presets.named(options.preset if options.preset is not None else "figure-1")
    if isinstance(base, OUExperiment):
        others = [_flag(name) for name in changed if name != "steps"]
        if others:
            raise ValueError(f"{', '.join(others)} cannot change {base.name}, which runs no SGD but its model")
        if not changed:
            return base
        steps = checks.count("--steps", options.steps)
        return replace(base, n_steps=steps, t1=steps * base.step_size, **_marked(base, changed))
    if not changed and options.preset is not None:
        return base
    values = {
        "step_size": None if options.step_size is None else step_size(options.step_size),
        "n_steps": None if options.steps is None else checks.count("--steps", options.steps),
        "theta0": None if options.theta0 is None else tuple(options.theta0),
        "batch_size": options.batch_size,
        "averaging": options.averaging,
        "average_from": options.average_from,
        "sampling": None if options.sampling is None else sampling(options.sampling),
        "momentum": options.momentum,
    }
    values = {name: value for name, value in values.items() if value is not None}
    marks = _marked(base, changed) if options.preset is not None else _NO_FIGURE | {"name": "", "source": ""}
    return replace(base, problem=_problem(options, base.problem), **values, **marks)


#: What an experiment is no longer when options change it
_NO_FIGURE: dict[str, Any] = {"description": "", "figures": (), "figure": None}


def _marked(base: presets.Experiment, changed: list[str]) -> dict[str, Any]:
    """Marks of a preset that says what was changed in it."""
    return _NO_FIGURE | {"source": f"{base.source}, changed by {', '.join(map(_flag, changed))}"}


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _problem(options: argparse.Namespace, base: LeastSquares) -> LeastSquares:
    """The problem of a preset, changed."""
    names = ("theta_star", "noise_std", "covariance", "inputs")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    own = ("ridge", "label_noise")
    penalties = {name: getattr(options, name) for name in own if getattr(options, name) is not None}
    if options.data is not None:
        others = [_flag(name) for name in given] + ["--preset"] * (options.preset is not None)
        if others:
            raise ValueError(f"--data excludes {' and '.join(others)}: the data say all")
        return LeastSquares(data=read_data(options.data), **penalties)
    if penalties:
        raise ValueError(f"{' and '.join(map(_flag, penalties))} must come with --data: a stream has --noise-std")
    if not given:
        return base
    if "inputs" in given:
        given["inputs"] = law_of(given["inputs"], "--inputs")
    if "covariance" in given:
        given["covariance"] = covariance(given["covariance"])
    return LeastSquares(**{"theta_star": base.theta_star, "noise_std": base.noise_std, "inputs": base.inputs, **given})


def step_size(text: str) -> float | Schedule:
    """A number, or else the formula of a schedule."""
    try:
        number = float(text)
    except ValueError:
        return Schedule(text)
    return checks.real("--step-size", number, positive=True)


def sampling(text: str) -> str | tuple[int, ...]:
    """How rows are drawn, by its name, or their numbers in order, from a file."""
    file = Path(text)
    if text in SAMPLINGS or file.suffix not in (".npy", ".csv"):
        return str(checks.choice("--sampling, if it is no file that ends in .npy or .csv,", text, SAMPLINGS))
    numbers = np.ravel(_loaded(file).get("", np.empty(0)) if file.suffix == ".npy" else _table(file))
    if numbers.dtype.kind not in "iuf" or not len(numbers) or (numbers != np.floor(numbers)).any():
        raise ValueError(f"--sampling: {file} must have the numbers of rows of data, counted from 0, in order")
    return tuple(int(number) for number in numbers)


def covariance(given: list[str]) -> np.ndarray:
    """Variances, or the matrix in a file."""
    try:
        return np.diag([float(value) for value in given])
    except ValueError:
        if len(given) == 1 and Path(given[0]).suffix in (".npy", ".csv"):
            file = Path(given[0])
            return _loaded(file).get("", np.empty(0)) if file.suffix == ".npy" else _table(file)
    raise ValueError(f"--covariance must be numbers, or one file that ends in .npy or .csv, got {' '.join(given)}")


def read_data(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """(X, y) from an archive of numpy with arrays of these names, or from a table whose last column is y."""
    if file.suffix == ".csv":
        table = _table(file)
        if table.shape[1] < 2:
            raise ValueError(f"--data: {file} must have two columns or more, the last one y, got {table.shape[1]}")
        return table[:, :-1], table[:, -1]
    if file.suffix != ".npz":
        raise ValueError(f"--data must be a file that ends in .npz or .csv, got {file}")
    arrays = _loaded(file)
    missing = [name for name in ("X", "y") if name not in arrays]
    if missing:
        raise ValueError(f"--data: {file} has no array {' and no array '.join(missing)}; it has {', '.join(arrays)}")
    return arrays["X"], arrays["y"]


def _loaded(file: Path) -> dict[str, np.ndarray]:
    """The arrays of a file of numpy; the only one of a .npy file has the name ""."""
    try:
        with file.open("rb") as opened:
            content = np.load(opened)
            return {"": content} if isinstance(content, np.ndarray) else dict(content)
    except (ValueError, EOFError, BadZipFile) as error:
        raise ValueError(f"{file} cannot be read as a file of numpy: {error}") from None


def _table(file: Path) -> np.ndarray:
    """Numbers separated by commas, below a line of names if the first line is not of numbers."""
    lines = [line for line in file.read_text().splitlines() if line.strip()]
    try:
        np.array(lines[:1] and lines[0].split(","), dtype=float)
    except ValueError:
        del lines[0]
    if not lines:
        raise ValueError(f"{file} holds no numbers")
    try:
        return np.loadtxt(lines, delimiter=",", ndmin=2)
    except ValueError as error:
        raise ValueError(f"{file} cannot be read as numbers separated by commas: {error}") from None
