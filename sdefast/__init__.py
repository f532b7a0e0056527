"""Stochastic differential equations for machine learning at the speed of compiled kernels."""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

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
from .sgd.descent import sgd
from .sgd.result import Descent
from .simulate import simulate
from .simulation import Simulation, merge
from .trace import TraceError

if _TYPE_CHECKING:
    from .sgd import presets as sgd_presets
    from .sgd.comparison import Comparison, compare
    from .sgd.gradient_descent import GradientDescent, gd
    from .sgd.noisy import NoisyDescent, noisy_gd

#: Names that are imported when they are first used, and the modules of ``sgd`` that have them.
_LATER = {
    "Comparison": "comparison", "compare": "comparison", "GradientDescent": "gradient_descent",
    "gd": "gradient_descent", "NoisyDescent": "noisy", "noisy_gd": "noisy", "sgd_presets": "presets",
}  # fmt: skip


def __getattr__(name: str) -> _Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = _import_module(f".sgd.{_LATER[name]}", __name__)
    value = globals()[name] = module if name == "sgd_presets" else getattr(module, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})


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
