"""Jumps: counts of exact law, the same draws through plain numpy, the same bits however a run is cut, bad input."""

import math
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
from conftest import worst_z
from scipy import stats
from sde.common import LEAST_P, MOST_Z

import sdefast as sf
from sdefast.run.boundaries import reflect
from sdefast.sde.functionals import first_passage, running_max, time_average

NONE = lambda t, x, p: 0.0  # noqa: E731


def process(intensity, **options):
    """A process that counts jumps."""
    return sf.SDE(NONE, NONE, jumps=sf.jumps.CompoundPoisson(intensity, lambda t, x, p: 1.0, **options))


def asset(jumps, **params):
    params = {"mu": 0.05, "sigma": 0.2, **params}
    return sf.SDE(lambda t, x, p: p.mu * x[0], lambda t, x, p: p.sigma * x[0], params=params, jumps=jumps)


MERTON = asset(sf.jumps.Merton(3.0, -0.1, 0.15))
RUN = {"x0": 1.0, "t1": 1.0, "n_steps": 40, "seed": 5}


# The number of jumps -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mean", "dtype"), [(0.05, "float32"), (3.0, "float32"), (0.4, "float64"), (15.0, "float64")])
def test_the_number_in_a_step_is_poisson(mean, dtype):
    n = 200_000
    counts = sf.simulate(process(mean), x0=0.0, t1=1.0, n_steps=1, n_paths=n, seed=1, dtype=dtype).x[0, :, 0]
    seen = np.bincount(counts.astype(int))
    assert (counts == counts.astype(int)).all()
    expected = n * stats.poisson(mean).pmf(np.arange(len(seen)))
    usual = expected > 5
    others = n - seen[usual].sum(), n - expected[usual].sum()
    observed, wanted = np.append(seen[usual], others[0]), np.append(expected[usual], others[1])
    assert stats.chisquare(observed, wanted, ddof=0).pvalue > LEAST_P


def test_intensities_of_time_of_parameters_and_of_the_state():
    n = 50_000
    sine = process(lambda t, x: 2.0 + 2.0 * math.sin(3.0 * t))
    run = sf.simulate(sine, x0=0.0, t1=2.0, n_steps=10, n_paths=n, seed=2, save_at="all")
    expected = 2.0 * run.t + 2.0 / 3.0 * (1.0 - np.cos(3.0 * run.t))
    assert worst_z(run.mean[1:, 0], expected[1:], np.sqrt(expected[1:] / n)) < MOST_Z
    assert worst_z(run.variance[1:, 0], expected[1:], run.variance_standard_error[1:, 0]) < MOST_Z
    # A Hawkes process: every jump by 1 raises the rate a + b x, which decays at the rate c.
    a, b, c = 1.0, 1.5, 4.0
    hawkes = sf.SDE(
        lambda t, x, p: -p.c * x[0], NONE, params={"a": a, "b": b, "c": c},
        jumps=sf.jumps.CompoundPoisson(lambda t, x, p: p.a + p.b * x[0], lambda t, x, p: 1.0, bound=60.0),
    )  # fmt: skip
    run = sf.simulate(hawkes, x0=0.0, t1=1.5, n_steps=1500, n_paths=20_000, seed=3, paths=False)
    expected = a / (c - b) * (1 - math.exp(-(c - b) * 1.5))
    assert worst_z(run.mean[0, 0], expected, run.standard_error[0, 0]) < MOST_Z
    assert run.n_nonfinite[0] == 0


def test_a_rate_above_its_bound_is_not_averaged():
    beyond = process(lambda t, x: 1.0 + x[0], bound=3.0)
    with pytest.warns(RuntimeWarning, match="no longer finite"):
        run = sf.simulate(beyond, x0=0.0, t1=3.0, n_steps=30, n_paths=1000, seed=1)
    assert run.n_nonfinite[0] > 100


# The same draws in numpy ---------------------------------------------------------------------------------------------


def counted(u, mean):
    """The number of jumps, and what is uniform besides."""
    k = np.arange(0, 40)
    tails = stats.poisson(np.atleast_1d(mean)[:, None]).sf(k - 1)  # P(N >= k)
    n = (u[:, None] < tails).sum(1) - 1
    tails = np.broadcast_to(tails, (len(u), len(k)))
    rows = np.arange(len(u))
    upper, lower = tails[rows, n], tails[rows, n + 1]
    return n, (u - lower) / (upper - lower)


