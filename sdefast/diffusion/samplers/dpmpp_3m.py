"""DPM-Solver++(3M): exponential steps in log(alpha / sigma) on the parabola through this D and the two before.

With h, h_1, h_2 the growths of log(alpha / sigma) in this step and the two before, r = h_1 / h, q = h_2 / h, divided
differences d = (D - D_1) / r and e = (d - (D_1 - D_2) / q) / (r + q), the parabola is D + u (d + r e) + u^2 e at the
part u of the step. With k = (1 + eta) h its integral against k e^{-k (1 - u)} is I = M0 D + M1 (d + r e) + M2 e, where
M0 = 1 - e^{-k}, M1 = 1 - M0 / k, M2 = 1 - 2 M1 / k, and
x' = (sigma' / sigma) e^{-eta h} x + alpha' I + sigma' sqrt(1 - e^{-2 eta h}) z; eta = 0 is the flow.

The authors' program, k-diffusion and diffusers take half of M2 e, ``curvature=0.5``, which leaves an error of second
order. The first step, those from alpha = 0 and into sigma = 0 are of first order, the second is of second: the whole is
of third order if sampling begins where D hardly changes, as it does at large sigma / alpha, or with a short step. A
parabola overshoots in long steps: with 10 of them from sigma = 80 DPM-Solver++(2M) is nearer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from ..levels import Levels
from .base import PUSH, Option, Row, Sampler, nonnegative
from .dpmpp_2m import growth

#: What both of its forms can be told.
CURVATURE = {"curvature": Option(1.0, nonnegative)}


def rows(levels: Levels, curvature: float) -> Iterator[Row]:
    return multistep(levels, 0.0, curvature, 1.0)


def multistep(levels: Levels, eta: float, curvature: float, s_noise: float) -> Iterator[Row]:
    """Steps with the noise of ``eta``; ``curvature`` is what the second difference is multiplied by."""
    last = before = math.inf
    for now, to in levels.steps():
        if to.sigma == 0:
            yield Row(now, to, b=to.alpha, key=now.key, keep=PUSH)
            continue
        h = growth(now, to)
        first = to.alpha * -math.expm1(-(1 + eta) * h)
        d, d_last = _differences((1 + eta) * h, last / h, before / h, curvature)
        c1, c2 = -to.alpha * (d + d_last), to.alpha * d_last
        a = to.sigma / now.sigma * (math.exp(-eta * h) if eta else 1.0)
        s = to.sigma * math.sqrt(-math.expm1(-2 * eta * h)) * s_noise if eta else 0.0
        yield Row(now, to, a=a, b=first - c1 - c2, c1=c1, c2=c2, s=s, key=now.key, keep=PUSH)
        last, before = h, last


def _differences(size: float, r: float, q: float, curvature: float) -> tuple[float, float]:
    """(p, m) of p (D - D_1) - m (D_1 - D_2), what the differences add; 0 where there is no step before."""
    if not math.isfinite(r):
        return 0.0, 0.0
    one = 1 + math.expm1(-size) / size
    if not math.isfinite(q):
        return one / r, 0.0
    second = (r * one + curvature * (1 - 2 * one / size)) / (r + q)
    return (one + second) / r, second / q


DPMPP_3M = Sampler(
    name="dpm++3m",
    rows=rows,
    order=3,
    reference="Lu et al. 2022 (DPM-Solver++), multistep; their program's third order with curvature=0.5",
    options=CURVATURE,
)
