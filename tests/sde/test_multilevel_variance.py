"""Multilevel Monte Carlo on Sobol' points, with controls, on antithetic pairs: right, and with fewer path-steps."""

import math

import numpy as np
import pytest

import sdefast as sf
from sdefast.sde.coupled import Coupled
from sdefast.sde.extras import Extras
from sdefast.sde.quasi import SobolPaths
from sdefast.sde.schemes import SCHEMES
from sdefast.sde.sde import sde_of

STOCK = sf.BlackScholes(mu=0.05, sigma=0.2)
PRICE = STOCK.call_price(100.0, t=1.0, x0=100.0, rate=0.0)
FORWARD = {"x": (lambda t, x: x[0], lambda t: 100.0 * math.exp(0.05 * t))}


def call(t, x):
    return max(x[0] - 100.0, 0.0)


def price(accuracy=0.05, **options):
    return sf.multilevel(
        STOCK, call, **({"x0": 100.0, "t1": 1.0, "accuracy": accuracy, "seed": 1, "n_initial": 512} | options)
    )


@pytest.fixture(scope="module")
def plain():
    return price()


@pytest.mark.parametrize(
    ("options", "times_fewer"),
    [
        ({"sobol": True}, 5),
        ({"sobol": True, "method": "milstein", "controls": FORWARD}, 8),
        ({"antithetic": True}, 1.5),
        ({"controls": FORWARD}, 3),
        ({"controls": FORWARD, "antithetic": True, "method": "milstein"}, 2),
    ],
)
def test_the_price_with_fewer_path_steps(options, times_fewer, plain):
    """Bias and standard error are of the size that the result says: within 4.5 of them together."""
    run = price(**options)
    assert run.converged
    assert run.error <= 0.05
    assert abs(run.value - PRICE) < 4.5 * run.error
    assert plain.cost > times_fewer * run.cost
    assert run.cost == sum(r.cost for r in run.levels)


@pytest.mark.thorough
def test_standard_errors_are_right_over_seeds():
    """Of the mean over twenty seeds, beyond a bias that is common to all, and of their spread."""
    runs = [price(0.1, sobol=True, seed=seed, replicates=16, n_steps=2, refinement=2) for seed in range(20)]
    values, errors = (np.array([getattr(r, name) for r in runs]) for name in ("value", "standard_error"))
    spread = values.std(ddof=1) / math.sqrt((errors**2).mean())
    assert 0.5 < spread < 1.6  # sqrt of chi-square(19) / 19 lies within with probability 0.9999
    assert abs(values.mean() - PRICE) < 0.1 / math.sqrt(2) + 4.5 * values.std() / math.sqrt(20)


def test_points_go_on_where_they_were():
    """Some points after the others are the points of one call, and drive both paths of a level in their order."""
    paths = SobolPaths(np.linspace(0.0, 1.0, 9), 2, seed=5)
    parts = [paths.next(n) for n in (16, 16, 32)]
    z = np.concatenate(parts, axis=2)
    np.testing.assert_allclose(SobolPaths(paths.times, 2, seed=5).next(64), z, rtol=1e-8, atol=1e-12)
    assert np.abs(z.sum(0).mean(1)).max() < 0.05  # the ends of the paths; of independent ones 0.35
    assert z.var() == pytest.approx(1.0, abs=0.1)


def test_pairs_of_a_level_are_mirror_images():
    """The coupled step of a pair is the coupled step on opposite noise, in further rows."""
    sde, scheme = sde_of(STOCK), SCHEMES["milstein"]
    expectations = (("f", call),)
    pair = Coupled(sde, scheme, Extras(antithetic=True, expectations=expectations), 2)
    single = Coupled(sde, scheme, Extras(expectations=expectations), 2)
    assert pair.n_rows == 2 * single.n_rows == 4
    assert pair.step.outputs[:2] == single.step.outputs
    assert pair.step.n_draws == single.step.n_draws == 2
    assert len(pair.observed) == 2
    assert pair.start_rows(np.full((1, 1), 3.0), 0.0).tolist() == [[3.0]] * 4


@pytest.mark.thorough
def test_extremes_between_the_steps_stay_random():
    """An up-and-out payoff: uniforms beside the points; against plain multilevel."""
    how = {"x0": 100.0, "t1": 1.0, "accuracy": 0.1, "functionals": {"high": sf.functionals.running_max()}}

    def payoff(t, x, p, y):
        return max(130.0 - y.high, 0.0)

    one, other = (sf.multilevel(STOCK, payoff, **how, seed=2, method="milstein", sobol=s) for s in (False, True))
    assert abs(one.value - other.value) < 4.5 * math.hypot(one.error, other.error)


def test_the_same_bits_for_threads_and_a_gpu():
    how = {"sobol": True, "antithetic": True, "controls": FORWARD, "accuracy": 0.5, "replicates": 8, "refinement": 2}
    one, two = (price(**how, threads=threads) for threads in (1, 2))
    assert one == two
    gpu = price(**how, device="cuda")
    assert [r.n_paths for r in gpu.levels] == [r.n_paths for r in one.levels]
    assert gpu.value == pytest.approx(one.value, rel=1e-12)


def test_functions_that_are_not_finite():
    with pytest.raises(ValueError, match="f is finite on 0 of 512 paths of level 0"):
        sf.multilevel(STOCK, lambda t, x: math.log(-x[0]), x0=100.0, t1=1.0, accuracy=0.1, seed=1, sobol=True)
    with pytest.warns(RuntimeWarning, match="f is not finite on"):
        run = sf.multilevel(STOCK, lambda t, x: math.log(x[0] - 60), x0=100.0, t1=1.0, accuracy=0.1, seed=1, sobol=True)
    assert math.isfinite(run.value)
    assert sum(r.n_nonfinite for r in run.levels) > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"replicates": 7}, "replicates must be"),
        ({"n_steps": 2000, "sobol": True}, "n_steps is too large for sobol=True"),
        ({"sobol": True, "accuracy": 1e-3, "max_cost": 1e5}, "more than max_cost"),
        ({"antithetic": 2}, "antithetic must be"),
    ],
)
def test_refused(options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        price(**options)