def sizes(u, n, share, mean, std):
    """Merton's, of float64 draws."""
    z = np.sqrt(-2 * np.log(share)) * np.cos(2 * np.pi * (u * 2.0**37 % 1))
    return n * mean + np.sqrt(n) * std * z


def stepped(n_paths, n_steps, h, rate):
    """Black and Scholes with Merton's jumps, of the rate that a state has, by Euler's method."""
    z, u = (of(5, n_steps, n_paths) for of in (sf.noise.normals, sf.noise.uniforms))
    x, path = np.ones(n_paths), [np.ones(n_paths)]
    for k in range(n_steps):
        x = x * (1 + 0.05 * h + 0.2 * math.sqrt(h) * z[k])
        n, share = counted(u[k], rate(x) * h)
        x = np.where(n > 0, x * np.exp(sizes(u[k], n, share, -0.1, 0.15)), x)
        path.append(x)
    return np.array(path)


@pytest.mark.parametrize("depends", [False, True])
def test_the_same_draws_in_numpy(depends):
    """Normals are those of a run without jumps; what jumps draw is one uniform a step."""
    rate = (lambda x: 4.0 / (1.0 + x)) if depends else (lambda x: np.full(len(x), 3.0))
    jumps = sf.jumps.Merton(lambda t, x: 4.0 / (1.0 + x[0]), -0.1, 0.15, bound=4.0) if depends else MERTON.jumps
    run = sf.simulate(asset(jumps), n_paths=3000, save_at="all", **RUN)
    np.testing.assert_allclose(run.x[:, :, 0], stepped(3000, 40, 0.025, rate), rtol=1e-9)


@pytest.mark.parametrize("rate", [0.05, 3.0])
def test_numbers_of_jumps_are_those_of_the_uniforms_whose_words_are_drawn(rate):
    """Jumps by the factor e: the logarithm counts them, whether they are looked for or computed for all paths."""
    sde = sf.SDE(NONE, NONE, jumps=sf.jumps.Merton(rate, 1.0, 0.0))
    run = sf.simulate(sde, x0=1.0, t1=2.0, n_steps=2, n_paths=5000, seed=5, dtype="float32", save_at="all")
    u = sf.noise.uniforms(5, 2, 5000, dtype="float32").astype(float)
    n = np.cumsum([counted(row, rate)[0] for row in u], axis=0)
    np.testing.assert_allclose(np.log(run.x[1:, :, 0]), n, atol=1e-5)


def test_without_jumps_a_path_has_the_bits_that_it_has_without():
    without, never = asset(None), asset(sf.jumps.Merton(0.0, -0.1, 0.15))
    for dtype in ("float32", "float64"):
        runs = [sf.simulate(sde, n_paths=500, dtype=dtype, **RUN) for sde in (without, never)]
        assert runs[0].x.tobytes() == runs[1].x.tobytes()


def test_laws_of_sizes():
    """One step: the law of the sum, as a mixture over its number."""
    n_paths, mean = 50_000, 0.5
    double = sf.SDE(NONE, NONE, jumps=sf.jumps.Kou(mean, 0.3, 4.0, 2.0))
    own = sf.SDE(
        NONE, NONE, params={"scale": 0.5},
        jumps=sf.jumps.CompoundPoisson(
            mean, lambda t, x, p, u, z: p.scale * (-math.log(u[0]) - math.log(u[1]) + 0.3 * z[0]), uniforms=2, normals=1
        ),
    )  # fmt: skip
    rng = np.random.default_rng(1)
    n = rng.poisson(mean, 200_000)
    ups = rng.binomial(n, 0.3)
    with np.errstate(invalid="ignore"):
        kou = rng.gamma(ups) / 4.0 - rng.gamma(n - ups) / 2.0
        gamma = 0.5 * (rng.gamma(2 * n) + 0.3 * np.sqrt(n) * rng.standard_normal(len(n)))
    normal = sf.SDE(NONE, NONE, jumps=sf.jumps.Merton(mean, -0.1, 0.3))
    merton = np.exp(-0.1 * n + 0.3 * np.sqrt(n) * rng.standard_normal(len(n)))
    for sde, dtype, expected, start in (
        (double, "float64", np.exp(kou), 1.0), (double, "float32", np.exp(kou), 1.0), (own, "float32", gamma, 0.0),
        (normal, "float32", merton, 1.0),
    ):  # fmt: skip
        x = sf.simulate(sde, x0=start, t1=1.0, n_steps=1, n_paths=n_paths, seed=4, dtype=dtype).x[0, :, 0]
        assert worst_z((x == start).mean(), math.exp(-mean), (math.exp(-mean) / n_paths) ** 0.5) < MOST_Z
        assert stats.ks_2samp(x[x != start], expected[n > 0]).pvalue > LEAST_P


