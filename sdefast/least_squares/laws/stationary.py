r"""Stationary covariances and mean-square thresholds, exact, for the multiplicative noise of SGD.

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
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .moments import Moments, Spectrum, largest_row

_Map = Callable[[np.ndarray], np.ndarray]


def surely_stable(moments: Moments, step_size: float, batch_size: float) -> bool:
    """Whether a bound that is quickly found shows that a step size is below the mean-square threshold.

    E|delta|^2 changes by -g delta' (2 H - g (E[|x|^2 xx'] / B + (1 - 1/B) H^2)) delta, but for the noise.
    """
    length = moments.length_bound / batch_size + (1 - 1 / batch_size) * largest_row(moments.hessian)
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


def _normalised(moments: Moments, h: np.ndarray, basis: np.ndarray, batch_size: float, continuous: bool) -> _Map:
    """A^{-1/2} T A^{-1/2} on symmetric (r, r) matrices in the eigenbasis of H."""
    root_a = np.sqrt(h[:, None] + h)
    own = _own_part(batch_size, continuous) * np.outer(h, h)

    def apply(Z: np.ndarray) -> np.ndarray:
        Z = Z / root_a
        K = basis.T @ moments.fourth(basis @ Z @ basis.T) @ basis
        return np.asarray((0.5 * (K + K.T) / batch_size + own * Z) / root_a)

    return apply


def largest_eigenvalue(apply: _Map, start: np.ndarray, most: int = 300) -> float:
    """The largest eigenvalue of a self-adjoint map of arrays, by Lanczos' method with full orthogonalisation.

    ``start`` must not be orthogonal to the eigenvector: a positive definite matrix will do where that is a covariance.
    """
    basis = [start / np.linalg.norm(start)]
    diagonal: list[float] = []
    beside: list[float] = []
    top = 0.0
    for _ in range(min(most, start.size)):
        w = apply(basis[-1])
        diagonal.append(float(np.vdot(basis[-1], w)))
        for _ in range(2):  # twice is enough
            for v in basis:
                w = w - np.vdot(v, w) * v
        values, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1))
        top = float(values[-1])
        beside.append(float(np.linalg.norm(w)))
        # The error of the value is of the order of the square of this residual.
        if beside[-1] * abs(vectors[-1, -1]) <= 1e-9 * np.abs(values).max():
            break
        basis.append(w / beside[-1])
    return top


def conjugate_gradients(apply: _Map, right: np.ndarray, most: int = 2000) -> np.ndarray:
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
