"""Langevin sampling in sdefast and in numpy: many chains on targets that users have, on one thread.

L1: ULA on a mixture of 5 Gaussians in the plane, built in and written by a user; L2: MALA on a Gaussian in 10
dimensions of condition 100; L3: ULA on a logistic regression with 569 rows of 31 numbers. The numpy versions keep one
array a component (structure of arrays), work in place on blocks that fit the caches, draw in the state's own type with
SFC64 and take products by its matrix product; blocks of 256 to 8192 chains (50 to 1000 in L3) were tried.
`langevin_peers.py` has torch, numba, JAX and BlackJAX, `langevin.py` times all of them in turn.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from workloads import Workload, fastest_rng

import sdefast as sf

STEPS = 500


@dataclass(frozen=True, eq=False)
class Mixture:
    """An isotropic mixture in the plane, and a step size."""

    weights: np.ndarray
    means: np.ndarray
    variances: np.ndarray
    step_size: float

    @cached_property
    def target(self) -> sf.targets.BaseTarget:
        return sf.targets.GaussianMixture(self.weights, self.means, self.variances)

    @cached_property
    def heights(self) -> np.ndarray:
        """Logarithms of the weights over the determinants' roots."""
        return np.log(self.weights / self.variances)

    @cached_property
    def users(self) -> sf.targets.BaseTarget:
        """The same density as a user writes it."""
        columns = (self.heights, *self.means.T, 0.5 / self.variances)
        parts = [tuple(map(float, part)) for part in zip(*columns, strict=True)]

        def log_density(x):  # type: ignore[no-untyped-def]
            return sf.math.logsumexp([c - p * ((x[0] - a) ** 2 + (x[1] - b) ** 2) for c, a, b, p in parts])

        return sf.targets.Target(log_density=log_density, dim=2)


def _five() -> Mixture:
    angles = 2 * np.pi * np.arange(5) / 5
    means = 2 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return Mixture(np.array([0.3, 0.25, 0.2, 0.15, 0.1]), means, np.array([0.25, 0.3, 0.35, 0.4, 0.5]), 0.02)


FIVE = _five()

VARIANCES = np.geomspace(0.01, 1.0, 10)
TURN = np.linalg.qr(np.random.default_rng(1).standard_normal((10, 10)))[0]
COVARIANCE = (TURN * VARIANCES) @ TURN.T
CORRELATED = sf.targets.Gaussian(np.zeros(10), COVARIANCE)

#: acceptance .575
MALA_STEP = 0.0142

ROWS, COLUMNS, LOGISTIC_STEP, LOGISTIC_CHAINS, LOGISTIC_STEPS = 569, 31, 0.002, 1000, 200


def _data() -> tuple[np.ndarray, np.ndarray]:
    """Standardised features with a constant, and responses of -1 and 1."""
    rng = np.random.default_rng(2)
    features = np.hstack([np.ones((ROWS, 1)), rng.standard_normal((ROWS, COLUMNS - 1))])
    theta = rng.standard_normal(COLUMNS) / 3
    responses = np.where(rng.random(ROWS) < 1 / (1 + np.exp(-features @ theta)), 1.0, -1.0)
    return features, responses


FEATURES, RESPONSES = _data()


LOGISTIC = sf.targets.LogisticRegression(FEATURES, RESPONSES > 0)


def in_sdefast(
    name: str, target: sf.targets.BaseTarget, n_chains: int, n_steps: int = STEPS, **options: object
) -> Workload:
    """Chains of which moments at the end are wanted, as of the others."""
    settings = {"diagnostics": False, "paths": False, "final_states": False, "seed": 1, "threads": 1, **options}

    def call() -> object:
        return sf.langevin(target, n_chains=n_chains, n_steps=n_steps, **settings)  # type: ignore[arg-type]

    return Workload(name, "Langevin", call, n_chains * n_steps)


# numpy ----------------------------------------------------------------------------------------------------------------


