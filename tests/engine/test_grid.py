"""Times: grids, what is saved at them, and going on from where a run ended."""

import numpy as np
import pytest
from conftest import MODELS, python

import sdefast as sf

OU = sf.OrnsteinUhlenbeck()
TIMES = [0.5, 0.6, 0.9, 1.0, 2.5]


def simulate(**options):
    return sf.simulate(OU, **{"x0": 1.0, "t1": 2.0, "n_steps": 10, "n_paths": 7, "seed": 1, **options})


def on_times(**options):
    return sf.simulate(OU, **{"x0": 1.0, "times": TIMES, "n_paths": 7, "seed": 1, **options})


@pytest.mark.parametrize(
    ("save_at", "steps"),
    [
        ("final", [10]),
        ("all", range(11)),
        (1, range(11)),
        (5, [0, 5, 10]),
        (np.int64(5), [0, 5, 10]),
        (4, [0, 4, 8, 10]),
        (10, [0, 10]),
        (11, [0, 10]),
        (10**15, [0, 10]),
        ([0.4, 1.4], [2, 7]),
        ((0.0,), [0]),
        (np.array([2.0]), [10]),
        (np.linspace(0, 2, 11), range(11)),
        (np.float32([0.2, 0.4, 0.8]).tolist(), [1, 2, 4]),
    ],
    ids=str,
)
def test_saved_times(save_at, steps):
    steps, every = np.array(steps), simulate(save_at="all")
    run = simulate(save_at=save_at)
    np.testing.assert_array_equal(run.t, steps * 0.2)
    np.testing.assert_array_equal(run.x, every.x[steps])
    assert run.x.shape == (len(steps), 7, 1)
    assert run.mean.shape == (len(steps), 1)
    np.testing.assert_array_equal(run.mean, every.mean[steps])


@pytest.mark.parametrize(
    ("save_at", "steps"),
    [("final", [4]), ("all", range(5)), (3, [0, 3, 4]), ([0.5, 0.9, 2.5], [0, 2, 4]), ([1.0], [3])],
    ids=str,
)
def test_saved_times_of_a_given_grid(save_at, steps):
    steps, every = np.array(steps), on_times(save_at="all")
    run = on_times(save_at=save_at)
    np.testing.assert_array_equal(run.t, np.array(TIMES)[steps])
    np.testing.assert_array_equal(run.x, every.x[steps])


@pytest.mark.parametrize(
    ("save_at", "message"),
    [
        ([0.4, 0.5], r"save_at must hold times of the grid, got 0.5; the nearest is 0.4"),
        ([0.4, 0.75], r"got 0.75; the nearest is 0.8"),
        ([-0.2], r"got -0.2; the nearest is 0.0"),
        ([2.2], r"got 2.2; the nearest is 2.0"),
        ([1e300], r"got 1e\+300; the nearest is 2.0"),
        ([-1e300], r"got -1e\+300; the nearest is 0.0"),
        ([0.4, 0.4], "save_at must be strictly increasing, got 0.4 followed by 0.4 at index 1"),
        ([0.8, 0.4], "save_at must be strictly increasing, got 0.8 followed by 0.4 at index 1"),
        ([], "save_at must hold at least 1 times, got 0"),
        ([np.nan], "save_at must be finite"),
        (0, "save_at must be between 1 and"),
        ("last", "save_at must be one of 'all', 'final', got 'last'"),
        ("finall", "did you mean 'final'"),
    ],
    ids=str,
)
def test_times_that_cannot_be_saved(save_at, message):
    with pytest.raises(ValueError, match=message):
        simulate(save_at=save_at)


@pytest.mark.parametrize(("time", "nearest"), [(0.51, 0.5), (0.74, 0.6), (0.76, 0.9), (3.0, 2.5), (-1.0, 0.5)])
def test_times_off_a_given_grid(time, nearest):
    with pytest.raises(ValueError, match=f"save_at must hold times of the grid, got {time}; the nearest is {nearest}"):
        on_times(save_at=[time])


CLOSE_TOGETHER = """
import numpy as np
import sdefast as sf
save_at = 0.5 + 1e-12 * np.arange(20_000)  # all of them within rounding of one step
try:
    run = sf.simulate(sf.OrnsteinUhlenbeck(), x0=1.0, t1=1.0, n_steps=10, n_paths=5000, save_at=save_at, paths=False)
    print(len(np.unique(run.mean)) == 1)
except ValueError as error:
    print("save_at" in str(error))
"""


def test_many_times_at_one_step():
    """In an interpreter of its own: sums of more times than steps would be written beyond their memory."""
    assert python(CLOSE_TOGETHER) == "True\n"


@pytest.mark.parametrize(
    ("t0", "t1", "n_steps"), [(0.0, 1.0, 10), (0.1, 0.7, 7), (-1e6, 1e-3, 3001), (1e9, 1e9 + 1, 333)]
)
def test_times_are_t0_plus_k_h(t0, t1, n_steps):
    settings = {"x0": 1.0, "t0": t0, "t1": t1, "n_steps": n_steps, "n_paths": 2, "seed": 0, "paths": False}
    run = sf.simulate(sf.BrownianMotion(), save_at="all", **settings)
    h = (t1 - t0) / n_steps
    np.testing.assert_array_equal(run.t, t0 + np.arange(n_steps + 1) * h)
    saved = sf.simulate(sf.BrownianMotion(), save_at=np.linspace(t0, t1, n_steps + 1), **settings)
    np.testing.assert_array_equal(saved.t, run.t)
    assert run.settings.grid.h == h


