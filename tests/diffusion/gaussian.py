"""What a plan does to Gaussian data, exactly: mean and covariance of (x, H1, H2) through its rows.

The model is the ideal one for data N(mean, variance) in one dimension: D is the posterior mean, which is affine in x, so
everything is. What it says follows from D by the definition of each prediction, not by the library's coefficients.
"""

from __future__ import annotations

import numpy as np

from sdefast.diffusion import Plan

MEAN, VARIANCE = 0.7, 0.25


def posterior_mean(x, alpha, sigma, mean=MEAN, variance=VARIANCE):
    """E[x_0 | alpha x_0 + sigma eps = x]."""
    return mean + alpha * variance * (x - alpha * mean) / (alpha**2 * variance + sigma**2)


def said(prediction, x, D, alpha, sigma):
    """What a model says that means D."""
    if prediction == "x0":
        return D
    eps = (x - alpha * D) / sigma
    return {"eps": eps, "v": alpha * eps - sigma * D, "score": -eps / sigma, "flow": eps - D}[prediction]


def moments(plan: Plan, start_mean=None, start_variance=None, mean=MEAN, variance=VARIANCE, rows=None):
    """Mean and variance after the rows (all, or the first ``rows``), started from N(0, prior_scale^2) if nothing is said."""
    m = np.array([0.0 if start_mean is None else start_mean, 0.0, 0.0])
    C = np.zeros((3, 3))
    C[0, 0] = plan.prior_scale**2 if start_variance is None else start_variance
    alpha, sigma = plan.start
    for row in plan.rows[:rows]:
        # out and D as functions c + (vector) . (x, H1, H2)
        D0, D1 = data_of(row, plan, alpha, sigma, mean, variance)
        e = [
            said(plan.prediction, x, posterior_mean(x, alpha, sigma, mean, variance), alpha, sigma) for x in (0.0, 1.0)
        ]
        e0, e1 = (e[0], e[1] - e[0]) if row["call"] else (0.0, 0.0)
        gain = np.array([row["a"] + row["b"] * D1 + row["g"] * e1, row["c1"], row["c2"]])
        shift, s = row["b"] * D0 + row["g"] * e0, row["s"]
        if row["snr"] > 0:  # of many coordinates: |z|^2 / |score|^2 is what it is expected to be
            score_mean = gain[0] * m[0] + shift
            h = 2 * row["snr"] ** 2 / (gain[0] ** 2 * C[0, 0] + score_mean**2)
            gain, shift, s = np.array([1 + h * gain[0], 0.0, 0.0]), h * shift, np.sqrt(2 * h)
        keeps = {
            0: ([0.0, 1.0, 0.0], 0.0, [0.0, 0.0, 1.0], 0.0),
            1: ([D1, 0.0, 0.0], D0, [0.0, 1.0, 0.0], 0.0),
            2: ([1.0, 0.0, 0.0], 0.0, [D1, 0.0, 0.0], D0),
        }[int(row["keep"])]
        A = np.array([gain, keeps[0], keeps[2]])
        m = A @ m + np.array([shift, keeps[1], keeps[3]])
        C = A @ C @ A.T
        C[0, 0] += s**2
        alpha, sigma = row["alpha"], row["sigma"]
    return m[0], C[0, 0]


def data_of(row, plan, alpha, sigma, mean, variance):
    """D as D0 + D1 x by the row's p and q."""
    if not row["call"]:
        return 0.0, 0.0
    D = [
        row["p"] * x
        + row["q"] * said(plan.prediction, x, posterior_mean(x, alpha, sigma, mean, variance), alpha, sigma)
        for x in (0.0, 1.0)
    ]
    return D[0], D[1] - D[0]
