"""Parameters of which every path has its own: exact means, the same bits however it runs, what is refused."""

import numpy as np
import pytest

import sdefast as sf

N = 12_000
RATES = np.linspace(-1.0, 1.0, N)
LEVELS = np.cos(np.arange(N))


def growth(rates, levels=0.5):
    return sf.SDE(drift=lambda t, x, p: p.rate * (p.level - x[0]), diffusion=lambda t, x, p: p.s * x[0],
                  params={"rate": rates, "s": 0.2, "level": levels})  # fmt: skip


MODEL = growth(RATES, LEVELS)
SHORT = {"x0": 1.0, "t1": 0.5, "n_steps": 8, "n_paths": N, "seed": 3}


def in_numpy(rates, levels, z, x0=1.0, h=0.5 / 8):
    x = np.full(len(rates), x0)
    for row in z:
        x = x + h * rates * (levels - x) + 0.2 * h**0.5 * x * row
    return x


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_on_the_same_noise(dtype):
    run = sf.simulate(MODEL, dtype=dtype, expectations={"cost": lambda t, x, p: p.level * x[0]}, **SHORT)
    x = in_numpy(RATES, LEVELS, sf.noise.normals(3, 8, N, dtype=dtype).astype(float))
    close = 1e-13 if dtype == "float64" else 3e-6
    np.testing.assert_allclose(run.x[0, :, 0], x, rtol=0, atol=close)
    assert run.expectations["cost"].value[0] == pytest.approx((LEVELS * x).mean(), abs=close)
    assert run.x.shape == (1, N, 1)
    assert run.mean.shape == (1, 1)


