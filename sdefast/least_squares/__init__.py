"""Stochastic gradient descent on least squares: the problem and its exact laws."""

from ..run.schedule import Schedule
from .inputs import InputLaw, Normal, Rademacher, Student, Uniform
from .laws.gibbs import (
    forced_gibbs_rates,
    gibbs_law,
    has_detailed_balance,
    is_gibbs,
    posterior_law,
    two_temperature_variances,
)
from .laws.modified import ModifiedEquation
from .laws.thresholds import constant_noise_covariance
from .problem import LeastSquares

__all__ = [
    "InputLaw",
    "LeastSquares",
    "ModifiedEquation",
    "Normal",
    "Rademacher",
    "Schedule",
    "Student",
    "Uniform",
    "constant_noise_covariance",
    "forced_gibbs_rates",
    "gibbs_law",
    "has_detailed_balance",
    "is_gibbs",
    "posterior_law",
    "two_temperature_variances",
]
