"""Plans: the numbers that public reports ask for, what a table holds, and what is refused."""

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest
from diffusion.reference import run_plan

from sdefast import diffusion
from sdefast.diffusion import PREDICTIONS, ROW, SAMPLERS, plan, plan_of_sigmas, row_of

LINEAR = diffusion.linear_beta_schedule(1000)
FLOW = diffusion.flow_schedule(1000)
SIGMAS = np.append(diffusion.karras_sigmas(6, 0.02, 80.0), 0.0)

#: every option of every sampler
OPTIONS = {
    "ddpm": [{"variance": "beta"}, {"variance": "beta_tilde"}, {"variance": np.full(1000, 0.01)}],
    "ddim": [{"eta": 0.5}, {"use_clipped_model_output": False}, {"eta": 1.0, "use_clipped_model_output": False}],
    "euler": [{"s_churn": 30.0}, {"s_churn": 5.0, "s_tmin": 0.1, "s_tmax": 10.0, "s_noise": 1.01}],
    "euler-ancestral": [{"eta": 0.3, "s_noise": 0.0}, {"eta": 2.0}],
    "heun": [{"s_churn": 30.0}, {"s_churn": 5.0, "s_tmin": 0.1, "s_tmax": float("inf"), "s_noise": 1.01}],
    "dpm++2m": [{}],
    "dpm++2m-sde": [{"eta": 0.5, "solver_type": "heun"}, {"eta": 0.0, "s_noise": 1.1}],
    "dpm++3m": [{"curvature": 0.5}],
    "dpm++3m-sde": [{"eta": 0.5, "curvature": 0.5}, {"eta": 0.0, "s_noise": 1.1}],
    "reverse-sde": [{}],
    "predictor-corrector": [{"predictor": "ancestral", "n_corrector": 2}, {"snr": 0.0}, {"n_corrector": 0}],
    "ode": [{}],
    "annealed-langevin": [{"step_size": 1e-5, "steps_per_level": 2}],
}


def test_options_of_every_sampler_are_here():
    assert set(OPTIONS) == set(SAMPLERS)
    for name, sampler in SAMPLERS.items():
        assert {option for options in OPTIONS[name] for option in options} == set(sampler.options)


# --------------------------------------------------------------------------------------------------------------------
# Right values
# --------------------------------------------------------------------------------------------------------------------


def test_ddim_goes_to_the_next_of_its_list():
    made = plan("ddim", LINEAR, 10, spacing="linspace")
    assert made.timesteps.tolist()[:2] == [999, 888]
    first = made.rows[0]
    assert (first["alpha"], first["sigma"]) == (LINEAR.alpha[888], LINEAR.sigma[888])
    assert first["a"] == pytest.approx(0.999852299, abs=5e-10)
    assert first["b"] == pytest.approx(0.011970966, abs=5e-10)
    assert row_of("ddim", LINEAR, 999, 888) == first


def test_ddim_that_ends_at_0_goes_to_the_data():
    last = plan("ddim", LINEAR, 10, spacing="linspace").rows[-1]
    assert (last["t"], last["alpha"], last["sigma"], last["a"], last["b"]) == (0, 1, 0, 0, 1)


def test_ddpm_step_of_the_thesis():
    # x' = 1.005088579 (x - .015898027 eps) + .099738281 z at t = 100 of 200
    row = row_of("ddpm", diffusion.linear_beta_schedule(200), 100, 99)
    a = row["a"] + row["b"] * row["p"]
    assert a == pytest.approx(1.005088579, abs=5e-10)
    assert row["b"] * row["q"] / a == pytest.approx(-0.015898027, abs=5e-10)
    assert row["s"] == pytest.approx(0.099738281, abs=5e-10)


def test_ddpm_takes_one_variance_for_each_timestep():
    given = np.linspace(1e-4, 0.04, 1000)
    rows = plan("ddpm", LINEAR, 10, variance=given).rows
    np.testing.assert_allclose(
        rows["s"][:-1], np.sqrt(given[[900, 800, 700, 600, 500, 400, 300, 200, 100]]), rtol=1e-14
    )
    assert rows["s"][-1] == 0


SCHEDULE = diffusion.Schedule.from_alphas_cumprod([0.81, 0.25])


def stepped(method, **options):
    """x' without noise from x = 2 where the model says v = -1, from abar = .25 to .81, D clipped at 1."""
    made = plan(method, SCHEDULE, prediction="v", clip=1.0, **options)
    one = made.rows[:1]
    assert one["p"] * 2 + one["q"] * -1 == pytest.approx(1.866, abs=5e-4)
    kept = copy.copy(made)
    object.__setattr__(kept, "rows", one)
    return float(run_plan(lambda x, t: np.full_like(x, -1.0), kept, np.array([[2.0]]), lambda key: 0.0)[0, 0])


