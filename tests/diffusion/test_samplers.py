"""Every sampler: its law on Gaussian data, exactly, from its own rows; orders; identities."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from conftest import thorough_but
from diffusion import sources
from diffusion.gaussian import MEAN, VARIANCE, moments

from sdefast import diffusion
from sdefast.diffusion import SAMPLERS, Plan, plan, plan_of_sigmas

LINEAR = diffusion.linear_beta_schedule(1000)
AT_200 = diffusion.linear_beta_schedule(200)
SCALED = diffusion.linear_beta_schedule(200, scaled=True)
FLOW = diffusion.flow_schedule(1000)


def karras(n, least=0.02):
    """The sigmas of the exact values: from 80, then 0."""
    return np.append(diffusion.karras_sigmas(n, least, 80.0), 0.0)


class Case(NamedTuple):
    """A plan, the mean and variance that it starts from, those that it must come to, and how near."""

    plan: Plan
    start: tuple[float, float]
    mean: float
    variance: float
    tolerance: float


def printed(method, plan_made, variance, mean=MEAN, start=None):
    """A case of a value known to six digits."""
    assert plan_made.method == method
    return Case(plan_made, start or (0.0, plan_made.prior_scale**2), mean, variance, 6e-7)


def exploding(method, n, variance, least=0.02, **options):
    """A known value from the Karras sigmas, started from the law there."""
    return printed(
        method, plan_of_sigmas(method, karras(n, least), **options), variance, start=(MEAN, VARIANCE + 80.0**2)
    )


CHURNED = {"s_churn": 40.0, "s_tmin": 0.05, "s_tmax": 50.0, "s_noise": 1.003}

KNOWN = [
    printed("ddpm", plan("ddpm", LINEAR, variance="beta"), 0.250752, 0.699993),
    printed("ddpm", plan("ddpm", LINEAR, variance="beta_tilde"), 0.246125, 0.699993),
    printed("ddpm", plan("ddpm", AT_200, variance="beta"), 0.252812, 0.674322),
    printed("ddpm", plan("ddpm", AT_200, variance="beta_tilde", prediction="v"), 0.242890, 0.674322),
    printed("ddpm", plan("ddpm", SCALED, variance="beta", prediction="x0"), 0.253815, 0.699995),
    printed("ddpm", plan("ddpm", SCALED, variance="beta_tilde", prediction="score"), 0.233003, 0.699995),
    *(
        printed("ddim", plan("ddim", LINEAR, n, spacing="linspace", prediction=said), variance, mean)
        for n, mean, variance, said in [
            (10, 0.698392, 0.130763, "eps"),
            (20, 0.698086, 0.185289, "v"),
            (50, 0.697901, 0.222704, "score"),
            (1000, 0.697783, 0.248498, "flow"),
        ]
    ),
    exploding("euler", 10, 0.142580),
    exploding("heun", 10, 0.342004),
    exploding("dpm++2m", 10, 0.291034),
    exploding("euler-ancestral", 10, 0.098188),
    exploding("dpm++2m-sde", 10, 0.282244),
    exploding("dpm++3m", 10, 0.399119),
    exploding("dpm++3m", 20, 0.243214, prediction="v"),
    exploding("dpm++3m", 20, 0.251682, curvature=0.5),
    exploding("euler", 20, 0.191389, prediction="eps"),
    exploding("heun", 20, 0.266953, prediction="v"),
    exploding("dpm++2m", 20, 0.266975, prediction="flow"),
    exploding("euler-ancestral", 20, 0.150958, prediction="score"),
    exploding("dpm++2m-sde", 20, 0.288098),
    *(
        exploding("heun", n, variance, 0.002, **options)
        for n, variance, options in [
            (18, 0.318152, CHURNED),
            (18, 0.278399, {}),
            (40, 0.270678, CHURNED),
            (40, 0.254911, {}),
            (256, 0.252494, CHURNED),
            (256, 0.250105, {}),
        ]
    ),
]


def computed(method, plan_made, source, *arguments, scale=1.0, mean=0.0, variance=None, **options):
    """A case against the sampler's source, whose state is x / ``scale``: x / alpha where it knows sigma alone."""
    assert plan_made.method == method
    variance = plan_made.prior_scale**2 if variance is None else variance
    chain = sources.Chain(mean / scale, variance / scale**2)
    source(chain, *arguments, **options)
    return Case(plan_made, (mean, variance), *chain.moments(), 1e-10)