def test_antithetic_pairs_stops_and_functionals():
    """Path i + n / 2 has parameters of its own and the opposite noise; two conditions are looked at after the steps."""
    run = sf.simulate(
        MODEL, antithetic=True, stop_when=lambda t, x, p: (x[0] > 1.2 + 0.1 * p.level) & (x[0] < 1e9),
        functionals={"average": sf.functionals.time_average(lambda t, x, p: p.rate * x[0])}, **SHORT,
    )  # fmt: skip
    half = sf.noise.normals(3, 8, N // 2)
    x, h, average = np.ones(N), 0.5 / 8, np.zeros(N)
    running = np.ones(N, bool)
    for row in half:
        new = x + h * RATES * (LEVELS - x) + 0.2 * h**0.5 * x * np.concatenate([row, -row])
        average += np.where(running, h * RATES * (x + new) / 2, 0)
        x = np.where(running, new, x)
        running &= x <= 1.2 + 0.1 * LEVELS
    np.testing.assert_allclose(run.x[0, :, 0], x, rtol=0, atol=1e-12)
    assert np.isfinite(run.stop_time.values).mean() == pytest.approx(1 - running.mean())
    assert 0.01 < running.mean() < 0.99
    pairs = run.x[0, :, 0].reshape(2, -1).mean(0)
    assert run.standard_error[0, 0] == pytest.approx(pairs.std(ddof=1) / (N // 2) ** 0.5, rel=1e-9)


@pytest.mark.parametrize("method", ["exact", "euler-maruyama"])
def test_mean_of_black_scholes(method):
    """E X = mean(exp(mu_i)), and of Euler-Maruyama mean((1 + mu_i h)^n)."""
    run = sf.simulate(
        sf.BlackScholes(mu=RATES, sigma=0.2), x0=1.0, t1=1.0, n_steps=10, n_paths=N, seed=5, method=method
    )
    exact = np.exp(RATES) if method == "exact" else (1 + RATES / 10) ** 10
    own = run.x[0, :, 0] - exact  # (of which the mean is 0 for every path)
    assert abs(run.mean[0, 0] - exact.mean()) < 5 * own.std() / N**0.5
    assert run.mean[0, 0] - exact.mean() == pytest.approx(own.mean(), abs=1e-12)


def test_same_bits_however_it_runs(tmp_path, monkeypatch):
    """Threads, shards, one path, a run in two parts, one that was saved, one that a checkpoint has; no new kernels."""
    from sdefast.jit import compile as jit_compile

    whole = sf.simulate(MODEL, threads=2, checkpoint=tmp_path / "run", **SHORT)

    def refused(*args):
        raise AssertionError("compiled again")

    monkeypatch.setattr(jit_compile, "_compile", refused)
    shards = [
        sf.simulate(growth(RATES[a:b], LEVELS[a:b]), **{**SHORT, "n_paths": b - a, "first_chain": a})
        for a, b in ((0, 8192), (8192, N))
    ]
    merged = sf.merge(*shards)
    half = sf.simulate(MODEL, threads=1, **{**SHORT, "n_steps": 4, "t1": 0.25})
    half.save(tmp_path / "half.npz")
    loaded = sf.load(tmp_path / "half.npz")
    found = sf.simulate(MODEL, checkpoint=tmp_path / "run", **SHORT)
    others = [merged, sf.simulate(MODEL, resume=half, n_steps=4), sf.simulate(MODEL, resume=loaded, n_steps=4), found]
    for other in others:
        np.testing.assert_array_equal(other.x, whole.x)
        assert other.model == MODEL
    np.testing.assert_array_equal(merged.mean, whole.mean)
    assert found.cost.found == 1
    one = sf.simulate(growth(RATES[-1:], LEVELS[-1:]), **{**SHORT, "n_paths": 1, "first_chain": N - 1})
    np.testing.assert_array_equal(one.x[0, 0], whole.x[0, -1])
    with pytest.raises(ValueError, match="same model"):
        sf.simulate(growth(RATES, 2 * LEVELS), resume=half, n_steps=4)
    with pytest.raises(ValueError, match="of another call"):
        sf.simulate(growth(RATES, 2 * LEVELS), checkpoint=tmp_path / "run", **SHORT)


def test_built_in_models_and_tables():
    """A model's own step and the chain of its equation; a table may be a parameter beside those of paths."""
    levels = 1 + 0.5 * LEVELS
    run = sf.simulate(sf.Heston(xi=levels), x0=(100.0, 0.04), t1=0.1, n_steps=4, n_paths=N, seed=1, dtype="float64")
    one = sf.simulate(sf.Heston(xi=levels[7]), x0=(100.0, 0.04), t1=0.1, n_steps=4, n_paths=1, seed=1, first_chain=7)
    np.testing.assert_allclose(run.x[0, 7], one.x[0, 0], rtol=1e-12)
    days = np.arange(5.0)
    sde = sf.SDE(drift=lambda t, x, p: p.k * np.interp(t, p.days, p.rates) + p.rates[int(t)] + sum(p.rates[:3]),
                 diffusion=lambda t, x, p: 0.0, params={"days": days, "rates": days**2, "k": LEVELS})  # fmt: skip
    end = sf.simulate(sde, x0=0.0, t1=4.0, n_steps=8, n_paths=N).x[0, :, 0]
    times = np.arange(8) / 2
    exact = 0.5 * (LEVELS * np.interp(times, days, days**2).sum() + (np.floor(times) ** 2 + 5).sum())
    np.testing.assert_allclose(end, exact, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: growth(RATES[:-1]), ValueError, r"params\['rate'\] must be a number or of shape \(n_paths,\) = "),
        (lambda: growth(RATES.reshape(2, -1)), ValueError, r"params\['rate'\] must be a number, of shape \(n_paths,\)"),
        (lambda: growth(np.full(N, np.nan)), ValueError, r"params\['rate'\] must be finite"),
        (lambda: sf.BlackScholes(mu=0.1, sigma=RATES), ValueError, r"sigma must be within \[0.0, inf\], got -1"),
        (lambda: sf.BlackScholes(mu=RATES[:3]), ValueError, r"params\['mu'\] must be a number or of shape"),
        (lambda: sf.BlackScholes(mu=RATES).mean(1.0, 1.0), TypeError, "differs between paths has no one value"),
        (lambda: sf.SDE(drift=lambda t, x, p: p.a + p.a[0], diffusion=lambda t, x, p: 1.0, params={"a": RATES}),
         TypeError, r"params\['a'\] is used as a table and as a number of the path"),
    ],
)  # fmt: skip
def test_what_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        sf.simulate(make(), **SHORT)


def test_multilevel_refuses_them():
    with pytest.raises(ValueError, match="as many paths as it needs"):
        sf.multilevel(MODEL, lambda x: x[0], x0=1.0, t1=1.0, accuracy=0.1)
