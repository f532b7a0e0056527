"""Stochastic gradient descent on least squares: the problem and its exact laws."""

from .formula import Schedule
from .inputs import InputLaw, Normal, Rademacher, Student, Uniform
from .laws.gibbs import (
    constant_noise_covariance,
    forced_gibbs_rates,
    forced_gibbs_variances,
    gibbs_law,
    has_detailed_balance,
    is_gibbs,
    is_posterior,
    posterior_law,
    posterior_noise_variance,
    ridge_prior_variance,
    two_temperature_variances,
)
from .problem import LeastSquares

__all__ = [
    "InputLaw",
    "LeastSquares",
    "Normal",
    "Rademacher",
    "Schedule",
    "Student",
    "Uniform",
    "constant_noise_covariance",
    "forced_gibbs_rates",
    "forced_gibbs_variances",
    "gibbs_law",
    "has_detailed_balance",
    "is_gibbs",
    "is_posterior",
    "posterior_law",
    "posterior_noise_variance",
    "ridge_prior_variance",
    "two_temperature_variances",
]
