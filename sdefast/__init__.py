"""Stochastic differential equations for machine learning at the speed of compiled kernels."""

from . import noise
from .config import show_config
from .models import (
    CEV,
    CIR,
    BlackScholes,
    BrownianMotion,
    DoubleWell,
    GeometricBrownianMotion,
    Heston,
    LinearSDE,
    Model,
    OrnsteinUhlenbeck,
)
from .simulate import simulate
from .simulation import Simulation, merge

__all__ = [
    "CEV",
    "CIR",
    "BlackScholes",
    "BrownianMotion",
    "DoubleWell",
    "GeometricBrownianMotion",
    "Heston",
    "LinearSDE",
    "Model",
    "OrnsteinUhlenbeck",
    "Simulation",
    "merge",
    "noise",
    "show_config",
    "simulate",
]
