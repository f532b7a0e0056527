"""The experiments behind figures 1 to 16 of the thesis, each as its text states it and as its program ran it.

Ge, Stochastic Differential Equations for Large-scale Machine Learning, New York University Shanghai, sections 3.3 and
4.3. The text and the program that drew the figures differ: in the law of the inputs, by a factor of two in the step
size, in the error that is drawn, and in the coefficients of the Ornstein-Uhlenbeck process.

Examples
--------
>>> import sdefast as sf
>>> sf.sgd_presets.figure(7).step_size, sf.sgd_presets.figure(7, as_="program").step_size
(0.1, 0.2)
>>> fit = sf.sgd_presets.figure(1).run(n_runs=1000, seed=0)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ... import checks
from ...run.schedule import Schedule
from ..inputs import Uniform
from ..problem import LeastSquares
from .experiment import OUExperiment, SGDExperiment

__all__ = ["Experiment", "OUExperiment", "SGDExperiment", "figure", "named", "names"]

Experiment = SGDExperiment | OUExperiment


def __dir__() -> list[str]:
    return __all__


_THETA_STAR = (0.1, -0.2, 1.0, 0.5, -0.5)
_STEP, _SIGMA = 0.01, 0.1
_COORDINATES = ("the test error", "the first coordinate beside its optimum", "the second coordinate beside its optimum")


@dataclass(frozen=True)
class _Group:
    """Three figures of one experiment: its place in section 3.3, noise, step sizes of text and program, remarks."""

    part: str
    noise_std: float
    stated: float | str
    ran: float | str
    remark: str
    program_remark: str


_GROUPS = (
    _Group("(i) and (ii)", _SIGMA, 0.01, 0.02, "", ""),
    _Group(
        "(iii)", 1.0, 0.01, 0.02,
        "The text goes on to sigma = 3 without a figure: --noise-std 3.",
        "The program goes on to sigma = 3: --noise-std 3.",
    ),
    _Group(
        "(iv), a step ten times larger", _SIGMA, 0.1, 0.2,
        "The text says that it explodes; with the inputs and the step size that the text states it does not, as the "
        "mean-square threshold is 2/7: it fluctuates.",
        "It explodes: the mean-square threshold is 0.0413.",
    ),
    _Group(
        "(iv), a step ten times smaller", _SIGMA, 0.001, 0.002,
        "The text says that it becomes more accurate after convergence, which 1000 iterations do not show: the error "
        "is .211 then, falls below the floor of figure 1, .000259, at iteration 4411, and to its own, .0000251, at "
        "about 8000: --steps 8000 shows it.",
        "",
    ),
    _Group(
        "(v)", _SIGMA, "0.1/t", "1/t",
        "t starts at 1. A quarter of the initial error is left at t = 1000.",
        "The program's constant is 0.5, not the 0.1 of the text. The first 24 step sizes are beyond the mean-square "
        "threshold 0.0413, and the error grows before it falls.",
    ),
)  # fmt: skip


def names() -> tuple[str, ...]:
    """The presets' names: "figure-1" to "figure-16", then the same with "-program".

    Examples
    --------
    >>> import sdefast as sf
    >>> sf.sgd_presets.names()[-1]
    'figure-16-program'
    """
    return tuple(f"figure-{n}{end}" for end in ("", "-program") for n in range(1, 17))


def named(name: str | int) -> Experiment:
    """The preset of a name, or of a figure's number in its place: "7" and "7-program" are "figure-7" and so on.

    Raises
    ------
    ValueError
        If there is none.

    Examples
    --------
    >>> import sdefast as sf
    >>> sf.sgd_presets.named("figure-3-program").measure
    'half norm'
    """
    full = f"figure-{name}" if isinstance(name, int) or (isinstance(name, str) and name[:1].isdigit()) else name
    if full not in names():
        what = "'figure-1' to 'figure-16', a number from 1 to 16, or one of these with '-program' added"
        raise ValueError(f"preset must be one of {what}, got {checks.shown(name)}")
    _, number, *program = full.split("-")
    return figure(int(number), "program" if program else "text")


def figure(number: int | str, as_: str = "text") -> Experiment:
    """The experiment of one of the thesis' figures.

    Parameters
    ----------
    number : int or str
        Of the figure, from 1 to 16, also as text.
    as_ : {"text", "program"}
        As the text states it, or as the program that drew it ran it.

    Returns
    -------
    SGDExperiment or, for figure 16, OUExperiment

    Raises
    ------
    TypeError, ValueError
        If there is no such figure.

    Examples
    --------
    >>> import sdefast as sf
    >>> print(sf.sgd_presets.figure(13, as_="program").step_size)
    1/t
    """
    digits = isinstance(number, str) and number.isdecimal() and len(number) < 3
    number = checks.count("number", int(number) if digits else number, most=16)
    program = checks.choice("as_", as_, ("text", "program")) == "program"
    name = f"figure-{number}" + "-program" * program
    who = "as its program ran it" if program else "as its text states it"
    if number == 16:
        return _ou(name, f"thesis, figure 16, section 4.3, {who}", program)
    group = _GROUPS[(number - 1) // 3]
    source = f"thesis, figure {number}, section 3.3 {group.part}, {who}"
    return _sgd(name, source, number, group, program)


def _sgd(name: str, source: str, number: int, group: _Group, program: bool) -> SGDExperiment:
    first = 3 * ((number - 1) // 3) + 1
    step = group.ran if program else group.stated
    what = f"Shows {_COORDINATES[number - first]}."
    remark = group.program_remark if program else group.remark
    return SGDExperiment(
        name,
        LeastSquares(_THETA_STAR, group.noise_std, inputs=Uniform(0.0, 5.0) if program else None),
        Schedule(step) if isinstance(step, str) else step,
        measure="half norm" if program else "squared norm",
        first_shown=int(program),
        n_shown=1 if program else 5,
        figures=(first, first + 1, first + 2),
        figure=number,
        source=source,
        description=" ".join(filter(None, (what, _PROGRAM if program else _TEXT, remark))),
    )


_TEXT = "The text speaks of several runs: five are drawn, from t = 0 on."
_PROGRAM = (
    "Inputs are uniform on (0, 5), the update has twice the program's nominal step size, and what is drawn, for one "
    "run, is half the norm of theta - theta*, after each update."
)


def _ou(name: str, source: str, program: bool) -> OUExperiment:
    squared = _STEP * _SIGMA**2 / (2 if program else 1)
    kappa, t1, n_steps = (0.1, 100.0, 10_000) if program else (1.0, 10.0, 1000)
    return OUExperiment(
        name, _THETA_STAR, kappa, math.sqrt(squared), t1, n_steps, figures=(16,), figure=16, source=source,
        description="Shows all coordinates of one path. " + (_OU_PROGRAM if program else _OU_TEXT),
    )  # fmt: skip


_OU_TEXT = (
    "Section 4.2 gives the rate 1 and the squared noise strength gamma sigma^2; section 4.3 states no numbers, so "
    "gamma, sigma, theta* and the start are those of section 3.3, the step is gamma, as in equation 5, and the end is "
    "that of its 1000 iterations, time 10."
)
_OU_PROGRAM = (
    "The program's rate is 0.1 and its squared noise strength gamma sigma^2 / 2, with steps of 0.01 up to time 100."
)
