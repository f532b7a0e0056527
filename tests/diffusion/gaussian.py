"""What a plan does to Gaussian data, exactly: mean and covariance of (x, H1, H2) through its rows.

The model is the ideal one for data N(mean, variance) in one dimension: D is the posterior mean, which is affine in x,
so everything is. What the model says follows from D by the definition of each prediction, not by the library's own
coefficients.
"""

from __future__ import annotations

import numpy as np

from sdefast.diffusion import Plan

MEAN, VARIANCE = 0.7, 0.25


def posterior_mean(x, alpha, sigma, law=(MEAN, VARIANCE)):
    """E[x_0 | alpha x_0 + sigma eps = x]."""
    mean, variance = law
    return mean + alpha * variance * (x - alpha * mean) / (alpha**2 * variance + sigma**2)


def said(prediction, x, D, alpha, sigma):
    """What a model says that means D."""
    if prediction == "x0":
        return D
    eps = (x - alpha * D) / sigma
    return {"eps": eps, "v": alpha * eps - sigma * D, "score": -eps / sigma, "flow": eps - D}[prediction]


def moments(plan: Plan, start_mean=0.0, start_variance=None, n_rows=None, law=(MEAN, VARIANCE)):
    """Mean and variance of x after the rows, or the first of them, from N(0, prior_scale^2) if nothing is said."""
    start_variance = plan.prior_scale**2 if start_variance is None else start_variance
    m, C = np.array([start_mean, 0.0, 0.0]), np.diag([start_variance, 0.0, 0.0])
    alpha, sigma = plan.start
    for row in plan.rows[:n_rows]:
        e, D = outputs(row, plan.prediction, alpha, sigma, law)
        x = np.array([0.0, 1.0, 0.0, 0.0])  # of 1, x, H1, H2
        out = row["a"] * x + row["b"] * D + row["g"] * e + np.array([0.0, 0.0, row["c1"], row["c2"]])
        s = row["s"]
        if row["snr"] > 0:
            out, s = langevin(out, row["snr"], m, C)
        h1, h2 = kept(int(row["keep"]), x, D)
        A = np.array([out, h1, h2])
        m, C = A[:, 1:] @ m + A[:, 0], A[:, 1:] @ C @ A[:, 1:].T
        C[0, 0] += s**2
        alpha, sigma = row["alpha"], row["sigma"]
    return m[0], C[0, 0]


def outputs(row, prediction, alpha, sigma, law):
    """What the model says, and D by the row's p and q, as functions of (1, x, H1, H2)."""
    e, D = np.zeros(4), np.zeros(4)
    if row["call"]:
        at = [said(prediction, x, posterior_mean(x, alpha, sigma, law), alpha, sigma) for x in (0.0, 1.0)]
        e[:2] = at[0], at[1] - at[0]
        D = row["q"] * e
        D[1] += row["p"]
    return e, D


def langevin(score, snr, m, C):
    """A corrector's step for samples of very many coordinates, whose |z|^2 / |score|^2 is what it is expected to be."""
    mean = score[0] + score[1:] @ m
    h = 2 * snr**2 / (score[1:] @ C @ score[1:] + mean**2)
    out = h * score
    out[1] += 1
    return out, np.sqrt(2 * h)


def kept(keep, x, D):
    """H1 and H2 after a row."""
    h1, h2 = np.array([0.0, 0.0, 1.0, 0.0]), np.array([0.0, 0.0, 0.0, 1.0])
    return {0: (h1, h2), 1: (D, h1), 2: (x, D)}[keep]
