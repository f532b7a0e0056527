r"""Log-likelihoods of data under a diffusion model, by the probability flow ODE.

The flow :math:`\dot x = F(x, t) = f x - \tfrac12 g^2 s(x, t)` with the score s has the marginals of the process, and

.. math:: \log p_{t_0}(x) = \log p_{t_1}(x_{t_1}) + \int_{t_0}^{t_1} \operatorname{div} F(x_t, t)\,dt.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import checks, noise
from . import batches
from .conversions import linear_form
from .divergence import Divergence, along_probes, exact
from .predictions import PREDICTIONS
from .processes import Process

__all__ = ["log_likelihood"]

METHODS = ("DOP853", "RK45", "RK23", "Radau", "BDF", "LSODA")


def log_likelihood(
    model: Callable[[Any, Any], Any],
    process: Process,
    x: Any,
    *,
    prediction: str = "score",
    prior: Any = None,
    trace: str = "exact",
    divergence: Callable[[Any, Any], Any] | None = None,
    t0: float = 1e-5,
    t1: float | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    method: str = "DOP853",
    n_probes: int = 1,
    seed: int = 0,
    first_sample: int = 0,
) -> Any:
    """Log density of samples in nats, of the model's law at ``t0``.

    Parameters
    ----------
    model : callable
        ``model(x, t)``: a batch (n, ...) of the type of ``x`` and a vector of n times in [0, 1]; returns what it
        predicts, of the batch's shape, every sample for itself. (For a network that was trained on timesteps:
        ``lambda x, t: net(x, t * 999)``.)
    process : VE, VP or Flow
        What the model was trained on.
    x : array or tensor of shape (n, ...)
        Samples; of shape (n,) for data of one dimension.
    prediction : {"score", "eps", "x0", "v", "flow"}
        What the model predicts.
    prior : callable or pair, optional
        Law of x at ``t1``: ``prior(x)`` returns n log densities; a pair of mean and covariance (one variance, a vector
        of variances, or a matrix) is a Gaussian, as `Process.prior` gives it. By default normal, of mean 0 and the
        process' `prior_scale`.
    trace : {"exact", "hutchinson"}
        How the divergence is found where ``divergence`` is not given. Exact takes all D directions: D backward passes
        for tensors; for arrays of numpy 4 D calls of the model, for differences of fourth order whose step follows
        sigma(t), the scale below which the score of noised data is smooth. Hutchinson takes ``n_probes`` random
        directions, fixed for the whole flow: unbiased for the log-likelihood up to the flow's tolerances.
    divergence : callable, optional
        ``divergence(x, t)``: the divergence of what the model returns, n numbers. Exact and cheapest where known.
    t0, t1 : float
        The flow runs from t0 to t1 (by default the process' ``t1``).
    rtol, atol : float, optional
        Tolerances of the adaptive solver for every sample: 1e-9, or 1e-5 if ``x`` is of less than 64 bits. A batch is
        solved together; its tolerances are divided by sqrt(n), so that none of its samples has looser ones.
    method : str
        Of `scipy.integrate.solve_ivp`.
    n_probes, seed, first_sample : int
        Sample i takes the signs of chain first_sample + i: its probes do not depend on the batch.

    Returns
    -------
    ndarray or tensor of shape (n,)
        float64, of the kind of ``x``. Divide by ``-D * log(2)`` for bits per dimension.

    Raises
    ------
    ImportError
        If scipy is missing.
    ValueError, TypeError
        If an argument is out of range, a shape does not fit, or the model returns NaN.

    Notes
    -----
    Against the density of the data itself, N(0.7, 0.25) at x = 1.9, t0 = 1e-5 costs 8e-6 bits under the default VP and
    1.2e-4 bits under Flow, whose noise grows fastest at first; 1e-3 costs a hundred times as much. The standard normal
    is not the law of x at t1 unless the data are centred: what is left of the mean, exp(-5) m under the default VP,
    costs 1.6e-2 bits at that x.

    Examples
    --------
    >>> import numpy as np
    >>> from sdefast.diffusion import VP
    >>> vp = VP()
    >>> def score(x, t):
    ...     return -(x - 0.7 * vp.alpha(t)) / (0.25 * vp.alpha(t) ** 2 + vp.sigma(t) ** 2)
    >>> log_likelihood(score, vp, np.array([1.9]), prior=vp.prior(0.7, 0.25)).round(3)
    array([-3.106])
    """
    checks.choice("prediction", prediction, PREDICTIONS)
    rows = batches.flat(x)
    if not isinstance(process, Process):
        raise TypeError(f"process must be VE(), VP() or Flow(), got {process!r}")
    start, end = checks.real("t0", t0, positive=True), process.checked_end(t1)
    if start >= end:
        raise ValueError(f"t0 must be smaller than t1, got {start} and {end}")
    log_prior = _prior(prior, process, end, x, rows.shape[1])
    div = _divergence(divergence, trace, rows.shape, n_probes, seed, first_sample)
    flow = _Flow(model, process, x, prediction, div)
    tolerances = _tolerances(x, rtol, atol, len(rows))
    ends, change = _solved(flow, rows, start, end, tolerances, checks.choice("method", method, METHODS))
    return batches.numbers_like(x, log_prior(ends) + change)


class _Flow:
    """The right-hand side: of x, and of the integral of div F."""

    def __init__(self, model: Callable[..., Any], process: Process, x: Any, prediction: str, divergence: Divergence):
        if not callable(model):
            raise TypeError(f"model must be a function of (x, t), got {model!r}")
        self.model, self.process, self.x = model, process, x
        self.prediction, self.divergence = prediction, divergence

    def __call__(self, t: float, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        p = self.process
        a, b = linear_form(p.alpha(t), p.sigma(t), given=self.prediction, wanted="score")
        half = 0.5 * p.diffusion(t) ** 2
        own, of_model = p.rate(t) - half * a, -half * b  # F = own x + of_model model(x, t)
        times = batches.times(self.x, t)

        def call(points: Any) -> Any:
            return batches.checked(self.model(points, times), self.x, f"t = {t:g}")

        out, div = self.divergence(call, batches.like(self.x, rows), times, float(p.sigma(t)))
        return own * rows + of_model * out, own * rows.shape[1] + of_model * div


def _solved(
    flow: _Flow, rows: np.ndarray, t0: float, t1: float, tolerances: tuple[float, float], method: str
) -> tuple[np.ndarray, np.ndarray]:
    """Where the flow ends, and the integral of its divergence."""
    try:
        from scipy.integrate import solve_ivp
    except ImportError as error:
        raise ImportError("log_likelihood needs scipy: pip install 'sdefast[stats]'") from error
    n, size = rows.shape

    def right_hand_side(t: float, state: np.ndarray) -> np.ndarray:
        return np.concatenate([part.ravel() for part in flow(float(t), state[: n * size].reshape(n, size))])

    start = np.concatenate([rows.ravel(), np.zeros(n)])
    solution = solve_ivp(right_hand_side, (t0, t1), start, method, t_eval=[t1], rtol=tolerances[0], atol=tolerances[1])
    if not solution.success:
        raise RuntimeError(f"the probability flow was not solved: {solution.message}")
    end = solution.y[:, -1]
    return end[: n * size].reshape(n, size), end[n * size :]


def _tolerances(x: Any, rtol: float | None, atol: float | None, n: int) -> tuple[float, float]:
    """For the batch; the solver's norm is the mean square over all of it."""
    usual = 1e-9 if batches.like(x, np.zeros(np.shape(x))).itemsize == 8 else 1e-5
    relative, absolute = (
        usual if value is None else checks.real(name, value, positive=True)
        for name, value in (("rtol", rtol), ("atol", atol))
    )
    return max(relative / np.sqrt(n), 100 * float(np.finfo(np.float64).eps)), absolute / np.sqrt(n)


def _divergence(
    given: Callable[[Any, Any], Any] | None, trace: str, shape: tuple[int, int], n_probes: int, seed: int, first: int
) -> Divergence:
    """How the divergence of the model's output is found."""
    checks.choice("trace", trace, ("exact", "hutchinson"))
    n_probes, first = checks.count("n_probes", n_probes), checks.count("first_sample", first, least=0)
    n, size = shape
    if given is not None:
        return _analytic(given, n)
    if trace == "exact":
        return exact
    signs = noise.signs(checks.seed("seed", seed), n_probes * size, n, first_chain=first)
    return along_probes(np.ascontiguousarray(signs.reshape(n_probes, size, n).transpose(0, 2, 1)))


def _analytic(given: Callable[[Any, Any], Any], n: int) -> Divergence:
    if not callable(given):
        raise TypeError(f"divergence must be a function of (x, t), got {given!r}")

    def divergence(call: Callable[[Any], Any], x: Any, t: Any, scale: float) -> tuple[np.ndarray, np.ndarray]:
        with batches.without_gradients(x):
            out, found = batches.flat(call(x)), given(x, t)
        return out, batches.numbers("divergence", found, n)

    return divergence


def _prior(prior: Any, process: Process, t1: float, x: Any, size: int) -> Callable[[np.ndarray], np.ndarray]:
    """Log densities of rows."""
    if callable(prior):

        def user(rows: np.ndarray) -> np.ndarray:
            with batches.without_gradients(x):
                return batches.numbers("prior", prior(batches.like(x, rows)), len(rows))

        return user
    if prior is not None and (not isinstance(prior, (tuple, list)) or len(prior) != 2):
        raise TypeError(f"prior must be a function of x, or a pair of mean and covariance, got {prior!r}")
    mean, covariance = process.prior(t1=t1) if prior is None else prior
    return _gaussian(checks.array("the prior's mean", mean), checks.array("the prior's covariance", covariance), size)


def _gaussian(mean: np.ndarray, covariance: np.ndarray, size: int) -> Callable[[np.ndarray], np.ndarray]:
    if mean.size not in (1, size):
        raise ValueError(f"the prior's mean must be one number or {size}, got shape {mean.shape}")
    root, diagonal = _root(covariance, size)
    constant = -float(np.log(diagonal).sum()) - 0.5 * size * np.log(2 * np.pi)

    def density(rows: np.ndarray) -> np.ndarray:
        away = rows - mean.ravel()
        z = away / diagonal if root is None else np.linalg.solve(root, away.T).T
        found: np.ndarray = constant - 0.5 * (z**2).sum(axis=1)
        return found

    return density


def _root(covariance: np.ndarray, size: int) -> tuple[np.ndarray | None, np.ndarray]:
    """The lower root of a covariance, None if it is diagonal, and the root's diagonal."""
    if covariance.shape == (size, size) and size > 1:
        try:
            root = np.linalg.cholesky(covariance)
        except np.linalg.LinAlgError:
            raise ValueError(f"the prior's covariance must be positive definite, got {covariance!r}") from None
        return root, np.diag(root)
    if covariance.size not in (1, size):
        allowed = f"one number, {size} variances or a matrix ({size}, {size})"
        raise ValueError(f"the prior's covariance must be {allowed}, got shape {covariance.shape}")
    if (covariance <= 0).any():
        raise ValueError(f"the prior's covariance must be positive definite, got {covariance!r}")
    return None, np.sqrt(np.broadcast_to(covariance.ravel(), (size,)))
