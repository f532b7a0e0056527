"""Expectations, controls, antithetic pairs, histograms and given noise, against stored states and closed forms."""

import math

import numpy as np
import pytest
from conftest import TYPES, thorough_but, worst_z
from scipy import stats
from sde.common import BM, LEAST_P, LINE, MOST_Z, maximum_law

import sdefast as sf
from sdefast.sde.functionals import first_passage, running_max, running_min, time_average

# Expectations --------------------------------------------------------------------------------------------------------

STRIKE = 1.05


@pytest.mark.parametrize(
    "types", [("float32", "float32"), ("float64", "float64"), ("float64", "float32")], ids="-".join
)
def test_expectations_are_means_of_stored_states(types):
    asked = {
        "call": lambda t, x: max(x[0] - STRIKE, 0.0),
        "discounted": lambda t, x, p: math.exp(-p.mu * t) * x[0] * x[1],
        "asian": lambda t, x, p, y: max(y.average - 1.0, 0.0) + p.theta * y.high,
        "in the money": lambda t, x: x[0] > STRIKE,
        "a constant": lambda t, x: 2.5,
        "one of a tuple": lambda t, x, k=2.0: (k * x[1],),
    }
    run = sf.simulate(
        sf.Heston(), x0=(1.0, 0.04), t0=0.5, t1=1.5, n_steps=30, n_paths=5000, seed=4, save_at=10, dtype=types[0],
        noise_dtype=types[1], expectations=asked, functionals={"average": time_average(), "high": running_max()},
    )  # fmt: skip
    x, v, t = run.x[:, :, 0].astype(float), run.x[:, :, 1].astype(float), run.t[:, None]
    average, high = (run.functionals[name].values.astype(float) for name in ("average", "high"))
    expected = {
        "call": np.maximum(x - STRIKE, 0),
        "discounted": np.exp(-0.05 * t) * x * v,
        "asian": np.maximum(average - 1, 0) + 0.04 * high,
        "in the money": x > (np.float32(STRIKE) if types[0] == "float32" else STRIKE),
        "a constant": np.full_like(x, 2.5),
        "one of a tuple": 2 * v,
    }
    rtol = 2e-6 if types[0] == "float32" else 1e-12
    for name, values in expected.items():
        result = run.expectations[name]
        np.testing.assert_allclose(result.value, values.mean(1), rtol=rtol, atol=rtol / 100)
        np.testing.assert_allclose(
            result.standard_error, values.std(1, ddof=1) / 5000**0.5, rtol=100 * rtol, atol=rtol / 100
        )
        assert (result.n_nonfinite == 0).all()


@pytest.mark.parametrize("method", ["exact", "euler-maruyama"])
def test_the_price_of_a_call(method):
    model, x0, strike = sf.BlackScholes(mu=0.05, sigma=0.2), 100.0, 105.0
    run = sf.simulate(
        model, x0=x0, t1=1.0, n_steps=1 if method == "exact" else 252, n_paths=20_000, paths=False, seed=1,
        method=method,
        expectations={"call": lambda t, x, p: math.exp(-p.mu * t) * max(x[0] - strike, 0.0)},
    )  # fmt: skip
    call = run.expectations["call"]
    assert worst_z(call.value, model.call_price(strike, 1.0, x0), call.standard_error) < MOST_Z


def test_expectations_over_what_is_finite():
    with pytest.warns(RuntimeWarning, match=r"expectations\['log'\] is not finite on \d+ of 1,000 paths"):
        run = sf.simulate(BM, n_paths=1000, expectations={"log": lambda t, x: math.log(x[0])}, **LINE)
    x = run.x[-1, :, 0]
    log = run.expectations["log"]
    assert log.n_nonfinite[0] == (x < 0).sum()
    np.testing.assert_allclose(log.value[0], np.log(x[x > 0]).mean(), rtol=1e-12)


