r"""Preconditioned Langevin: with a fixed matrix, or with the inverse Hessian of -log p and its divergence.

.. math:: x' = x + h \big(G(x)\, s(x) + T\, \Gamma(x)\big) + \sqrt{2 T h}\; G(x)^{1/2} z,
    \qquad \Gamma_i = \sum_j \partial_j G_{ij}

The noise has the root of G, and a G that depends on x its divergence: without it another law is sampled. With
``metric="hessian"``, :math:`G = (-\nabla^2 \log p)^{-1}`, which must be positive definite where chains go (they are
lost where it is not); on a Gaussian the stationary covariance is then :math:`C / (1 - h/2)`, whatever C. With
:math:`-\nabla^2 \log p = L L^T` the root is :math:`L^{-T}`, and
:math:`\Gamma = -G m`, :math:`m_k = \sum_{lj} \partial_j (L L^T)_{kl} G_{lj}`.
"""

from ...trace import as_expr, derivative
from ...trace.vectors import backward, cholesky, solve, total
from . import ula
from .base import Method, Move, Point


def step(at: Point) -> Move:
    return _hessian_step(at) if at.metric.is_hessian else ula.step(at)


def _hessian_step(at: Point) -> Move:
    d = at.dim
    curvature = [[as_expr(-entry) for entry in row] for row in at.density.hessian(at.x)]
    root = cholesky(curvature)
    inverse = [solve(root, [float(i == j) for i in range(d)]) for j in range(d)]  # G, which is symmetric
    tilts = [
        total([derivative(curvature[k][m], at.x[j]) * inverse[m][j] for m in range(d) for j in range(d)])
        for k in range(d)
    ]
    score = at.density.score(at.x)
    drift = [
        total([inverse[i][k] * (score[k] - at.temperature * tilts[k]) for k in range(d)]) for i in range(d)
    ]  # fmt: skip
    noise = backward(root, at.z)
    return Move(tuple(as_expr(x + at.h * a + at.noise * w) for x, a, w in zip(at.x, drift, noise, strict=True)))


PRECONDITIONED = Method(
    name="preconditioned",
    step=step,
    needs=("score",),
    bias_order=1.0,
    takes_metric=True,
    stable_step=ula.stable_step,
    reference="Girolami and Calderhead, JRSS B 73, 2011; Xifara et al., Statistics and Probability Letters 91, 2014",
)
