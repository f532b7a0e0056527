"""Targets in two parts: a smooth one and a penalty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import checks
from ...lazy import cached_property
from ...trace import as_expr
from .base import BaseTarget
from .density import Density, Parts, state_symbols
from .gaussian import Gaussian, inverse
from .penalties import Penalty, Quadratic


@dataclass(frozen=True, eq=False, repr=False)
class Composite(BaseTarget):
    r"""The density :math:`\exp(-f(x) - g(Dx))` of a smooth part f and a penalty g, of which the proximal map is known.

    What there is depends on the penalty: total variation has no ``prox``, only ``dual_prox``; the simplex has no
    ``log_density``. A method says which of them it needs. Where the penalty has kinks the log density has no
    derivative, and at the borders of a constraint it falls to -inf, which the score does not see.

    Parameters
    ----------
    smooth : target
        A target whose -log density is f: `Gaussian`, `BayesianLinearRegression`, `LogisticRegression`, one's own
        `Target` (that of ``lambda x: 0.0`` is f = 0).
    penalty : Penalty
        `L1`, `GroupL2`, `Quadratic`, `TotalVariation1D`, `TotalVariation2D`, `Box`, `NonNegative` or `Simplex`.

    Raises
    ------
    TypeError
        If they are nothing of the kind.
    ValueError
        If the penalty does not fit the number of components, or the smooth part has a penalty already.

    Examples
    --------
    >>> import sdefast as sf
    >>> lasso = sf.targets.Composite(sf.targets.Gaussian([1.0, 0.0]), sf.targets.L1(0.5))
    >>> lasso.score([2.0, -1.0]), lasso.smooth_score([2.0, -1.0])
    (array([-1.5,  1.5]), array([-1.,  1.]))
    """

    smooth: BaseTarget
    penalty: Penalty

    def __post_init__(self) -> None:
        if not isinstance(self.smooth, BaseTarget):
            raise TypeError(f"smooth must be one of sdefast.targets, got {checks.shown(self.smooth)}")
        if not isinstance(self.penalty, Penalty):
            raise TypeError(
                f"penalty must be one of the penalties of sdefast.targets, got {checks.shown(self.penalty)}"
            )
        if self.smooth.density.has("dual_prox"):
            raise ValueError(f"smooth must be a target without a penalty of its own, got {checks.shown(self.smooth)}")
        self.penalty.check_dim(self.dim)

    @property
    def dim(self) -> int:
        """Number of components of the state."""
        return self.smooth.dim

    @cached_property
    def parameters(self) -> dict[str, float]:
        """Those of both parts."""
        return self.smooth.parameters | self.penalty.parameters

    @cached_property
    def density(self) -> Density:
        """What methods see."""
        x, smooth, penalty = state_symbols(self.dim), self.smooth.density, self.penalty
        smooth_score = smooth.score(x)
        turned = tuple(map(as_expr, penalty.forward(x)))
        slope = penalty.adjoint(tuple(map(as_expr, penalty.gradient(turned))))
        score = tuple(as_expr(s - g) for s, g in zip(smooth_score, slope, strict=True))
        whole = None
        if smooth.has("log_density") and not penalty.is_thin:
            whole = as_expr(smooth.log_density(x) - penalty.value(turned))
        return Density(self.dim, whole, score, smooth_score, penalty, self.smooth.own_prox)

    # What is known of the whole -----------------------------------------------------------------------------------

    @cached_property
    def _law(self) -> Gaussian | None:
        """The Gaussian that it is, if it is one."""
        precision, mean = getattr(self.smooth, "precision", None), self.smooth.mean
        if precision is None or mean is None or not isinstance(self.penalty, Quadratic):
            return None
        weight = np.broadcast_to(self.penalty.weight, (self.dim,))
        covariance = inverse(precision + np.diag(weight))
        return Gaussian(covariance @ (precision @ mean + weight * self.penalty.center), covariance)

    @property
    def mean(self) -> np.ndarray | None:
        """Its mean, of shape (dim,), if it is a Gaussian."""
        return None if self._law is None else self._law.mean

    @property
    def covariance(self) -> np.ndarray | None:
        """Its covariance matrix, of shape (dim, dim), if it is a Gaussian."""
        return None if self._law is None else self._law.covariance

    @property
    def is_gaussian(self) -> bool:
        """Of a Gaussian with a `Quadratic` penalty."""
        return self._law is not None

    @property
    def curvature(self) -> float | None:
        """That of the smooth part, if it is known, and of a penalty that has no kinks, `Quadratic`."""
        if self._law is not None:
            return self._law.curvature
        curvature = self.smooth.curvature
        return None if curvature is None else curvature + self.penalty.curvature

    @property
    def parts(self) -> Parts:
        """How curved both parts are."""
        return Parts(self.smooth.curvature, self.penalty.curvature or None, self.density.operator_norm_squared)

    def sample(self, n: int, *, seed: int, first_chain: int = 0) -> np.ndarray:
        """Exact draws, of shape (n, dim), if it is a Gaussian."""
        if self._law is None:
            return super().sample(n, seed=seed, first_chain=first_chain)
        return self._law.sample(n, seed=seed, first_chain=first_chain)

    def convolved(self, sigma: float) -> BaseTarget:
        """The law with noise N(0, sigma^2) added, if it is a Gaussian."""
        return super().convolved(sigma) if self._law is None else self._law.convolved(sigma)

    def check_start(self, x0: np.ndarray) -> None:
        """ValueError if a start, of shape (n, dim), has no density there."""
        super().check_start(x0)
        inside = self.penalty.contains(x0)
        if not inside.all():
            i = int(np.argmin(inside))
            which = f" of chain {i}" if len(x0) > 1 else ""
            raise ValueError(f"x0{which} is {x0[i].tolist()}, which is not in {self.penalty!r}")

    @cached_property
    def _key(self) -> tuple[Any, ...]:
        return self.smooth, self.penalty
