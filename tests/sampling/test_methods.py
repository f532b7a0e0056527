"""Every method against its exact law: a million chains, in float64 and float32, under fixed seeds."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from conftest import in_both_types
from scipy import integrate, special

import sdefast as sf
from sdefast.sampling.laws import LinearStep, moments
from sdefast.sampling.methods import METHODS

#: standard errors by which a value may be off, under these seeds
MOST_Z = 5.0

N = 250_000

CORRELATED = sf.targets.Gaussian([1.0, -0.5], [[1.0, 0.6], [0.6, 2.0]])
NORMAL = sf.targets.Gaussian(0.0, 1.0)


def quadratics(f, k):
    """f x^2 / 2 + k x^2 / 2 in two dimensions, the second part by its proximal map."""
    return sf.targets.Composite(sf.targets.Gaussian(np.zeros(2), 1 / f), sf.targets.Quadratic(k))


TWO_PARTS = quadratics(1.0, 3.0)


#: Beta(6, 8) as the first of two components on the simplex
BETA = sf.targets.Target(lambda x: 5.0 * sf.math.log(x[0]) + 7.0 * sf.math.log(x[1]), dim=2)


def simplex_moments(h, n_steps, start):
    """Mean and variance of both components on `BETA` after steps of mirror-simplex, by sums over a grid.

    y = log(x0 / x1) is a chain: a step adds h (s0 - s1) and normals of variance 2 h (1 / x0 + 1 / x1).
    """
    y = np.linspace(-9.0, 7.0, 2001)
    x = special.expit(y)
    mean, deviation = y + h * (5.0 / x - 7.0 / (1 - x)), np.sqrt(2 * h * (1 / x + 1 / (1 - x)))
    steps = np.exp(-0.5 * ((y - mean[:, None]) / deviation[:, None]) ** 2) / (deviation[:, None] * np.sqrt(2 * np.pi))
    steps *= y[1] - y[0]
    y0 = np.log(start / (1 - start))
    first = y0 + h * (5.0 / start - 7.0 / (1 - start)), np.sqrt(2 * h * (1 / start + 1 / (1 - start)))
    law = np.exp(-0.5 * ((y - first[0]) / first[1]) ** 2)
    law /= law.sum()
    for _ in range(n_steps - 1):
        law = law @ steps
    at = law @ x / law.sum()
    return np.array([at, 1 - at]), law @ (x - at) ** 2 / law.sum()


@dataclass(frozen=True)
class Case:
    """A target, a step size and options. A law that is not linear's is the target's, or has the given moments."""

    h: float
    target: sf.targets.BaseTarget = CORRELATED
    linear: bool = True
    mean: object = None
    variance: object = None
    n_steps: int = 12
    x0: object = "sample"
    options: dict = field(default_factory=dict)


ROWS = np.random.default_rng(0).uniform(0.2, 1.8, 50), np.random.default_rng(1).normal(size=50)


def minibatches(method, batch=5, prior=2.0):
    """Quadratic terms of which a step draws five: the law of a minibatch, which is no constant noise."""
    p, m = ROWS
    target = sf.targets.Target(
        lambda x: -0.5 * sf.math.sum(lambda pi, mi: pi * (x[0] - mi) ** 2, p, m) - 0.5 * prior * x[0] ** 2
    )
    precision = p.sum() + prior
    h, mode = 0.25 / precision, (p * m).sum() / precision
    of_curvature, of_gradient = (len(p) ** 2 * v.var() / batch for v in (p, p * (m - mode)))
    variance = 1 / (precision - h / 2 * (precision**2 + of_curvature))
    variance *= 1 + h * of_gradient / 2 if method == "sgld" else 1
    return Case(h, target, False, mode, variance, n_steps=60, x0=mode, options={"batch_size": batch})


CASES = {
    "ula": Case(0.3),
    "mala": Case(0.6, linear=False),
    "barker": Case(0.4, linear=False),
    "preconditioned": Case(0.4, options={"metric": "hessian"}),
    # THEORY: by quadrature, at h = .4, and on N(0, 1/1.7) at h = .05 with width .5
    "tamed": Case(0.4, NORMAL, linear=False, variance=2.119681, n_steps=60),
    "mirror": Case(
        0.05, sf.targets.Gaussian(0.0, 1 / 1.7), linear=False, variance=0.619938, n_steps=100, options={"beta": 0.5}
    ),
    "mirror-simplex": Case(0.002, BETA, False, *simplex_moments(0.002, 200, 0.45), n_steps=200, x0=[0.45, 0.55]),
    "sgld": minibatches("sgld"),
    "sgld-cv": minibatches("sgld-cv"),
    "sk-rock": Case(1.5, options={"stages": 4}),
    "baoab": Case(0.8, options={"friction": 1.5}),
    "ubu": Case(0.5, options={"friction": 2.0}),
    "sort": Case(0.5, options={"friction": 2.0}),
    "primal-dual": Case(0.1, TWO_PARTS, options={"ratio": 10.0}),
    "primal-dual-gradient": Case(0.1, TWO_PARTS, options={"ratio": 10.0, "relaxation": 0.8}),
    "proximal": Case(0.3, TWO_PARTS),
    "myula": Case(0.3, TWO_PARTS, options={"smoothing": 0.2}),
    "proximal-outside": Case(0.3, TWO_PARTS, options={"smoothing": 0.25}),
}

LINEAR = [name for name, case in CASES.items() if case.linear]
OTHERS = [name for name, case in CASES.items() if not case.linear]


def test_every_method_is_here():
    assert set(CASES) == set(METHODS)


def run(name, dtype="float64", n_chains=N, **how):
    case = CASES[name]
    return sf.langevin(
        case.target, method=name, step_size=case.h, n_chains=n_chains, dtype=dtype, moments=4, diagnostics=False,
        seed=11, **case.options, **{"n_steps": case.n_steps} | how,
    )  # fmt: skip


def largest_z(chains, mean, variance):
    """The largest of mean and of variance."""
    of_mean = np.abs(chains.mean - mean) / chains.standard_error
    of_variance = np.abs(chains.variance - variance) / chains.variance_standard_error
    return max(of_mean.max(), of_variance.max())


@pytest.mark.parametrize(("name", "dtype"), in_both_types(LINEAR))
def test_linear_steps_have_their_exact_moments_at_every_iteration(name, dtype):
    chains = run(name, dtype, x0=[3.0, 0.0], save_at=[1, 2, 5, 12])
    assert largest_z(chains, chains.exact_mean, chains.exact_variance) < MOST_Z


@pytest.mark.parametrize(("name", "dtype"), in_both_types(OTHERS))
def test_other_methods_stay_at_the_law_that_they_have(name, dtype):
    case = CASES[name]
    chains = run(name, dtype, x0=case.x0)
    mean = case.target.mean if case.mean is None else case.mean
    variance = np.diag(case.target.covariance) if case.variance is None else case.variance
    assert largest_z(chains, mean, variance) < MOST_Z


def stationary(name, target, h, **options):
    """The covariance of all rows that the step's own recursion leaves as it is."""
    settings = sf.langevin(target, method=name, step_size=h, n_steps=1, n_chains=1, x0=target.mean, seed=0, **options)
    step = LinearStep.of(settings.settings, h)
    n = len(step.matrix)
    system = np.eye(n * n) - np.kron(step.matrix, step.matrix)
    return np.linalg.lstsq(system, (step.noise @ step.noise.T).ravel(), rcond=None)[0].reshape(n, n)


