r"""Stationary laws under *constant* gradient noise: Lyapunov equations, Gibbs laws, Bayesian posteriors.

The model is a quadratic loss :math:`L = \frac12 \delta' H \delta` whose gradient is seen with noise of a covariance
Sigma that does not depend on theta,

.. math::

    \delta_{k+1} = \delta_k - \eta\,(H \delta_k + \Sigma^{1/2} Z_k), \qquad\text{or}\qquad
    d\delta = -H\delta\,dt + \sqrt{\eta}\,\Sigma^{1/2}\,dB .

Its stationary law is Gaussian. Three questions about it have three different answers: which covariance it has
(`constant_noise_covariance`), whether the process is reversible (`has_detailed_balance`), and whether it is a Gibbs law
exp(-L / T) of the loss with a single temperature T (`is_gibbs`). Two temperatures, H = I and
Sigma = diag(s_1^2, s_2^2), are reversible and not Gibbs. The step size eta may be one per parameter everywhere.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ... import checks
from ...sde.models import laws
from ..schedule import constant_steps
from .moments import covariance_matrix


def constant_noise_covariance(
    H: ArrayLike, Sigma: ArrayLike, step_size: ArrayLike, continuous: bool = False
) -> np.ndarray:
    r"""Stationary covariance of SGD, or of its Ornstein-Uhlenbeck model, with constant gradient noise.

    The solution C of :math:`H C + C H - \eta H C H = \eta \Sigma`, or without the third term if ``continuous``; in the
    eigenbasis of H, :math:`C_{ij} = \eta \Sigma_{ij} / (h_i + h_j - \eta h_i h_j)`. H and Sigma need not commute.

    Parameters
    ----------
    H : array_like of shape (d, d)
        Hessian, symmetric positive definite.
    Sigma : array_like of shape (d, d)
        Covariance of the gradient noise, symmetric positive semidefinite.
    step_size : float or array_like of shape (d,)
        Step size eta, or one per parameter.
    continuous : bool
        The law of the stochastic differential equation instead of the recursion's.

    Returns
    -------
    numpy.ndarray
        C, of shape (d, d).

    Raises
    ------
    ValueError
        If a matrix is not as said, or the recursion is unstable: eta h >= 2 for an eigenvalue h of H, or of
        diag(eta)^{1/2} H diag(eta)^{1/2} >= 2.

    Examples
    --------
    >>> from sdefast.least_squares import constant_noise_covariance
    >>> constant_noise_covariance([[2.0, 0.0], [0.0, 1.0]], [[3.0, 0.0], [0.0, 3.0]], step_size=0.5).round(12)
    array([[0.75, 0.  ],
           [0.  , 1.  ]])
    """
    H, Sigma = covariance_matrix("H", H), covariance_matrix("Sigma", Sigma)
    _same_shape(H, Sigma)
    root = np.sqrt(constant_steps(step_size, len(H)) * np.ones(len(H)))
    # theta = diag(eta)^{1/2} psi has step size 1, Hessian and noise scaled on both sides.
    h, basis = np.linalg.eigh(root[:, None] * H * root)
    if h[0] <= len(h) * np.finfo(float).eps * h[-1]:
        raise ValueError(
            f"H must be positive definite for a stationary law, got the eigenvalue {h[0]:g} (times step_size)"
        )
    if not continuous and h[-1] >= 2:
        raise ValueError(f"step_size times the largest eigenvalue of H must be below 2, got {h[-1]:g}")
    noise = basis.T @ (root[:, None] * Sigma * root) @ basis
    C = basis @ (noise / (h[:, None] + h - (0.0 if continuous else np.outer(h, h)))) @ basis.T
    return np.asarray(root[:, None] * (0.5 * (C + C.T)) * root)


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


def forced_gibbs_variances(
    rate: float, noise_std: ArrayLike, curvature: ArrayLike = 1.0, continuous: bool = False
) -> np.ndarray:
    r"""Stationary variances with the step sizes of `forced_gibbs_rates`: rate / (h_i (2 - eta_i h_i)).

    If ``continuous``, rate / (2 h_i): exactly the Gibbs law exp(-2 L / rate). SGD has it in the limit of small rates.

    Parameters
    ----------
    rate, noise_std
        As in `forced_gibbs_rates`.
    curvature : float or array_like of shape (d,)
        Curvatures h_i, positive.
    continuous : bool
        The variances of the Ornstein-Uhlenbeck model.

    Raises
    ------
    ValueError
        As `two_temperature_variances`.

    Examples
    --------
    >>> from sdefast.least_squares import forced_gibbs_variances
    >>> forced_gibbs_variances(0.1, [1.0, 2.0], continuous=True).round(12)
    array([0.05, 0.05])
    """
    eta = forced_gibbs_rates(rate, noise_std)
    return np.asarray(two_temperature_variances(eta, noise_std, curvature, continuous))


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
    H, Sigma = covariance_matrix("H", H), covariance_matrix("Sigma", Sigma)
    _same_shape(H, Sigma)
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
    if values[0] <= len(A) * np.finfo(float).eps * values[-1]:
        raise ValueError("H must be positive definite, or ridge positive, for a normalisable Gibbs law")
    return np.linalg.solve(A, H @ minimiser), 0.5 * s2 * np.linalg.inv(A)


def posterior_law(
    X: ArrayLike, y: ArrayLike, ridge: float = 0.0, noise_std: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    r"""Mean and covariance of the Bayesian posterior of linear regression.

    The likelihood is :math:`y_i \sim N(\langle\theta, x_i\rangle, \tau^2)` for the N rows, the prior
    :math:`N(0, \tau^2 I / (2 \lambda N))`, flat for lambda = 0. With tau = 1 this is the Gibbs law exp(-2 L / s^2) of
    the mean loss :math:`L = \frac{1}{2N} \sum_i (y_i - \langle\theta, x_i\rangle)^2 + \lambda |\theta|^2` if, and only
    if, :math:`s^2 = 2 / N`; with another tau if :math:`s^2 = 2 \tau^2 / N` (`posterior_noise_variance`).

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
    if values[0] <= len(values) * np.finfo(float).eps * values[-1]:
        raise ValueError("X must have full column rank, or ridge be positive, for a proper posterior")
    return np.linalg.solve(precision, X.T @ y), tau**2 * np.linalg.inv(precision)


