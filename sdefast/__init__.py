"""Stochastic differential equations for machine learning at the speed of compiled kernels."""

from . import boundaries, functionals, math, noise, quasi, wiener
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
from .multilevel import Multilevel, multilevel
from .schemes import SCHEMES
from .sde import SDE
from .sgd import LeastSquares, gibbs, inputs
from .sgd import presets as sgd_presets
from .sgd.comparison import Comparison, compare
from .sgd.descent import sgd
from .sgd.gradient_descent import GradientDescent, gd
from .sgd.noisy import NoisyDescent, noisy_gd
from .sgd.result import Descent
from .simulate import simulate
from .simulation import Simulation, merge
from .trace import TraceError

__all__ = [
    "CEV",
    "CIR",
    "SCHEMES",
    "SDE",
    "BlackScholes",
    "BrownianMotion",
    "Comparison",
    "Descent",
    "DoubleWell",
    "GeometricBrownianMotion",
    "GradientDescent",
    "Heston",
    "LeastSquares",
    "LinearSDE",
    "Model",
    "Multilevel",
    "NoisyDescent",
    "OrnsteinUhlenbeck",
    "Simulation",
    "TraceError",
    "boundaries",
    "compare",
    "functionals",
    "gd",
    "gibbs",
    "inputs",
    "math",
    "merge",
    "multilevel",
    "noise",
    "noisy_gd",
    "quasi",
    "sgd",
    "sgd_presets",
    "show_config",
    "simulate",
    "wiener",
]
