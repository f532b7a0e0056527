r"""Targets with noise added, in one kernel for all amounts of noise: the variance :math:`\sigma^2` is a symbol.

A Gaussian :math:`N(m, C)` becomes :math:`N(m, C + \sigma^2 I)`, and so does every component of a mixture. With
:math:`C = \sum_j l_j q_j q_j^T` the precision is :math:`\sum_j q_j q_j^T / (l_j + \sigma^2)`, which a step computes
once for all chains.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..lazy import cached_property
from ..math import dot, logsumexp, sum
from ..math.sums import shifted_weights
from ..trace import Expr, as_expr, make, symbol
from ..trace.vectors import entries, numbered, symbols, total
from .targets import BaseTarget, Gaussian, GaussianMixture
from .targets.density import Density, Vector, state_symbols
from .targets.tabulated import Tabulated

#: The variance of the added noise.
VARIANCE = symbol("noise_variance")

#: Dimensions up to which a precision is put together, once a step; in more, chains are turned into its eigenvectors.
_MOST_TOGETHER = 6

#: Entries of a matrix of eigenvectors that are written out; more become a loop over its rows.
_MOST_WRITTEN = 256


@dataclass(frozen=True)
class Spread:
    """A covariance matrix by its eigenvalues, (dim,), and eigenvectors in columns, symbols beginning with ``name``."""

    name: str
    values: np.ndarray
    vectors: np.ndarray

    @classmethod
    def of(cls, name: str, covariance: np.ndarray) -> Spread:
        """That of a matrix; of a diagonal one, the axes."""
        diagonal = np.diagonal(covariance)
        if np.array_equal(covariance, np.diag(diagonal)):
            return cls(name, diagonal.copy(), np.eye(len(covariance)))
        return cls(name, *np.linalg.eigh(covariance))

    @property
    def parameters(self) -> dict[str, float]:
        """Names of symbols, and what they stand for."""
        return numbered(f"{self.name}_value", self.values) | entries(f"{self.name}_vector", self.vectors)

    @cached_property
    def inverses(self) -> list[Expr]:
        """1 / (l_j + noise variance), equal ones as one."""
        names = symbols(f"{self.name}_value", len(self.values))
        same = [names[int(np.argmax(self.values == value))] for value in self.values]
        return [as_expr(1 / (value + VARIANCE)) for value in same]

    @property
    def is_isotropic(self) -> bool:
        """Whether all eigenvalues are equal."""
        return bool((self.values == self.values[0]).all())

    @property
    def log_determinant(self) -> Expr:
        """log det(C + noise variance)."""
        return -total([make("log", inverse) for inverse in self.inverses])

    def square(self, away: Sequence[Expr]) -> Expr:
        """away' (C + noise variance)^-1 away."""
        if self.is_isotropic:
            return as_expr(self.inverses[0] * total([a * a for a in away]))
        if len(away) > _MOST_TOGETHER or len(away) == np.count_nonzero(self.vectors):
            turned = [total([a * v for a, v in zip(away, self._column(j), strict=True) if v is not None])
                      for j in range(len(away))]  # fmt: skip
            return total([inverse * y * y for inverse, y in zip(self.inverses, turned, strict=True)])
        n = range(len(away))
        matrix = [[self._precision(max(a, b), min(a, b)) for b in n] for a in n]
        return total([away[a] * total([matrix[a][b] * away[b] for b in n]) for a in n])

    def _column(self, j: int) -> list[Any]:
        """An eigenvector, None where it is 0."""
        column = self.vectors[:, j].tolist()
        return [
            None if v == 0 else v if v == 1 else symbol(f"{self.name}_vector{a}_{j}") for a, v in enumerate(column)
        ]  # fmt: skip

    def _precision(self, a: int, b: int) -> Expr:
        terms = []
        for j, inverse in enumerate(self.inverses):
            column = self._column(j)
            if column[a] is not None and column[b] is not None:
                terms.append(column[a] * column[b] * inverse)
        return total(terms)


