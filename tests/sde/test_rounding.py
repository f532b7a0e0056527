"""Steps that float32 rounds away are warned of, and nothing else is."""

import math
import warnings

import numpy as np
import pytest

import sdefast as sf
from sdefast.sde.models import MODELS

OPTIONS = {"t1": 1.0, "n_paths": 64, "seed": 3, "dtype": "float32"}
HALF = 2.0**-24  # half a unit in the last place of 1


def run(model, x0, n_steps=100, **options):
    return sf.simulate(model, x0=x0, n_steps=n_steps, **{**OPTIONS, **options})


def quiet(model, x0, n_steps=100, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return run(model, x0, n_steps, **options)


def own(drift, strength, **options):
    return sf.SDE(lambda t, x, p: drift, lambda t, x, p: strength, **options)


def test_the_steps_that_vanish_are_told_and_float64_has_them():
    model = sf.BrownianMotion(mu=1e-3, sigma=1e-6)
    with pytest.warns(
        RuntimeWarning, match=r"^float32 .* component 0 .* x0\[0\] = 1 a step of 1e-05 .*dtype='float64'$"
    ) as seen:
        lost = run(model, 1.0, 100_000)
    assert len(seen) == 1
    assert seen[0].filename == __file__
    assert (lost.x == 1.0).all()
    kept = quiet(model, 1.0, 100_000, dtype="float64")
    assert abs(kept.mean[0, 0] - model.mean(1.0, 1.0)) < 4.5 * kept.standard_error[0, 0]


def of(drift, strength, a, b, **options):
    """An equation with two parameters: for all their values it is compiled once."""
    return sf.SDE(lambda t, x, p: drift(p), lambda t, x, p: strength(p), params={"a": a, "b": b}, **options)


@pytest.mark.parametrize(
    "make",
    [
        lambda mu, sigma: (sf.BrownianMotion(mu, sigma), 1.0),
        lambda mu, sigma: (sf.BlackScholes(mu, sigma), 1.0),
        lambda mu, sigma: (sf.LinearSDE(A=np.zeros((2, 2)), b=[5.0, mu], B=[[0, 3.0], [sigma, 0]]), (1.0, 1.0)),
        lambda mu, sigma: (of(lambda p: (5.0, p.a), lambda p: (3.0, p.b), mu, sigma, dim=2), (1.0, -1.0)),
        lambda mu, sigma: (
            of(lambda p: (5.0, p.a), lambda p: ((0, 3.0), (p.b, 0)), mu, sigma, dim=2, noise="general", noise_dim=2),
            (1.0, 1.0),
        ),
        lambda mu, sigma: (of(lambda p: p.a, lambda p: p.b, mu, sigma, calculus="stratonovich"), 1.0),
        lambda mu, sigma: (
            sf.SDE(
                lambda t, x, p: p.a * x[0], lambda t, x, p: math.sqrt(x[0]) * p.b, params={"a": mu, "b": sigma}
            ),
            1.0,
        ),
    ],
)  # fmt: skip
def test_the_border_is_half_a_unit_in_the_last_place(make):
    """In steps of 1/64: noise of its own; drift where no noise carries it; neither where it is zero."""
    h = 1 / 64
    for mu, sigma, lost in (
        (0.0, 0.99 * HALF / math.sqrt(h), True),
        (0.0, 1.01 * HALF / math.sqrt(h), False),
        (0.99 * HALF / h, 0.0, True),
        (1.01 * HALF / h, 0.0, False),
        (0.99 * HALF / h, 1.01 * HALF / math.sqrt(h), False),  # the noise carries the drift over
        (1.0, 0.99 * HALF / math.sqrt(h), True),  # the drift does not carry the noise
        (0.0, 0.0, False),
    ):
        model, x0 = make(mu, sigma)
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            run(model, x0, 64, n_paths=4)
        assert bool(seen) == lost, (mu, sigma)


def test_noise_above_the_border_carries_a_drift_far_below_it():
    """Mean 1.001 of a drift of which every step is a hundredth of a unit in the last place."""
    model = sf.BrownianMotion(mu=1e-3, sigma=0.01)
    result = quiet(model, 1.0, 100_000, n_paths=4096)
    assert abs(result.mean[0, 0] - 1.001) < 4.5 * result.standard_error[0, 0]


@pytest.mark.parametrize("name", MODELS)
def test_usual_runs_are_not_warned_of(name):
    model = MODELS[name]()
    quiet(model, model.example_start, 10_000, n_paths=4)


def test_starts_without_drift_noise_or_size_are_not_warned_of():
    quiet(sf.BrownianMotion(mu=1e-12, sigma=1e-12), 0.0, 1000)
    quiet(sf.BlackScholes(mu=0.0, sigma=0.0), 1.0)
    quiet(sf.CEV(), 0.0)
    quiet(sf.Heston(), (100.0, 0.0), 1000)
    quiet(sf.OrnsteinUhlenbeck(kappa=2.0, theta=0.1, sigma=0.0), 0.1, 10_000, t1=100.0)  # 0.1 is not one of float32
    quiet(own((0.0, 1.0), (0.0, 1.0), dim=2), (1.0, 0.0))
    quiet(own(-1e7, 1e-3), 1e4)  # the first step leaves the start far behind
    quiet(sf.SDE(lambda t, x, p: 1 / x[0], lambda t, x, p: math.log(x[0])), 0.0, stop_when=lambda t, x: x[0] <= 0)


def test_a_drift_that_moves_nothing_in_all_its_steps_is_not_missed():
    quiet(own(0.9 * HALF, 0.0), 1.0, 64)
    with pytest.warns(RuntimeWarning, match="float32 rounds steps"):
        run(own(1.1 * HALF, 0.0), 1.0, 64)


def test_starts_of_paths_and_given_times():
    model, x0 = sf.BrownianMotion(sigma=1e-3), np.ones(64)
    quiet(model, x0)
    x0[5] = -1e5
    with pytest.warns(RuntimeWarning, match=r"x0\[0\] = -100000 "):
        run(model, x0)
    with pytest.warns(RuntimeWarning, match=r"a step of 0\.25 "):
        sf.simulate(model, x0=1e5, times=[0.0, 0.1, 0.5], n_paths=4, dtype="float32", seed=1)


def test_multilevel_warns_too():
    model = sf.BrownianMotion(mu=1e-7, sigma=1e-9)
    with pytest.warns(RuntimeWarning, match="float32 rounds steps of component 0 away"):
        sf.multilevel(model, lambda t, x: x[0], x0=1.0, t1=1.0, accuracy=0.1, dtype="float32", seed=1)


def test_drifts_that_sum_over_data():
    data = np.full(8, 1e-4)

    def drift(t, x, p):
        return sf.math.sum(lambda y: y * p.k, data)

    quiet(sf.SDE(drift, lambda t, x, p: 0.0, params={"k": 1.0}), 1.0, 64)
    with pytest.warns(RuntimeWarning, match=r"moves it by 3\.1e-08 \(drift\)"):
        run(sf.SDE(drift, lambda t, x, p: 0.0, params={"k": 2.5e-3}), 1.0, 64)
