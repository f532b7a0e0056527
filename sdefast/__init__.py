"""Stochastic differential equations for machine learning at the speed of compiled kernels."""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from . import math, noise
from .config import show_config
from .least_squares import LeastSquares, inputs
from .least_squares.laws import gibbs
from .least_squares.result import Descent
from .least_squares.sgd import noisy_gd, sgd
from .run.result import merge
from .run.saving import load
from .sde import boundaries, functionals, quasi, wiener
from .sde.models import (
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
from .sde.multilevel import Multilevel, multilevel
from .sde.result import Simulation
from .sde.schemes import SCHEMES
from .sde.sde import SDE
from .sde.simulate import simulate
from .trace import TraceError

if _TYPE_CHECKING:
    __version__: str
    from .least_squares.experiments import presets as sgd_presets
    from .least_squares.experiments.comparison import Comparison, compare
    from .least_squares.gradient_descent import GradientDescent, gd
    from .sampling import targets
    from .sampling.langevin import langevin
    from .sampling.methods import METHODS
    from .sampling.result import Chains

#: Names that are imported when they are first used, and the modules that have them; modules themselves end in a dot.
_LATER = {
    "Chains": "sampling.result", "Comparison": "least_squares.experiments.comparison",
    "GradientDescent": "least_squares.gradient_descent", "METHODS": "sampling.methods",
    "compare": "least_squares.experiments.comparison", "gd": "least_squares.gradient_descent",
    "langevin": "sampling.langevin", "sgd_presets": "least_squares.experiments.presets.",
    "targets": "sampling.targets.",
}  # fmt: skip


def __getattr__(name: str) -> _Any:
    if name == "__version__":
        from importlib.metadata import version

        globals()[name] = found = version("sdefast")
        return found
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    path = _LATER[name]
    module = _import_module(f".{path.rstrip('.')}", __name__)
    value = globals()[name] = module if path.endswith(".") else getattr(module, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER, "__version__"})


__all__ = [
    "CEV",
    "CIR",
    "METHODS",
    "SCHEMES",
    "SDE",
    "BlackScholes",
    "BrownianMotion",
    "Chains",
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
    "OrnsteinUhlenbeck",
    "Simulation",
    "TraceError",
    "boundaries",
    "compare",
    "functionals",
    "gd",
    "gibbs",
    "inputs",
    "langevin",
    "load",
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
    "targets",
    "wiener",
]