def test_expectations_of_a_single_path():
    run = sf.simulate(BM, n_paths=1, expectations={"x": lambda t, x: x[0]}, **LINE)
    assert run.expectations["x"].value[0] == run.x[0, 0, 0]
    assert math.isnan(run.expectations["x"].standard_error[0])
    assert sf.simulate(BM, n_paths=1, **LINE).expectations == {}


def multiple(k):
    return lambda t, x: k * x[0]


@pytest.mark.thorough
def test_as_many_expectations_as_there_may_be():
    names = [f"e{i}" for i in range(63)]
    asked = {name: multiple(k) for k, name in enumerate(names)}
    run = sf.simulate(BM, n_paths=100, expectations=asked, **LINE)
    for k, name in enumerate(names):
        np.testing.assert_allclose(run.expectations[name].value, k * run.mean[:, 0], rtol=1e-12)
    controls = {"c": (lambda t, x: x[0], 0.0)}
    controlled = sf.simulate(BM, n_paths=100, expectations=asked, controls=controls, **LINE)
    np.testing.assert_allclose(controlled.expectations["e7"].value, 0.0, atol=1e-12)


class Payoff:
    """Numbers that are changed from outside."""

    def __init__(self):
        self.level, self.weights = 0.0, np.array([1.0, 0.0])

    def __call__(self, t, x):
        return max(x[0] - self.level, 0.0)

    def method(self, t, x):
        return self.weights[0] * x[0] + self.weights[1]


shift = 0.0


def shifted(t, x):
    return helped(x[0])


def helped(v):
    return v + shift


def test_functions_whose_numbers_have_changed():
    """A function is taken as it is at the call, also if it was called before with other numbers."""
    global shift
    payoff, strike, table = Payoff(), 0.0, {"a": [1.0]}
    asked = {
        "closure": lambda t, x: max(x[0] - strike, 0.0), "object": payoff, "method": payoff.method, "global": shifted,
        "table": lambda t, x: table["a"][0] * x[0],
    }  # fmt: skip
    options = {
        "stop_when": lambda t, x: x[0] > strike + 1.0,
        "functionals": {"high": running_max(lambda t, x: x[0] - strike)},
    }

    def numbers():
        run = sf.simulate(BM, n_paths=100, expectations=asked, **LINE)
        stopped = sf.simulate(BM, n_paths=100, **options, **LINE)
        x = run.x[-1, :, 0]
        expected = {
            "closure": np.maximum(x - strike, 0), "object": np.maximum(x - payoff.level, 0),
            "method": payoff.weights[0] * x + payoff.weights[1], "global": x + shift, "table": table["a"][0] * x,
        }  # fmt: skip
        for name, values in expected.items():
            np.testing.assert_allclose(run.expectations[name].value[0], values.mean(), rtol=1e-12, err_msg=name)
        assert (stopped.x[-1, :, 0] < strike + 1.0).sum() == stopped.stop_time.n_nonfinite[-1]
        high = stopped.functionals["high"].values[-1]
        assert ((high < 1.0 - 1e-12) == np.isinf(stopped.stop_time.values[-1])).all()

    numbers()
    strike, payoff.level, shift, table["a"][0] = 0.5, 0.25, 3.0, -1.0
    payoff.weights[1] = 5.0
    numbers()
    strike, payoff.level, shift, table["a"][0] = 0.0, 0.0, 0.0, 1.0
    payoff.weights[1] = 0.0
    numbers()


# Controls ------------------------------------------------------------------------------------------------------------


def regression(y, controls, known):
    """Mean of y corrected by controls (n, k) whose means are known, and its standard error, by least squares."""
    n, k = controls.shape
    design = np.column_stack([np.ones(n), controls - known])
    coefficients, *_ = np.linalg.lstsq(design, y, rcond=None)
    residuals = y - design @ coefficients
    return coefficients[0], math.sqrt(residuals @ residuals / (n - 1 - k) / n)


