"""SDE-DPM-Solver++(2M): the steps of DPM-Solver++(2M) on the reverse SDE."""

from __future__ import annotations

from collections.abc import Iterator

from ..levels import Levels
from .base import Option, Row, Sampler, nonnegative, one_of
from .dpmpp_2m import multistep


def rows(levels: Levels, eta: float, solver_type: str, s_noise: float) -> Iterator[Row]:
    return multistep(levels, eta, solver_type, s_noise)


DPMPP_2M_SDE = Sampler(
    name="dpm++2m-sde",
    rows=rows,
    order=1,
    reference="Lu et al. 2022 (DPM-Solver++), equation 18; k-diffusion, sample_dpmpp_2m_sde",
    options={
        "eta": Option(1.0, nonnegative),
        "solver_type": Option("midpoint", one_of("midpoint", "heun")),
        "s_noise": Option(1.0, nonnegative),
    },
)