# What else happens to a path -----------------------------------------------------------------------------------------


def test_functionals_boundaries_and_stopping_see_jumps():
    sde = sf.SDE(
        NONE, lambda t, x, p: 0.3,
        jumps=sf.jumps.CompoundPoisson(2.0, lambda t, x, p, u: 2.0 * u[0] - 1.0, uniforms=1),
    )  # fmt: skip
    run = sf.simulate(
        sde, x0=0.0, t1=1.0, n_steps=20, n_paths=2000, seed=1, save_at="all", boundary=reflect(lower=-0.5),
        functionals={"high": running_max(bridge=False), "hit": first_passage(0.7, bridge=False), "mean": time_average(),
                     "inside": running_max()},
        stop_when=lambda t, x: x[0] > 1.5,
    )  # fmt: skip
    x, t = run.x[:, :, 0], run.t
    high, hit, inside, stop = (run.functionals[name].values for name in ("high", "hit", "inside", "mean"))
    assert x.min() >= -0.5
    # A jump may follow on a larger value within a step, which the maximum then knows and the stored path does not.
    assert (high >= np.maximum.accumulate(x)).all()
    assert (high == np.maximum.accumulate(x)).mean() > 0.9
    assert (inside >= high).all()
    reached = (x > 0.7).any(0)
    assert np.isfinite(hit[-1][reached]).all()
    stopped = run.stop_time.values[-1]
    for path in np.flatnonzero(np.isfinite(stopped)):
        k = np.searchsorted(t, stopped[path] - 1e-9)
        assert (x[k:, path] == x[k, path]).all()
        assert x[k, path] >= 1.5  # there, if the level was passed within a step
    assert np.isfinite(stop).all()
    pairs = sf.simulate(MERTON, n_paths=4000, antithetic=True, **RUN)
    assert worst_z(pairs.mean[0, 0], math.exp(0.05 + 3 * math.expm1(-0.1 + 0.15**2 / 2)), pairs.standard_error) < MOST_Z


def test_time_averages_of_jumps_have_no_bias():
    """Jumps of a step come in its middle on average: the mean of the average of a Poisson process is t / 2."""
    run = sf.simulate(
        process(4.0), x0=0.0, t1=1.0, n_steps=2, n_paths=50_000, seed=1, functionals={"mean": time_average()}
    )
    result = run.functionals["mean"]
    assert worst_z(result.mean, 2.0, result.standard_error) < MOST_Z


# Bits ----------------------------------------------------------------------------------------------------------------


