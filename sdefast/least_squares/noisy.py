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
import secrets
import warnings
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from .. import checks, resources
from ..engine.statistics import Layout
from ..jit.emit import Step
from ..run.where import Where
from ..trace import make, symbol
from .laws.modified import symmetric_root
from .problem import LeastSquares
from .result import Descent, DescentSettings
from .schedule import saved_iterations, step_sizes
from .sgd import kept_runs, run, start_rows
from .steps.coordinates import Coordinates
from .steps.traced import MOST_ROWS, TracedIteration, entries, symbols, times, total

#: Entries of matrices at most that are written out in a compiled iteration: more would take too long.
_MOST_ENTRIES = 1024


def noisy_gd(
    problem: LeastSquares,
    *,
    step_size: Any,
    n_steps: int,
    n_runs: int,
    covariance: str = "full",
    batch_size: int = 1,
    theta0: ArrayLike | None = None,
    save_at: str | int | ArrayLike = "all",
    runs: int | ArrayLike = 0,
    coordinates: ArrayLike | None = None,
    seed: int | None = None,
    dtype: DTypeLike | None = None,
    noise_dtype: DTypeLike | None = None,
    first_run: int = 0,
    device: str = "cpu",
    threads: int | None = None,
    executor: Executor | None = None,
    progress: bool = False,
) -> NoisyDescent:
    r"""Run gradient descent with the Gaussian noise that stands for SGD's, many times over.

    .. math::

        \theta_{k+1} = \theta_k - g_k H (\theta_k - \theta^*) + \frac{g_k}{\sqrt B}\, \Sigma^{1/2} z_k .

    At a constant step size g this is the Euler-Maruyama scheme with step g of the order-1 modified equation
    :math:`d\theta = -H(\theta - \theta^*)\,dt + \sqrt{g/B}\,\Sigma^{1/2} dW`, as
    :math:`\sqrt{g/B}\,\Sigma^{1/2} \sqrt g\, z = (g/\sqrt B)\, \Sigma^{1/2} z`: the same as `simulate` makes of
    ``problem.modified_equation(g, covariance=covariance, batch_size=B)`` in steps of g, but for rounding.

    Parameters
    ----------
    problem : LeastSquares
        A problem of up to 64 parameters; for ``covariance="full"`` with Gaussian inputs.
    step_size : float, array_like or callable
        One for all iterations, one for each, of shape (n_steps,), a function of the iteration k = 0, 1, ..., or one
        per parameter, of shape (1, d) or (n_steps, d).
    n_steps, n_runs : int
        Numbers of iterations and of runs.
    covariance : {"full", "isotropic"}
        That of one sample's gradient at theta, with which mean and second moments are exactly those of SGD, or at
        theta*, a linear recursion with additive noise (the names of `LeastSquares.modified_equation`).
    batch_size : int
        B: the covariance is divided by it.
    theta0 : array_like, optional
        Start, of shape (d,) or (n_runs, d); zero by default.

    Other Parameters
    ----------------
    save_at, runs, coordinates, seed, dtype, noise_dtype, first_run, device, threads, executor, progress
        As for `sgd`.

    Returns
    -------
    NoisyDescent
        With what a `Descent` has, ``iterations``, ``error`` and its standard error (n_times,), ``mean`` and
        ``variance`` (n_times, d), and the exact ``expected_error`` beside them.

    Raises
    ------
    TypeError, ValueError
        If an argument is missing, of the wrong type or out of range.

    Warns
    -----
    RuntimeWarning
        If a constant step size is beyond the mean-square threshold, for "isotropic" beyond 2 / lambda_max, or if runs
        have left the numbers.

    References
    ----------
    Li, Tai and E, Journal of Machine Learning Research 20, 2019. Wu, Hu, Xiong, Huan, Braverman and Zhu, On the noisy
    gradient descent that generalizes as SGD, ICML 2020.

    Examples
    --------
    >>> import sdefast as sf
    >>> problem = sf.LeastSquares(theta_star=[0.1, -0.2, 1.0, 0.5, -0.5], noise_std=0.1)
    >>> fit = sf.noisy_gd(problem, step_size=0.05, n_steps=100, n_runs=10_000, seed=0)
    >>> bool((abs(fit.error - fit.expected_error) < 5 * fit.error_standard_error + 1e-12).all())
    True
    """
    where = Where.of(device, threads, executor)
    if not isinstance(problem, LeastSquares):
        raise TypeError(f"problem must be a LeastSquares, got {problem!r}")
    n, n_runs = checks.count("n_steps", n_steps), checks.count("n_runs", n_runs, most=2**52)
    rates = step_sizes(step_size, n, problem.dim)
    iteration = _iteration(problem, batch_size, rates.shape[1] > 1, covariance)
    types, saves = checks.types(dtype, noise_dtype), saved_iterations(save_at, n)
    resources.refuse_too_large(
        len(saves) * 3 * 8 * 32, f"the statistics of {len(saves)} iterations", ["save fewer: save_at="]
    )
    if (n * iteration.step.n_draws) >> 40:
        raise ValueError(f"n_steps is too large: a run has 2**40 draws, {n} iterations need more")
    settings = DescentSettings(
        iteration, rates, n, n_runs, start_rows(problem, theta0, n_runs, iteration, types[0]), saves,
        Layout(problem.dim, 2, False, True), kept_runs(runs, coordinates, n_runs, problem.dim),
        secrets.randbits(64) if seed is None else checks.seed("seed", seed),
        checks.count("first_run", first_run, least=0, most=2**62), types[1],
    )  # fmt: skip
    _warn_of_threshold(iteration, rates)
    fit: NoisyDescent = run(settings, where, bool(progress), "noisy gradient descent", NoisyDescent)
    return fit


