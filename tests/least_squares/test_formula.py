"""Schedules by formulas: their values, as step sizes of a run, and what is no formula."""

import math
import pickle

import numpy as np
import pytest

import sdefast as sf
from sdefast.least_squares import Schedule

FORMULAS = {
    "0.1/t": lambda t, k: 0.1 / t,
    ".5 / (10 + k)": lambda t, k: 0.5 / (10 + k),
    "1e-2": lambda t, k: 0.01,
    "0.3*t**-0.5": lambda t, k: 0.3 * t**-0.5,
    "min(0.1, 2/sqrt(t)) - -1": lambda t, k: min(0.1, 2 / math.sqrt(t)) + 1,
    "max(exp(-k/100), log(1 + t))": lambda t, k: max(math.exp(-k / 100), math.log(1 + t)),
}


@pytest.mark.parametrize("formula", FORMULAS)
def test_values(formula):
    schedule = Schedule(formula)
    k = np.arange(200)
    values = schedule(k)
    np.testing.assert_allclose(values, [FORMULAS[formula](i + 1, i) for i in k.tolist()], rtol=1e-14)
    assert schedule(7) == values[7]
    assert schedule == pickle.loads(pickle.dumps(schedule)) == Schedule(formula)
    assert str(schedule) == formula


def test_a_run_takes_it_like_the_function():
    problem = sf.LeastSquares(theta_star=[1.0, 2.0], noise_std=0.1)
    settings = {"n_steps": 20, "n_runs": 10, "seed": 1}
    by_formula = sf.sgd(problem, step_size=Schedule("0.1/t"), **settings)
    assert by_formula.error.tobytes() == sf.sgd(problem, step_size=lambda k: 0.1 / (k + 1), **settings).error.tobytes()


@pytest.mark.parametrize(
    "formula",
    ["", "0.1/", "0.1/x", "t.real", "os.system('ls')", "__import__('os')", "[1]", "'t'", "True", "1j", "t if t else 1",
     "lambda: 1", "sqrt()", "sqrt(t, t)", "min(t)", "exp(x=t)", "t := 3", "t == 1", "t % 2", "(" * 100,
     "1+" * 150 + "1"],
)  # fmt: skip
def test_anything_else_is_refused(formula):
    with pytest.raises(ValueError, match=r"a step size('s formula)? must"):
        Schedule(formula)


def test_not_a_string_and_not_a_number():
    with pytest.raises(TypeError, match="formula must be a string"):
        Schedule(0.1)
    assert Schedule("1/k")(0) == math.inf  # no exception: step sizes are checked where they are used
    assert Schedule("9**9**9**9")(0) == math.inf
