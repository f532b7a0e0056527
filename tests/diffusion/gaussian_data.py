"""Gaussian data under any process: exact scores and densities."""

import numpy as np

MEAN, VARIANCE = 0.7, 0.25


def law(process, t, mean=MEAN, variance=VARIANCE):
    """Mean and variance of x_t."""
    a, s = process.alpha(t), process.sigma(t)
    return a * mean, a**2 * variance + s**2


def scalar_score(process, mean=MEAN, variance=VARIANCE):
    """In scalar code, for `simulate`."""

    def score(t, x):
        m, v = law(process, t, mean, variance)
        return (-(x[0] - m) / v,)

    return score


def array_score(process, mean=MEAN, variance=VARIANCE):
    """As a model, of batches; the inner law on one time, which all samples share."""

    def score(x, t):
        m, v = law(process, float(t[0]), mean, variance)
        return -(x - m) / v

    return score


def log_density(process, x, t, mean=MEAN, variance=VARIANCE):
    m, v = law(process, t, mean, variance)
    return -0.5 * (x - m) ** 2 / v - 0.5 * np.log(2 * np.pi * v)
