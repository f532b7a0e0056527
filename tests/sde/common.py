"""What the tests of observables share: a path to look at, what chance may do, the law of a maximum."""

import numpy as np
from scipy import stats

import sdefast as sf

#: standard errors by which a mean may be off: by chance once in two million times
MOST_Z = 5.0
#: probability of a Kolmogorov-Smirnov distance below which a law is wrong
LEAST_P = 1e-6

BM = sf.BrownianMotion()
LINE = {"x0": 0.0, "t1": 1.0, "n_steps": 20, "seed": 1}


def maximum_law(m, t, mu, sigma):
    """P[max of mu s + sigma W(s) over s <= t is at most m], by the reflection principle."""
    root = sigma * np.sqrt(t)
    m = np.maximum(m, 0)
    return stats.norm.cdf((m - mu * t) / root) - np.exp(2 * mu * m / sigma**2) * stats.norm.cdf((-m - mu * t) / root)
