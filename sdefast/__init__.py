"""Stochastic differential equations for machine learning at the speed of compiled kernels."""

from importlib import import_module as _import_module
from importlib.util import find_spec as _find_spec
from pathlib import Path as _Path
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

if _find_spec("sdefast._core") is None:
    raise ImportError(
        f"the package sdefast in {_Path(__file__).parent} is not compiled for this Python. Python takes a package from "
        "the folder that it is started in before an installed one: after 'pip install .' start it in another folder, "
        "or compile this one by 'pip install -e .'"
    )

from . import math, noise
from .config import show_config
from .run import boundaries
from .run.result import merge
from .sde import events, functionals, jumps
from .sde.models import (
    CEV,
    CIR,
    Bates,
    BlackScholes,
    BrownianMotion,
    DoubleWell,
    GeometricBrownianMotion,
    Heston,
    Kou,
    LinearSDE,
    Merton,
    Model,
    OrnsteinUhlenbeck,
)
from .sde.result import Simulation
from .sde.schemes import SCHEMES
from .sde.sde import SDE
from .sde.simulate import simulate
from .trace import TraceError

if _TYPE_CHECKING:
    __version__: str
    from . import diffusion
    from .least_squares import LeastSquares, inputs
    from .least_squares.experiments import presets as sgd_presets
    from .least_squares.experiments.comparison import Comparison, compare
    from .least_squares.gradient_descent import GradientDescent, gd
    from .least_squares.laws import gibbs
    from .least_squares.result import Descent
    from .least_squares.sgd import noisy_gd, sgd
    from .run.saving import load
    from .sampling import targets
    from .sampling.annealed import AnnealedChains, annealed_langevin
    from .sampling.descent import gradient_descent
    from .sampling.langevin import langevin
    from .sampling.levels import geometric_sigmas
    from .sampling.methods import METHODS
    from .sampling.result import Chains
    from .sde import quasi, wiener
    from .sde.multilevel import Multilevel, multilevel
    from .sde.sweep import sweep
    from .sde.swept import Sweep

#: Modules, and names in modules, that are imported when they are first used: nobody waits for what a script has not.
_MODULES = {
    "diffusion": "diffusion", "gibbs": "least_squares.laws.gibbs", "inputs": "least_squares.inputs",
    "least_squares": "least_squares",
    "quasi": "sde.quasi", "sgd_presets": "least_squares.experiments.presets",
    "targets": "sampling.targets", "wiener": "sde.wiener",
}  # fmt: skip
_FAMILIES = ("least_squares.sgd", "sampling.langevin", "sampling.annealed", "sampling.targets", "sde.swept")
_NAMES = {
    "AnnealedChains": "sampling.annealed", "Chains": "sampling.result", "METHODS": "sampling.methods",
    "annealed_langevin": "sampling.annealed", "geometric_sigmas": "sampling.levels",
    "gradient_descent": "sampling.descent", "langevin": "sampling.langevin",
    "Comparison": "least_squares.experiments.comparison", "compare": "least_squares.experiments.comparison",
    "Descent": "least_squares.result", "GradientDescent": "least_squares.gradient_descent",
    "LeastSquares": "least_squares.problem", "Multilevel": "sde.multilevel", "gd": "least_squares.gradient_descent",
    "load": "run.saving", "multilevel": "sde.multilevel", "noisy_gd": "least_squares.sgd", "sgd": "least_squares.sgd",
    "Sweep": "sde.swept", "sweep": "sde.sweep",
}  # fmt: skip


def __getattr__(name: str) -> _Any:
    if name == "__version__":
        from importlib.metadata import version

        value: _Any = version("sdefast")
    elif name in _MODULES:
        value = _import_module(f".{_MODULES[name]}", __name__)
    elif name in _NAMES:
        if name == "load":
            for family in _FAMILIES:  # files hold results of any
                _import_module(f".{family}", __name__)
        value = getattr(_import_module(f".{_NAMES[name]}", __name__), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


__all__ = [
    "CEV",
    "CIR",
    "METHODS",
    "SCHEMES",
    "SDE",
    "AnnealedChains",
    "Bates",
    "BlackScholes",
    "BrownianMotion",
    "Chains",
    "Comparison",
    "Descent",
    "DoubleWell",
    "GeometricBrownianMotion",
    "GradientDescent",
    "Heston",
    "Kou",
    "LeastSquares",
    "LinearSDE",
    "Merton",
    "Model",
    "Multilevel",
    "OrnsteinUhlenbeck",
    "Simulation",
    "Sweep",
    "TraceError",
    "annealed_langevin",
    "boundaries",
    "compare",
    "diffusion",
    "events",
    "functionals",
    "gd",
    "geometric_sigmas",
    "gibbs",
    "gradient_descent",
    "inputs",
    "jumps",
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
    "sweep",
    "targets",
    "wiener",
]
