"""Step sizes in all forms, and their refusals."""

import numpy as np
import pytest

from sdefast.least_squares.schedule import constant_steps, saved_iterations, step_sizes


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (0.5, [[0.5]]),
        (np.float32(0.5), [[0.5]]),
        ([0.1, 0.2, 0.3], [[0.1], [0.2], [0.3]]),
        (lambda k: 1 / (k + 1), [[1.0], [0.5], [1 / 3]]),
        ([[0.1, 0.2]], [[0.1, 0.2]]),
        ([[0.1], [0.2], [0.3]], [[0.1], [0.2], [0.3]]),
        ([[0.1, 1.0], [0.2, 2.0], [0.3, 3.0]], [[0.1, 1.0], [0.2, 2.0], [0.3, 3.0]]),
        (lambda k: [k + 1, 2 * k + 1], [[1, 1], [2, 3], [3, 5]]),
        (lambda k: [1.0, 2.0] if k else 3.0, [[3.0, 3.0], [1.0, 2.0], [1.0, 2.0]]),
    ],
)
def test_step_sizes(given, expected):
    steps = step_sizes(given, 3, 2)
    assert steps.dtype == np.float64
    assert np.array_equal(steps, expected)


def test_as_many_steps_as_parameters():
    """One axis is one step size per iteration, two axes are step sizes per parameter."""
    assert step_sizes([0.1, 0.2], 2, 2).shape == (2, 1)
    assert step_sizes([[0.1, 0.2]], 2, 2).shape == (1, 2)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (0.0, ValueError, "step_size must be positive, got 0"),
        ([0.1, -0.2, 0.3], ValueError, "step_size must be positive, got -0.2"),
        (np.inf, ValueError, "step_size must be finite"),
        ([0.1, 0.2], ValueError, r"one step size per parameter give it the shape \(1, 2\)"),
        ([0.1] * 4, ValueError, r"shape \(3,\) with one step size per iteration"),
        (np.ones((2, 2)), ValueError, "got shape"),
        (np.ones((1, 3, 2)), ValueError, "got shape"),
        (lambda k: 0.1 / k, ValueError, "divides by zero at k = 0; iterations count from 0"),
        (lambda k: [0.1, 0.2, 0.3], ValueError, r"must return a number or an array of shape \(2,\)"),
        (lambda k: 0.1 - 0.05 * k, ValueError, "step_size must be positive, got 0"),
        (lambda k: "x", TypeError, "step_size must be an array of real numbers"),
        ("0.1", TypeError, "step_size must be an array of real numbers"),
    ],
)
def test_refusals(given, error, message):
    with pytest.raises(error, match=message):
        step_sizes(given, 3, 2)


def test_constant_steps():
    assert np.array_equal(constant_steps(0.1, 3), [0.1])
    assert np.array_equal(constant_steps([0.1, 0.2, 0.3], 3), [0.1, 0.2, 0.3])
    assert np.array_equal(constant_steps([[0.1, 0.2, 0.3]], 3), [0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match="step_size must be a number, or one number per parameter"):
        constant_steps([0.1, 0.2], 3)


@pytest.mark.parametrize("save_at", [[0.5], [-1, 2], [0, 11], [3, 2], "first", 0])
def test_saved_iterations_refused(save_at):
    with pytest.raises(ValueError, match="save_at"):
        saved_iterations(save_at, 10)


def test_saved_iterations_of_no_type():
    with pytest.raises(TypeError, match="save_at must be"):
        saved_iterations(None, 10)
