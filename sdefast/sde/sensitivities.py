r"""Derivatives of a run in its parameters and its start: tangents that paths carry along.

A step is a function of the state and the parameters, x' = F(x, p; z), whatever the scheme. With the noise kept, the
derivative :math:`J = \partial x / \partial p` of the path obeys :math:`J' = F_x J + F_p`, and a function of the path
has the derivative :math:`f_x J + f_p`: the exact derivatives of the simulated path, by forward differentiation of the
traced expressions. Their means are the derivatives of the means where x and f are continuous in the parameter
(Glasserman, Monte Carlo Methods in Financial Engineering, 2003, section 7.2); a jump, as of a digital payoff, they do
not see.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..run.result import Expectation
from ..trace import Expr, all_parts, constant, derivative, symbol
from .functionals import FirstPassage, Functional
from .jump_process import Jumps
from .schemes.equation import parameter_symbol

_START = re.compile(r"x0(?:\[(\d+)\])?")

#: a symbol that no expression has, by which no derivative is taken but along those of the rows
_NOTHING = symbol("nothing")


@dataclass(frozen=True)
class Sensitivity:
    """Derivatives in one parameter, at every saved time.

    Attributes
    ----------
    mean, standard_error : numpy.ndarray
        Of the derivative of the state, of shape (n_times, dim).
    n_nonfinite : numpy.ndarray
        Paths that are left out because the derivative is not finite on them, of shape (n_times, dim).
    values : array or None
        The derivatives of all paths, of shape (n_times, n_paths, dim), where states were kept.
    functionals : dict of str to FunctionalResult
        Derivatives of the functionals.
    expectations : dict of str to Expectation
        Derivatives of the expectations, with their standard errors.
    """

    mean: np.ndarray
    standard_error: np.ndarray
    n_nonfinite: np.ndarray
    values: Any = field(repr=False)
    functionals: dict[str, Any]
    expectations: dict[str, Expectation]


def checked_sensitivities(asked: Any, parameters: Mapping[str, Any], dim: int) -> tuple[str, ...]:
    """The names of what to derive by: parameters, ``x0`` in one dimension, ``x0[i]``."""
    if isinstance(asked, str) or not isinstance(asked, Sequence) or not all(isinstance(name, str) for name in asked):
        raise TypeError(f"sensitivities must be a list of names of parameters, such as ['mu'], got {asked!r}")
    known = [name for name, value in parameters.items() if isinstance(value, (int, float))]
    starts = ["x0"] if dim == 1 else [f"x0[{i}]" for i in range(dim)]
    for name in asked:
        if name not in known and name not in starts:
            allowed = [*known, *(starts if dim <= 4 else [f"x0[0] to x0[{dim - 1}]"])]
            raise ValueError(f"sensitivities must be among {', '.join(allowed)}, got {name!r}")
    if len(set(asked)) < len(asked):
        raise ValueError(f"sensitivities must have different names, got {asked!r}")
    return tuple(asked)


def refuse_jumps(
    asked: Sequence[str], model: Any, functionals: Sequence[tuple[str, Functional]], events: Any, stop_when: Any
) -> None:
    """ValueError where a path jumps as a parameter changes, so that its derivative says nothing."""
    for name, functional in functionals:
        if isinstance(functional, FirstPassage):
            raise ValueError(f"sensitivities cannot see functionals[{name!r}] jump, a first passage")
    if stop_when is not None:
        raise ValueError("sensitivities cannot see paths stop: leave out stop_when")
    if events:
        raise ValueError("sensitivities cannot see events come and go as a parameter changes: leave out events")
    if model.jumps is not None:
        _refuse_other_jumps(asked, model.jumps)


def _refuse_other_jumps(asked: Sequence[str], jumps: Jumps) -> None:
    """ValueError where there are other jumps as a parameter changes, or jumps of another kind."""
    if jumps.bound is not None:
        raise ValueError(
            "sensitivities cannot see jumps come and go: their intensity depends on the state, and so on what is "
            "derived by"
        )
    chances = {parameter: name for name, parameter in jumps.parameters if name in jumps.chances}
    for name in asked:
        if _START.fullmatch(name):
            continue
        if jumps.rate_depends_on([name]):
            raise ValueError(f"sensitivities cannot see jumps come and go: their intensity depends on {name!r}")
        if name in chances:
            raise ValueError(f"sensitivities cannot see jumps turn round: which way they go depends on {name!r}")
    for part in all_parts(jumps.moves):
        if part.op == "select" and any(e.op == "symbol" and not _is_draw(e) for e in all_parts([part.args[0]])):
            raise ValueError(
                f"sensitivities cannot see sizes of jumps change between {part.args[1]!r} and {part.args[2]!r}: write "
                "them without conditions on the state or on parameters"
            )


def _is_draw(e: Expr) -> bool:
    """Whether a symbol of a jump's function is one of its draws."""
    return re.fullmatch(r"[uz]\d+", str(e.value)) is not None


def refuse_jump(what: str, value: Expr) -> None:
    """ValueError where an expression chooses between two constants: its derivative is zero, that of its mean is not."""
    for part in all_parts([value]):
        if part.op == "select" and all(a.op == "constant" for a in part.args[1:]):
            raise ValueError(
                f"{what} jumps between {part.args[1]!r} and {part.args[2]!r}, which sensitivities along paths cannot "
                "see: difference two runs of the same seed, or smooth the jump"
            )


def parameter_of(name: str) -> Expr:
    """The symbol that a sensitivity derives by."""
    return _NOTHING if _START.fullmatch(name) else parameter_symbol(name)


def first_tangent(name: str, dim: int) -> list[Expr]:
    """The derivatives of the start."""
    start = _START.fullmatch(name)
    return [constant(float(start is not None and i == int(start[1] or 0))) for i in range(dim)]


def along(values: Sequence[Expr], name: str, rows: Sequence[Expr], tangents: Sequence[Expr]) -> list[Expr]:
    """Derivatives of functions of rows and parameters, for rows that have these derivatives."""
    known = dict(zip(rows, tangents, strict=True))
    return [derivative(value, parameter_of(name), known) for value in values]