STEPS = diffusion.timesteps(1000, 25, "trailing")
RATIOS = np.append(LINEAR.ratio[STEPS], 0.0)
SHIFTED = diffusion.flow_schedule(1000, shift=3.0)
TIMES = {"n_steps": 25, "spacing": "trailing"}
SIGMAS = karras(15)
HERE = {"mean": MEAN, "variance": 6400.25}
CHURN = {"s_churn": 8.0, "s_tmin": 0.1, "s_tmax": 60.0, "s_noise": 1.01}
LAST = float(LINEAR.alpha[999])

COMPUTED = [
    computed("ddpm", plan("ddpm", LINEAR, **TIMES), sources.ddpm, LINEAR.alphas_cumprod, STEPS, "beta_tilde"),
    computed(
        "ddpm", plan("ddpm", LINEAR, variance="beta", **TIMES), sources.ddpm, LINEAR.alphas_cumprod, STEPS, "beta"
    ),
    computed("ddim", plan("ddim", LINEAR, eta=0.5, **TIMES), sources.ddim, LINEAR.alphas_cumprod, STEPS, 0.5),
    computed(
        "ddim",
        plan("ddim", LINEAR, eta=0.5, use_clipped_model_output=False, prediction="v", **TIMES),
        sources.ddim,
        LINEAR.alphas_cumprod,
        STEPS,
        0.5,
    ),
    computed("euler", plan("euler", LINEAR, **TIMES), sources.karras, RATIOS, heun=False, scale=LAST),
    computed("heun", plan("heun", LINEAR, **TIMES), sources.karras, RATIOS, scale=LAST),
    computed("euler", plan_of_sigmas("euler", SIGMAS, **CHURN), sources.karras, SIGMAS, heun=False, **CHURN, **HERE),
    computed("euler-ancestral", plan("euler-ancestral", LINEAR, **TIMES), sources.ancestral, RATIOS, scale=LAST),
    computed(
        "euler-ancestral",
        plan_of_sigmas("euler-ancestral", SIGMAS, eta=0.6, s_noise=1.1),
        sources.ancestral,
        SIGMAS,
        eta=0.6,
        s_noise=1.1,
        **HERE,
    ),
    computed("dpm++2m", plan("dpm++2m", LINEAR, **TIMES), sources.dpmpp_2m, RATIOS, scale=LAST),
    computed("dpm++2m-sde", plan("dpm++2m-sde", LINEAR, **TIMES), sources.dpmpp_2m_sde, RATIOS, scale=LAST),
    *(
        computed(
            "dpm++2m-sde",
            plan_of_sigmas("dpm++2m-sde", SIGMAS, **options),
            sources.dpmpp_2m_sde,
            SIGMAS,
            **options,
            **HERE,
        )
        for options in ({"eta": 0.4, "s_noise": 1.1}, {"solver_type": "heun"}, {"eta": 0.0})
    ),
    computed("dpm++3m", plan("dpm++3m", LINEAR, **TIMES), sources.parabolas, RATIOS, scale=LAST),
    computed("dpm++3m-sde", plan("dpm++3m-sde", LINEAR, **TIMES), sources.parabolas, RATIOS, 1.0, scale=LAST),
    *(
        computed(
            "dpm++3m-sde",
            plan_of_sigmas("dpm++3m-sde", SIGMAS, curvature=curvature, **options),
            source,
            SIGMAS,
            **options,
            **HERE,
        )
        for curvature, source in ((1.0, sources.parabolas), (0.5, sources.dpmpp_3m_sde))
        for options in ({"eta": 1.0}, {"eta": 0.4, "s_noise": 1.1}, {"eta": 0.0})
    ),
    computed("ode", plan_of_sigmas("ode", SIGMAS), sources.karras, SIGMAS, **HERE),
    *(
        computed(
            "ode",
            plan("ode", flow, prediction=said, **TIMES),
            sources.flow_heun,
            np.append(flow.sigma[STEPS], 0.0),
        )
        for flow, said in ((FLOW, "flow"), (SHIFTED, "v"))
    ),
    computed(
        "annealed-langevin",
        plan_of_sigmas("annealed-langevin", SIGMAS, step_size=8e-5, steps_per_level=7),
        sources.annealed_langevin,
        SIGMAS[:-1],
        8e-5,
        7,
        **HERE,
    ),
    computed("reverse-sde", plan("reverse-sde", AT_200), sources.reverse_vp, AT_200.betas),
    *(
        computed(
            "predictor-corrector",
            plan_of_sigmas("predictor-corrector", SIGMAS, n_corrector=n, snr=0.2),
            sources.predictor_corrector,
            SIGMAS,
            n,
            0.2,
            **HERE,
        )
        for n in (0, 1, 3)
    ),
]