def test_clipped_data_change_the_noise():
    assert stepped("ddim") == pytest.approx(1.654983, abs=5e-7)
    assert stepped("ddim", use_clipped_model_output=False) == pytest.approx(1.437038, abs=5e-7)
    assert stepped("ddpm") == pytest.approx(1.111111, abs=5e-7)
    assert stepped("euler-ancestral") == pytest.approx(1.111111, abs=5e-7)


@pytest.mark.parametrize("method", SAMPLERS)
@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace", "karras"])
def test_one_step_is_finite_and_comes_to_the_data(method, prediction, spacing):
    for options in [{}, *OPTIONS[method]]:
        if spacing == "karras" and not isinstance(options.get("variance", ""), str):
            continue
        for clip in (None, 1.0):
            made = plan(method, LINEAR, 1, spacing=spacing, prediction=prediction, clip=clip, **options)
            assert all(np.isfinite(made.rows[name]).all() for name in ("t", "p", "q", "a", "b", "g", "c1", "c2", "s"))
            last = made.rows[-1]
            assert (last["a"], last["b"], last["g"], last["s"]) == (0, 1, 0, 0)
            assert (last["alpha"], last["sigma"]) == (1, 0)


@pytest.mark.parametrize("method", ["heun", "ode", "dpm++2m", "dpm++2m-sde", "dpm++3m", "dpm++3m-sde"])
def test_higher_orders_into_the_data_are_first_order(method):
    for made in (plan_of_sigmas(method, SIGMAS), plan(method, LINEAR, 7), plan(method, FLOW, 7, prediction="flow")):
        last = made.rows[-1]
        assert (last["a"], last["b"], last["c1"], last["c2"], last["s"]) == (0, 1, 0, 0, 0)


# --------------------------------------------------------------------------------------------------------------------
# What a table holds
# --------------------------------------------------------------------------------------------------------------------


def test_sigmas_are_told_to_the_model_as_they_are():
    made = plan_of_sigmas("euler", SIGMAS)
    np.testing.assert_array_equal(made.timesteps, SIGMAS[:-1])
    assert made.timesteps.dtype == np.float64
    assert made.rows["key"].tolist() == [5, 4, 3, 2, 1, 0]  # what is left
    assert (made.rows["p"] == 0).all()
    assert (made.rows["q"] == 1).all()
    assert made.prior_scale == 80
    assert made.schedule is None


def test_sigmas_may_stop_before_0():
    made, whole = (plan_of_sigmas("dpm++2m", sigmas) for sigmas in (SIGMAS[:-1], SIGMAS))
    same = [name for name in ROW.names if name != "key"]  # which counts what is left
    assert (made.rows[same] == whole.rows[:-1][same]).all()


def test_heun_calls_the_model_where_it_is():
    made = plan_of_sigmas("heun", SIGMAS)
    np.testing.assert_array_equal(made.timesteps, np.repeat(SIGMAS[:-1], 2)[1:])
    assert made.n_calls == 2 * 6 - 1
    assert made.rows["keep"].tolist() == [2, 0] * 5 + [0]


def test_churn_is_a_row_without_a_call():
    made = plan_of_sigmas("heun", SIGMAS, s_churn=2.0, s_tmin=1.0, s_tmax=50.0)
    noisy = made.rows[made.rows["s"] > 0]
    inside = SIGMAS[(SIGMAS >= 1) & (SIGMAS <= 50)]
    assert len(noisy) == len(inside)
    assert not noisy["call"].any()
    assert (noisy["t"] == noisy["sigma"]).all()
    gamma = 2.0 / 6
    np.testing.assert_allclose(noisy["sigma"], inside * (1 + gamma), rtol=1e-14)
    np.testing.assert_allclose(noisy["s"], inside * np.sqrt((1 + gamma) ** 2 - 1), rtol=1e-14)


def test_churn_on_a_schedule_stays_on_it():
    made = plan("heun", LINEAR, 10, spacing="linspace", s_churn=5.0)
    for row in made.rows[:-1]:
        assert row["alpha"] ** 2 + row["sigma"] ** 2 == pytest.approx(1, abs=1e-12)
    asked = made.timesteps
    assert asked.dtype == np.float64
    assert asked.min() >= 0
    assert asked.max() <= 999