def test_the_same_bits_however_a_run_is_cut(tmp_path):
    options = {**RUN, "n_paths": 9000, "dtype": "float32"}
    whole = sf.simulate(MERTON, **options, threads=1)
    assert sf.simulate(MERTON, **options, threads=3).x.tobytes() == whole.x.tobytes()
    part = sf.simulate(MERTON, **{**options, "n_paths": 10}, first_chain=5000)
    assert part.x.tobytes() == np.ascontiguousarray(whole.x[:, 5000:5010]).tobytes()
    half = sf.simulate(MERTON, **{**options, "t1": 0.5, "n_steps": 20})
    half.save(tmp_path / "half.npz")
    for begun in (half, sf.load(tmp_path / "half.npz")):
        assert sf.simulate(MERTON, resume=begun, n_steps=20).x.tobytes() == whole.x.tobytes()
    kept = [sf.simulate(MERTON, **options, checkpoint=tmp_path / "kept.npz") for _ in range(2)]
    assert kept[1].cost.found == 1
    assert all(run.x.tobytes() == whole.x.tobytes() for run in kept)
    whole.save(tmp_path / "whole.npz")
    assert sf.load(tmp_path / "whole.npz").x.tobytes() == whole.x.tobytes()
    with ProcessPoolExecutor(1) as pool:
        assert sf.simulate(MERTON, **options, executor=pool).x.tobytes() == whole.x.tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_gpu_has_the_bits_of_the_cpu(dtype):
    rate = lambda t, x, p: 3.0 * p.sigma * (1.0 + t) / (1.0 + x[0])  # noqa: E731
    sde = asset(sf.jumps.Kou(rate, 0.4, 10.0, 5.0, bound=3.0), sigma=0.5)
    options = {"x0": 1.0, "t1": 0.4, "n_steps": 5, "n_paths": 40, "seed": 5, "dtype": dtype, "save_at": 2}
    timed = asset(sf.jumps.Merton(lambda t, x: 2.0 + t, 0.1, 0.2))
    seldom = asset(sf.jumps.Merton(lambda t, x: 0.8 + t / 4, 0.1, 0.2))
    for model in (timed, seldom) if dtype == "float32" else (sde,):
        card, host = (sf.simulate(model, device=device, **options) for device in ("cuda", "cpu"))
        assert np.asarray(card.x.to_numpy()).tobytes() == host.x.tobytes()
        bare = sf.simulate(asset(None, sigma=model.params["sigma"]), **options)
        assert host.x[-1].tobytes() != bare.x[-1].tobytes()


