"""SDE-DPM-Solver++(3M): the steps of DPM-Solver++(3M) on the reverse SDE."""

from __future__ import annotations

from collections.abc import Iterator

from ..levels import Levels
from .base import Option, Row, Sampler, nonnegative
from .dpmpp_3m import CURVATURE, multistep


def rows(levels: Levels, eta: float, curvature: float, s_noise: float) -> Iterator[Row]:
    return multistep(levels, eta, curvature, s_noise)


DPMPP_3M_SDE = Sampler(
    name="dpm++3m-sde",
    rows=rows,
    order=1,
    reference="k-diffusion, sample_dpmpp_3m_sde, with curvature=0.5",
    options={"eta": Option(1.0, nonnegative), **CURVATURE, "s_noise": Option(1.0, nonnegative)},
)