def test_times_of_a_resumed_run():
    first = simulate(t0=0.1, t1=0.8, n_steps=7)
    h = (0.8 - 0.1) / 7
    second = sf.simulate(OU, resume=first, n_steps=5, save_at="all")
    third = sf.simulate(OU, resume=second, n_steps=2, save_at=[0.1 + 13 * h])
    np.testing.assert_array_equal(second.t, 0.1 + np.arange(7, 13) * h)
    np.testing.assert_array_equal(second.x[0], first.x[-1])
    np.testing.assert_array_equal(third.t, [0.1 + 13 * h])
    assert third.describe()["first_step"] == 12
    np.testing.assert_array_equal(
        sf.simulate(OU, resume=first, n_steps=5, save_at=3).t, 0.1 + np.array([7, 10, 12]) * h
    )
    with pytest.raises(ValueError, match=r"got 0\.7; the nearest is 0\.8"):
        sf.simulate(OU, resume=first, n_steps=5, save_at=[0.7])


def test_times_of_a_resumed_run_on_a_given_grid():
    second = sf.simulate(OU, resume=on_times(), times=[2.5, 3.0, 4.0], save_at=[3.0, 4.0])
    np.testing.assert_array_equal(second.t, [3.0, 4.0])
    whole = on_times(times=[*TIMES, 3.0, 4.0], save_at=[3.0, 4.0])
    np.testing.assert_array_equal(second.x, whole.x)


def test_equal_steps_of_a_given_grid_are_those_of_a_uniform_one():
    times = np.arange(17) / 16
    for name, method in (("ou", "exact"), ("linear", "exact"), ("heston", "euler-maruyama")):
        model, x0 = MODELS[name]
        settings = {"x0": x0, "n_paths": 40, "seed": 1, "method": method, "save_at": "all"}
        uniform = sf.simulate(model, t1=1.0, n_steps=16, **settings)
        np.testing.assert_array_equal(sf.simulate(model, times=times, **settings).x, uniform.x)


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([0.0], "times must hold at least 2"),
        ([0.0, 1.0, 1.0], "times must be strictly increasing, got 1.0 followed by 1.0 at index 2"),
        ([0.0, 2.0, 1.0], "times must be strictly increasing"),
        ([0.0, np.inf], "times must be finite"),
        ([[0.0, 1.0]], "times must have shape"),
    ],
)
def test_bad_grids(times, message):
    with pytest.raises(ValueError, match=message):
        on_times(times=times)


@pytest.mark.parametrize("extra", [{"t0": 0.0}, {"t1": 1.0}, {"n_steps": 3}])
def test_given_times_leave_nothing_to_say(extra):
    with pytest.raises(ValueError, match="times already says where steps begin and end"):
        on_times(**extra)


# Going on ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda: simulate(paths=False), "resume needs the final states, and this run was made with paths=False"),
        (lambda: simulate(save_at=[0.0, 1.0]), "resume needs the final states, and save_at did not include the final"),
    ],
    ids=["no paths", "no final state"],
)
def test_runs_without_final_states_cannot_go_on(run, message):
    with pytest.raises(ValueError, match=message):
        sf.simulate(OU, resume=run(), n_steps=3)


@pytest.mark.parametrize("model", [sf.OrnsteinUhlenbeck(kappa=2.0), sf.BrownianMotion()])
def test_another_model_cannot_go_on(model):
    with pytest.raises(ValueError, match="resume goes on with the same model: the run was of OrnsteinUhlenbeck"):
        sf.simulate(model, resume=simulate(), n_steps=3)


@pytest.mark.parametrize(
    "fixed",
    [{"x0": 1.0}, {"t0": 0.0}, {"t1": 3.0}, {"n_paths": 7}, {"method": "exact"}, {"seed": 1}, {"dtype": "float64"},
     {"noise_dtype": "float64"}, {"first_chain": 0}],
    ids=str,
)  # fmt: skip
def test_what_a_resumed_run_takes_from_the_earlier_one(fixed):
    with pytest.raises(TypeError, match=f"a resumed run goes on .* leave out {next(iter(fixed))}"):
        sf.simulate(OU, resume=simulate(), n_steps=3, **fixed)


def test_how_to_go_on_depends_on_the_grid():
    with pytest.raises(TypeError, match="a run on a uniform grid is resumed with n_steps="):
        sf.simulate(OU, resume=simulate())
    with pytest.raises(TypeError, match="a run on a uniform grid is resumed with n_steps="):
        sf.simulate(OU, resume=simulate(), times=[2.0, 3.0])
    with pytest.raises(TypeError, match="a run through given times is resumed with times="):
        sf.simulate(OU, resume=on_times(), n_steps=2)
    with pytest.raises(ValueError, match=r"times must begin at the resumed run's last time 2\.5, got 2\.4"):
        sf.simulate(OU, resume=on_times(), times=[2.4, 3.0])
    with pytest.raises(ValueError, match="n_steps must be between 1 and"):
        sf.simulate(OU, resume=simulate(), n_steps=0)
    with pytest.raises(TypeError, match="resume must be the result of an earlier simulate, got 5"):
        sf.simulate(OU, resume=5, n_steps=2)


def test_a_resumed_run_keeps_method_types_and_chains():
    settings = {"method": "exact", "seed": 3, "dtype": "float64", "noise_dtype": "float32", "first_chain": 9}
    run = sf.simulate(OU, resume=simulate(**settings), n_steps=4)
    assert {name: run.describe()[name] for name in settings} == settings
    assert run.n_paths == 7


def test_resuming_leaves_the_earlier_run_as_it_is():
    first = simulate(save_at="all")
    before = first.x.copy(), first.mean.copy()
    sf.simulate(OU, resume=first, n_steps=3)
    np.testing.assert_array_equal(first.x, before[0])
    np.testing.assert_array_equal(first.mean, before[1])