CASES = KNOWN + COMPUTED


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.plan.method}-{len(case.plan)}")
def test_law_on_a_gaussian_is_exact(case):
    mean, variance = moments(case.plan, *case.start)
    assert mean == pytest.approx(case.mean, abs=case.tolerance)
    assert variance == pytest.approx(case.variance, abs=case.tolerance)


def test_every_sampler_is_in_the_table():
    assert {case.plan.method for case in CASES} == set(SAMPLERS)
    assert {case.plan.method for case in COMPUTED} == set(SAMPLERS)


def on_fine_grids(error):
    """What the error tends to as a timestep shrinks, with as many steps: a timestep's beta is then beta(t) dt."""
    return 2 * error(2) - error(1)


@pytest.mark.parametrize(
    ("n", "expected"),
    thorough_but([(500, 7.2479e-4), (1000, 3.6000e-4)], [(500, 7.2479e-4), (1000, 3.6000e-4), (2000, 1.7941e-4)]),
)
def test_reverse_sde_errs_on_the_vp_sde_as_euler_maruyama_does(n, expected):
    def error(fineness):  # beta(u) = .1 + 19.9 u from u = 1 to 1e-3
        u = np.arange(1, 1000 * n * fineness + 1) / (1000 * n * fineness)
        schedule = diffusion.Schedule.from_alphas_cumprod(np.exp(-(0.1 * u + 19.9 * u**2 / 2)))
        steps = np.arange(len(u) - 1, 0, -999 * fineness)[: n + 1]
        assert u[steps[-1]] == pytest.approx(1e-3, rel=1e-12)
        kept = schedule.alphas_cumprod[steps[-1]]
        return moments(plan("reverse-sde", schedule, spacing=steps), n_rows=n)[1] - (kept * VARIANCE + 1 - kept)

    assert on_fine_grids(error) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize(("n", "expected"), [(500, 2.54e-5), (1000, 6.70e-6), (2000, 1.84e-6)])
def test_reverse_sde_errs_on_the_ve_sde_as_euler_maruyama_does(n, expected):
    # two errors cancel here, so that these are no powers of n
    def error(fineness):
        schedule = diffusion.Schedule.from_sigmas(0.01 * 5000.0 ** np.linspace(0, 1, 100 * fineness * n + 1))
        made = plan("reverse-sde", schedule, spacing=np.arange(100 * fineness * n, -1, -100 * fineness))
        return moments(made, MEAN, VARIANCE + 2500.0, n_rows=n)[1] - (VARIANCE + 1e-4)

    assert on_fine_grids(error) == pytest.approx(expected, abs=1e-7)


def test_annealed_langevin_on_another_gaussian():
    # N(1.5, .04), ten scales from 10 to .1, 100 steps each, eps_0 = 2e-3 of the form with eps / 2, from N(0, 100)
    sigmas = np.append(diffusion.geometric_sigmas(10.0, 0.1, 10), 0.0)
    made = plan_of_sigmas("annealed-langevin", sigmas, step_size=1e-3, prediction="score")
    assert made == plan_of_sigmas("annealed-langevin", sigmas, prediction="score", step_size=1e-3, steps_per_level=100)
    law = (1.5, 0.04)
    assert moments(made, 0.0, 100.0, n_rows=1000, law=law) == pytest.approx((1.5, 0.0508349), abs=5e-8)
    assert moments(made, 0.0, 100.0, law=law) == pytest.approx((1.5, 0.0325343), abs=5e-8)
    default = plan_of_sigmas("annealed-langevin", sigmas, prediction="score")
    np.testing.assert_allclose(default.rows["a"], made.rows["a"], rtol=1e-12)