def test_karras_spacing_lies_between_the_ends():
    made = plan("dpm++2m", LINEAR, 12, spacing="karras")
    ratios = diffusion.karras_sigmas(12, LINEAR.ratio[0], LINEAR.ratio[-1])
    np.testing.assert_allclose(made.rows["sigma"][:-1] / made.rows["alpha"][:-1], ratios[1:], rtol=1e-12)
    assert made.timesteps[0] == 999
    assert made.timesteps[-1] == 0
    assert made.timesteps.dtype == np.float64
    assert made.rows["key"].tolist() == list(range(12))[::-1]
    with pytest.raises(ValueError, match="last alpha above 0"):
        plan("dpm++2m", FLOW, 12, spacing="karras", prediction="flow")


@pytest.mark.parametrize("method", SAMPLERS)
@pytest.mark.parametrize("spacing", ["trailing", "karras"])
def test_no_two_draws_are_of_one_key(method, spacing):
    for options in OPTIONS[method]:
        if spacing == "karras" and not isinstance(options.get("variance", ""), str):
            continue
        made = plan(method, LINEAR, 20, spacing=spacing, **options)
        rows = made.rows[(made.rows["s"] != 0) | (made.rows["snr"] > 0)]
        assert len(set(rows["key"].tolist())) == len(rows)
        assert (made.rows["key"] >= 0).all()
        plain = made.rows[(made.rows["snr"] == 0) & (made.rows["key"] <= 1000)]
        if spacing == "trailing":
            assert set(plain["key"].tolist()) == set(diffusion.timesteps(1000, 20, "trailing").tolist())
        else:
            assert set(plain["key"].tolist()) == set(range(20))


def test_correctors_draw_further_noise_of_their_timestep():
    rows = plan("predictor-corrector", LINEAR, spacing=[999, 500], n_corrector=2).rows
    assert rows["key"].tolist() == [999, 1001 + 500, 2002 + 500, 500]
    assert rows["call"].all()
    assert rows["t"].tolist() == [999, 500, 500, 500]
    np.testing.assert_allclose(rows["snr"], 0.16 * np.sqrt(1 - LINEAR.betas[500]) * np.array([0, 1, 1, 0]), rtol=1e-12)
    assert rows["a"][1] * LINEAR.sigma[500] ** 2 == pytest.approx(-1)
    assert rows["b"][1] * LINEAR.sigma[500] ** 2 == pytest.approx(LINEAR.alpha[500])


def test_a_plan_is_a_value():
    made = plan("ddpm", LINEAR, 10, variance=np.full(1000, 0.01), clip=1)
    again = plan("ddpm", LINEAR, 10, variance=np.full(1000, 0.01), clip=1.0)
    assert made == again
    assert pickle.loads(pickle.dumps(made)) == made
    assert copy.deepcopy(made) == made
    for other in (
        plan("ddpm", LINEAR, 10, clip=1.0),
        plan("ddpm", LINEAR, 10, variance=np.full(1000, 0.01)),
        plan("ddpm", LINEAR, 11, variance=np.full(1000, 0.01), clip=1.0),
    ):
        assert made != other
    assert made != "ddpm"
    assert made.rows.dtype == ROW
    assert len(made) == made.n_calls == 10
    assert made.options["variance"][0] == 0.01
    with pytest.raises(ValueError, match="read-only"):
        made.rows["a"] = 0


def test_a_plan_prints_its_table():
    made = plan("heun", LINEAR, 4, s_churn=1.0, clip=1.0)
    assert repr(made) == (
        "Plan('heun', 11 rows, 7 calls, prediction='eps', clip=1, s_churn=1.0, s_tmin=0.0, s_tmax=inf, s_noise=1.0)"
    )
    lines = str(made).splitlines()
    assert len(lines) == 2 + 11
    assert " ".join(lines[1].split()) == "row call t p q limit a b c1 c2 s keep key alpha sigma"
    assert {len(line) for line in lines[1:]} == {len(lines[1])}
    long = str(plan("ddim", LINEAR)).splitlines()
    assert len(long) == 2 + 12 + 1 + 6
    assert "... 982 more" in long
    assert "array of 1000" in repr(plan("ddpm", LINEAR, 3, variance=np.ones(1000)))


def test_clip_is_the_limit():
    assert (plan("ddim", LINEAR, 3, clip=2).rows["limit"] == 2).all()
    assert (plan("ddim", LINEAR, 3).rows["limit"] == np.inf).all()


