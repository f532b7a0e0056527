"""Experiments on diffusion models, each one call or one command: a table of numbers, and pictures.

>>> from sdefast.diffusion import experiments
>>> outcome = experiments.run("t1-limit", quiet=True, levels=50)
>>> outcome.table.columns[:3]
('chain', 'levels', 'calls')
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

from ... import checks, plots
from .base import Bench, Outcome, Table

__all__ = ["EXPERIMENTS", "Outcome", "Table", "options", "run"]

#: What they are, by name; each is the function ``run`` of the module of its name.
EXPERIMENTS = {
    "thesis": "DDPM as the thesis ran it, its figures 18 and 19, beside T = 1000 and betas scaled by 1000 / T",
    "smld-mixture": "annealed Langevin and predictor-corrector on mixtures with exact scores, beside plain Langevin",
    "smld-swiss-roll": "annealed Langevin and predictor-corrector on a swiss roll with a learned score",
    "smld-mnist": "annealed Langevin and predictor-corrector on images",
    "t1-limit": "whether DDPM is annealed Langevin with one step per level, in exact numbers on a Gaussian",
    "samplers": "one trained network: sampler x calls x Frechet distance x seconds",
    "score-noise": "score = -eps / sigma, checked on a trained network",
    "swiss-roll-langevin": "the lecture's swiss roll: a score learned at one level of noise, plain Langevin along it",
}


def options(name: str) -> dict[str, Any]:
    """The options of an experiment and their defaults.

    Raises
    ------
    ValueError
        If there is no experiment of that name.

    Examples
    --------
    >>> options("t1-limit")["levels"]
    1000
    """
    return {option.name: option.default for option in signature(_function(name)).parameters.values()
            if option.kind is option.KEYWORD_ONLY}  # fmt: skip


def run(
    name: str, data: Any = None, *, out: str | Path | None = None, device: str = "cpu", progress: bool = False,
    quiet: bool = False, **given: Any,
) -> Outcome:  # fmt: skip
    """Run an experiment, print its table and write its files.

    Parameters
    ----------
    name : str
        One of `EXPERIMENTS`.
    data : optional
        What `data.load` takes, for experiments on images: by default scikit-learn's digits.
    out : str or Path, optional
        Folder for NAME.csv, NAME.txt, the pictures NAME*.png and what is trained; made if it is not there. Without it
        nothing is written.
    device : str
        Where networks are trained and asked, as of `train`.
    progress : bool
        Show bars.
    quiet : bool
        Print nothing.
    **given
        What `options` names.

    Returns
    -------
    Outcome

    Raises
    ------
    TypeError, ValueError
        If there is no such experiment or option, or an option is out of range.
    ImportError
        If matplotlib is missing, or torch for experiments that train.
    """
    function, known = _function(name), options(name)
    unknown = [option for option in given if option not in known]
    if unknown:
        raise TypeError(f"{name!r} has no option {unknown[0]!r}: it takes {', '.join(map(repr, known))}")
    plots.new_axes()  # where matplotlib is missing that is said now, and not after a training
    folder = None if out is None else Path(out)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    outcome = function(Bench(data, folder, device, checks.flag("progress", progress)), **given)
    if folder is not None:
        outcome.write(folder)
    if not checks.flag("quiet", quiet):
        print(outcome)
    return outcome


def _function(name: str) -> Callable[..., Outcome]:
    """That of an experiment; its module is imported when it is first asked for, some with torch."""
    module = checks.choice("experiment", name, EXPERIMENTS).replace("-", "_")
    function: Callable[..., Outcome] = import_module(f".{module}", __name__).run
    return function
