"""Covariance matrices: symmetric and positive semidefinite, which rounding may hide."""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import checks


def covariance_matrix(name: str, value: Any) -> np.ndarray:
    """A symmetric positive semidefinite matrix, as float64, with the rounding errors in its symmetry removed."""
    given = checks.array(name, value, shape=(None, None))
    if given.shape[0] != given.shape[1] or not len(given):
        raise ValueError(f"{name} must have shape (d, d), got {given.shape}")
    size = float(np.abs(given).max())
    if np.abs(given - given.T).max() > 1e-10 * size:
        i, j = np.unravel_index(np.abs(given - given.T).argmax(), given.shape)
        raise ValueError(
            f"{name} must be symmetric, got {given[i, j]:g} at {(int(i), int(j))} and {given[j, i]:g} across"
        )
    symmetric = np.asarray(0.5 * (given + given.T) + 0.0)
    least = float(np.linalg.eigvalsh(symmetric)[0])
    if least < -1e-10 * size:
        raise ValueError(f"{name} must be positive semidefinite, got the eigenvalue {least:g}")
    return symmetric


def hessian_and_noise(H: Any, Sigma: Any) -> tuple[np.ndarray, np.ndarray]:
    """A Hessian and a covariance of gradient noise, two covariance matrices of one shape."""
    H, Sigma = covariance_matrix("H", H), covariance_matrix("Sigma", Sigma)
    if H.shape != Sigma.shape:
        raise ValueError(f"Sigma must have the shape of H, {H.shape}, got {Sigma.shape}")
    return H, Sigma


def is_diagonal(H: np.ndarray) -> bool:
    """Whether a matrix is diagonal, exactly."""
    return np.array_equal(H, np.diag(np.diag(H)))


def eigenbasis(H: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues of a covariance matrix (..., d, d), increasing and none below zero, and its eigenvectors."""
    values, vectors = np.linalg.eigh(H)
    return np.maximum(values, 0.0), vectors


def rounding(values: np.ndarray) -> float:
    """What increasing eigenvalues are up to where they would be zero but for rounding."""
    return float(len(values) * np.finfo(float).eps * values[-1])


def symmetric_root(H: np.ndarray) -> np.ndarray:
    """The symmetric root of a positive semidefinite matrix of shape (..., d, d), diagonal if one is."""
    if H.ndim == 2 and is_diagonal(H):
        return np.asarray(np.diag(np.sqrt(np.diag(H))))
    values, vectors = eigenbasis(H)
    roots = np.sqrt(values)
    return np.asarray((vectors * roots[..., None, :]) @ np.swapaxes(vectors, -1, -2))


def input_basis(covariance: np.ndarray | None) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Q and s with inputs N(0, H) = Q diag(s) z for standard normals z; None for an identity."""
    if covariance is None or np.array_equal(covariance, np.eye(len(covariance))):
        return None, None
    if is_diagonal(covariance):
        return None, np.sqrt(np.diag(covariance))
    values, vectors = np.linalg.eigh(covariance)
    values[values <= rounding(values)] = 0.0  # directions that inputs never take
    return vectors, np.sqrt(values)