# Bad input -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: sf.jumps.Merton(-1.0, 0.0, 0.1), ValueError, "intensity must be within .*got -1"),
        (lambda: sf.jumps.Merton(1.0, 0.0, -0.1), ValueError, "std must be within"),
        (lambda: sf.jumps.Kou(1.0, 1.5, 2.0, 2.0), ValueError, "p_up must be"),
        (lambda: sf.jumps.Kou(1.0, 0.5, 0.0, 2.0), ValueError, "eta_up must be positive"),
        (lambda: asset(3.0), TypeError, "jumps must be one of sdefast.jumps, got 3.0"),
        (lambda: asset(sf.jumps.Merton(lambda t, x: x[0], 0.0, 0.1)), TypeError, "needs bound="),
        (lambda: asset(sf.jumps.Merton(lambda t, x: t, 0.0, 0.1, bound=2.0)), TypeError, "which this one does not"),
        (lambda: asset(sf.jumps.Merton(1.0, 0.0, 0.1, bound=2.0)), TypeError, "which a number does not"),
        (lambda: asset(sf.jumps.Merton(1.0, 0.0, 0.1, component=1)), ValueError, "component must be from 0 to 0"),
        (lambda: sf.jumps.CompoundPoisson(1.0, 2.0), TypeError, "jump must be a function of"),
        (lambda: asset(sf.jumps.CompoundPoisson(1.0, lambda t, x, p: (1.0, 2.0))), ValueError, "must return 1 number"),
        (lambda: sf.Merton(intensity=-2.0), ValueError, "intensity must be within"),
        (lambda: sf.Kou(eta_up=1.0), ValueError, "eta_up must be greater than 1"),
    ],
)
def test_bad_jumps(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_runs_that_cannot_be():
    options = {"x0": 1.0, "t1": 1.0, "n_paths": 10}
    with pytest.raises(ValueError, match=r"intensity must be finite and not negative, got -0\.\d+ at t=1\.\d+"):
        sf.simulate(process(lambda t, x: 1.0 - t), x0=0.0, t1=2.0, n_steps=4, n_paths=10)
    with pytest.raises(ValueError, match="intensity must be finite and not negative, got -3"):
        sf.simulate(asset(sf.jumps.Merton(lambda t, x, p: p.rate, 0.0, 0.1), rate=-3.0), n_steps=4, **options)
    with pytest.raises(ValueError, match="intensity must be from 0 to bound=2, got 5 at x0"):
        sf.simulate(asset(sf.jumps.Merton(lambda t, x: 5.0 * x[0], 0.0, 0.1, bound=2.0)), n_steps=4, **options)
    with pytest.raises(ValueError, match="got 500: take shorter steps"):
        sf.simulate(asset(sf.jumps.Merton(500.0, 0.0, 0.1)), n_steps=1, **options)
    with pytest.raises(ValueError, match="longer steps, or dtype='float64'"):
        sf.simulate(asset(sf.jumps.Merton(1e-6, 0.0, 0.1)), n_steps=4, dtype="float32", **options)
    begun = sf.simulate(MERTON, x0=1.0, times=np.linspace(0.0, 1.0, 101), n_paths=10)
    with pytest.raises(ValueError, match="no longer steps"):
        sf.simulate(MERTON, resume=begun, times=[1.0, 3.0])
    with pytest.raises(ValueError, match=r"jumps runs under sdefast\.simulate alone"):
        sf.multilevel(sf.Merton(), lambda t, x: x[0], x0=100.0, t1=1.0, accuracy=1.0)


def test_what_does_not_go_with_jumps_and_events():
    reset = sf.events.reset(when=lambda t, x: x[0] > 120, to=lambda t, x: 100.0)
    short = {"x0": 100.0, "t1": 1.0, "n_steps": 4, "n_paths": 2, "seed": 1}
    with pytest.raises(ValueError, match="cannot see events come and go"):
        sf.simulate(sf.BlackScholes(), sensitivities=["mu"], events=[reset], **short)
    hawkes = sf.jumps.CompoundPoisson(lambda t, x: x[0], lambda t, x, p: 1.0, bound=50.0)
    timed = sf.jumps.Merton(lambda t, x, p: p.mu * t, 0.0, 0.1)
    turned = sf.jumps.CompoundPoisson(1.0, lambda t, x, p: 1.0 if x[0] < p.mu else -1.0)
    for model, name, message in (
        (sf.Merton(), "intensity", "come and go: their intensity depends on 'intensity'"),
        (sf.Kou(), "p_up", "cannot see jumps turn round"),
        (asset(hawkes), "x0", "come and go: their intensity depends on the state"),
        (asset(timed), "mu", "come and go: their intensity depends on 'mu'"),
        (asset(turned), "sigma", "sizes of jumps change between 1.0 and -1.0"),
    ):
        with pytest.raises(ValueError, match=message):
            sf.simulate(model, sensitivities=[name], **short)
    own = sf.SDE(NONE, NONE, params={"a": [1.0, 2.0]}, jumps=sf.jumps.Merton(lambda t, x, p: p.a * t, 0.0, 0.1))
    with pytest.raises(ValueError, match="of the time and of parameters that differ between paths needs bound="):
        sf.simulate(own, **short)
    with pytest.raises(ValueError, match="intensity must be finite and not negative, got -1"):
        sf.simulate(sf.SDE(NONE, NONE, params={"a": [1.0, -1.0]},
                           jumps=sf.jumps.Merton(lambda t, x, p: p.a, 0.0, 0.1)), **short)  # fmt: skip


@pytest.mark.parametrize("dtype", [pytest.param("float64", marks=pytest.mark.thorough), "float32"])
def test_every_path_has_its_own_rate_and_its_own_law(dtype):
    """Path i is path i of a run with its parameters for all; mean E exp(mu_i), whatever the jumps."""
    n = 4000
    own = {"intensity": np.linspace(0.0, 3.0, n), "jump_mean": np.linspace(-0.3, 0.1, n), "mu": np.linspace(0, 0.1, n)}
    how = {"x0": 1.0, "t1": 1.0, "n_steps": 20, "seed": 5, "dtype": dtype}
    run = sf.simulate(sf.Merton(**own, jump_std=0.2), n_paths=n, method="exact", **how)
    x = run.x[0, :, 0].astype(float)
    for i in (17, n - 1):
        model = sf.Merton(**{name: values[i] for name, values in own.items()}, jump_std=0.2)
        one = sf.simulate(model, n_paths=1, first_chain=i, method="exact", **how).x[0, 0, 0]
        assert x[i] == pytest.approx(one, rel=1e-10 if dtype == "float64" else 1e-4)
    assert worst_z(run.mean[0, 0], np.exp(own["mu"]).mean(), run.standard_error[0, 0]) < MOST_Z
    assert sf.simulate(sf.Merton(**own, jump_std=0.2), n_paths=n, method="exact", threads=2, **how).x.tobytes() == (
        run.x.tobytes()
    )


@pytest.mark.thorough
def test_own_parameters_of_users_jumps_and_of_other_models(tmp_path):
    """Counts have the mean of the rates; Kou's and Bates' paths are those of runs with their parameters."""
    n = 5000
    rates = np.linspace(0.5, 2.5, n)
    sde = sf.SDE(
        NONE, NONE, params={"a": rates, "size": 2.0 * rates},
        jumps=sf.jumps.CompoundPoisson(lambda t, x, p: p.a, lambda t, x, p: p.size),
    )  # fmt: skip
    run = sf.simulate(sde, x0=0.0, t1=1.0, n_steps=5, n_paths=n, seed=2)
    counts = run.x[0, :, 0] / (2.0 * rates)
    np.testing.assert_allclose(counts, np.rint(counts), atol=1e-9)
    assert worst_z((counts - rates).mean(), 0.0, (rates.mean() / n) ** 0.5) < MOST_Z
    half = sf.simulate(sde, x0=0.0, t1=0.4, n_steps=2, n_paths=n, seed=2)
    half.save(tmp_path / "half.npz")
    for begun in (half, sf.load(tmp_path / "half.npz")):
        assert sf.simulate(sde, resume=begun, n_steps=3).x.tobytes() == run.x.tobytes()
    thinned = sf.SDE(
        NONE, NONE, params={"a": rates},
        jumps=sf.jumps.CompoundPoisson(lambda t, x, p: p.a * (1 + t), lambda t, x, p: 1.0, bound=5.0),
    )  # fmt: skip
    whole = sf.simulate(thinned, x0=0.0, t1=1.0, n_steps=50, n_paths=n, seed=2)
    end = whole.x[0, :, 0]
    shards = [
        sf.simulate(thinned.with_parameters({"a": rates[a:b]}), x0=0.0, t1=1.0, n_steps=50, n_paths=b - a,
                    first_chain=a, seed=2)
        for a, b in ((0, 4096), (4096, n))
    ]  # fmt: skip
    assert sf.merge(*shards).x.tobytes() == whole.x.tobytes()
    mean = rates * (1.5 + 0.5 / 50)  # rates are those at the ends of steps
    assert worst_z((end - mean).mean(), 0.0, (mean.mean() / n) ** 0.5) < MOST_Z
    for model, name, values, start in (
        (sf.Kou, "eta_up", np.linspace(5.0, 20.0, n), 100.0), (sf.Bates, "jump_std", rates / 10, (100.0, 0.04)),
    ):  # fmt: skip
        how = {"x0": start, "t1": 1.0, "n_steps": 4, "seed": 1}
        x = sf.simulate(model(**{name: values}), n_paths=n, **how).x[0, :, 0]
        one = sf.simulate(model(**{name: values[-3]}), n_paths=1, first_chain=n - 3, **how).x[0, 0, 0]
        assert x[-3] == pytest.approx(one, rel=1e-12)


def test_jumps_look_up_numbers_in_tables():
    """A step that reads a table has the bits of one with the same numbers written out."""
    sizes = np.array([0.5, 1.0, 2.0, 4.0])
    runs = [
        sf.simulate(sde, x0=0.0, t1=4.0, n_steps=8, n_paths=500, seed=1, paths=True)
        for sde in (
            sf.SDE(NONE, NONE, jumps=sf.jumps.CompoundPoisson(0.1, lambda t, x, p: sizes[int(t - 0.1)])),
            sf.SDE(NONE, NONE, jumps=sf.jumps.CompoundPoisson(0.1, lambda t, x, p: 0.5 * 2.0 ** math.floor(t - 0.1))),
        )
    ]
    np.testing.assert_allclose(runs[0].x, runs[1].x, rtol=1e-12)
    assert len(np.unique(runs[0].x)) > 4
