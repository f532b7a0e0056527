r"""Thresholds of the step size and stationary covariances, exact, for the noise of SGD and for a constant one.

With one step size g the stationary covariance C solves

.. math::

    H C + C H - g\, T(C) = (g / B)\, N, \qquad T(C) = K(C) / B + (1 - 1/B)\, H C H,

in which :math:`K(C) = E\,xx' C xx'` and :math:`N = E\,\xi^2 xx'`. For the modified equation
:math:`d\delta = -H\delta\,dt + \sqrt{g}\,\Sigma(\theta)^{1/2} dB / \sqrt{B}` the same holds with
:math:`T(C) = (K(C) - H C H) / B`.

The map A(C) = H C + C H is positive definite and T is self-adjoint in the inner product tr(C D), and one step,
1 - g A + g^2 T, keeps covariances covariances, so that its spectral radius is its largest eigenvalue. Hence the second
moment is stable exactly if A - g T is positive definite: g below 1 / (largest eigenvalue of A^{-1/2} T A^{-1/2}). A is
diagonal in the eigenbasis of H. So neither the threshold nor the covariance needs a matrix of d^2 rows: the first is
found by Lanczos' method, the second by conjugate gradients, on d x d matrices; and where the recursion closes on the
eigenspaces of H (`Spectrum`), by dense linear algebra with r x r matrices.

For Gaussian inputs with H = I and B = 1 two more thresholds have formulas. Without noise one step multiplies
:math:`|\delta|^2` by :math:`1 + (g^2 q^2 - 2 g q)\,\beta`, in which :math:`q = |x|^2 \sim \chi^2_d` and
:math:`\beta = \langle x, \delta\rangle^2 / (|x|^2|\delta|^2)` is an independent Beta(1/2, (d-1)/2) variable. The mean
of the factor's logarithm decides about almost every run, its mean about :math:`E|\delta|^2`, the mean of its square
about :math:`E|\delta|^4`. Noise in y changes none of them.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from ... import checks
from ...run.schedule import constant_steps
from .krylov import Map, largest_eigenvalue
from .matrices import hessian_and_noise, rounding
from .moments import Moments
from .spectrum import Spectrum


def surely_stable(moments: Moments, step_size: float, batch_size: float) -> bool:
    """Whether a bound that is quickly found shows that a step size is below the mean-square threshold.

    E|delta|^2 changes by -g delta' (2 H - g (E[|x|^2 xx'] / B + (1 - 1/B) H^2)) delta, but for the noise.
    """
    length = moments.length_bound / batch_size + (1 - 1 / batch_size) * moments.largest_eigenvalue_bound
    return step_size * length < 2


def mean_square_threshold(moments: Moments, batch_size: float, continuous: bool = False) -> float:
    """The step size below which E|delta_k|^2 stays bounded; infinite if it always does."""
    spectrum = moments.spectrum()
    if spectrum is None:
        h, basis = moments.modes()
        if not len(h):
            return math.inf
        normalised = _normalised(moments, h, basis, batch_size, continuous)
        growth = largest_eigenvalue(normalised, np.diag(np.sqrt(h)))
    else:
        keep = spectrum.values > 0
        h, root = spectrum.values[keep], np.sqrt(spectrum.sizes[keep])
        if not len(h):
            return math.inf
        symmetric = _mode_map(spectrum, batch_size, continuous)[np.ix_(keep, keep)] * root / root[:, None]
        growth = float(np.linalg.eigvalsh(symmetric / (2 * np.sqrt(np.outer(h, h))))[-1])
    return 1 / growth if growth > 0 else math.inf


def stationary_covariance(
    moments: Moments, steps: np.ndarray, batch_size: int, continuous: bool = False
) -> np.ndarray | None:
    """The stationary covariance, of shape (d, d), or None where there is none.

    ``steps`` has shape (1,), or (d,) for one step size per parameter: diag(g)^{-1/2} theta is then SGD with the step
    size 1 on the inputs diag(g)^{1/2} x. Directions in which the inputs never vary keep their start and count as zero.
    """
    if len(steps) > 1:
        root = np.sqrt(steps)
        scaled = stationary_covariance(moments.scaled(root), np.ones(1), batch_size, continuous)
        return None if scaled is None else root[:, None] * scaled * root
    g = float(steps[0])
    if g >= mean_square_threshold(moments, batch_size, continuous):
        return None
    spectrum = moments.spectrum()
    if spectrum is not None:
        keep = spectrum.values > 0
        equation = 2 * np.diag(spectrum.values) - g * _mode_map(spectrum, batch_size, continuous)
        w = np.zeros(len(keep))
        w[keep] = np.linalg.solve(equation[np.ix_(keep, keep)], g / batch_size * spectrum.noise[keep])
        return spectrum.matrix(w)
    h, basis = moments.modes()
    root_a = np.sqrt(h[:, None] + h)
    normalised = _normalised(moments, h, basis, batch_size, continuous)
    right = g / batch_size * (basis.T @ moments.noise @ basis) / root_a
    C = basis @ (conjugate_gradients(lambda Z: Z - g * normalised(Z), right) / root_a) @ basis.T
    return np.asarray(0.5 * (C + C.T))


def _own_part(batch_size: float, continuous: bool) -> float:
    """The coefficient of H C H in T."""
    return -1 / batch_size if continuous else 1 - 1 / batch_size


def _mode_map(spectrum: Spectrum, batch_size: float, continuous: bool) -> np.ndarray:
    """T on the modes."""
    return spectrum.fourth / batch_size + _own_part(batch_size, continuous) * np.diag(spectrum.values**2)


def _normalised(moments: Moments, h: np.ndarray, basis: np.ndarray, batch_size: float, continuous: bool) -> Map:
    """A^{-1/2} T A^{-1/2} on symmetric (r, r) matrices in the eigenbasis of H."""
    root_a = np.sqrt(h[:, None] + h)
    own = _own_part(batch_size, continuous) * np.outer(h, h)

    def apply(Z: np.ndarray) -> np.ndarray:
        Z = Z / root_a
        K = basis.T @ moments.fourth(basis @ Z @ basis.T) @ basis
        return np.asarray((0.5 * (K + K.T) / batch_size + own * Z) / root_a)

    return apply


def conjugate_gradients(apply: Map, right: np.ndarray, most: int = 2000) -> np.ndarray:
    """The solution Z of apply(Z) = right for a positive definite map of arrays."""
    Z = np.zeros_like(right)
    residual = direction = right
    squared = float(np.vdot(residual, residual))
    goal = 1e-30 * squared
    for _ in range(most):
        if squared <= goal:
            break
        moved = apply(direction)
        length = squared / float(np.vdot(direction, moved))
        Z = Z + length * direction
        residual = residual - length * moved
        before, squared = squared, float(np.vdot(residual, residual))
        direction = residual + squared / before * direction
    return Z


# A constant noise ---------------------------------------------------------------------------------------------------


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
    continuous = checks.flag("continuous", continuous)
    H, Sigma = hessian_and_noise(H, Sigma)
    root = np.sqrt(constant_steps(step_size, len(H)) * np.ones(len(H)))
    # theta = diag(eta)^{1/2} psi has step size 1, Hessian and noise scaled on both sides.
    h, basis = np.linalg.eigh(root[:, None] * H * root)
    if h[0] <= rounding(h):
        raise ValueError(
            f"H must be positive definite for a stationary law, got the eigenvalue {h[0]:g} (times step_size)"
        )
    if not continuous and h[-1] >= 2:
        raise ValueError(f"step_size times the largest eigenvalue of H must be below 2, got {h[-1]:g}")
    noise = basis.T @ (root[:, None] * Sigma * root) @ basis
    C = basis @ (noise / (h[:, None] + h - (0.0 if continuous else np.outer(h, h)))) @ basis.T
    return np.asarray(root[:, None] * (0.5 * (C + C.T)) * root)


# Gaussian inputs with H = I, one sample an iteration ---------------------------------------------------------------


def fourth_moment_threshold(dim: int) -> float:
    """The step size below which E|delta_k|^4 stays bounded, for H = I and batch size 1.

    The least positive root of 3 (d+4)(d+6) g^3 - 12 (d+4) g^2 + (2d+16) g - 4, which is (E factor^2 - 1) / g.
    """
    d = dim
    roots = np.roots([3 * (d + 4) * (d + 6), -12 * (d + 4), 2 * d + 16, -4])
    g = min(root.real for root in roots if abs(root.imag) <= 1e-9 * abs(root) and root.real > 0)
    for _ in range(2):  # Newton's method, for the last digits
        value = ((3 * (d + 4) * (d + 6) * g - 12 * (d + 4)) * g + 2 * d + 16) * g - 4
        g -= value / ((9 * (d + 4) * (d + 6) * g - 24 * (d + 4)) * g + 2 * d + 16)
    return float(g)


@lru_cache(maxsize=256)
def almost_sure_threshold(dim: int) -> float:
    """The step size at which the Lyapunov exponent is zero, for H = I and batch size 1."""
    low, high = 2 / (dim + 2), 3 / (dim + 2)  # by Jensen's inequality it lies above the mean-square threshold
    while lyapunov_exponent(high, dim) < 0:
        low, high = high, 1.5 * high
    f_low, f_high = lyapunov_exponent(low, dim), lyapunov_exponent(high, dim)
    for _ in range(100):  # the Illinois variant of regula falsi
        g = high - f_high * (high - low) / (f_high - f_low)
        f = lyapunov_exponent(g, dim)
        if abs(g - high) <= 1e-13 * g or f == 0:
            return g
        if f * f_high < 0:
            low, f_low = high, f_high
        else:
            f_low *= 0.5
        high, f_high = g, f
    return high


def lyapunov_exponent(g: float, dim: int) -> float:
    r"""The limit of log|delta_k| / k for almost every run without noise, for H = I and batch size 1.

    Half the mean of :math:`\log(\cos^2\varphi + (1 - g r^2)^2 \sin^2\varphi)` over :math:`r = |x|`, with the chi
    density, and the angle :math:`\varphi` between x and the hyperplane orthogonal to delta, with density proportional
    to :math:`\cos^{d-2}\varphi` on (0, pi/2), both by quadrature. The logarithm is singular where g r^2 = 1 and
    :math:`\varphi = \pi/2`, so both rules crowd their nodes there.
    """
    centre = 1 / math.sqrt(g)
    mode, width = math.sqrt(max(dim - 1, 0)), 9.0  # the chi law has standard deviation below 1 and Gaussian tails
    least, most = max(0.0, mode - width), mode + width
    cut = min(max(centre, least), most)
    inside, inside_weights = _double_exponential(cut - least)
    beyond, beyond_weights = _double_exponential(most - cut)
    r = np.concatenate([cut - inside, cut + beyond])
    away = np.abs(np.concatenate([centre - cut + inside, cut - centre + beyond]))  # |r - centre|, without cancellation
    weights = np.concatenate([inside_weights, beyond_weights])
    weights = weights * np.exp((dim - 1) * np.log(np.maximum(r, 1e-300) / max(mode, 1.0)) - 0.5 * (r**2 - mode**2))
    shrink = g * away * (r + centre)  # |1 - g r^2|
    return 0.5 * float(weights @ _mean_log(shrink, dim) / weights.sum())


def _mean_log(shrink: np.ndarray, dim: int) -> np.ndarray:
    """E log(cos^2 + shrink^2 sin^2) over the angle."""
    if dim == 1:
        return np.asarray(2 * np.log(shrink))
    if dim == 2:
        return np.asarray(2 * np.log(0.5 * (1 + shrink)))
    from_right_angle, weights = _double_exponential(math.pi / 2)
    cos, sin = np.sin(from_right_angle), np.cos(from_right_angle)
    weights = weights * cos ** (dim - 2)
    values = np.log(cos**2 + (shrink[:, None] * sin) ** 2)
    return np.asarray(values @ weights / weights.sum())


@lru_cache(maxsize=8)
def _double_exponential_unit() -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of the tanh-sinh rule on (0, 1); nodes near 0 keep their relative accuracy."""
    t = np.linspace(-4.2, 4.2, 281)
    u = np.pi * np.sinh(t)
    nodes = 1 / (1 + np.exp(-u))
    weights = (t[1] - t[0]) * np.pi * np.cosh(t) * nodes / (1 + np.exp(u))
    return nodes, weights


def _double_exponential(length: float) -> tuple[np.ndarray, np.ndarray]:
    nodes, weights = _double_exponential_unit()
    return length * nodes, length * weights
