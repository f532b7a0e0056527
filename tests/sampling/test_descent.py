"""Descents against their recursions, written out, and against the noisy chains that they are the mean of."""

import numpy as np
import pytest

import sdefast as sf
from sdefast.sampling.methods import DESCENTS, METHODS

MEAN, COVARIANCE = np.array([1.0, -0.5]), np.array([[1.0, 0.6], [0.6, 2.0]])
GAUSSIAN = sf.targets.Gaussian(MEAN, COVARIANCE)
STARTS = np.array([[3.0, 0.0], [-1.0, 4.0], [0.5, 0.5]])
DTYPES = {"float64": 1e-13, "float32": 2e-6}


def Lasso(centre, weight):  # noqa: N802
    """(x - centre)^2 / 2 + weight |x|, the second part by its proximal map."""
    return sf.targets.Composite(sf.targets.Gaussian(centre, 1.0), sf.targets.L1(weight))


def descent(step, x0, n_steps):
    """All states, (n_steps + 1, n, dim), of a step (x, before) -> x'."""
    states = [np.array(x0)]
    for k in range(n_steps):
        states.append(step(states[k], states[max(k - 1, 0)]))
    return np.stack(states)


def score(x):
    return (MEAN - x) @ np.linalg.inv(COVARIANCE)


@pytest.mark.parametrize("dtype", DTYPES)
def test_steps_are_those_of_the_literature(dtype):
    how = {"step_size": 0.3, "n_steps": 25, "x0": STARTS, "save_at": "all", "dtype": dtype}
    close = {"rtol": DTYPES[dtype], "atol": DTYPES[dtype]}
    plain = sf.gradient_descent(GAUSSIAN, **how)
    assert (plain.n_chains, plain.describe()["temperature"], plain.seed) == (3, 0.0, 0)
    np.testing.assert_allclose(plain.x, descent(lambda x, _: x + 0.3 * score(x), STARTS, 25), **close)
    heavy = sf.gradient_descent(GAUSSIAN, method="heavy-ball", momentum=0.6, **how)
    wanted = descent(lambda x, before: x + 0.3 * score(x) + 0.6 * (x - before), STARTS, 25)
    np.testing.assert_allclose(heavy.x, wanted, **close)


def test_schedules_change_the_step():
    rates = np.linspace(0.5, 0.1, 12)
    found = sf.gradient_descent(GAUSSIAN, step_size=rates, n_steps=12, x0=STARTS[0], save_at="all")
    x = [STARTS[0]]
    for h in rates:
        x.append(x[-1] + h * score(x[-1]))
    np.testing.assert_allclose(found.x[:, 0], x, rtol=1e-13)
    by_function = sf.gradient_descent(GAUSSIAN, step_size=lambda k: rates[k], n_steps=12, x0=STARTS[0], save_at="all")
    assert np.array_equal(by_function.x, found.x)


@pytest.mark.parametrize("dtype", DTYPES)
def test_targets_with_a_proximal_map_are_descended_by_it(dtype):
    """To the soft threshold of the centre, without the oscillation about the kink of plain gradient descent."""
    for centre, mode in ((3.0, 2.0), (-1.75, -0.75), (0.4, 0.0)):
        target = Lasso(centre, 1.0)
        found = sf.gradient_descent(target, step_size=0.4, n_steps=80, x0=[[5.0], [-2.0]], save_at="all", dtype=dtype)
        assert found.describe()["method"] == "proximal-gradient"

        def step(x, _, centre=centre):
            inside = x + 0.4 * (centre - x)
            return np.sign(inside) * np.maximum(abs(inside) - 0.4, 0)

        wanted = descent(step, [[5.0], [-2.0]], 80)
        np.testing.assert_allclose(found.x, wanted, rtol=DTYPES[dtype], atol=4 * DTYPES[dtype])
        assert found.x[-1, :, 0] == pytest.approx(mode, abs=1e-6)
    plain = sf.gradient_descent(Lasso(0.4, 1.0), method="gd", step_size=0.4, n_steps=80, x0=-2.0, save_at="all")
    assert abs(plain.x[-4:, 0, 0]).max() > 0.1


@pytest.mark.parametrize("method", ["gd", "heavy-ball"])
def test_the_exact_law_on_gaussians_is_the_descent_itself(method):
    found = sf.gradient_descent(GAUSSIAN, method=method, step_size=0.3, n_steps=20, x0=STARTS[1], save_at="all")
    np.testing.assert_allclose(found.x[:, 0], found.exact_mean, rtol=1e-13, atol=1e-14)
    assert not found.exact_variance.any()


def test_noisy_descent_is_langevin():
    """On a Gaussian the mean of ULA's chains is the descent: |z| < 5 at 200,000 chains, one call each."""
    how = {"step_size": 0.3, "n_steps": 10, "x0": STARTS[0], "save_at": "all"}
    plain = sf.gradient_descent(GAUSSIAN, **how)
    noisy = sf.langevin(GAUSSIAN, n_chains=200_000, seed=3, **how)
    assert type(noisy) is type(plain)
    np.testing.assert_allclose(noisy.exact_mean, plain.x[:, 0], rtol=1e-13)
    assert (abs(noisy.mean - plain.x[:, 0])[1:] / noisy.standard_error[1:]).max() < 5