@pytest.mark.parametrize("name", [name for name in LINEAR if METHODS[name].gaussian_variance])
@pytest.mark.parametrize("precision", [0.5, 1.0, 2.0])
def test_declared_variances_are_those_of_the_step(name, precision):
    """Without chance: the closed form against the fixed point."""
    method, case = METHODS[name], CASES[name]
    found = stationary(name, sf.targets.Gaussian(0.0, 1 / precision), case.h, **case.options)
    wanted = method.gaussian_variance(precision, case.h, method.options | case.options)
    assert found[0, 0] == pytest.approx(wanted, rel=1e-9)


PUBLISHED = [
    # method, target, step size, options, variance of a position, digits
    ("ubu", NORMAL, 0.1, {"friction": 2.0}, 0.99834, 1e-5),
    ("sort", NORMAL, 0.4, {"friction": 2.0}, 1.00105, 1e-5),
    ("sort", NORMAL, 0.2, {"friction": 2.0}, 1.000146, 1e-6),
    ("sort", NORMAL, 0.1, {"friction": 2.0}, 1.0000194, 1e-7),
    ("sort", NORMAL, 0.05, {"friction": 2.0}, 1.0000025, 1e-7),
    ("sk-rock", NORMAL, 0.5, {"stages": 3}, 0.964, 1e-3),
    ("sk-rock", NORMAL, 2.0, {"stages": 10}, 0.930, 1e-3),
    ("sk-rock", NORMAL, 10.0, {"stages": 15}, 0.917, 1e-3),
    ("sk-rock", NORMAL, 100.0, {"stages": 10}, 0.250, 1e-3),
    ("proximal", quadratics(1.0, 3.0), 0.2, {}, 1 / (4 * (1 + 0.1 * 2)), 1e-12),
    ("myula", quadratics(1.0, 3.0), 0.2, {"smoothing": 0.5}, 1 / (2.2 * (1 - 0.22)), 1e-12),
    ("proximal-outside", quadratics(1.0, 3.0), 0.2, {"smoothing": 0.5}, 0.4 / (1 - (0.8 / 2.5) ** 2), 1e-12),
    # biases in the step and in the ratio of the steps have opposite signs: the truth is .2
    ("primal-dual", quadratics(1.0, 4.0), 0.1, {"ratio": 10.0}, 0.34612, 1e-5),
    ("primal-dual", quadratics(1.0, 4.0), 0.01, {"ratio": 10.0}, 0.41606, 1e-5),
    ("primal-dual", quadratics(1.0, 4.0), 0.001, {"ratio": 10.0}, 0.42726, 1e-5),
    ("primal-dual", quadratics(1.0, 4.0), 1e-5, {"ratio": 1.0}, 0.840, 1e-4),
    ("primal-dual", quadratics(1.0, 4.0), 1e-5, {"ratio": 100.0}, 0.2308, 1e-4),
    ("primal-dual", quadratics(1.0, 4.0), 1e-5, {"ratio": 1000.0}, 0.2032, 1e-4),
    ("preconditioned", CORRELATED, 0.4, {"metric": "hessian"}, 1 / (1 - 0.2), 1e-12),
    # the noise has the root of G: P = 25, G = .04, h = .2
    ("ula", sf.targets.Gaussian(0.0, 0.04), 0.2, {"metric": 0.04}, 0.0444444444, 1e-9),
]