class MixtureScore:
    """Scores of a block of chains, by two products with small matrices: logarithms of the weights, and their sums.

    Squares |x - m|^2 are multiplied out, so that BLAS computes all of them.
    """

    def __init__(self, mixture: Mixture, block: int, dtype: str) -> None:
        precisions = 1 / mixture.variances
        heights = np.log(mixture.weights * precisions) - 0.5 * precisions * (mixture.means**2).sum(1)
        columns = (precisions[:, None] * mixture.means, -0.5 * precisions[:, None], heights[:, None])
        self.to_logs = np.ascontiguousarray(np.hstack(columns), dtype)
        means = precisions * mixture.means.T
        self.to_sums = np.ascontiguousarray(np.vstack([means, precisions, np.ones_like(precisions)]), dtype)
        self.features, self.sums = np.ones((4, block), dtype), np.empty((4, block), dtype)
        self.logs, self.most = np.empty((len(precisions), block), dtype), np.empty(block, dtype)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Of x, of shape (2, block), which is written over by the score."""
        features, sums, logs = self.features, self.sums, self.logs
        features[:2] = x
        np.einsum("ir,ir->r", x, x, out=features[2])
        np.matmul(self.to_logs, features, out=logs)
        np.max(logs, axis=0, out=self.most)
        logs -= self.most
        np.exp(logs, out=logs)
        np.matmul(self.to_sums, logs, out=sums)
        features[:2] *= sums[2]
        sums[:2] -= features[:2]
        sums[:2] /= sums[3]
        return sums[:2]


class DirectScore:
    """Scores of a block of chains component by component, squares of differences and all."""

    def __init__(self, mixture: Mixture, block: int, dtype: str) -> None:
        kind = np.dtype(dtype).type
        self.means = mixture.means.astype(dtype)
        self.precisions = [kind(p) for p in 1 / mixture.variances]
        self.heights = [kind(c) for c in mixture.heights]
        k = len(self.heights)
        self.away, self.logs = np.empty((k, 2, block), dtype), np.empty((k, block), dtype)
        self.most, self.score = np.empty(block, dtype), np.empty((2, block), dtype)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Of x, of shape (2, block)."""
        away, logs, score = self.away, self.logs, self.score
        np.subtract(self.means[:, :, None], x, out=away)
        np.einsum("kir,kir->kr", away, away, out=logs)
        for k, (precision, height) in enumerate(zip(self.precisions, self.heights, strict=True)):
            logs[k] *= -precision / 2
            logs[k] += height
        np.max(logs, axis=0, out=self.most)
        logs -= self.most
        np.exp(logs, out=logs)
        np.sum(logs, axis=0, out=self.most)
        for k, precision in enumerate(self.precisions):
            logs[k] *= precision
        np.einsum("kr,kir->ir", logs, away, out=score)
        score /= self.most
        return score


def move(x: np.ndarray, score: np.ndarray, z: np.ndarray, h: float, root: float, rng: np.random.Generator) -> None:
    """x + h score + root z in place, with new normals; the score is used up."""
    score *= h
    x += score
    rng.standard_normal(out=z, dtype=x.dtype.type)
    z *= root
    x += z


