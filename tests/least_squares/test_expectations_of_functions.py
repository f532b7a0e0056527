"""`sgd(expectations=)`: means of users' functions of the iteration and the parameters."""

import numpy as np
import pytest
from conftest import in_both_types, thorough_but

import sdefast as sf

MOST_Z = 5.0

rng = np.random.default_rng(3)
ROOT = rng.normal(size=(3, 3))
DATA = rng.normal(size=(60, 20))
PROBLEMS = {
    "short": sf.LeastSquares(theta_star=[0.5, -1.0], noise_std=0.3),
    "in loops": sf.LeastSquares(theta_star=np.linspace(-1, 1, 20), noise_std=0.3),
    "correlated": sf.LeastSquares(theta_star=[0.5, -1.0, 2.0], noise_std=0.3, covariance=ROOT @ ROOT.T / 3),
    "data": sf.LeastSquares(data=(DATA, DATA @ np.linspace(-1, 1, 20))),
}
FUNCTIONS = {"product": lambda k, theta: theta[0] * theta[1] + k, "positive": lambda k, theta: theta[1] > 0}
HOW = {"step_size": 0.02, "n_steps": 12, "seed": 4, "save_at": [0, 5, 12], "n_runs": 4500}


@pytest.mark.parametrize(("name", "dtype"), in_both_types(PROBLEMS))
def test_they_are_the_means_over_the_runs(name, dtype):
    problem = PROBLEMS[name]
    fit = sf.sgd(problem, expectations=FUNCTIONS, runs=4500, dtype=dtype, **HOW)
    theta, k = fit.theta.astype(float), np.array([0, 5, 12])
    values = theta[:, :, 0] * theta[:, :, 1] + k[:, None]
    digits = 1e-9 if dtype == "float64" else 1e-4
    found = fit.expectations["product"]
    assert found.value == pytest.approx(values.mean(axis=1), rel=digits, abs=digits)
    assert found.standard_error == pytest.approx(values.std(axis=1, ddof=1) / np.sqrt(4500), rel=1e-3, abs=1e-6)
    assert fit.expectations["positive"].value == pytest.approx((theta[:, :, 1] > 0).mean(axis=1), abs=1e-3)
    plain = sf.sgd(problem, dtype=dtype, **HOW)
    assert fit.error == pytest.approx(plain.error, rel=1e-12 if dtype == "float64" else 1e-5)


def test_moments_lie_beside_them():
    problem = PROBLEMS["correlated"]
    fit = sf.sgd(problem, expectations={"second": lambda k, theta: theta[1] ** 2}, moments=True, **HOW)
    second = fit.variance[:, 1] * 4499 / 4500 + fit.mean[:, 1] ** 2
    assert fit.expectations["second"].value == pytest.approx(second, rel=1e-10)


CASES = [(name, moments, dtype) for name in PROBLEMS for moments in (True, False) for dtype in ("float64", "float32")]
SOME = [("in loops", False, "float64"), ("correlated", True, "float64"), ("data", True, "float32")]


@pytest.mark.parametrize(("name", "moments", "dtype"), thorough_but(SOME, CASES))
def test_sums_over_rows_of_data(name, moments, dtype):
    """Whose numbers steps do not read; on a GPU the same to rounding."""
    rows, digits = rng.normal(size=(7, 2)), 1e-10 if dtype == "float64" else 1e-4
    asked = {"sum": lambda k, theta: sf.math.sum(lambda r: sf.math.tanh(sf.math.dot(r, theta[:2])) + k, rows)}
    how = {**HOW, "expectations": asked, "dtype": dtype, "moments": moments}
    fit = sf.sgd(PROBLEMS[name], runs=4500, **how)
    values = np.tanh(fit.theta[:, :, :2].astype(float) @ rows.T).sum(axis=-1) + 7 * np.array([[0], [5], [12]])
    assert fit.expectations["sum"].value == pytest.approx(values.mean(axis=1), rel=digits, abs=digits)
    cpu, card = (sf.sgd(PROBLEMS[name], device=d, **{**how, "n_runs": 40}) for d in ("cpu", "cuda"))
    value = cpu.expectations["sum"].value
    assert card.expectations["sum"].value == pytest.approx(value, rel=digits / 50, abs=digits / 50)


@pytest.mark.parametrize("name", ["short", "data"])
def test_they_have_what_every_expectation_has(name, tmp_path):
    """Threads, shards, files, going on."""
    problem, how = PROBLEMS[name], {**HOW, "n_runs": 9000, "expectations": FUNCTIONS}
    whole = sf.sgd(problem, threads=2, **how)
    shards = [sf.sgd(problem, first_chain=c, threads=1, **{**how, "n_runs": n}) for c, n in ((0, 8192), (8192, 808))]
    merged = sf.merge(*shards)
    whole.save(tmp_path / "fit.npz")
    loaded = sf.load(tmp_path / "fit.npz")
    for other in (merged, loaded):
        for key in FUNCTIONS:
            assert other.expectations[key].value.tobytes() == whole.expectations[key].value.tobytes()
    first = sf.sgd(problem, **{**how, "n_steps": 5, "save_at": "final"})
    rest = sf.sgd(problem, step_size=0.02, resume=first, n_steps=7, save_at=[12], expectations=FUNCTIONS)
    assert rest.expectations["product"].value[0] == whole.expectations["product"].value[-1]
    assert whole.describe()["expectations"] == "product, positive"


def test_a_checkpoint_knows_them(tmp_path):
    how = {**HOW, "checkpoint": tmp_path / "fit.checkpoint", "expectations": FUNCTIONS}
    done = sf.sgd(PROBLEMS["short"], **how)
    assert sf.sgd(PROBLEMS["short"], **how).expectations["product"].value.tobytes() == (
        done.expectations["product"].value.tobytes()
    )
    with pytest.raises(ValueError, match="another call"):
        sf.sgd(PROBLEMS["short"], **{**how, "expectations": {"other": lambda k, theta: theta[0]}})


def test_what_is_wrong_is_said():
    with pytest.raises(ValueError, match="error alone"):
        sf.sgd(PROBLEMS["short"], reduced=True, expectations=FUNCTIONS, **HOW)
    with pytest.raises(ValueError, match="up to 512 parameters"):
        sf.sgd(sf.LeastSquares(theta_star=np.zeros(513), noise_std=1.0), expectations=FUNCTIONS, **HOW)
    with pytest.raises(TypeError, match=r"function of \(k, theta\)"):
        sf.sgd(PROBLEMS["short"], expectations={"a": lambda k: k}, **HOW)
    with pytest.raises(ValueError, match="one number"):
        sf.sgd(PROBLEMS["short"], expectations={"a": lambda k, theta: theta}, **HOW)
