"""Samplers, one file each: every one is rows of coefficients for the same kernel."""

from .annealed_langevin import ANNEALED_LANGEVIN
from .base import Sampler
from .ddim import DDIM
from .ddpm import DDPM
from .dpmpp_2m import DPMPP_2M
from .dpmpp_2m_sde import DPMPP_2M_SDE
from .dpmpp_3m import DPMPP_3M
from .dpmpp_3m_sde import DPMPP_3M_SDE
from .euler import EULER
from .euler_ancestral import EULER_ANCESTRAL
from .heun import HEUN
from .ode import ODE
from .predictor_corrector import PREDICTOR_CORRECTOR
from .reverse_sde import REVERSE_SDE

#: All of them, by name.
SAMPLERS = {
    sampler.name: sampler
    for sampler in (
        DDPM,
        DDIM,
        EULER,
        EULER_ANCESTRAL,
        HEUN,
        DPMPP_2M,
        DPMPP_2M_SDE,
        DPMPP_3M,
        DPMPP_3M_SDE,
        REVERSE_SDE,
        PREDICTOR_CORRECTOR,
        ODE,
        ANNEALED_LANGEVIN,
    )
}

__all__ = ["SAMPLERS", "Sampler"]
