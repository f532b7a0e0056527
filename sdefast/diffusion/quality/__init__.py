"""How good samples are: Frechet distance, class entropy and likelihood of images; energy distance and modes of points.

Only the classifier needs torch, which is imported when it is first asked for.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from .bits import bits_per_dimension
from .features import Floor, class_entropy, class_histogram, frechet, frechet_floor
from .moments import frechet_of_moments, moments
from .points import ModeWeights, energy_distance, energy_distance_of_gaussians, mode_weights
from .report import ImageReport, PointReport, Report, evaluate

if _TYPE_CHECKING:
    from .classifier import Classifier, train_classifier

#: Names of the module that needs torch.
_OF_TORCH = ("Classifier", "train_classifier")


def __getattr__(name: str) -> _Any:
    if name in _OF_TORCH:
        return getattr(_import_module(".classifier", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "Classifier",
    "Floor",
    "ImageReport",
    "ModeWeights",
    "PointReport",
    "Report",
    "bits_per_dimension",
    "class_entropy",
    "class_histogram",
    "energy_distance",
    "energy_distance_of_gaussians",
    "evaluate",
    "frechet",
    "frechet_floor",
    "frechet_of_moments",
    "mode_weights",
    "moments",
    "train_classifier",
]
