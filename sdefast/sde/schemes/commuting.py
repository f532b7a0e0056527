"""How the noises of an SDE act on one another: what several schemes ask before they step."""

from __future__ import annotations

from typing import Any

import numpy as np

from .equation import Equation, parameter_symbol


def interacting_pairs(equation: Equation) -> tuple[tuple[int, int], ...]:
    """Pairs (j, k) of different noises with L^j b_k not always zero: noise j changes what noise k does."""
    noises = range(equation.noise_dim)
    return tuple((j, k) for j in noises for k in noises if j != k and _acts(equation, j, k))


def _acts(equation: Equation, j: int, k: int) -> bool:
    return not all(entry.is_constant(0) for entry in equation.along(j, k, equation.t, equation.x))


def refuse_interacting(name: str, equation: Equation) -> None:
    """ValueError if a noise changes what another one does, for schemes that treat noises one by one."""
    for j, k in interacting_pairs(equation):
        raise ValueError(
            f"method={name!r} needs each noise to act on its own, but noise {j} moves components of the state on which "
            f"column {k} of the diffusion depends; use method='milstein' if the noises commute, otherwise 'heun' or "
            "'euler-maruyama'"
        )


def refuse_non_commuting(name: str, sde: Any, equation: Equation) -> None:
    """ValueError if the order in which two noises move the state matters."""
    if not equation.is_commutative(_states(equation.dim), _values(sde)):
        raise ValueError(
            f"method={name!r} needs noise that commutes, L^j b_k = L^k b_j for all columns b_j, b_k of the diffusion; "
            "that of this SDE does not: use 'heun', 'euler-maruyama' or, for expectations, 'weak2'"
        )


def _values(sde: Any) -> dict[Any, float]:
    return {parameter_symbol(name): value for name, value in sde.numbers().items()}


def _states(dim: int) -> np.ndarray:
    """Points at several distances from the origin, half of them positive, where roots and logarithms exist."""
    points = np.random.default_rng(0).normal(size=(16, dim))
    every = [scale * states for scale in (0.1, 1.0, 10.0) for states in (points, np.abs(points))]
    return np.concatenate(every)
