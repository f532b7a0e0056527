r"""Weak errors of the modified equations by simulation, with a variance that lets them be seen.

The error of an equation less that of SGD is of the size of gamma or gamma^2, while the squared error of one run has a
spread of its own size: direct simulation takes some 10^8 runs where the exact curves differ in the fifth digit. Runs
therefore report something of the same mean and of far less spread. With :math:`\delta = \theta - \theta^*` and the
gradient noise :math:`e_k = H\delta_k - \frac1B \sum_b x_b(\langle x_b, \delta_k\rangle - \xi_b)` SGD is

.. math:: \delta_{k+1} = (I - gH)\,\delta_k + g e_k, \qquad
    \delta_n = (I - gH)^n \delta_0 + g \sum_{k<n} (I - gH)^{n-1-k} e_k ,

and as :math:`E(e_k \mid \delta_k) = 0` the terms of the sum are uncorrelated with each other,

.. math:: E|\delta_n|^2 = |(I - gH)^n \delta_0|^2 + g^2 \sum_{k<n} E\,|(I - gH)^{n-1-k} e_k|^2 .

So a run reports :math:`|\delta_n|^2` less a sum of martingale differences: the squares of the noise that it met. That
gradients are unbiased is all that is used. In the eigenbasis of H the matrices are diagonal. Likewise the equations
:math:`d\delta = -A\delta\,dt + b(\delta)\,dW`: in the coordinates :math:`Y = e^{At}\delta` they have no drift,
:math:`dY = e^{At} b(e^{-At} Y)\,dW`, and in the steps of the Euler-Maruyama scheme

.. math:: E|\delta(T)|^2 = |e^{-AT}\delta_0|^2 + \sum_k E\,|e^{-AT} (Y_{k+1} - Y_k)|^2 .

With t in the middle of a step this is a splitting after Strang: the drift is exact, and the scheme's bias, which is
known exactly too (`Chain.bias`), is that of noise held for a step, of order gamma^2 h at steps of h, and of order
gamma h^2, against distances of order gamma and gamma^2.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ... import checks
from ...engine.gathering import ONE
from ...engine.statistics import Layout
from ...lazy import cached_property
from ...run import options
from ...run.schedule import iteration_grid
from ...run.where import Where
from ...sde.functionals import Functional, Move
from ...sde.schemes.equation import Vector
from ...sde.sde import SDE, sde_of
from ...sde.simulate import simulate
from ...trace import Expr, as_expr, constant
from ...trace.vectors import numbered
from ..asked import start_rows
from ..laws import modified
from ..laws.matrices import eigenbasis, is_diagonal
from ..problem import LeastSquares
from ..sgd import sgd
from ..steps.base import MOST_INPUTS, MOST_ROWS, Settings
from ..steps.noise_met import NoiseIteration
from . import figures

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: A distance with more than this share of it as standard error says nothing of an order.
_UNCLEAR = 1 / 3


@dataclass(frozen=True, eq=False)
class WeakErrors:
    """How far the equations' errors are from that of SGD at one time, for several step sizes.

    Attributes
    ----------
    time : float
        When.
    step_sizes : numpy.ndarray
        Of shape (n_sizes,).
    distances : dict of str to numpy.ndarray
        By the equation's name, E|theta - theta*|^2 of the equation less that of SGD, of shape (n_sizes,).
    orders : dict of str to float
        The slopes of the distances' logarithms, by least squares over all step sizes.
    standard_errors : dict of str to numpy.ndarray
        Of the distances, of shape (n_sizes,); zero where these are exact. Distances of different step sizes come of
        independent runs; those of one step size share their runs of SGD.
    order_standard_errors : dict of str to float
        Of the orders.
    biases : dict of str to numpy.ndarray
        What the schemes of the simulated equations put into the distances, exactly known, of shape (n_sizes,).
    """

    time: float
    step_sizes: np.ndarray
    distances: dict[str, np.ndarray]
    standard_errors: dict[str, np.ndarray] = field(repr=False)
    biases: dict[str, np.ndarray] = field(repr=False)

    @cached_property
    def orders(self) -> dict[str, float]:
        with np.errstate(divide="ignore"):
            return {name: float(self._weights @ np.log(np.abs(d))) for name, d in self.distances.items()}

    @cached_property
    def order_standard_errors(self) -> dict[str, float]:
        errors = {}
        for name, d in self.distances.items():
            with np.errstate(divide="ignore", invalid="ignore"):
                relative = np.where(self.standard_errors[name] > 0, self.standard_errors[name] / np.abs(d), 0.0)
            errors[name] = float(np.linalg.norm(self._weights * relative))
        return errors

    @property
    def _weights(self) -> np.ndarray:
        """Weights of the logarithms in the slope of the straight line through them."""
        x = np.log(self.step_sizes)
        x = x - x.mean()
        return np.asarray(x / (x @ x))

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the distances over the step sizes, with bars of two standard errors, and lines of the fitted orders.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        orders = {name: (order, self.order_standard_errors[name]) for name, order in self.orders.items()}
        return figures.weak_errors(ax, self.time, self.step_sizes, self.distances, self.standard_errors, orders)


class Simulated(NamedTuple):
    """How weak errors are to be simulated."""

    n_runs: np.ndarray
    seed: int
    variance_reduction: bool
    substeps: int
    sgd_options: Mapping[str, Any]
    dtype: str
    device: str
    threads: int | None
    executor: Executor | None

    @property
    def options(self) -> dict[str, Any]:
        """What `sgd` and `simulate` take alike."""
        return {"dtype": self.dtype, "device": self.device, "threads": self.threads, "executor": self.executor}


class Estimate(NamedTuple):
    """A mean over runs with its standard error."""

    value: float
    standard_error: float


def checked(
    n_sizes: int, n_runs: Any, *, seed: Any = None, variance_reduction: Any = True, substeps: Any = 2,
    sgd_options: Any = None, dtype: Any = None, device: str = "cpu", threads: Any = None, executor: Any = None,
) -> Simulated:  # fmt: skip
    """How to simulate, from the arguments of `Comparison.weak_errors`."""
    counts = [n_runs] * n_sizes if np.ndim(n_runs) == 0 else list(n_runs)
    if len(counts) != n_sizes:
        raise ValueError(f"n_runs must be a number or one for each of the {n_sizes} step sizes, got {len(counts)}")
    reduction = checks.flag("variance_reduction", variance_reduction)
    if sgd_options is not None and not isinstance(sgd_options, Mapping):
        raise TypeError(f"sgd_options must be a mapping of names to values, got {checks.shown(sgd_options)}")
    if sgd_options and reduction:
        raise ValueError("sgd_options are for variance_reduction=False, whose runs of SGD are those of sgd")
    return Simulated(
        np.array([checks.count("n_runs", n, least=2, most=2**52) for n in counts]),
        options.seed(seed),
        reduction, checks.count("substeps", substeps, most=2**20), dict(sgd_options or {}),
        checks.types(dtype, None)[0].name, device, threads, executor,
    )  # fmt: skip


def simulated(
    problem: LeastSquares, theta0: np.ndarray, batch_size: int, time: float, sizes: np.ndarray, how: Simulated
) -> WeakErrors:
    """Weak errors at a time that is a multiple of every step size."""
    problem, theta0 = in_eigenbasis(problem, theta0)
    if how.variance_reduction:
        _refuse_too_large(problem, batch_size)
    seeds = np.random.SeedSequence(how.seed).generate_state(2 * len(sizes), np.uint64).tolist()
    distances, errors, biases = ({name: np.empty(len(sizes)) for name in modified.EQUATIONS} for _ in range(3))
    for i, size in enumerate(sizes.tolist()):
        chain = Chain(problem, theta0, batch_size, size, round(time / size), int(how.n_runs[i]))
        ours = chain.sgd(how, seeds[2 * i])
        for name, (order, covariance) in modified.EQUATIONS.items():
            if covariance == "full":
                theirs, bias = chain.equation(order, how, seeds[2 * i + 1]), chain.bias(order, how.substeps)
            else:
                theirs, bias = chain.ornstein_uhlenbeck(how, seeds[2 * i + 1]), 0.0
            distances[name][i] = theirs.value - ours.value
            errors[name][i] = math.hypot(theirs.standard_error, ours.standard_error)
            biases[name][i] = bias
    result = WeakErrors(time, sizes, distances, errors, biases)
    _warn_of_unclear(result)
    return result


def _refuse_too_large(problem: LeastSquares, batch_size: int) -> None:
    """Errors of problems whose runs no kernel takes together with their noise."""
    hint, d = "variance_reduction=False takes them", problem.dim
    rows = d + len(np.unique(np.diag(problem.hessian)))
    if rows > MOST_ROWS:
        raise ValueError(
            f"parameters and different eigenvalues of the covariance must be {MOST_ROWS} together at most, got {rows}; "
            f"{hint}"
        )
    if batch_size * d > MOST_INPUTS:
        raise ValueError(
            f"batches of {batch_size} with {d} parameters are too large for a compiled kernel, which takes "
            f"{MOST_INPUTS} numbers an iteration; {hint}"
        )


def _warn_of_unclear(result: WeakErrors) -> None:
    for name, distances in result.distances.items():
        share = result.standard_errors[name] / np.maximum(np.abs(distances), 1e-300)
        if (share > _UNCLEAR).any():
            i = int(share.argmax())
            warnings.warn(
                f"the fitted order of {name!r} says little: at step size {result.step_sizes[i]:g} the distance is "
                f"{distances[i]:.2g} with a standard error of {result.standard_errors[name][i]:.2g}; n_runs= more",
                RuntimeWarning,
                stacklevel=4,
            )


def in_eigenbasis(problem: LeastSquares, theta: np.ndarray) -> tuple[LeastSquares, np.ndarray]:
    """The same problem and point in coordinates in which H is diagonal; errors are the same there."""
    H = problem.hessian
    if is_diagonal(H):
        return problem, theta
    values, vectors = eigenbasis(H)
    rotated = LeastSquares(problem.theta_star @ vectors, problem.noise_std, np.diag(values))
    return rotated, theta @ vectors


class Chain(NamedTuple):
    """SGD and its equations at one step size, on a problem with a diagonal H."""

    problem: LeastSquares
    theta0: np.ndarray
    batch_size: int
    step_size: float
    n_steps: int
    n_runs: int

    @property
    def _time(self) -> float:
        return self.step_size * self.n_steps

    def bias(self, order: int, substeps: int) -> float:
        """E|theta - theta*|^2 of an equation's scheme less that of the equation; both are linear in second moments."""
        h, rate, length = np.diag(self.problem.hessian), self.step_size / self.batch_size, self.step_size / substeps
        a = np.diag(modified.drift_matrix(self.problem.hessian, self.step_size, order))
        v = (self.theta0 - self.problem.theta_star) ** 2
        for _ in range(self.n_steps * substeps):
            half = np.exp(-a * length) * v
            noise = (h @ half + self.problem.noise_std**2) * h + h**2 * half
            v = np.exp(-a * length) * (half + length * rate * noise)
        exact = self.problem.modified_expected_error(
            self._time, self.step_size, order=order, batch_size=self.batch_size, theta0=self.theta0
        )
        return float(v.sum() - exact)

    def sgd(self, how: Simulated, seed: int) -> Estimate:
        """E|theta_n - theta*|^2 of SGD."""
        if how.variance_reduction:
            return self._sgd_by_its_noise(how, seed)
        fit = sgd(
            self.problem, step_size=self.step_size, n_steps=self.n_steps, n_runs=self.n_runs, theta0=self.theta0,
            batch_size=self.batch_size, save_at="final", seed=seed, **how.options, **how.sgd_options,
        )  # fmt: skip
        return Estimate(float(fit.error[-1]), float(fit.error_standard_error[-1]))

    def _sgd_by_its_noise(self, how: Simulated, seed: int) -> Estimate:
        iteration = NoiseIteration(self.problem, self.batch_size)
        dtype, grid = np.dtype(how.dtype), iteration_grid(self.n_steps)
        settings = Settings(
            iteration=iteration, rates=np.array([[self.step_size]]), theta0=self.theta0, seed=seed, dtype=dtype,
            noise_dtype=dtype, first_chain=0, n_chains=self.n_runs, grid=grid, saves=np.array([self.n_steps]),
            layout=Layout(self.problem.dim, 2, False, False), keeps_states=False,
        )  # fmt: skip
        where = Where.of(how.device, how.threads, how.executor)
        nodes = where.run(settings.tile(start_rows(settings), device=where.gpu), None).nodes
        count, mean, squares = ONE.total(nodes[1])[-1]
        decay = (1 - self.step_size * np.diag(self.problem.hessian)) ** self.n_steps
        known = float((((self.theta0 - self.problem.theta_star) * decay) ** 2).sum())
        return Estimate(known + float(mean), math.sqrt(squares / (count - 1) / count))

    def equation(self, order: int, how: Simulated, seed: int) -> Estimate:
        """E|theta - theta*|^2 of a modified equation with the full covariance, by antithetic pairs where they fit."""
        sde, delta0 = self._driftless(order, how.substeps), self.theta0 - self.problem.theta_star
        d = self.problem.dim

        def squared(t: Any, y: Any, p: Any) -> Any:
            return sum((getattr(p, f"end{i}") * y[i]) ** 2 for i in range(d))

        def noise(t: Any, y: Any, p: Any, carried: Any) -> Any:
            return carried.noise

        reduced = how.variance_reduction
        in_pairs = 2 * (d + reduced) <= MOST_ROWS
        result = simulate(
            sde, x0=delta0, t1=self._time, n_steps=self.n_steps * how.substeps, seed=seed, paths=False, moments=2,
            n_paths=self.n_runs + (self.n_runs % 2 if in_pairs else 0), antithetic=in_pairs,
            functionals={"noise": _NoiseMet(d)} if reduced else None,
            expectations={"error": noise if reduced else squared}, **how.options,
        )  # fmt: skip
        error = result.expectations["error"]
        ends = np.array([sde.parameters()[f"end{i}"] for i in range(d)])
        known = float(((ends * delta0) ** 2).sum()) if reduced else 0.0
        return Estimate(known + float(error.value[-1]), float(error.standard_error[-1]))

    def _driftless(self, order: int, substeps: int) -> SDE:
        """The equation of Y = e^{At} (theta - theta*); parameters besides its own are A, e^{-AT} and half a step."""
        equation = sde_of(self.problem.modified_equation(self.step_size, order=order, batch_size=self.batch_size))
        a = np.diag(modified.drift_matrix(self.problem.hessian, self.step_size, order))
        star, d, diffusion = self.problem.theta_star.tolist(), self.problem.dim, equation.diffusion

        def no_drift(t: Any, y: Any, p: Any) -> Any:
            return [0.0] * d

        def moving(t: Any, y: Any, p: Any) -> Any:
            growth = [math.exp(getattr(p, f"a{i}") * (t + p.half)) for i in range(d)]
            x = [best + v / g for best, v, g in zip(star, y, growth, strict=True)]
            return [[g * b for b in row] for g, row in zip(growth, diffusion(t, x, p), strict=True)]

        params = dict(equation.params or {}) | numbered("a", a) | numbered("end", np.exp(-a * self._time))
        params["half"] = 0.5 * self.step_size / substeps
        return SDE(no_drift, moving, d, "general", equation.noise_dim, params)

    def ornstein_uhlenbeck(self, how: Simulated, seed: int) -> Estimate:
        """E|theta - theta*|^2 of the simplified equation, in one exact step."""
        star = self.problem.theta_star.tolist()
        result = simulate(
            self.problem.modified_equation(self.step_size, covariance="isotropic", batch_size=self.batch_size),
            x0=self.theta0, t1=self._time, n_steps=1, method="exact", n_paths=self.n_runs, seed=seed, paths=False,
            expectations={"error": lambda t, x: sum((v - best) ** 2 for v, best in zip(x, star, strict=True))},
            **how.options,
        )  # fmt: skip
        error = result.expectations["error"]
        return Estimate(float(error.value[-1]), float(error.standard_error[-1]))


@dataclass(frozen=True)
class _NoiseMet(Functional):
    """The sum over the steps so far of |e^{-AT} (Y_{k+1} - Y_k)|^2, for the parameters ``end0``, ... of e^{-AT}."""

    dim: int

    def begin(self, t: Expr, x: Vector, parameters: Any) -> Expr:
        return constant(0.0)

    def follow(self, value: Expr, move: Move, u: Vector) -> Expr:
        for i in range(self.dim):
            moved = getattr(move.parameters, f"end{i}") * (move.new[i] - move.x[i])
            value = as_expr(value + moved * moved)
        return value
