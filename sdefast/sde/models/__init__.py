"""The built-in models, one file each."""

from collections.abc import Mapping

from .base import Model
from .bates import Bates
from .black_scholes import BlackScholes
from .brownian_motion import BrownianMotion
from .cev import CEV
from .cir import CIR
from .double_well import DoubleWell
from .heston import Heston
from .kou import Kou
from .linear import LinearSDE
from .merton import Merton
from .ornstein_uhlenbeck import OrnsteinUhlenbeck

GeometricBrownianMotion = BlackScholes

#: the names of the models on the command line; LinearSDE has matrices for parameters and is not among them
MODELS: Mapping[str, type[Model]] = {
    "brownian": BrownianMotion,
    "ou": OrnsteinUhlenbeck,
    "black-scholes": BlackScholes,
    "cir": CIR,
    "cev": CEV,
    "heston": Heston,
    "merton": Merton,
    "kou": Kou,
    "bates": Bates,
    "double-well": DoubleWell,
}

__all__ = [
    "CEV",
    "CIR",
    "MODELS",
    "Bates",
    "BlackScholes",
    "BrownianMotion",
    "DoubleWell",
    "GeometricBrownianMotion",
    "Heston",
    "Kou",
    "LinearSDE",
    "Merton",
    "Model",
    "OrnsteinUhlenbeck",
]
