r"""Noisy gradient descent: gradient descent with Gaussian noise that has the covariance of SGD's gradients.

.. math::

    \theta_{k+1} = \theta_k - g_k H (\theta_k - \theta^*) + \frac{g_k}{\sqrt B}\, \Sigma^{1/2} z_k,
    \qquad z_k \sim N(0, I),

with :math:`\Sigma = \Sigma(\theta_k)`, the covariance of one sample's gradient at theta ("full"), or
:math:`\Sigma = \Sigma(\theta^*)` ("isotropic"). With :math:`\delta = \theta - \theta^*` and inputs N(0, H) the noise is

.. math:: \sqrt{\delta'H\delta + \sigma^2}\, H^{1/2} z_{1..d} + H\delta\, z_{d+1} \qquad\text{or}\qquad
    \sigma H^{1/2} z_{1..d} .

Runs go in the eigenbasis of H, where an iteration costs O(d), unless every parameter has a step size of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...jit.emit import Step
from ...lazy import cached_property
from ...trace import make, symbol
from ...trace.vectors import entries, symbols, times, total
from ..laws.matrices import is_diagonal, symmetric_root
from ..problem import LeastSquares
from .base import DescentStep, Settings
from .coordinates import Coordinates


@dataclass(frozen=True)
class NoisyIteration(DescentStep):
    """Gradient descent with Gaussian noise of the ``covariance`` "full" or "isotropic"."""

    problem: LeastSquares
    batch_size: int
    per_parameter: bool
    covariance: str

    name: ClassVar[str] = "noisy gradient descent"
    derived: ClassVar[tuple[str, ...]] = ("coordinates", "hessian", "root", "parameters")

    @cached_property
    def coordinates(self) -> Coordinates:
        """The eigenbasis of H, whatever the inputs' law, unless parameters have step sizes of their own."""
        H, star = self.problem.hessian, self.problem.theta_star
        if self.per_parameter or is_diagonal(H):
            return Coordinates(star)
        return Coordinates(star, np.asarray(np.linalg.eigh(H)[1]))

    @cached_property
    def hessian(self) -> np.ndarray:
        """H in the coordinates, exactly diagonal if they are its eigenvectors."""
        H = self.problem.hessian
        return H if self.coordinates.basis is None else np.diag(np.maximum(np.linalg.eigvalsh(H), 0.0))

    @cached_property
    def root(self) -> np.ndarray:
        """The symmetric root, in the coordinates, of H ("full") or of the gradient's covariance at theta*."""
        if self.problem.data is None:
            scale = 1.0 if self.covariance == "full" else self.problem.noise_std
            return scale * symmetric_root(self.hessian)
        at_best = self.problem.gradient_covariance(self.problem.theta_star)
        Q = self.coordinates.basis
        return symmetric_root(at_best if Q is None else Q.T @ at_best @ Q)

    @cached_property
    def step(self) -> Step:
        """An iteration."""
        d, isotropic = self.problem.dim, self.covariance == "isotropic"
        delta, z = symbols("x", d), symbols("z", d if isotropic else d + 1)
        slope = times("p_h", self.hessian, delta)
        noise = times("p_root", self.root, z[:d])
        if not isotropic:
            loss = total([a * b for a, b in zip(delta, slope, strict=True)])
            scale = make("sqrt", loss + symbol("p_noise") * symbol("p_noise"))
            noise = [scale * e + s * z[d] for e, s in zip(noise, slope, strict=True)]
        rates = symbols("rate", d) if self.per_parameter else symbols("rate", 1) * d
        new = [
            x - (rate * s - (rate * symbol("p_batch")) * e)
            for x, rate, s, e in zip(delta, rates, slope, noise, strict=True)
        ]
        constants = tuple(f"rate{j}" for j in range(d if self.per_parameter else 1))
        return Step(tuple(new), tuple(self.parameters), constants, len(z))

    @cached_property
    def parameters(self) -> dict[str, float]:
        """Symbols of the step that are numbers of the problem."""
        values = {"p_noise": self.problem.noise_std, "p_batch": 1 / math.sqrt(self.batch_size)}
        return values | entries("p_h", self.hessian) | entries("p_root", self.root)

    def second_moments(self, M: np.ndarray, rates: np.ndarray, n_steps: int) -> Iterator[np.ndarray]:
        """The exact E delta_k delta_k' in the coordinates for k = 0, ..., n_steps, from that of the start."""
        H, B = self.hessian, self.batch_size
        at_best = self.root @ self.root.T * (self.problem.noise_std**2 if self.covariance == "full" else 1.0)
        yield M
        for k in range(n_steps):
            g = rates[k % len(rates)][:, None]
            noise = at_best
            if self.covariance == "full":
                noise = noise + np.vdot(H, M) * H + H @ M @ H
            D = np.eye(len(H)) - g * H
            M = D @ M @ D.T + g * noise * g.T / B
            yield M

    def exact_error(self, run: Settings) -> np.ndarray:
        r"""That of SGD, or with noise as at theta* the trace of a linear recursion.

        :math:`M \leftarrow (I - G H) M (I - H G) + G \Sigma(\theta^*) G / B` with G the diagonal matrix of step sizes.
        """
        start = self.start(np.atleast_2d(self.known_start(run))).T
        path = self.second_moments(start.T @ start / len(start), run.rates, run.n_steps)
        saved = set(run.saves.tolist())
        return np.array([np.trace(M) for k, M in enumerate(path) if k in saved])

    def threshold_warning(self, rates: np.ndarray) -> str | None:
        """What is to be said of constant step sizes, of shape (1,) or (d,), that no error survives."""
        if self.covariance == "full":
            return super().threshold_warning(rates)
        root = np.sqrt(np.broadcast_to(rates, (self.dim,)))
        largest = float(np.linalg.eigvalsh(root[:, None] * self.problem.hessian * root)[-1])
        if largest < 2:
            return None
        if (rates == rates[0]).all():
            what = f"step_size={rates[0]:g} is beyond the threshold 2 / lambda_max = {2 * rates[0] / largest:.6g}"
        else:
            what = f"step_size is too large: the largest eigenvalue of diag(step_size) H is {largest:.6g}, beyond 2"
        return f"{what}: the expected error grows without bound"