@dataclass(frozen=True, eq=False, repr=False)
class Smoothed(BaseTarget):
    """A Gaussian or a mixture of them with noise added, whose variance is the symbol `VARIANCE`.

    Numbers of the target are parameters, so that targets of one structure share a kernel.
    """

    target: Gaussian | GaussianMixture

    @property
    def dim(self) -> int:
        """Number of components of the state."""
        return self.target.dim

    @property
    def tabulated(self) -> Tabulated | None:
        """Without noise."""
        return self.target.tabulated

    def tables(self, sigmas: tuple[float, ...]) -> np.ndarray | None:
        """The numbers of the tabulated densities with so much noise, one after the other.

        None where their shapes differ: rounding may make covariances multiples of the identity, say.
        """
        own = self.target.tabulated
        smoothed = [self.target.convolved(sigma).tabulated for sigma in sigmas]
        if own is None or any(density is None or density[:3] != own[:3] for density in smoothed):
            return None
        return np.concatenate([density.numbers for density in smoothed if density is not None])

    @cached_property
    def _spreads(self) -> list[Spread]:
        """Those of the components; components of one covariance share them."""
        found: dict[bytes, Spread] = {}
        for covariance in self._covariances:
            found.setdefault(covariance.tobytes(), Spread.of(f"spread{len(found)}", covariance))
        return [found[covariance.tobytes()] for covariance in self._covariances]

    @cached_property
    def _covariances(self) -> np.ndarray:
        """(k, dim, dim)."""
        if isinstance(self.target, Gaussian):
            return np.asarray(self.target.covariance)[None]
        given = self.target.covariances
        return np.asarray(given if given.ndim == 3 else given[:, None, None] * np.eye(self.dim))

    @cached_property
    def _means(self) -> np.ndarray:
        return np.atleast_2d(self.target.mean) if isinstance(self.target, Gaussian) else self.target.means

    @cached_property
    def _weights(self) -> np.ndarray:
        return np.ones(1) if isinstance(self.target, Gaussian) else self.target.weights

    @property
    def smallest_variance(self) -> float:
        """The smallest variance in any direction, of any component, without the noise."""
        return min(float(spread.values.min()) for spread in self._spreads)

    @property
    def _is_long(self) -> bool:
        spread = self._spreads[0]
        return len(self._spreads) == 1 and int(np.count_nonzero(spread.vectors)) > _MOST_WRITTEN

    @property
    def parameters(self) -> dict[str, float]:
        """Logarithms of the weights, means, eigenvalues and eigenvectors."""
        found = numbered("log_weight", np.log(self._weights / self._weights.max()))
        for k, mean in enumerate(self._means):
            found |= numbered(f"mean{k}_", mean)
        for spread in self._spreads:
            found |= {} if self._is_long else spread.parameters
        return found

    @cached_property
    def density(self) -> Density:
        """What methods see."""
        x = state_symbols(self.dim)
        round_ = len(self._means) > 1 and all(spread.is_isotropic for spread in self._spreads)
        return Density(self.dim, as_expr(self.log_density_of(x)), self._round_score(x) if round_ else None)

    def log_density_of(self, x: Vector) -> Any:
        """log sum_k w_k N(x; m_k, C_k + noise variance), up to a constant."""
        if self._is_long:
            return self._summed(x)
        if len(self._means) == 1:
            return -0.5 * self._square(0, x)
        return logsumexp(self._log_components(x))

    def _round_score(self, x: Vector) -> Vector:
        r"""The score of isotropic components, with few operations.

        With weights :math:`w_k` at x and precisions :math:`p_k` it is
        :math:`\sum w_k p_k m_k - x \sum w_k p_k` over :math:`\sum w_k`.
        """
        _, weights, all_weights = shifted_weights("score", self._log_components(x))
        share = as_expr(1 / all_weights)
        pulls = [spread.inverses[0] for spread in self._spreads]
        if self._is_alike:  # one precision, a common factor
            pull = share * pulls[0]
            return tuple(as_expr(pull * self._pulled(weights, j) - pulls[0] * xj) for j, xj in enumerate(x))
        weighted = [w * p for w, p in zip(weights, pulls, strict=True)]
        back = share * total(weighted)
        return tuple(as_expr(share * self._pulled(weighted, j) - back * xj) for j, xj in enumerate(x))

    def _pulled(self, weights: Sequence[Expr], j: int) -> Expr:
        """The means' components j under weights."""
        return total([w * symbol(f"mean{k}_{j}") for k, w in enumerate(weights)])

    @property
    def _is_alike(self) -> bool:
        """Whether components differ by their means and weights alone."""
        return len({id(spread) for spread in self._spreads}) == 1

    def _log_components(self, x: Vector) -> tuple[Any, ...]:
        """Logarithms of the components' weights at x, up to a constant."""
        return tuple(self._log_component(k, x) for k in range(len(self._means)))

    def _away(self, k: int, x: Vector) -> list[Expr]:
        return [as_expr(xi - mi) for xi, mi in zip(x, symbols(f"mean{k}_", self.dim), strict=True)]

    def _square(self, k: int, x: Vector) -> Expr:
        return self._spreads[k].square(self._away(k, x))

    def _log_component(self, k: int, x: Vector) -> Any:
        height = symbol(f"log_weight{k}")
        if not self._is_alike:
            height = as_expr(height - 0.5 * self._spreads[k].log_determinant)
        return height - 0.5 * self._square(k, x)

    def _summed(self, x: Vector) -> Any:
        """Of a Gaussian in many dimensions, a sum over its eigenvectors."""
        spread, away = self._spreads[0], self._away(0, x)
        return -0.5 * sum(
            lambda vector, value: dot(vector, away) ** 2 / (value + VARIANCE), spread.vectors.T, spread.values
        )  # fmt: skip
