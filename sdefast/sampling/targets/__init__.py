"""Targets: densities up to a constant, one file a kind, and penalties for those in two parts."""

from .banana import Banana
from .base import BaseTarget
from .batch import BatchTarget
from .composite import Composite
from .disjoint import DisjointMixture
from .double_well import DoubleWell
from .funnel import Funnel
from .gaussian import Gaussian
from .laplace import Laplace
from .linear_regression import BayesianLinearRegression
from .logistic_regression import LogisticRegression
from .mixture import GaussianMixture
from .penalties import (
    L1,
    Box,
    GroupL2,
    NonNegative,
    Penalty,
    Quadratic,
    Simplex,
    TotalVariation1D,
    TotalVariation2D,
)
from .student import Student
from .user import Target

__all__ = [
    "L1",
    "Banana",
    "BaseTarget",
    "BatchTarget",
    "BayesianLinearRegression",
    "Box",
    "Composite",
    "DisjointMixture",
    "DoubleWell",
    "Funnel",
    "Gaussian",
    "GaussianMixture",
    "GroupL2",
    "Laplace",
    "LogisticRegression",
    "NonNegative",
    "Penalty",
    "Quadratic",
    "Simplex",
    "Student",
    "Target",
    "TotalVariation1D",
    "TotalVariation2D",
]


def __dir__() -> list[str]:
    return __all__