@pytest.mark.parametrize("method", DESCENTS)
def test_going_on_and_saving_lose_no_bits(method, tmp_path):
    target = Lasso(3.0, 1.0) if method == "proximal-gradient" else GAUSSIAN
    how = {"step_size": 0.3, "x0": np.ones((5, target.dim)), "method": method}
    whole = sf.gradient_descent(target, n_steps=9, **how)
    first = sf.gradient_descent(target, n_steps=4, checkpoint=tmp_path / "kept", **how)
    first.save(tmp_path / "first.npz")
    last = sf.gradient_descent(target, n_steps=5, resume=sf.load(tmp_path / "first.npz"))
    assert last.iterations.tolist() == [9]
    assert np.array_equal(last.x, whole.x)
    assert np.array_equal(sf.gradient_descent(target, n_steps=9, threads=1, **how).x, whole.x)


def test_starts_may_be_drawn():
    """Two shards of 4096 descents are the descents of 8192 draws."""
    how = {"step_size": 0.3, "n_steps": 3, "x0": "sample", "seed": 7, "covariance": True}
    whole = sf.gradient_descent(GAUSSIAN, n_chains=8192, **how)
    parts = [sf.gradient_descent(GAUSSIAN, n_chains=4096, first_chain=first, **how) for first in (0, 4096)]
    assert np.array_equal(sf.merge(*parts).x, whole.x)
    start = GAUSSIAN.sample(8192, seed=7)
    np.testing.assert_allclose(whole.x[0], descent(lambda x, _: x + 0.3 * score(x), start, 3)[-1], atol=1e-13)
    np.testing.assert_allclose(whole.covariance[0], np.cov(whole.x[0].T), rtol=1e-10)


@pytest.mark.parametrize(("method", "bound"), [("gd", 1.0), ("heavy-ball", 1.5)])
def test_steps_beyond_what_is_stable_warn_and_diverge(method, bound):
    """N(0, 1/2): 2 / P = 1 and 2 (1 + beta) / P = 1.5 at beta = .5."""
    target, extra = sf.targets.Gaussian(0.0, 0.5), {"momentum": 0.5} if method == "heavy-ball" else {}
    how = {"method": method, "n_steps": 2000, "x0": 1.0, **extra}
    assert abs(sf.gradient_descent(target, step_size=0.98 * bound, **how).x[0, 0, 0]) < 1e-6
    with pytest.warns(RuntimeWarning, match=f"not below {bound:g}"):
        found = sf.gradient_descent(target, step_size=1.02 * bound, **how)
    assert abs(found.x[0, 0, 0]) > 1e6


def test_descents_are_no_sampling_methods():
    assert set(DESCENTS).isdisjoint(METHODS)
    assert all(method.normals(3) == method.bias_order == 0 for method in DESCENTS.values())


GOOD = {"step_size": 0.1, "n_steps": 3}
SAMPLED = {"n_chains": 1, "seed": 0}


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: sf.gradient_descent(GAUSSIAN, n_steps=3), TypeError, "needs step_size"),
        (lambda: sf.gradient_descent(GAUSSIAN, step_size=0.1), TypeError, "needs n_steps"),
        (lambda: sf.gradient_descent(sf.OrnsteinUhlenbeck(), **GOOD), TypeError, "sdefast.targets"),
        (lambda: sf.gradient_descent(GAUSSIAN, method="ula", **GOOD), ValueError, "method must be one of .*heavy-ball"),
        (lambda: sf.gradient_descent(GAUSSIAN, momentum=0.5, **GOOD), TypeError, "momentum is for .*heavy-ball"),
        (
            lambda: sf.gradient_descent(GAUSSIAN, method="heavy-ball", momentum=1.0, **GOOD), ValueError,
            "momentum must be between 0 and 1, got 1",
        ),
        (
            lambda: sf.gradient_descent(GAUSSIAN, method="proximal-gradient", **GOOD), ValueError,
            "needs smooth_score and prox .*; gd, heavy-ball work",
        ),
        (lambda: sf.langevin(GAUSSIAN, method="gd", **GOOD, **SAMPLED), ValueError, "method must be one of"),
        (
            lambda: sf.langevin(GAUSSIAN, n_steps=3, resume=sf.gradient_descent(GAUSSIAN, **GOOD)), TypeError,
            "result of an earlier langevin",
        ),
        (
            lambda: sf.gradient_descent(GAUSSIAN, n_steps=3, resume=sf.langevin(GAUSSIAN, **GOOD, **SAMPLED)),
            TypeError, "result of an earlier gradient_descent",
        ),
        (
            lambda: sf.gradient_descent(GAUSSIAN, n_steps=3, seed=1, resume=sf.gradient_descent(GAUSSIAN, **GOOD)),
            TypeError, "leave out seed",
        ),
    ],
)  # fmt: skip
def test_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