def test_controls_against_least_squares():
    model, n = sf.BlackScholes(mu=0.1, sigma=0.3), 3000
    settings = {"x0": 1.0, "t1": 1.0, "n_steps": 8, "n_paths": n, "seed": 5, "method": "exact", "save_at": "all"}
    asked = {"call": lambda t, x: max(x[0] - 1.0, 0.0), "cube": lambda t, x: x[0] ** 3}
    mean, second = lambda t: np.exp(0.1 * t), lambda t: np.exp(0.29 * t)
    run = sf.simulate(
        model, expectations=asked, **settings,
        controls={"price": (lambda t, x: x[0], mean), "square": (lambda t, x: x[0] ** 2, second(np.arange(9) / 8))},
    )  # fmt: skip
    for k in range(1, 9):
        x = run.x[k, :, 0]
        controls, known = np.column_stack([x, x**2]), np.array([mean(run.t[k]), second(run.t[k])])
        for name, y in (("call", np.maximum(x - 1, 0)), ("cube", x**3)):
            result = run.expectations[name]
            expected = regression(y, controls, known)
            np.testing.assert_allclose((result.value[k], result.standard_error[k]), expected, rtol=1e-8)
    assert run.expectations["call"].value[0] == 0.0  # at the start nothing varies
    assert run.expectations["cube"].value[0] == pytest.approx(1.0)
    assert run.expectations["cube"].standard_error[0] == pytest.approx(0.0, abs=1e-12)


def test_controls_lower_the_error_and_do_not_shift_the_mean():
    model, x0, strike = sf.BlackScholes(mu=0.05, sigma=0.2), 100.0, 90.0
    price = model.call_price(strike, 1.0, x0, rate=0.0)
    settings = {"x0": x0, "t1": 1.0, "n_steps": 1, "n_paths": 20_000, "seed": 6, "method": "exact", "paths": False}
    call = {"call": lambda t, x: max(x[0] - strike, 0.0)}
    plain = sf.simulate(model, expectations=call, **settings).expectations["call"]
    known = {"price": (lambda t, x: x[0], x0 * math.exp(0.05))}
    one = sf.simulate(model, expectations=call, controls=known, **settings).expectations["call"]
    known |= {"log": (lambda t, x: math.log(x[0]), math.log(x0) + 0.03)}
    two = sf.simulate(model, expectations=call, controls=known, **settings).expectations["call"]
    known |= {"the same": (lambda t, x: 2 * x[0] + 1, 2 * x0 * math.exp(0.05) + 1)}
    three = sf.simulate(model, expectations=call, controls=known, **settings).expectations["call"]
    assert one.standard_error < 0.3 * plain.standard_error
    assert two.standard_error < 0.7 * one.standard_error
    for result in (plain, one, two):
        assert worst_z(result.value, price, result.standard_error) < MOST_Z
    np.testing.assert_allclose(three.value, two.value, rtol=1e-6)  # nothing new, and no harm


def test_a_control_that_does_not_vary():
    asked = {"x": lambda t, x: x[0]}
    plain = sf.simulate(BM, n_paths=100, expectations=asked, **LINE).expectations["x"]
    run = sf.simulate(BM, n_paths=100, expectations=asked, controls={"c": (lambda t, x: 3.0, 3.0)}, **LINE)
    np.testing.assert_allclose(run.expectations["x"].value, plain.value, rtol=1e-12)


def test_controls_of_user_equations_and_functionals():
    """A list of expected values, under a chain that is compiled."""
    sde = sf.SDE(lambda t, x, p: p.mu * x[0], lambda t, x, p: p.s * x[0], params={"mu": 0.1, "s": 0.2})
    run = sf.simulate(
        sde, x0=1.0, t1=1.0, n_steps=10, n_paths=5000, seed=2, save_at=5, functionals={"average": time_average()},
        expectations={"asian": lambda t, x, p, y: max(y.average - 1.0, 0.0)},
        controls={"price": (lambda t, x: x[0], [1.0, 1.01**5, 1.01**10])},
    )  # fmt: skip
    y, x = np.maximum(run.functionals["average"].values[-1] - 1, 0), run.x[-1, :, 0]
    expected = regression(y, x[:, None], np.array([1.01**10]))
    result = run.expectations["asian"]
    np.testing.assert_allclose((result.value[-1], result.standard_error[-1]), expected, rtol=1e-8)


