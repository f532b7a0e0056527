"""Samples with the exact moments of a Gaussian law: what is at most quadratic has its exact mean over them."""

import numpy as np


def of_noise(dim):
    """Points (2 dim, dim) of mean 0 and covariance 1."""
    axes = np.sqrt(dim) * np.eye(dim)
    return np.concatenate([axes, -axes])


def of_data_and_noise(mean, covariance):
    """Points x (4 d, d) of this mean and covariance, and z (4 d, d) of mean 0 and covariance 1, uncorrelated."""
    d = len(mean)
    x, z = np.hsplit(of_noise(2 * d), 2)
    return mean + x @ np.linalg.cholesky(covariance).T, z
