"""`langevin` as a call: what is saved, equal bits whatever runs it, adaptation, diagnostics, what is refused."""

import re
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
from conftest import in_both_types, thorough_but

import sdefast as sf
from sdefast.sampling import lost

MOST_Z = 5.0

TARGET = sf.targets.Gaussian([1.0, -0.5], [[1.0, 0.6], [0.6, 2.0]])
NORMAL = sf.targets.Gaussian(0.0, 1.0)
HOW = {"step_size": 0.3, "n_chains": 9000, "seed": 3, "x0": "sample"}
METHODS = {"ula": {}, "mala": {}, "barker": {}, "baoab": {"friction": 2.0}, "sort": {}, "sk-rock": {"stages": 3}}


# What is saved ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n_steps", "burn_in", "thin"), [(100, 0, 7), (100, 20, 8), (9, 8, 1), (50, 13, 37)])
def test_thinning_saves_so_many(n_steps, burn_in, thin):
    chains = sf.langevin(TARGET, **{**HOW, "n_chains": 5}, n_steps=n_steps, burn_in=burn_in, thin=thin)
    n = (n_steps - burn_in) // thin
    assert chains.x.shape == (n, 5, 2)
    assert np.array_equal(chains.iterations, burn_in + thin * np.arange(1, n + 1))
    whole = sf.langevin(TARGET, **{**HOW, "n_chains": 5}, n_steps=n_steps, save_at="all")
    assert np.array_equal(whole.x[chains.iterations], chains.x)


