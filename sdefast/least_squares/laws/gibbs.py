r"""Stationary laws under *constant* gradient noise: detailed balance, Gibbs laws, Bayesian posteriors.

The model is a quadratic loss :math:`L = \frac12 \delta' H \delta` whose gradient is seen with noise of a covariance
Sigma that does not depend on theta,

.. math::

    \delta_{k+1} = \delta_k - \eta\,(H \delta_k + \Sigma^{1/2} Z_k), \qquad\text{or}\qquad
    d\delta = -H\delta\,dt + \sqrt{\eta}\,\Sigma^{1/2}\,dB .

Its stationary law is Gaussian. Three questions about it have three different answers: which covariance it has
(`constant_noise_covariance`, in `thresholds`), whether the process is reversible (`has_detailed_balance`), and whether
it is a Gibbs law exp(-L / T) of the loss with a single temperature T (`is_gibbs`). Two temperatures, H = I and
Sigma = diag(s_1^2, s_2^2), are reversible and not Gibbs. The step size eta may be one per parameter everywhere.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ... import checks
from ...run.schedule import constant_steps
from ...sde.models import laws
from .matrices import covariance_matrix, hessian_and_noise, rounding
from .thresholds import constant_noise_covariance as constant_noise_covariance

__all__ = [
    "forced_gibbs_rates",
    "gibbs_law",
    "has_detailed_balance",
    "is_gibbs",
    "posterior_law",
    "two_temperature_variances",
]


def __dir__() -> list[str]:
    return __all__


def two_temperature_variances(
    step_size: ArrayLike, noise_std: ArrayLike, curvature: ArrayLike = 1.0, continuous: bool = False
) -> Any:
    r"""Stationary variances of parameters with gradient noises s_i and curvatures h_i of their own.

    :math:`\operatorname{Var}_i = \eta_i s_i^2 / (h_i (2 - \eta_i h_i))` for SGD and
    :math:`\eta_i s_i^2 / (2 h_i)` if ``continuous``. With one step size the parameters have the temperatures
    eta s_i^2 / 2, so that no Gibbs law exp(-L / T) has these variances unless all s_i are equal.

    Parameters
    ----------
    step_size, noise_std, curvature : float or array_like
        eta_i, s_i and h_i, broadcast against each other; eta_i and h_i positive, s_i not negative.
    continuous : bool
        The variances of the Ornstein-Uhlenbeck model.

    Returns
    -------
    float or numpy.ndarray
        The variances, of the broadcast shape.

    Raises
    ------
    ValueError
        If a value is out of range or, for SGD, eta_i h_i >= 2.

    Examples
    --------
    >>> from sdefast.least_squares import two_temperature_variances
    >>> two_temperature_variances(0.5, [1.0, 3.0], continuous=True)
    array([0.25, 2.25])
    """
    continuous = checks.flag("continuous", continuous)
    eta = laws.bounded("step_size", step_size, positive=True)
    s = laws.bounded("noise_std", noise_std, least=0.0)
    h = laws.bounded("curvature", curvature, positive=True)
    if continuous:
        return laws.unwrap(eta * s**2 / (2 * h))
    if (eta * h >= 2).any():
        raise ValueError(f"step_size times curvature must be below 2, got {np.max(eta * h):g}")
    return laws.unwrap(eta * s**2 / (h * (2 - eta * h)))


def forced_gibbs_rates(rate: float, noise_std: ArrayLike) -> np.ndarray:
    """Step sizes eta_i = rate / s_i^2, one per parameter, with which parameters of unequal noises share a temperature.

    The stationary law of the continuous model is then the Gibbs law exp(-2 L / rate), whatever the Hessian.

    Parameters
    ----------
    rate : float
        Positive; twice the common temperature.
    noise_std : array_like of shape (d,)
        Standard deviations s_i of the gradient noise, positive.

    Raises
    ------
    ValueError
        If a value is not positive.

    Examples
    --------
    >>> from sdefast.least_squares import forced_gibbs_rates
    >>> forced_gibbs_rates(0.1, [1.0, 2.0])
    array([0.1  , 0.025])
    """
    s = laws.bounded("noise_std", checks.array("noise_std", noise_std, shape=(None,)), positive=True)
    return np.asarray(checks.real("rate", rate, positive=True) / s**2)


def has_detailed_balance(
    H: ArrayLike, Sigma: ArrayLike, step_size: ArrayLike = 1.0, *, tolerance: float = 1e-10
) -> bool:
    r"""Whether the process is reversible in its stationary law: exactly if :math:`H \Sigma = \Sigma H`.

    With step sizes per parameter, G = diag(eta), exactly if :math:`H G \Sigma = \Sigma G H`. The recursion and the
    stochastic differential equation agree about it. Without detailed balance the stationary law carries a current, and
    its covariance is no function of H and Sigma taken mode by mode.

    Parameters
    ----------
    H, Sigma, step_size
        As in `constant_noise_covariance`; H may be singular.
    tolerance : float
        Largest entry of the difference, relative to the largest of the product.

    Raises
    ------
    ValueError
        If a matrix is not symmetric positive semidefinite.

    Examples
    --------
    >>> from sdefast.least_squares import has_detailed_balance
    >>> has_detailed_balance([[2.0, 0.0], [0.0, 1.0]], [[2.0, 1.0], [1.0, 2.0]])
    False
    """
    H, Sigma = hessian_and_noise(H, Sigma)
    eta = constant_steps(step_size, len(H)) * np.ones(len(H))
    product = H @ (eta[:, None] * Sigma)
    return bool(np.abs(product - product.T).max() <= tolerance * np.abs(product).max())


def is_gibbs(Sigma: ArrayLike, step_size: ArrayLike = 1.0, *, tolerance: float = 1e-10) -> bool:
    r"""Whether the stationary law is a Gibbs law exp(-L / T) of the loss, for the continuous model.

    The covariance must be T H^{-1}, which solves the Lyapunov equation exactly if :math:`\eta \Sigma = 2 T\, I`, or
    with step sizes per parameter if :math:`\operatorname{diag}(\eta)\, \Sigma = 2 T\, I`. So the answer does not depend
    on the Hessian. Being reversible (`has_detailed_balance`) is necessary and not sufficient.

    Parameters
    ----------
    Sigma, step_size
        As in `constant_noise_covariance`.
    tolerance : float
        Largest deviation, relative to the largest entry.

    Raises
    ------
    ValueError
        If Sigma is not symmetric positive semidefinite.

    Examples
    --------
    >>> from sdefast.least_squares import forced_gibbs_rates, is_gibbs
    >>> is_gibbs([[1.0, 0.0], [0.0, 9.0]], step_size=0.1)
    False
    >>> is_gibbs([[1.0, 0.0], [0.0, 9.0]], step_size=forced_gibbs_rates(0.1, [1.0, 3.0]))
    True
    """
    Sigma = covariance_matrix("Sigma", Sigma)
    d = len(Sigma)
    scaled = (constant_steps(step_size, d) * np.ones(d))[:, None] * Sigma
    return bool(np.abs(scaled - np.trace(scaled) / d * np.eye(d)).max() <= tolerance * np.abs(scaled).max())


def gibbs_law(
    H: ArrayLike, minimiser: ArrayLike, noise_variance: float, ridge: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    r"""Mean and covariance of the Gibbs law exp(-2 L / s^2), the stationary law of Langevin dynamics.

    :math:`d\theta = -\nabla L\,dt + s\,dB` with
    :math:`L = \frac12 (\theta - \hat\theta)' H (\theta - \hat\theta) + \lambda |\theta|^2` has the stationary law
    N(:math:`A^{-1} H \hat\theta`, :math:`\frac{s^2}{2} A^{-1}`) with :math:`A = H + 2 \lambda I`. For SGD
    s^2 I = eta Sigma.

    Parameters
    ----------
    H : array_like of shape (d, d)
        Hessian of the loss without the ridge term.
    minimiser : array_like of shape (d,)
        The minimiser of the loss without the ridge term.
    noise_variance : float
        s^2, positive: twice the temperature.
    ridge : float
        lambda, not negative.

    Returns
    -------
    mean : numpy.ndarray
        Of shape (d,).
    covariance : numpy.ndarray
        Of shape (d, d).

    Raises
    ------
    ValueError
        If A is singular, or an argument is out of range.

    Examples
    --------
    >>> from sdefast.least_squares import gibbs_law
    >>> gibbs_law([[2.0]], [3.0], noise_variance=0.4, ridge=0.5)
    (array([2.]), array([[0.06666667]]))
    """
    H = covariance_matrix("H", H)
    minimiser = checks.array("minimiser", minimiser, shape=(len(H),))
    s2 = checks.real("noise_variance", noise_variance, positive=True)
    A = H + 2 * checks.real("ridge", ridge, least=0.0) * np.eye(len(H))
    values = np.linalg.eigvalsh(A)
    if values[0] <= rounding(values):
        raise ValueError("H must be positive definite, or ridge positive, for a normalisable Gibbs law")
    return np.linalg.solve(A, H @ minimiser), 0.5 * s2 * np.linalg.inv(A)


def posterior_law(
    X: ArrayLike, y: ArrayLike, ridge: float = 0.0, noise_std: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    r"""Mean and covariance of the Bayesian posterior of linear regression.

    The likelihood is :math:`y_i \sim N(\langle\theta, x_i\rangle, \tau^2)` for the N rows, the prior
    :math:`N(0, \tau^2 I / (2 \lambda N))`, flat for lambda = 0. With tau = 1 this is the Gibbs law exp(-2 L / s^2) of
    the mean loss :math:`L = \frac{1}{2N} \sum_i (y_i - \langle\theta, x_i\rangle)^2 + \lambda |\theta|^2` if, and only
    if, :math:`s^2 = 2 / N`; with another tau if :math:`s^2 = 2 \tau^2 / N`.

    Parameters
    ----------
    X : array_like of shape (N, d)
        Inputs.
    y : array_like of shape (N,)
        Responses.
    ridge : float
        lambda, not negative.
    noise_std : float
        tau, positive.

    Returns
    -------
    mean : numpy.ndarray
        Of shape (d,).
    covariance : numpy.ndarray
        Of shape (d, d).

    Raises
    ------
    ValueError
        If the posterior is improper (X without full column rank and lambda = 0), or an argument is out of range.

    Examples
    --------
    >>> from sdefast.least_squares import posterior_law
    >>> posterior_law([[1.0], [1.0]], [2.0, 4.0])
    (array([3.]), array([[0.5]]))
    """
    X = checks.array("X", X, shape=(None, None))
    y = checks.array("y", y, shape=(len(X),))
    if X.size == 0:
        raise ValueError(f"X must have at least one row and one column, got shape {X.shape}")
    ridge, tau = checks.real("ridge", ridge, least=0.0), checks.real("noise_std", noise_std, positive=True)
    precision = X.T @ X + 2 * ridge * len(X) * np.eye(X.shape[1])
    values = np.linalg.eigvalsh(precision)
    if values[0] <= rounding(values):
        raise ValueError("X must have full column rank, or ridge be positive, for a proper posterior")
    return np.linalg.solve(precision, X.T @ y), tau**2 * np.linalg.inv(precision)