def slopes(error, sizes):
    """By how many powers of two the error falls when the number of steps doubles."""
    return -np.diff(np.log2([error(n) for n in sizes]))


@pytest.mark.parametrize(
    ("method", "order"), [("euler", 1), ("heun", 2), ("dpm++2m", 2), ("dpm++3m", 3), ("ode", 2), ("ddim", 1)]
)
def test_order_on_the_flow_of_ve(method, order):
    def error(n):
        made = plan_of_sigmas(method, karras(n)[:-1])
        return abs(moments(made, MEAN, VARIANCE + 80.0**2)[1] - (VARIANCE + 0.02**2))

    assert SAMPLERS[method].order == order
    found = slopes(error, (21, 41, 81, 161, 321, 641))
    assert abs(found[-1] - order) < 0.02
    assert abs(found - order).max() < 0.1 * order


@pytest.mark.parametrize(
    ("schedule", "first", "end"),
    [(diffusion.linear_beta_schedule(20000, 5e-6, 1e-3), 19999, 3999), (diffusion.flow_schedule(20001), 11999, 1999)],
    ids=["vp", "flow"],
)
@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("heun", 2), ("dpm++2m", 2), ("ode", 2)])
def test_order_on_the_flows_of_vp_and_flow_matching(schedule, first, end, method, order):
    at = schedule.alpha**2 * VARIANCE + schedule.sigma**2  # the exact flow keeps to the marginal's law

    def error(n):
        made = plan(method, schedule, spacing=np.arange(first, end - 1, -(first - end) // n), prediction="x0")
        n_rows = int(np.flatnonzero(made.rows["sigma"] == schedule.sigma[end])[-1]) + 1
        return abs(moments(made, schedule.alpha[first] * MEAN, at[first], n_rows)[1] - at[end])

    found = slopes(error, (25, 50, 100, 200, 400))
    assert abs(found - order).max() < 0.06
    assert abs(found[-1] - order) < 0.01


@pytest.mark.parametrize(("curvature", "start", "order"), [(1.0, 1.5, 3), (0.5, 1.5, 2), (1.0, 1.0, 2)])
def test_third_order_is_of_the_whole_second_difference_and_a_short_first_step(curvature, start, order):
    def error(n):
        h = np.log(30) / n
        sigmas = np.append(3 * np.exp(h**start), 3 * np.exp(-h * np.arange(n + 1)))
        made = plan_of_sigmas("dpm++3m", sigmas, curvature=curvature)
        return abs(moments(made, MEAN, VARIANCE + sigmas[0] ** 2)[1] - (VARIANCE + sigmas[-1] ** 2))

    assert abs(slopes(error, (400, 800)) - order).max() < 0.05


def test_order_of_the_reverse_sde_is_one_on_vp():
    schedule = diffusion.linear_beta_schedule(64000, 1e-7 * 15.625, 2e-2 / 64)

    def error(n):
        steps = np.arange(63999, 3998, -60000 // n)
        made = plan("reverse-sde", schedule, spacing=steps)
        kept = schedule.alphas_cumprod[3999]
        at = schedule.alphas_cumprod[63999]
        start = np.sqrt(at) * MEAN, at * VARIANCE + 1 - at
        return abs(moments(made, *start, n_rows=len(made) - 1)[1] - (kept * VARIANCE + 1 - kept))

    assert abs(slopes(error, (500, 1000, 2000, 4000))[-1] - 1) < 0.05


# --------------------------------------------------------------------------------------------------------------------
# One family
# --------------------------------------------------------------------------------------------------------------------

SCHEDULES = {
    "vp": LINEAR,
    "cosine": diffusion.cosine_schedule(1000),
    "zero": LINEAR.zero_terminal_snr(),
    "ve": diffusion.Schedule.from_sigmas(np.geomspace(0.01, 50, 1000)),
    "flow": diffusion.flow_schedule(1000, 3.0),
}


def coefficients_of(made, names="abgs"):
    """The columns of a plan's rows."""
    return np.array([[row[name] for name in names] for row in made.rows])


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("n_steps", [1, 13, 1000])
def test_posterior_samplers_are_one(name, n_steps):
    def made(method, **options):
        return coefficients_of(plan(method, SCHEDULES[name], n_steps, spacing="trailing", prediction="v", **options))

    ddpm = made("ddpm", variance="beta_tilde")
    for other in (
        made("ddim", eta=1.0),
        made("euler-ancestral"),
        made("predictor-corrector", predictor="ancestral", snr=0),
    ):
        np.testing.assert_allclose(other, ddpm, rtol=0, atol=2e-12)
    same = diffusion.row_of("ddim", SCHEDULES[name], 999, 900, prediction="v", eta=1.0)
    for method in ("dpm++2m-sde", "dpm++3m-sde"):
        first = diffusion.row_of(method, SCHEDULES[name], 999, 900, prediction="v")
        np.testing.assert_allclose([first[c] for c in "abs"], [same[c] for c in "abs"], rtol=0, atol=2e-12)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("n_steps", [1, 13, 1000])
def test_flow_samplers_of_first_order_are_one(name, n_steps):
    def made(method, **options):
        return coefficients_of(plan(method, SCHEDULES[name], n_steps, spacing="trailing", prediction="v", **options))

    ddim = made("ddim")
    np.testing.assert_allclose(made("euler"), ddim, rtol=0, atol=2e-12)
    np.testing.assert_allclose(made("euler-ancestral", eta=0.0), ddim, rtol=0, atol=2e-12)
    for method in ("dpm++2m", "dpm++3m", "heun", "ode"):
        row, same = made(method)[0], ddim[0]
        np.testing.assert_allclose(row, same, rtol=0, atol=2e-12)


@pytest.mark.parametrize("t", [999, 500, 1])
def test_flow_euler_is_ddim(t):
    row = diffusion.row_of("euler", FLOW, t, t - 1, prediction="x0")
    sigma, after = FLOW.sigma[t], FLOW.sigma[t - 1]
    # x + (sigma' - sigma) (eps - D) with eps = (x - (1 - sigma) D) / sigma
    assert row["a"] == pytest.approx(1 + (after - sigma) / sigma, abs=2e-12)
    assert row["b"] == pytest.approx((after - sigma) * (-(1 - sigma) / sigma - 1), abs=2e-12)


def test_heun_of_edm_is_the_ode_where_alpha_is_one():
    heun, ode = (plan_of_sigmas(method, karras(10)).rows for method in ("heun", "ode"))
    for name in ("a", "b", "c1", "c2"):
        np.testing.assert_allclose(heun[name], ode[name], rtol=1e-12, atol=2e-12)


def test_multistep_sde_without_noise_is_the_flow():
    for name in ("dpm++2m", "dpm++3m"):
        sde, flow = plan_of_sigmas(f"{name}-sde", karras(10), eta=0), plan_of_sigmas(name, karras(10))
        assert (sde.rows == flow.rows).all()


def test_history_has_the_weights_of_the_parabola():
    # sigma halves each step: through D = 1, u and u^2 at u = 0, -1, -2 the integrals of e^{-h (1 - u)} h are known
    row = plan_of_sigmas("dpm++3m", 2.0 ** -np.arange(5)).rows[3]
    seen = np.array([row["b"], row["c1"], row["c2"]])
    one = 1 - 0.5 / np.log(2)
    np.testing.assert_allclose(
        seen @ np.array([[1, 0, 0], [1, -1, 1], [1, -2, 4]]), [0.5, one, 1 - 2 * one / np.log(2)]
    )


def test_ddpm_is_its_score_form():
    # x' = (x + beta score) / sqrt(1 - beta) + sigma z
    row, beta = diffusion.row_of("ddpm", LINEAR, 500, 499, prediction="score", variance="beta"), LINEAR.betas[500]
    assert row["a"] + row["b"] * row["p"] == pytest.approx(1 / np.sqrt(1 - beta), rel=1e-12)
    assert row["b"] * row["q"] == pytest.approx(beta / np.sqrt(1 - beta), rel=1e-9)
    assert row["s"] == pytest.approx(np.sqrt(beta), rel=1e-9)