def test_burn_in_counts_for_nothing():
    """From far away, acceptance and pooled moments are those of the steps after burn-in alone."""
    how = {"method": "mala", "step_size": 0.5, "n_chains": 500, "x0": 30.0, "seed": 1, "n_steps": 400}
    chains = sf.langevin(NORMAL, burn_in=200, save_at="all", **how)
    assert chains.iterations[0] == 200
    draws = chains.x[1:, :, 0]
    assert chains.pooled_mean[0] == pytest.approx(draws[: 200 // 16 * 16].mean(), abs=1e-12)
    assert chains.pooled_variance[0] == pytest.approx(draws[: 200 // 16 * 16].var(ddof=1), rel=1e-10)
    again = sf.langevin(NORMAL, **{**how, "n_steps": 200}, resume=None)
    after = sf.langevin(NORMAL, resume=again, n_steps=200)
    assert chains.acceptance == after.acceptance


# Equal bits -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "dtype"), in_both_types(METHODS))
def test_nothing_changes_the_bits(method, dtype):
    """Threads, shards, one chain alone, and going on."""
    how = {**HOW, **METHODS[method], "method": method, "dtype": dtype, "n_steps": 30, "thin": 10, "diagnostics": 4}
    whole = sf.langevin(TARGET, threads=2, **how)
    one = sf.langevin(TARGET, threads=1, **how)
    shards = [sf.langevin(TARGET, first_chain=c, **{**how, "n_chains": n}) for c, n in ((0, 8192), (8192, 808))]
    merged = sf.merge(*shards)
    for other in (one, merged):
        assert np.array_equal(other.x, whole.x)
        for name in ("mean", "variance", "ess", "rhat", "pooled_mean"):
            assert getattr(other, name).tobytes() == getattr(whole, name).tobytes()
    alone = sf.langevin(TARGET, first_chain=777, **{**how, "n_chains": 1})
    assert np.array_equal(alone.x[:, 0], whole.x[:, 777])
    begun = sf.langevin(TARGET, **{**how, "n_steps": 13, "thin": None})
    assert np.array_equal(sf.langevin(TARGET, resume=begun, n_steps=17).x[-1], whole.x[-1])


def test_processes_give_the_same():
    target = sf.targets.Target(lambda x: -(x[0] ** 4) / 4)
    how = {"method": "mala", "step_size": 0.2, "n_steps": 20, "n_chains": 9000, "x0": 0.5, "seed": 2}
    with ProcessPoolExecutor(2) as pool:
        assert np.array_equal(sf.langevin(target, executor=pool, **how).x, sf.langevin(target, **how).x)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("method", ["ula", "mala", "baoab"])
def test_a_gpu_gives_the_same(method, dtype):
    how = {**HOW, **METHODS[method], "method": method, "dtype": dtype, "n_steps": 4, "n_chains": 6}
    card, host = (sf.langevin(TARGET, device=device, **how) for device in ("cuda", "cpu"))
    assert np.array_equal(card.x.to_numpy(), host.x)
    assert card.mean == pytest.approx(host.mean, rel=1e-12)


def test_a_checkpoint_goes_on(tmp_path):
    how = {**HOW, "method": "mala", "n_steps": 40, "burn_in": 10, "thin": 5, "checkpoint": tmp_path / "chains"}
    done = sf.langevin(TARGET, **how)
    again = sf.langevin(TARGET, **how)
    assert np.array_equal(done.x, again.x)
    assert again.cost.found == 1.0
    with pytest.raises(ValueError, match="another call"):
        sf.langevin(TARGET, **{**how, "step_size": 0.2})


def test_chains_with_steps_of_their_own():
    sizes = np.linspace(0.1, 0.6, 8)[None]
    for method in ("mala", "baoab"):
        how = {"method": method, "n_steps": 20, "x0": [0.0, 1.0], "seed": 5}
        chains = sf.langevin(TARGET, step_size=sizes, n_chains=8, **how)
        for i in (0, 5):
            alone = sf.langevin(TARGET, step_size=sizes[0, i], n_chains=1, first_chain=i, **how)
            assert chains.x[0, i] == pytest.approx(alone.x[0, 0], rel=1e-12)


def test_schedules_are_arrays_or_functions():
    how = {**HOW, "n_chains": 50, "n_steps": 20}
    sizes = 0.3 / np.arange(1, 21)
    given = [sizes, lambda k: 0.3 / (k + 1)]
    first, second = (sf.langevin(TARGET, **{**how, "step_size": s}) for s in given)
    assert np.array_equal(first.x, second.x)
    assert first.exact_mean == pytest.approx(TARGET.mean[None], abs=1e-12)


# Adaptation -------------------------------------------------------------------------------------------------------


#: dimension, what is wanted, the first step: too short, right, far too long
ADAPTED = [(*case, first) for case in [(1, True), (10, 0.8), (50, True)] for first in (0.01, 1.0, 100.0)]


@pytest.mark.parametrize(
    ("dim", "wanted", "first"), thorough_but([(1, True, 100.0), (10, 0.8, 0.01), (50, True, 1.0)], ADAPTED)
)
def test_adaptation_reaches_its_acceptance(dim, wanted, first):
    target = sf.targets.Gaussian(np.zeros(dim), 1.0)
    chains = sf.langevin(
        target, method="mala", adapt=wanted, step_size=first, n_steps=260, burn_in=200, n_chains=2000, x0="sample",
        seed=4, diagnostics=False,
    )  # fmt: skip
    assert chains.acceptance == pytest.approx(0.574 if wanted is True else wanted, abs=0.03)


def test_what_was_adapted_is_recorded_and_replayed(tmp_path):
    """The same bits on any threads, by a call with the recorded steps, and after 137 + 163 steps through a file."""
    how = {**HOW, "method": "mala", "n_steps": 300, "burn_in": 100}
    del how["step_size"]
    whole = sf.langevin(TARGET, adapt=True, threads=2, **how)
    assert np.array_equal(sf.langevin(TARGET, adapt=True, threads=1, **how).x, whole.x)
    replayed = sf.langevin(TARGET, step_size=whole.step_size, **how)
    assert np.array_equal(replayed.x, whole.x)
    assert replayed.acceptance == whole.acceptance
    assert len(set(whole.step_size[100:])) == 1
    begun = sf.langevin(TARGET, step_size=whole.step_size[:137], **{**how, "n_steps": 137})
    begun.save(tmp_path / "begun.npz")
    rest = sf.langevin(TARGET, resume=sf.load(tmp_path / "begun.npz"), n_steps=163)
    assert np.array_equal(rest.x, whole.x)
    assert rest.step_size == whole.step_size[-1]


# Diagnostics ------------------------------------------------------------------------------------------------------


def test_the_autocorrelation_time_is_that_of_batch_means():
    """ULA on N(0, 1/P) is a first-order autoregression; batches of b read short by what is known exactly."""
    a, b = 0.9, 50
    chains = sf.langevin(
        NORMAL, step_size=0.1, n_steps=16 * b, n_chains=20_000, x0=np.sqrt(1 / 0.95) * NORMAL.sample(20_000, seed=1),
        seed=2,
    )  # fmt: skip
    assert chains.settings.batches.length == b
    exact = (1 + a) / (1 - a) - 2 * a * (1 - a**b) / (b * (1 - a) ** 2)
    assert exact == pytest.approx(15.4, abs=0.05)
    assert chains.autocorrelation_time[0] == pytest.approx(exact, rel=5 * np.sqrt(2 / (16 * 20_000)))
    assert chains.ess[0] == pytest.approx(16 * b * 20_000 / chains.autocorrelation_time[0])
    assert chains.rhat[0] == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize(("dtype", "digits"), [("float64", 1e-9), ("float32", 1e-3)])
def test_diagnostics_are_those_of_all_draws(dtype, digits):
    """Against plain numpy on stored states, also for a mean 1e4 deviations from 0."""
    target = sf.targets.Gaussian([1e4, 0.0], [1.0, 4.0])
    chains = sf.langevin(
        target, step_size=0.5, n_steps=330, n_chains=40, burn_in=10, save_at="all", dtype=dtype, seed=3
    )
    x = chains.x[1:].astype(float)  # (draws, chains, components)
    batches = x.reshape(16, 20, 40, 2).mean(axis=1)
    time = 20 * batches.reshape(-1, 2).var(axis=0, ddof=1) / x.reshape(-1, 2).var(axis=0, ddof=1)
    assert chains.pooled_mean == pytest.approx(x.mean(axis=(0, 1)), rel=digits, abs=digits)
    assert chains.pooled_variance == pytest.approx(x.reshape(-1, 2).var(axis=0, ddof=1), rel=digits)
    assert chains.autocorrelation_time == pytest.approx(time, rel=5 * digits)
    halves = x.reshape(2, 160, 40, 2)
    within = halves.var(axis=1, ddof=1).mean(axis=(0, 1))
    rhat = np.sqrt(159 / 160 + halves.mean(axis=1).reshape(-1, 2).var(axis=0, ddof=1) / within)
    assert chains.rhat == pytest.approx(rhat, rel=digits)


def test_chains_in_two_modes_have_not_mixed():
    target = sf.targets.GaussianMixture([0.5, 0.5], [-8.0, 8.0], 1.0)
    chains = sf.langevin(target, method="mala", step_size=0.5, n_steps=400, n_chains=64, x0="sample", seed=1)
    assert chains.rhat[0] > 1.5


# What is refused and warned of ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ({"step_size": -0.1}, ValueError, "step_size must be positive"),
        ({"step_size": np.nan}, ValueError, "step_size must be finite"),
        ({"step_size": None}, TypeError, "needs step_size"),
        ({"n_steps": None}, TypeError, "needs n_steps"),
        ({"burn_in": 20}, ValueError, "burn_in"),
        ({"thin": 21}, ValueError, "thin must be at most the 20 steps"),
        ({"thin": 2, "save_at": "all"}, TypeError, "leave one out"),
        ({"method": "mal"}, ValueError, "did you mean 'mala'"),
        ({"friction": 1.0}, TypeError, "no argument 'friction'"),
        ({"method": "proximal"}, ValueError, "needs smooth_score and prox"),
        ({"metric": [[1.0, 2.0], [2.0, 1.0]]}, ValueError, "positive definite"),
        ({"metric": 2.0, "method": "baoab"}, ValueError, "metric is for ula, mala"),
        ({"method": "preconditioned"}, TypeError, "needs metric="),
        ({"temperature": 0}, ValueError, "temperature must be positive, got 0: .* gradient_descent"),
        ({"temperature": -1.0}, ValueError, "temperature must be positive, got -1.0$"),
        ({"x0": np.zeros(3)}, ValueError, r"x0 must be of shape \(2,\)"),
        ({"x0": "mean"}, ValueError, "x0 must be an array or 'sample'"),
        ({"adapt": True}, ValueError, "adapt is for methods that accept or reject"),
        ({"adapt": True, "method": "mala"}, ValueError, "pass burn_in="),
        ({"adapt": 1.5, "method": "mala", "burn_in": 5}, ValueError, "between 0 and 1"),
        ({"diagnostics": 5}, ValueError, "even number of batches"),
        ({"progress": "no"}, TypeError, "progress must be True or False"),
    ],
)
def test_what_is_wrong_is_said(how, error, message):
    given = {**HOW, "n_chains": 10, "n_steps": 20, **how}
    with pytest.raises(error, match=message):
        sf.langevin(TARGET, **{name: value for name, value in given.items() if value is not None})


def test_a_start_without_density_names_its_chain():
    law = sf.targets.Target(lambda x: -x[0] if x[0] > 0 else -np.inf)
    with pytest.raises(ValueError, match="x0 of chain 2"):
        sf.langevin(law, method="mala", step_size=0.1, n_steps=5, n_chains=3, x0=[[1.0], [2.0], [-1.0]])


def test_steps_that_are_too_long_warn_with_the_bound():
    with pytest.warns(RuntimeWarning, match="not below 2, beyond which 'ula' is unstable"):
        sf.langevin(NORMAL, step_size=2.5, n_steps=5, n_chains=5)


@pytest.mark.filterwarnings("ignore:step_size=2.5 is not below")
@pytest.mark.parametrize("at_once", [10_000, 7])
@pytest.mark.parametrize("own", [False, True])
def test_chains_that_are_lost_are_told_with_the_first_step(at_once, own, monkeypatch):
    """Chains 0 and 1 of the second shard have steps that are stable, if steps are the chains' own."""
    monkeypatch.setattr(lost, "_AT_ONCE", at_once)
    steps = np.array([[0.1, 0.1, 2.5, 2.5, 2.5]]) if own else 2.5
    how = {"step_size": steps, "n_steps": 3000, "n_chains": 5, "seed": 4, "first_chain": 4096, "x0": 1.0}
    with pytest.warns(RuntimeWarning, match="no longer finite at iteration 3000") as told:
        chains = sf.langevin(NORMAL, **how, save_at="all")
    kept = 2 if own else 0
    gone = ~np.isfinite(chains.x[:, :, 0])
    since = chains.iterations[np.argmax(gone.any(axis=1))]
    first = np.argmax(gone[np.argmax(gone.any(axis=1))])
    assert 100 < since < 3000
    assert first >= kept
    assert (~gone[-1]).sum() == kept
    assert str(told[-1].message) == (
        f"{5 - kept} of 5 chains are no longer finite at iteration 3000 (chain {4096 + first} since iteration {since})"
        "; the statistics are over the others. A smaller step may help: 'ula' is stable below 2 on this target"
    )


@pytest.mark.filterwarnings("ignore:step_size=2.5 is not below", "ignore:5 of 5 chains")
def test_chains_that_were_lost_before_are_told_so():
    chains = sf.langevin(NORMAL, step_size=2.5, n_steps=3000, n_chains=5, seed=4, x0=1.0)
    with pytest.warns(RuntimeWarning, match=r"chain 0 since before iteration 3000\)"):
        sf.langevin(NORMAL, resume=chains, n_steps=3)


def test_resumed_steps_that_are_too_long_warn_with_the_bound():
    chains = sf.langevin(NORMAL, step_size=0.5, n_steps=3, n_chains=5)
    with pytest.warns(RuntimeWarning, match="not below 2, beyond which 'ula' is unstable"):
        sf.langevin(NORMAL, resume=chains, step_size=2.5, n_steps=3)


def test_saves_before_the_end_of_burn_in_are_refused():
    how = {"method": "mala", "n_chains": 10, "n_steps": 100, "burn_in": 50}
    for more in ({"step_size": 0.5}, {"adapt": True}):
        with pytest.raises(ValueError, match="save_at must hold iterations from burn_in=50 on, got 10"):
            sf.langevin(NORMAL, **how, **more, save_at=[10, 60])
    chains = sf.langevin(NORMAL, **how, step_size=0.5, save_at=[50])
    with pytest.raises(AttributeError, match="acceptance is counted after burn-in"):
        _ = chains.acceptance


def test_starts_that_do_not_fit_are_refused():
    endless = sf.targets.Target(lambda x: -0.5 * sf.math.log(abs(x[0])) - abs(x[0]))
    with pytest.raises(ValueError, match="where the density is infinite; that is where chains begin if no x0 is given"):
        sf.langevin(endless, method="mala", step_size=0.1, n_steps=5, n_chains=3)
    with pytest.raises(ValueError, match="density and score there, must be finite in float32"):
        sf.langevin(NORMAL, method="mala", step_size=0.1, n_steps=5, n_chains=3, x0=1e20, dtype="float32")
    assert sf.langevin(NORMAL, method="mala", step_size=0.1, n_steps=5, n_chains=3, x0=1e20).n_chains == 3


def test_hessians_and_laws_that_are_not_there_are_asked_for_in_vain():
    laplace = sf.targets.Laplace([0.0, 0.0], 1.0)
    with pytest.raises(ValueError, match="metric='hessian' needs second derivatives"):
        sf.langevin(laplace, method="preconditioned", metric="hessian", step_size=0.1, n_steps=1, n_chains=1)
    rows = sf.targets.BayesianLinearRegression(np.ones((40, 1)), np.arange(40) / 40)
    chains = sf.langevin(rows, method="sgld", batch_size=3, step_size=0.001, n_steps=5, n_chains=3)
    with pytest.raises(ValueError, match="draw rows of data: their law is not known"):
        _ = chains.exact_mean


def test_diagnostics_that_lost_their_digits_say_so():
    far = sf.targets.Target(lambda x: -0.5 * (x[0] - 3000.0) ** 2)
    how = {"method": "mala", "step_size": 1.0, "n_steps": 5000, "burn_in": 4000, "n_chains": 50, "seed": 1}
    chains = sf.langevin(far, **how, x0=2000.0, dtype="float32")
    with pytest.warns(RuntimeWarning, match=r"lost their digits in float32: draws of component 0 lie 1e\+03 from"):
        _ = chains.ess
    chains = sf.langevin(far, **how, x0=2990.0, dtype="float32")
    assert chains.pooled_variance[0] == pytest.approx(1, abs=0.1)


def test_lost_chains_whose_ends_are_not_kept_are_counted():
    with pytest.warns(RuntimeWarning, match="5 of 5 chains are no longer finite at iteration 9;"):
        sf.langevin(STEEP, step_size=1.0, n_steps=9, n_chains=5, x0=9.0, paths=False, final_states=False)


STEEP = sf.targets.Target(log_density=lambda x: -(x[0] ** 4), dim=1)


def test_chains_lost_after_going_on_and_on_a_gpu():
    """Iterations are counted from the beginning."""
    how = {"step_size": 1.0, "n_chains": 2, "seed": 1, "x0": 0.9}
    with pytest.warns(RuntimeWarning) as told:
        sf.langevin(STEEP, n_steps=30, **how)
    message = str(told[0].message)
    assert 1 < int(re.search(r"since iteration (\d+)", message)[1]) < 30
    with pytest.warns(RuntimeWarning) as told:
        sf.langevin(STEEP, n_steps=29, resume=sf.langevin(STEEP, n_steps=1, **how))
    assert str(told[0].message) == message
    with pytest.warns(RuntimeWarning) as told:
        sf.langevin(STEEP, n_steps=30, **how, device="cuda")
    assert str(told[0].message) == message