@pytest.mark.parametrize(("name", "target", "h", "options", "variance", "digits"), PUBLISHED)
def test_stationary_variances_are_the_published_ones(name, target, h, options, variance, digits):
    assert stationary(name, target, h, **options)[0, 0] == pytest.approx(variance, abs=digits)


def test_baoab_reads_cold():
    """Position 1, velocity 1 - h^2 / 4 at the end of a step, at h = 1 and any friction."""
    for friction in (0.3, 2.0):
        found = stationary("baoab", NORMAL, 1.0, friction=friction)
        assert np.diag(found)[:2] == pytest.approx([1.0, 0.75], rel=1e-12)
    chains = sf.langevin(NORMAL, method="baoab", step_size=1.0, n_steps=40, n_chains=200_000, x0="sample", seed=5)
    assert abs(chains.velocity_variance[0, 0] - 0.75) < MOST_Z * 0.75 * np.sqrt(2 / 200_000)
    assert chains.velocity.shape == (1, 200_000, 1)


@pytest.mark.parametrize(("name", "order"), [("ula", 1), ("proximal", 1), ("ubu", 2), ("sort", 3)])
def test_the_bias_shrinks_at_the_declared_order(name, order):
    """The error of the stationary variance at halving steps, without chance."""
    assert METHODS[name].bias_order == order
    target = TWO_PARTS if name == "proximal" else NORMAL
    options = {"friction": 2.0} if METHODS[name].has_velocity else {}
    sizes = 0.1 / 2.0 ** np.arange(4)
    errors = [abs(stationary(name, target, h, **options)[0, 0] - target.covariance[0, 0]) for h in sizes]
    assert np.polyfit(np.log(sizes), np.log(errors), 1)[0] == pytest.approx(order, abs=0.1)


