"""Step sizes in all forms, and their refusals; schedules by formulas, and what is no formula."""

import math
import pickle

import numpy as np
import pytest

import sdefast as sf
from sdefast.least_squares import Schedule
from sdefast.run.schedule import constant_steps, iteration_grid, saved_iterations, step_sizes


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
    """One axis could be read in two ways and is refused; two axes say which."""
    with pytest.raises(
        ValueError, match=r"the shape \(2, 1\) for one step size per iteration, or \(1, 2\) for one per p"
    ):
        step_sizes([0.1, 0.2], 2, 2)
    assert step_sizes([[0.1], [0.2]], 2, 2).shape == (2, 1)
    assert step_sizes([[0.1, 0.2]], 2, 2).shape == (1, 2)
    assert step_sizes([0.1], 1, 1).shape == (1, 1)
    assert step_sizes("0.1/t", 2, 2).tolist() == step_sizes(lambda k: 0.1 / (k + 1), 2, 2).tolist() == [[0.1], [0.05]]


@pytest.mark.parametrize(
    ("function", "at_once"),
    [
        (lambda k: 0.1 / (k + 1), True),
        (lambda k: np.array([0.1, 0.2]) / (k + 1), True),
        (lambda k: 0.1 if k < 60 else 0.01, False),
        (lambda k: 0.1 / math.sqrt(k + 1), False),
        (lambda k: [0.1, 0.2, 0.3][k % 3], False),
        (lambda k: 0.1, False),
        # (a mean over what is to be a number for each k, and an array that is not of the iterations)
        (lambda k: 0.1 / (1 + np.mean(k)), False),
        (lambda k: 0.1 / (1 + k - np.min(k)), False),
        (lambda k: np.array([0.1, 0.2]), False),
    ],
)
def test_functions_are_called_once_where_that_says_the_same(function, at_once):
    calls = []

    def counted(k):
        calls.append(k)
        return function(k)

    n, first = 100, 3
    expected = [np.reshape(function(k), -1) for k in range(first, first + n)]
    assert np.array_equal(step_sizes(counted, n, 2, first), expected)
    assert (len(calls) < 25) == at_once


def test_a_function_is_asked_for_what_fits():
    asked = []
    with pytest.raises(MemoryError, match="step sizes by a function need"):
        step_sizes(lambda k: asked.append(k) or 0.1, 10**13, 2)
    assert len(asked) == 2


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
        (lambda k: math.inf if k == 1 else 0.1, ValueError, "step_size must be finite, got inf at k = 1"),
        (lambda k: "x", TypeError, "step_size must be an array of real numbers"),
        ("lr", ValueError, "a step size must be a number or a formula of the update"),
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
        saved_iterations(save_at, iteration_grid(10))


def test_saved_iterations_of_no_type():
    with pytest.raises(TypeError, match="save_at must be"):
        saved_iterations(None, iteration_grid(10))


FORMULAS = {
    "0.1/t": lambda t, k: 0.1 / t,
    ".5 / (10 + k)": lambda t, k: 0.5 / (10 + k),
    "1e-2": lambda t, k: 0.01,
    "0.3*t**-0.5": lambda t, k: 0.3 * t**-0.5,
    "min(0.1, 2/sqrt(t)) - -1": lambda t, k: min(0.1, 2 / math.sqrt(t)) + 1,
    "max(exp(-k/100), log(1 + t))": lambda t, k: max(math.exp(-k / 100), math.log(1 + t)),
}


@pytest.mark.parametrize("formula", FORMULAS)
def test_values_of_formulas(formula):
    schedule = Schedule(formula)
    k = np.arange(200)
    values = schedule(k)
    np.testing.assert_allclose(values, [FORMULAS[formula](i + 1, i) for i in k.tolist()], rtol=1e-14)
    assert schedule(7) == values[7]
    assert schedule == pickle.loads(pickle.dumps(schedule)) == Schedule(formula)
    assert str(schedule) == formula


def test_a_run_takes_a_formula_like_the_function():
    problem = sf.LeastSquares(theta_star=[1.0, 2.0], noise_std=0.1)
    settings = {"n_steps": 20, "n_runs": 10, "seed": 1}
    by_formula = sf.sgd(problem, step_size=Schedule("0.1/t"), **settings)
    assert by_formula.error.tobytes() == sf.sgd(problem, step_size=lambda k: 0.1 / (k + 1), **settings).error.tobytes()


def test_formulas_of_many_steps_are_read_once(monkeypatch):
    calls = []
    of_many = Schedule.__call__
    monkeypatch.setattr(Schedule, "__call__", lambda schedule, k: calls.append(k) or of_many(schedule, k))
    steps = step_sizes(Schedule("0.1/t"), 1000, 3)
    assert np.array_equal(steps, 0.1 / np.arange(1.0, 1001.0)[:, None])
    assert len(calls) == 1
    for formula, message in {
        "0.1/(3 - t)": "0.1/.3 - t. is inf at t = 3",
        "0.1 - k": "0.1 - k is -0.9 at t = 2",
    }.items():
        with pytest.raises(ValueError, match=f"step_size must be positive and finite, but {message}"):
            step_sizes(Schedule(formula), 5, 1)


@pytest.mark.parametrize(
    "formula",
    ["", "0.1/", "0.1/x", "t.real", "os.system('ls')", "__import__('os')", "[1]", "'t'", "True", "1j", "t if t else 1",
     "lambda: 1", "sqrt()", "sqrt(t, t)", "min(t)", "exp(x=t)", "t := 3", "t == 1", "t % 2", "(" * 100,
     "1+" * 150 + "1"],
)  # fmt: skip
def test_what_is_no_formula_is_refused(formula):
    with pytest.raises(ValueError, match=r"a step size('s formula)? must"):
        Schedule(formula)


def test_formulas_that_are_no_strings_and_that_give_no_numbers():
    with pytest.raises(TypeError, match="formula must be a string"):
        Schedule(0.1)
    assert Schedule("1/k")(0) == math.inf  # no exception: step sizes are checked where they are used
    assert Schedule("9**9**9**9")(0) == math.inf