def numpy_ula(mixture: Mixture, dtype: str, n_chains: int, block: int, way: type = MixtureScore) -> np.ndarray:
    """Mean and variance at the end."""
    rng, kind = fastest_rng(), np.dtype(dtype).type
    h, root = kind(mixture.step_size), kind(np.sqrt(2 * mixture.step_size))
    score_of, end = way(mixture, block, dtype), []
    for _ in range(n_chains // block):
        x, z = np.zeros((2, block), dtype), np.empty((2, block), dtype)
        for _ in range(STEPS):
            move(x, score_of(x), z, h, root, rng)
        end.append(x)
    return np.array([np.hstack(end).mean(axis=1), np.hstack(end).var(axis=1)])


def naive_ula(mixture: Mixture, n_chains: int) -> np.ndarray:
    """What one writes first: whole arrays, the default generator."""
    rng, h, x = np.random.default_rng(1), mixture.step_size, np.zeros((n_chains, 2))
    precisions = 1 / mixture.variances
    for _ in range(STEPS):
        away = mixture.means - x[:, None, :]
        logs = mixture.heights - 0.5 * precisions * (away**2).sum(axis=2)
        weights = np.exp(logs - logs.max(axis=1, keepdims=True))
        weights /= weights.sum(axis=1, keepdims=True)
        score = ((weights * precisions)[:, :, None] * away).sum(axis=1)
        x = x + h * score + np.sqrt(2 * h) * rng.standard_normal(x.shape)
    return np.array([x.mean(axis=0), x.var(axis=0)])


def numpy_mala(precision: np.ndarray, dtype: str, n_chains: int, block: int) -> tuple[np.ndarray, float]:
    """Variances at the end and the acceptance; the precision is a matrix or a diagonal.

    With scores s and t the log ratio is log p(y) - log p(x) - <w, s + t> / 2 - h |s + t|^2 / 4, and log p(x) of this
    target is <x, s> / 2.
    """
    rng, kind, d = fastest_rng(), np.dtype(dtype).type, len(precision)
    h, root, minus = kind(MALA_STEP), kind(np.sqrt(2 * MALA_STEP)), -precision.astype(dtype)
    end, accepted = [], 0.0
    shape = (d, block)
    y, w, t, work = (np.empty(shape, dtype) for _ in range(4))
    density, ratio, other, u = (np.empty(block, dtype) for _ in range(4))

    def score_at(x: np.ndarray, out: np.ndarray) -> None:
        if minus.ndim == 2:
            np.matmul(minus, x, out=out)
        else:
            np.multiply(minus[:, None], x, out=out)

    for _ in range(n_chains // block):
        x, s = np.zeros(shape, dtype), np.zeros(shape, dtype)
        np.einsum("ir,ir->r", x, s, out=density)
        for _ in range(STEPS):
            rng.standard_normal(out=w, dtype=dtype)
            w *= root
            np.multiply(s, h, out=y)
            y += x
            y += w
            score_at(y, t)
            np.einsum("ir,ir->r", y, t, out=other)
            np.add(s, t, out=work)
            np.einsum("ir,ir->r", work, work, out=ratio)
            ratio *= h / 2
            ratio += np.einsum("ir,ir->r", w, work, out=u)
            np.subtract(other, density, out=u)
            u -= ratio
            u *= kind(0.5)
            np.minimum(u, 0, out=u)
            np.exp(u, out=u)
            accepted += float(u.sum())
            rng.random(out=ratio, dtype=dtype)
            take = np.nonzero(ratio < u)[0]
            density[take] = other[take]
            for a, b in ((x, y), (s, t)):
                np.copyto(a, b, where=ratio < u)
        end.append(x)
    return np.hstack(end).var(axis=1), accepted / (n_chains * STEPS)


def naive_mala(precision: np.ndarray, n_chains: int) -> np.ndarray:
    """What one writes first."""
    rng, h, x = np.random.default_rng(1), MALA_STEP, np.zeros((n_chains, len(precision)))
    score = lambda x: -x @ precision if precision.ndim == 2 else -x * precision  # noqa: E731
    log_density = lambda x: 0.5 * (x * score(x)).sum(axis=1)  # noqa: E731
    way = lambda x, y: -((y - x - h * score(x)) ** 2).sum(axis=1) / (4 * h)  # noqa: E731
    for _ in range(STEPS):
        y = x + h * score(x) + np.sqrt(2 * h) * rng.standard_normal(x.shape)
        ratio = log_density(y) - log_density(x) + way(y, x) - way(x, y)
        x = np.where((np.log(rng.random(n_chains)) < ratio)[:, None], y, x)
    variances: np.ndarray = x.var(axis=0)
    return variances


def numpy_logistic(dtype: str, block: int) -> np.ndarray:
    """Means at the end, of 1000 chains: two matrix products a step, the responses' signs in the matrix."""
    rng, kind, end = fastest_rng(), np.dtype(dtype).type, []
    signed = np.ascontiguousarray(FEATURES * RESPONSES[:, None], dtype)
    back = np.ascontiguousarray(signed.T)
    h, root = kind(LOGISTIC_STEP), kind(np.sqrt(2 * LOGISTIC_STEP))
    margins = np.empty((ROWS, block), dtype)
    for _ in range(LOGISTIC_CHAINS // block):
        x = np.zeros((COLUMNS, block), dtype)
        z, score = np.empty_like(x), np.empty_like(x)
        for _ in range(LOGISTIC_STEPS):
            np.matmul(signed, x, out=margins)
            np.exp(margins, out=margins)
            margins += kind(1)
            np.reciprocal(margins, out=margins)
            np.matmul(back, margins, out=score)
            score -= x
            move(x, score, z, h, root, rng)
        end.append(x)
    return np.hstack(end).mean(axis=1)


def naive_logistic(dtype: str) -> np.ndarray:
    """What one writes first."""
    rng, kind = np.random.default_rng(1), np.dtype(dtype).type
    h, root = kind(LOGISTIC_STEP), kind(np.sqrt(2 * LOGISTIC_STEP))
    x, features = np.zeros((LOGISTIC_CHAINS, COLUMNS), dtype), FEATURES.astype(dtype)
    responses = RESPONSES.astype(dtype)
    for _ in range(LOGISTIC_STEPS):
        margins = responses * (x @ features.T)
        score = (responses / (1 + np.exp(margins))) @ features - x
        x = x + h * score + root * rng.standard_normal(x.shape, dtype)
    means: np.ndarray = x.mean(axis=0)
    return means