def test_mala_accepts_as_often_as_it_must():
    """The exact stationary rate 2 I_{(1 - rho) / 2}(d/2, d/2), and that of condition 100 by Imhof's integral."""
    for d, g in ((1, 0.9), (2, 0.9), (10, 0.378342)):
        target = sf.targets.Gaussian(np.zeros(d), 4.0)
        chains = sf.langevin(target, method="mala", step_size=4 * g, n_steps=20, n_chains=50_000, x0="sample", seed=2)
        rho = np.sqrt(g**3 / (g**3 + 8))
        exact = 2 * special.betainc(d / 2, d / 2, (1 - rho) / 2)
        assert abs(chains.acceptance - exact) < MOST_Z * chains.acceptance_standard_error
    stiff = sf.targets.Gaussian(np.zeros(10), np.geomspace(0.01, 1.0, 10))
    chains = sf.langevin(stiff, method="mala", step_size=0.0142, n_steps=20, n_chains=50_000, x0="sample", seed=2)
    assert abs(chains.acceptance - 0.575196) < MOST_Z * chains.acceptance_standard_error


@pytest.mark.parametrize(("sigma", "rate", "error"), [(1.0, 0.91233, 0.00013), (2.0, 0.70816, 0.00026)])
def test_barker_accepts_as_often_as_it_must(sigma, rate, error):
    chains = sf.langevin(
        NORMAL, method="barker", step_size=sigma**2 / 2, n_steps=20, n_chains=200_000, x0="sample", seed=3
    )  # fmt: skip
    assert abs(chains.acceptance - rate) < MOST_Z * np.hypot(error, chains.acceptance_standard_error)


def test_a_rejection_repeats_the_state():
    """MALA at h = .9 on N(0, 1): variance 1, not the 1.10 of accepted states alone nor ULA's 1.818."""
    chains = sf.langevin(
        NORMAL, method="mala", step_size=0.9, n_steps=30, n_chains=N, x0="sample", moments=4, seed=4, save_at="all"
    )  # fmt: skip
    assert largest_z(chains, 0.0, 1.0) < MOST_Z
    stayed = (np.diff(chains.x[:, :2000, 0], axis=0) == 0).mean()
    assert abs(stayed - (1 - 0.813362)) < MOST_Z * np.sqrt(0.8134 * 0.1866 / 60_000) * 2


def test_what_lies_outside_is_rejected_and_not_redrawn():
    """The exponential law, whose density is 0 on the left: mean 1, variance 1, none negative."""
    law = sf.targets.Target(lambda x: -x[0] if x[0] > 0 else -np.inf)
    start = -np.log(sf.noise.uniforms(1, 1, N)[0])[:, None]
    chains = sf.langevin(law, method="mala", step_size=0.5, n_steps=30, n_chains=N, x0=start, moments=4, seed=6)
    assert largest_z(chains, 1.0, 1.0) < MOST_Z
    assert chains.x.min() > 0
    assert chains.n_undefined == 0


def test_an_undefined_density_is_rejected_and_counted():
    law = sf.targets.Target(lambda x: -0.5 * x[0] ** 2 if x[0] < 1 else x[0] * np.nan)
    chains = sf.langevin(law, method="mala", step_size=0.5, n_steps=50, n_chains=10_000, x0=0.0, seed=7)
    assert chains.x.max() < 1
    assert chains.n_undefined > 1000
    assert chains.n_nonfinite[-1] == 0


def test_the_divergence_of_a_moving_metric_counts():
    """Without chance: the law of one step from p is p to first order in h, with the Hessian's metric on x^4."""
    law = sf.targets.Target(lambda x: -(x[0] ** 4) / 4 - x[0] ** 2 / 2)
    weight = integrate.quad(lambda x: np.exp(law.log_density([x])), -8, 8)[0]
    second = integrate.quad(lambda x: x * x * np.exp(law.log_density([x])) / weight, -8, 8)[0]
    grid = np.linspace(-5, 5, 4001)
    density = np.exp(law.log_density(grid[:, None])) / weight
    changes = []
    for h in (0.02, 0.01):
        curvature = 3 * grid**2 + 1
        drift = grid + h * (law.score(grid[:, None])[:, 0] - 6 * grid / curvature) / curvature
        after = np.trapezoid((drift**2 + 2 * h / curvature) * density, grid)
        changes.append(abs(after - second) / h)
    assert changes[1] < 0.6 * changes[0]  # of second order: the invariant law is p
    chains = sf.langevin(
        law, method="preconditioned", metric="hessian", step_size=0.02, n_steps=1, n_chains=4001, x0=grid[:, None],
        seed=1, dtype="float64",
    )  # fmt: skip
    curvature = 3 * grid**2 + 1
    z = sf.noise.normals(1, 1, 4001)[0]
    drift = (law.score(grid[:, None])[:, 0] - 6 * grid / curvature) / curvature
    wanted = grid + 0.02 * drift + np.sqrt(0.04 / curvature) * z
    assert chains.x[0, :, 0] == pytest.approx(wanted, rel=1e-12, abs=1e-13)