def posterior_noise_variance(n_data: int, noise_std: float = 1.0) -> float:
    """The s^2 with which exp(-2 L / s^2) is the posterior of ``n_data`` samples: 2 tau^2 / N, and no other.

    L is the mean over the data of half the squared error; tau is the standard deviation of the likelihood, 1 if L is
    the mean of the negative log-likelihoods themselves.

    Raises
    ------
    ValueError
        If n_data is below 1 or noise_std is not positive.

    Examples
    --------
    >>> from sdefast.least_squares import posterior_noise_variance
    >>> posterior_noise_variance(100)
    0.02
    """
    return 2 * checks.real("noise_std", noise_std, positive=True) ** 2 / checks.count("n_data", n_data)


def ridge_prior_variance(ridge: float, n_data: int) -> float:
    """Variance of the prior N(0, I / (2 lambda N)) that the ridge term lambda |theta|^2 stands for if s^2 = 2 / N.

    Raises
    ------
    ValueError
        If ridge is not positive or n_data is below 1.

    Examples
    --------
    >>> from sdefast.least_squares import ridge_prior_variance
    >>> ridge_prior_variance(0.05, 100)
    0.1
    """
    return 1 / (2 * checks.real("ridge", ridge, positive=True) * checks.count("n_data", n_data))


def is_posterior(noise_variance: float, n_data: int, noise_std: float = 1.0, *, tolerance: float = 1e-10) -> bool:
    """Whether the Gibbs law exp(-2 L / s^2) is the posterior of ``n_data`` samples: if s^2 = 2 tau^2 / N.

    Raises
    ------
    ValueError
        If an argument is not positive.

    Examples
    --------
    >>> from sdefast.least_squares import is_posterior
    >>> is_posterior(0.02, 100), is_posterior(0.1, 100)
    (True, False)
    """
    target = posterior_noise_variance(n_data, noise_std)
    return abs(checks.real("noise_variance", noise_variance, positive=True) - target) <= tolerance * target


def _same_shape(H: np.ndarray, Sigma: np.ndarray) -> None:
    if H.shape != Sigma.shape:
        raise ValueError(f"Sigma must have the shape of H, {H.shape}, got {Sigma.shape}")