def _iteration(problem: LeastSquares, batch_size: Any, per_parameter: bool, covariance: Any) -> NoisyIteration:
    """The iteration, once it is known that a kernel can take it."""
    checks.choice("covariance", covariance, ("full", "isotropic"))
    if covariance == "full" and problem.covariance is None:
        raise ValueError(f"covariance='full' needs Gaussian inputs, not {problem!r}; 'isotropic' takes any")
    if problem.dim > MOST_ROWS:
        raise ValueError(f"noisy_gd takes up to {MOST_ROWS} parameters, got {problem.dim}")
    iteration = NoisyIteration(problem, checks.count("batch_size", batch_size), per_parameter, covariance)
    entries = np.count_nonzero(iteration.hessian) + np.count_nonzero(iteration.root)
    if entries > _MOST_ENTRIES:
        why = "step sizes per parameter" if per_parameter else "noise that does not commute with the Hessian"
        raise ValueError(
            f"{problem.dim} correlated parameters with {why} are too many for a compiled kernel, which takes matrices "
            f"of {_MOST_ENTRIES} entries together, not {entries}"
        )
    return iteration


def _warn_of_threshold(iteration: NoisyIteration, rates: np.ndarray) -> None:
    """Of a constant step size that no error survives."""
    if rates.size > 1:
        return
    if iteration.covariance == "full":
        name, threshold = "mean-square threshold", iteration.problem.mean_square_threshold(iteration.batch_size)
    else:
        largest = float(np.linalg.eigvalsh(iteration.problem.hessian)[-1])
        name, threshold = "threshold 2 / lambda_max =", 2 / largest if largest > 0 else math.inf
    if rates[0, 0] >= threshold:
        warnings.warn(
            f"step_size={rates[0, 0]:g} is beyond the {name} {threshold:.6g}: the expected error grows without bound",
            RuntimeWarning,
            stacklevel=3,
        )


@dataclass(frozen=True)
class NoisyIteration(TracedIteration):
    """Gradient descent with Gaussian noise of the ``covariance`` "full" or "isotropic"."""

    problem: LeastSquares
    batch_size: int
    per_parameter: bool
    covariance: str

    @cached_property
    def coordinates(self) -> Coordinates:
        """The eigenbasis of H, whatever the inputs' law, unless parameters have step sizes of their own."""
        H, star = self.problem.hessian, self.problem.theta_star
        if self.per_parameter or np.array_equal(H, np.diag(np.diag(H))):
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


class NoisyDescent(Descent):
    """Result of `noisy_gd`: error and iterates over all runs that are finite, at every saved iteration."""

    @property
    def noise(self) -> str:
        """Where the noise's covariance is taken: "full", at theta, or "isotropic", at theta*."""
        return self._iteration.covariance

    @cached_property
    def expected_error(self) -> np.ndarray:
        r"""The exact :math:`E|\theta_k - \theta^*|^2`, of shape (n_times,), over the starts too if there are several.

        For "full" that of SGD, `LeastSquares.expected_error`; for "isotropic" the trace of a linear recursion,
        :math:`M \leftarrow (I - G H) M (I - H G) + G \Sigma(\theta^*) G / B` with G the diagonal matrix of step sizes.
        """
        start = self.settings.start.T.astype(float)
        path = self._iteration.second_moments(start.T @ start / len(start), self.settings.rates, self.settings.n_steps)
        saved = set(self.iterations.tolist())
        return np.array([np.trace(M) for k, M in enumerate(path) if k in saved])

    @property
    def _iteration(self) -> NoisyIteration:
        iteration: Any = self.settings.iteration
        assert isinstance(iteration, NoisyIteration)
        return iteration

    def __repr__(self) -> str:
        return super().__repr__().replace("SGD on", f"Noisy gradient descent with {self.noise} covariance on", 1)