def test_rows_of_single_steps_are_those_of_plans():
    for method in ("ddpm", "ddim", "euler", "euler-ancestral", "reverse-sde"):
        made = plan(method, LINEAR, 10, spacing="linspace", prediction="v", clip=1.0)
        for row, (t, after) in zip(made.rows, zip(made.timesteps, [*made.timesteps[1:], -1], strict=True), strict=True):
            assert row_of(method, LINEAR, int(t), int(after), prediction="v", clip=1.0) == row


def test_rows_of_single_steps_are_remembered_by_numbers_alone():
    given = np.full(1000, 0.01)
    first = row_of("ddpm", LINEAR, 500, 499, variance=given)
    given[500] = 0.04
    assert row_of("ddpm", LINEAR, 500, 499, variance=given)["s"] == 2 * first["s"]
    assert row_of("ddim", LINEAR, 5) is row_of("ddim", LINEAR, np.int64(5), -1)
    assert row_of("ddim", LINEAR, 5, eta=1.0) != row_of("ddim", LINEAR, 5, 4, eta=1.0)


def test_nothing_imports_torch():
    code = "import sys, sdefast.diffusion; print(sorted({'torch', 'diffusers', 'numba', 'scipy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"


# --------------------------------------------------------------------------------------------------------------------
# What is refused
# --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: plan("dpm2m", LINEAR), ValueError, "did you mean 'dpm\\+\\+2m'"),
        (lambda: plan("ddim", LINEAR.betas), TypeError, "Schedule.from_betas"),
        (lambda: plan("ddim", LINEAR, 1001), ValueError, "between 1 and 1000, got 1001"),
        (lambda: plan("ddim", LINEAR, spacing=[1000, 5]), ValueError, "between 0 and 999, got 1000"),
        (lambda: plan("ddim", LINEAR, spacing="karas"), ValueError, "did you mean 'karras'"),
        (lambda: plan("ddim", LINEAR, prediction="noise"), ValueError, "prediction must be one of"),
        (lambda: plan("ddim", LINEAR, clip=0), ValueError, "clip must be positive"),
        (lambda: plan("ddim", LINEAR, variance="beta"), TypeError, "'ddim' has no option 'variance': it takes 'eta'"),
        (lambda: plan("dpm++2m", LINEAR, eta=1.0), TypeError, "takes no options"),
        (lambda: plan("dpm++3m", LINEAR, curvature=-0.5), ValueError, "curvature must be within"),
        (lambda: plan("ddim", LINEAR, eta=-1), ValueError, "eta must be within"),
        (lambda: plan("ddim", LINEAR, use_clipped_model_output="no"), TypeError, "True or False"),
        (lambda: plan("ddpm", LINEAR, variance="betas"), ValueError, "did you mean 'beta'"),
        (lambda: plan("ddpm", LINEAR, variance=np.ones(10)), ValueError, "one number per timestep, 1000, got 10"),
        (lambda: plan("ddpm", LINEAR, variance=-np.ones(1000)), ValueError, "must not be negative, got -1 at index 0"),
        (lambda: plan("ddpm", LINEAR, 5, spacing="karras", variance=np.ones(1000)), ValueError, "integer timesteps"),
        (lambda: plan_of_sigmas("ddpm", SIGMAS, variance=np.ones(1000)), ValueError, "one number per timestep"),
        (lambda: plan("heun", LINEAR, s_tmax=np.nan), ValueError, "s_tmax must be finite"),
        (lambda: plan("dpm++2m-sde", LINEAR, solver_type="euler"), ValueError, "solver_type must be one of"),
        (lambda: plan("predictor-corrector", LINEAR, n_corrector=1.5), TypeError, "n_corrector must be an integer"),
        (lambda: plan("reverse-sde", FLOW, prediction="flow"), ValueError, "singular where alpha = 0"),
        (lambda: plan_of_sigmas("euler", [1.0]), ValueError, "two numbers or more"),
        (lambda: plan_of_sigmas("euler", [1.0, 2.0, 0.0]), ValueError, "got 1 before 2 at index 0"),
        (lambda: plan_of_sigmas("euler", [1.0, 0.0, 0.0]), ValueError, "got 0 before 0 at index 1"),
        (lambda: plan_of_sigmas("euler", [1.0, 0.5, -0.1]), ValueError, "got 0.5 before -0.1 at index 1"),
        (lambda: row_of("ddim", LINEAR, 1000, 5), ValueError, "between 0 and 999, got 1000"),
        (lambda: row_of("ddim", LINEAR, 5, 5), ValueError, "previous must be smaller than the timestep, 5, got 5"),
        (lambda: row_of("heun", LINEAR, 5, 4), ValueError, "a step of 'heun' has 2 rows"),
    ],
)
def test_bad_input_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