def test_the_simplex_is_never_left():
    """Components add up to 1; and one step against numpy."""
    x, z = np.array([[0.4], [0.6]]), sf.noise.normals(8, 2, 50)
    one = sf.langevin(BETA, method="mirror-simplex", step_size=0.01, n_steps=1, n_chains=50, x0=[0.4, 0.6], seed=8)
    y = np.log(x) + 0.01 * np.array([[5.0 / 0.4], [7.0 / 0.6]]) + np.sqrt(0.02 / x) * z
    assert pytest.approx(special.softmax(y, axis=0), rel=1e-13) == one.x[0].T
    chains = run("mirror-simplex", n_chains=1000, x0=[0.4, 0.6])
    assert chains.x.sum(axis=2) == pytest.approx(1.0, rel=1e-12)
    assert chains.x.min() > 0


def test_chains_that_are_thrown_into_a_corner_are_lost():
    with pytest.warns(RuntimeWarning, match="no longer finite"):
        chains = sf.langevin(
            BETA, method="mirror-simplex", step_size=0.05, n_steps=200, n_chains=20_000, x0=[0.4, 0.6], seed=1
        )  # fmt: skip
    lost = ~np.isfinite(chains.x[0, :, 0])
    assert 0 < lost.sum() == chains.n_nonfinite[0]
    assert chains.x[0, ~lost].min() > np.exp(-61)


def test_the_law_begins_with_a_point_and_goes_to_its_limit():
    settings = run("ula", n_chains=10, x0=[3.0, 0.0], n_steps=400, save_at=[0, 400]).settings
    found, p = moments(settings), CORRELATED.precision
    assert np.array_equal(found.covariance[0], np.zeros((2, 2)))
    limit = CORRELATED.covariance @ np.linalg.inv(np.eye(2) - 0.15 * p)
    assert found.covariance[1] == pytest.approx(limit, rel=1e-12)
    assert found.mean[1] == pytest.approx(CORRELATED.mean, abs=1e-12)
    assert np.allclose(run("ula", n_chains=10, x0="sample", n_steps=1, save_at=[0]).exact_variance, [1.0, 2.0])


def test_methods_that_are_not_linear_have_no_such_law():
    with pytest.raises(ValueError, match="not linear"):
        run("mala", n_chains=10, x0=[0.0, 0.0]).exact_mean  # noqa: B018
    with pytest.raises(ValueError, match="common start"):
        run("ula", n_chains=2, x0=[[0.0, 0.0], [1.0, 1.0]]).exact_mean  # noqa: B018


@pytest.mark.parametrize("name", ["ula", "baoab", "ubu", "sort"])
def test_a_temperature_widens_the_law(name):
    """p^(1/T) of N(0, 1) is N(0, T), with the bias of the step alone."""
    chains = sf.langevin(
        NORMAL, method=name, step_size=0.05, temperature=3.0, n_steps=300, n_chains=200_000, x0=0.0, seed=9,
        diagnostics=False,
    )  # fmt: skip
    assert largest_z(chains, chains.exact_mean, chains.exact_variance) < MOST_Z
    assert chains.exact_variance[0, 0] == pytest.approx(3.0, rel=0.03)


@pytest.mark.parametrize("name", ["mala", "barker"])
def test_a_temperature_is_met_exactly_where_steps_are_accepted(name):
    start = np.sqrt(3.0) * sf.noise.normals(1, 1, 200_000).T
    chains = sf.langevin(
        NORMAL, method=name, step_size=0.6, temperature=3.0, n_steps=10, n_chains=200_000, x0=start, seed=9
    )  # fmt: skip
    assert largest_z(chains, 0.0, 3.0) < MOST_Z