# Antithetic pairs ----------------------------------------------------------------------------------------------------


def pair_error(values):
    """Standard error of the mean over pairs: path i + n / 2 mirrors path i."""
    half = values.shape[1] // 2
    return (0.5 * (values[:, :half] + values[:, half:])).std(1, ddof=1) / math.sqrt(half)


def test_antithetic_pairs():
    n, options = 1400, {"save_at": 5, "n_paths": 1400}
    asked = {"square": lambda t, x: x[0] ** 2, "asian": lambda t, x, p, y: math.exp(y.average)}
    run = sf.simulate(
        sf.BrownianMotion(0.3, 0.7), antithetic=True, expectations=asked, histogram=(-3.0, 3.0, 20), extremes=True,
        functionals={"average": time_average(), "high": running_max()}, **options, **LINE | {"x0": 1.0},
    )  # fmt: skip
    x = run.x[:, :, 0]
    assert run.x.shape == (5, n, 1)
    assert run.n_paths == n
    np.testing.assert_allclose(
        x[:, : n // 2] + x[:, n // 2 :], np.repeat(2 + 0.6 * run.t[:, None], n // 2, 1), rtol=1e-13
    )
    first = sf.simulate(sf.BrownianMotion(0.3, 0.7), save_at=5, n_paths=n // 2, **LINE | {"x0": 1.0})
    np.testing.assert_allclose(x[:, : n // 2], first.x[:, :, 0], rtol=1e-13)
    np.testing.assert_allclose(run.mean[:, 0], x.mean(1), rtol=1e-12)
    np.testing.assert_allclose(run.variance[:, 0], x.var(1, ddof=1), rtol=1e-11, atol=1e-15)
    np.testing.assert_allclose(run.standard_error[:, 0], pair_error(x), atol=1e-12)
    assert (run.minimum[:, 0] == x.min(1)).all()
    assert (run.maximum[:, 0] == x.max(1)).all()
    for k in range(5):
        np.testing.assert_array_equal(run.histogram[k, 0], np.histogram(x[k], 20, (-3, 3))[0])
    for name, result in run.functionals.items():
        values = result.values
        assert values.shape == (5, n)
        np.testing.assert_allclose(result.mean, values.mean(1), rtol=1e-12)
        np.testing.assert_allclose(result.variance, values.var(1, ddof=1), rtol=1e-11, atol=1e-15, err_msg=name)
        np.testing.assert_allclose(result.standard_error, pair_error(values), rtol=1e-9, atol=1e-12, err_msg=name)
    average = run.functionals["average"].values
    np.testing.assert_allclose(
        average[:, : n // 2] + average[:, n // 2 :], 2 + 0.3 * run.t[:, None] + 0 * x[:, : n // 2]
    )
    for name, values in (("square", x**2), ("asian", np.exp(average))):
        result = run.expectations[name]
        np.testing.assert_allclose(result.value, values.mean(1), rtol=1e-12)
        np.testing.assert_allclose(result.standard_error, pair_error(values), rtol=1e-9, atol=1e-12)
    # The maximum of a path and of its mirror image: not the same uniforms for both.
    high = run.functionals["high"].values[-1] - 1
    assert stats.kstest(high[: n // 2], lambda m: maximum_law(m, 1.0, 0.3, 0.7)).pvalue > LEAST_P
    assert stats.kstest(high[n // 2 :], lambda m: maximum_law(m, 1.0, 0.3, 0.7)).pvalue > LEAST_P


def arrival(d, e, variance, normal, u):
    """The part of a bridge's time after which it has gone d up, at its maximum if it then comes down by e."""
    p, q, y = d / (d + e), e / (d + e), variance * (normal / (d + e)) ** 2
    r = 2 * p * q + y + np.sqrt(y * (y + 4 * p * q))
    sooner = u * (r + 2 * p * q) <= q * (r + 2 * p * p)
    return np.where(sooner, 2 * p * p / (r + 2 * p * p), r / (r + 2 * q * q))


@pytest.mark.parametrize(("dtype", "noise_dtype"), thorough_but(TYPES[:1], TYPES))
def test_antithetic_functionals_against_numpy(dtype, noise_dtype):
    """Where a path sees z and u, its mirror image sees -z and 1 - u: in every step, for every functional."""
    n, n_steps, level = 500, 3, 0.4
    run = sf.simulate(
        BM, x0=0.0, t1=1.0, n_steps=n_steps, n_paths=2 * n, seed=9, antithetic=True, save_at="all", dtype=dtype,
        noise_dtype=noise_dtype,
        functionals={"high": running_max(), "low": running_min(), "passage": first_passage(level)},
    )  # fmt: skip
    z = sf.noise.normals(9, n_steps, n, dtype=noise_dtype).astype(float)
    u = sf.noise.uniforms(9, 6 * n_steps, n, dtype=dtype).astype(float).reshape(n_steps, 6, n)
    z, u, h = np.concatenate([z, -z], axis=1), np.concatenate([u, 1 - u], axis=2), 1 / n_steps
    x, high, low = np.zeros((3, 2 * n))
    passage = np.full(2 * n, math.inf)
    for k in range(n_steps):
        d = math.sqrt(h) * z[k]
        up, down = np.sqrt(d * d - 2 * h * np.log(u[k, :2]))
        high, low = np.maximum(high, x + (d + up) / 2), np.minimum(low, x + (d - down) / 2)
        reach, way = np.where(x < level, up, down), np.abs(level - x)
        passes = np.isinf(passage) & (way + np.abs(x + d - level) <= reach)
        there = (reach + np.where(x < level, d, -d)) / 2
        back, length, angle = np.maximum(reach - there, 0), np.sqrt(-2 * np.log(u[k, 2])), 2 * np.pi * u[k, 3]
        top = arrival(there, back, h, length * np.cos(angle), u[k, 4])
        share = top * arrival(way, np.maximum(there - way, 0), h * top, length * np.sin(angle), u[k, 5])
        passage, x = np.where(passes, h * (k + share), passage), x + d
        for name, values in (("high", high), ("low", low), ("passage", passage)):
            close = {"rtol": 2e-4, "atol": 2e-5} if dtype == "float32" else {"rtol": 1e-9, "atol": 1e-12}
            np.testing.assert_allclose(run.functionals[name].values[k + 1], values, **close, err_msg=name)
    assert 0.1 < np.isfinite(passage[:n]).mean() < 0.9


def test_antithetic_errors_of_the_variance():
    """From the fourth moment over n / 2 pairs: exact where squares of a pair agree, as here; the error's z has std 1.

    The variance's z is skewed, like chi-square, of which its mean says something.
    """
    n, z = 800, []
    for i in range(100):
        run = sf.simulate(
            sf.BrownianMotion(mu=0.3, sigma=0.5), x0=0.0, t1=1.0, n_steps=1, n_paths=n, first_chain=i * n, seed=8,
            antithetic=True,
        )  # fmt: skip
        x = run.x[-1, :, 0]
        m2, m4 = (((x - x.mean()) ** k).mean() for k in (2, 4))
        assert run.variance_standard_error[-1, 0] == pytest.approx(math.sqrt((m4 - m2**2) / (n / 2)), rel=1e-9)
        z.append((run.variance[-1, 0] - 0.25) / run.variance_standard_error[-1, 0])
    assert abs(np.mean(z)) < 5 / math.sqrt(100) + 0.1
    assert abs(np.std(z) - 1) < 5 / math.sqrt(2 * 100)


def test_antithetic_pairs_lower_the_error():
    model = sf.BlackScholes(mu=0.05, sigma=0.2)
    settings = {"x0": 100.0, "t1": 1.0, "n_steps": 50, "n_paths": 20_000, "seed": 3, "paths": False}
    call = {"call": lambda t, x: max(x[0] - 100.0, 0.0)}
    plain = sf.simulate(model, expectations=call, **settings)
    pairs = sf.simulate(model, expectations=call, antithetic=True, **settings)
    assert pairs.standard_error < 0.2 * plain.standard_error
    assert pairs.expectations["call"].standard_error < 0.8 * plain.expectations["call"].standard_error
    for run in (plain, pairs):
        call_ = run.expectations["call"]
        assert worst_z(run.mean, model.mean(1.0, 100.0), run.standard_error) < MOST_Z
        assert worst_z(call_.value, model.call_price(100.0, 1.0, 100.0, rate=0.0), call_.standard_error) < MOST_Z


def test_antithetic_stops_starts_and_controls():
    x0 = np.linspace(-0.5, 0.5, 600)
    run = sf.simulate(
        BM, antithetic=True, stop_when=lambda t, x: t > 0.5 or x[0] ** 2 > 0.3, save_at="all", n_paths=600,
        expectations={"square": lambda t, x: x[0] ** 2}, controls={"x": (lambda t, x: x[0], 0.0)}, **LINE | {"x0": x0},
    )  # fmt: skip
    np.testing.assert_array_equal(run.x[0, :, 0], x0)
    values = run.stop_time.values[-1:]
    assert np.isfinite(values).all()
    np.testing.assert_allclose(run.stop_time.mean[-1], values.mean(), rtol=1e-12)
    np.testing.assert_allclose(run.stop_time.standard_error[-1:], pair_error(values), rtol=1e-10)
    x = run.x[-1, :, 0]
    pairs = 0.5 * (x[:300] + x[300:])
    squares = 0.5 * (x[:300] ** 2 + x[300:] ** 2)
    result = run.expectations["square"]
    expected = regression(squares, pairs[:, None], np.zeros(1))
    np.testing.assert_allclose((result.value[-1], result.standard_error[-1]), expected, rtol=1e-8)


def test_antithetic_signs():
    sde = sf.SDE(lambda t, x, p: -x[0], lambda t, x, p: 1.0)
    run = sf.simulate(sde, antithetic=True, method="weak-euler", n_paths=100, save_at="all", **LINE)
    np.testing.assert_allclose(run.x[:, :50], -run.x[:, 50:], atol=1e-14)
    assert (np.abs(run.standard_error) < 1e-14).all()


# Histograms ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_histograms(dtype):
    low, high, bins = -1.0, 1.5, 40
    run = sf.simulate(
        sf.Heston(), x0=(0.2, 0.5), t1=1.0, n_steps=20, n_paths=5000, seed=3, save_at=10, dtype=dtype,
        histogram=(low, high, bins), functionals={"high": running_max()},
    )  # fmt: skip
    assert run.histogram.shape == (3, 2, bins)
    np.testing.assert_array_equal(run.histogram_edges, np.linspace(low, high, bins + 1))
    for k in range(3):
        for i in range(2):
            x = run.x[k, :, i].astype(float)
            bin_ = np.floor((x - low) * (bins / (high - low))).astype(int)
            expected = np.bincount(bin_[(bin_ >= 0) & (bin_ < bins)], minlength=bins)
            np.testing.assert_array_equal(run.histogram[k, i], expected)
    q = np.array([0.05, 0.5, 0.9])
    for k in (1, 2):
        for i in range(2):
            x = run.x[k, :, i].astype(float)
            exact = np.quantile(x, q)
            inside = (exact > low) & (exact < high)
            below = [(x < edge).sum() for edge in run.histogram_edges]
            expected = np.interp(q * x.size, below, run.histogram_edges)
            np.testing.assert_allclose(run.quantile(q)[inside, k, i], expected[inside], rtol=1e-12)
            np.testing.assert_allclose(expected[inside], exact[inside], atol=2.5 / 40)  # the width of a bin
            assert np.isnan(run.quantile(q)[~inside, k, i]).all()
    assert run.quantile(0.5).shape == (3, 2)
    assert run.quantile(np.zeros((2, 3))).shape == (2, 3, 3, 2)


def test_quantiles_are_linear_within_a_bin():
    run = sf.simulate(
        BM, n_paths=4, normals=np.array([[0.1, 0.3, 1.1, 1.2]]), histogram=(0.0, 2.0, 2), **LINE | {"n_steps": 1}
    )
    assert run.histogram[0, 0].tolist() == [2, 2]
    np.testing.assert_allclose(run.quantile(np.array([0.0, 0.25, 0.5, 0.75, 1.0]))[:, 0, 0], [0, 0.5, 1, 1.5, 2])
    wide = sf.simulate(
        BM, n_paths=4, normals=np.array([[0.1, 0.3, 1.1, 1.2]]), histogram=(-10.0, 10.0, 20), **LINE | {"n_steps": 1}
    )
    np.testing.assert_allclose(wide.quantile(np.array([0.0, 1.0]))[:, 0, 0], [0, 2])
    for outside in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match=r"q must be (within|finite)"):
            run.quantile(outside)


def test_values_outside_the_bins():
    run = sf.simulate(
        BM, n_paths=5, normals=np.array([[-9.0, 0.1, 0.1, 0.2, 9.0]]), histogram=(0.0, 1.0, 4), **LINE | {"n_steps": 1}
    )
    assert run.histogram[0, 0].tolist() == [3, 0, 0, 0]
    assert np.isnan(run.quantile(0.0)[0, 0])
    assert np.isnan(run.quantile(0.99)[0, 0])
    assert 0 < run.quantile(0.5)[0, 0] < 0.25
    with pytest.raises(AttributeError, match=r"pass histogram=\(low, high, bins\)"):
        _ = sf.simulate(BM, n_paths=5, **LINE).histogram


def test_a_control_with_another_mean():
    with pytest.warns(RuntimeWarning, match=r"controls\['c'\] has a mean that is .* standard errors from the stated"):
        sf.simulate(
            BM,
            n_paths=1000,
            expectations={"x": lambda t, x: x[0]},
            controls={"c": (lambda t, x: x[0] ** 2, 9.0)},
            **LINE,
        )


# Given noise ---------------------------------------------------------------------------------------------------------


def test_given_normals():
    z = np.random.default_rng(0).normal(size=(20, 30, 1))
    for dtype in ("float32", "float64"):
        run = sf.simulate(BM, n_paths=30, normals=z, save_at="all", dtype=dtype, **LINE)
        expected = np.vstack([np.zeros((1, 30)), np.cumsum(z[:, :, 0], axis=0) * math.sqrt(1 / 20)])
        np.testing.assert_allclose(run.x[:, :, 0], expected, atol=1e-5 if dtype == "float32" else 1e-14)
    flat = sf.simulate(BM, n_paths=30, normals=z[:, :, 0], **LINE)
    assert flat.x.tobytes() == sf.simulate(BM, n_paths=30, normals=z.tolist(), **LINE).x.tobytes()
    pairs = sf.simulate(BM, n_paths=60, normals=z, antithetic=True, **LINE)
    np.testing.assert_allclose(pairs.x[0, :30, 0], flat.x[0, :, 0], atol=1e-14)
    np.testing.assert_allclose(pairs.x[0, 30:, 0], -flat.x[0, :, 0], atol=1e-14)
