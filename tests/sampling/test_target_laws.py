"""Laws of targets: draws of mixtures without overlap, of Student's law and of double wells; regressions; curvatures."""

import numpy as np
import pytest
from conftest import thorough_but
from scipy import stats

import sdefast as sf

t = sf.targets

#: standard errors by which a value may be off, under these seeds
MOST_Z = 5.0


def z_of(chains, mean, variance):
    of_mean = (chains.mean[-1] - mean) / chains.standard_error[-1]
    return np.abs([*of_mean, *((chains.variance[-1] - variance) / chains.variance_standard_error[-1])]).max()


def test_a_disjoint_mixture_loses_its_weights_to_the_score_alone():
    """One law of ULA for all weights, bit by bit; MALA has the weights, whatever the start."""
    targets = [t.DisjointMixture([w, 1 - w], [-0.8, 1.0], [0.3, 0.5]) for w in (0.2, 0.7)]
    how = {"step_size": 0.1, "n_chains": 40_000, "x0": [0.0], "seed": 3, "moments": 4}
    blind = [sf.langevin(target, method="ula", n_steps=100, **how) for target in targets]
    assert np.array_equal(blind[0].x, blind[1].x)
    for target in targets:
        chains = sf.langevin(target, method="mala", n_steps=400, **how)
        assert z_of(chains, target.mean, np.diag(target.covariance)) < MOST_Z


def test_draws_of_a_disjoint_mixture_lie_where_they_belong():
    """In two dimensions, against sums over a grid."""
    target = t.DisjointMixture([0.2, 0.3, 0.5], [[-1.0, 0.0], [1.0, 0.0], [0.0, 1.2]], [0.4, 0.3, 0.5])
    axis = np.linspace(-6, 6, 1001)
    points = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    weights = np.exp(target.log_density(points))
    weights /= weights.sum()
    mean = weights @ points
    draws = target.sample(200_000, seed=5)
    error = draws.std(axis=0) / np.sqrt(len(draws))
    # the grid's own error: the density jumps along the borders, over one cell
    assert (np.abs(draws.mean(axis=0) - mean) < MOST_Z * error + 1e-3).all()
    assert target.mean is None


@pytest.mark.parametrize("df", [0.6, 1.5, 2.5, 30.0])
def test_student_draws_have_the_law(df):
    """Kolmogorov's distance of the first component; P = 1e-6 beyond 2.69 / sqrt(n)."""
    draws = t.Student(df, [1.0, 0.0], [[2.0, 0.3], [0.3, 1.0]]).sample(100_000, seed=6)
    law = stats.t(df, loc=1.0, scale=np.sqrt(2.0))
    assert stats.kstest(draws[:, 0], law.cdf).statistic < 2.69 / np.sqrt(len(draws))
    assert (t.Student(df).mean is None) == (df <= 1)
    assert (t.Student(df).covariance is None) == (df <= 2)


@pytest.mark.parametrize(("barrier", "width"), [(0.05, 1.0), (1.0, 0.7), (6.0, 2.0)])
def test_double_well_draws_have_the_law(barrier, width):
    target = t.DoubleWell(barrier, width)
    draws = target.sample(100_000, seed=7)[:, 0]
    x = np.linspace(-6 * width, 6 * width, 400_001)
    mass = np.cumsum(np.exp(target.log_density(x[:, None])))
    distance = stats.kstest(draws, lambda at: np.interp(at, x, mass / mass[-1])).statistic
    assert distance < 2.69 / np.sqrt(len(draws))
    model = sf.DoubleWell(barrier=barrier, width=width, temperature=1.0)
    assert target.covariance[0, 0] == pytest.approx(model.stationary_variance(), rel=1e-10)


# Regressions ----------------------------------------------------------------------------------------------------------

rng = np.random.default_rng(10)
X = rng.normal(size=(60, 3))
Y = X @ [1.0, -0.5, 0.2] + 0.5 * rng.normal(size=60)
LABELS = rng.uniform(size=60) < 1 / (1 + np.exp(-X @ [1.0, -0.5, 0.2]))


@pytest.mark.parametrize("prior", [1.5, [0.5, 1.0, 2.0]])
def test_log_densities_of_regressions_are_those_by_hand(prior):
    theta = np.random.default_rng(11).normal(size=(10, 3))
    fitted, penalty = theta @ X.T, 0.5 * (theta**2 / np.square(prior)).sum(axis=1)
    linear = t.BayesianLinearRegression(X, Y, noise_std=0.5, prior_std=prior).log_density(theta)
    wanted = -0.5 * ((Y - fitted) ** 2).sum(axis=1) / 0.25 - penalty
    assert linear - linear[0] == pytest.approx(wanted - wanted[0], rel=1e-10)
    logistic = t.LogisticRegression(X, LABELS, prior_std=prior)
    wanted = -np.logaddexp(0, np.where(LABELS, -fitted, fitted)).sum(axis=1) - penalty
    assert logistic.log_density(theta) == pytest.approx(wanted, rel=1e-12)
    assert logistic == t.LogisticRegression(X, LABELS.astype(int), prior_std=prior)


def test_rows_of_a_linear_regression_add_up_to_its_score():
    density = t.BayesianLinearRegression(X, Y, noise_std=0.5, prior_std=[0.5, 1.0, 2.0])
    target = t.Target(lambda x: -2.0 * sf.math.sum(lambda a, b: (sf.math.dot(a, x) - b) ** 2, X, Y)
                      - 0.5 * (4 * x[0] ** 2 + x[1] ** 2 + x[2] ** 2 / 4), dim=3)  # fmt: skip
    how = {"method": "sgld", "batch_size": 7, "step_size": 1e-3, "n_steps": 30, "n_chains": 64, "x0": [0.0] * 3}
    runs = [sf.langevin(given, seed=5, **how).x for given in (density, target)]
    assert runs[0] == pytest.approx(runs[1], rel=1e-12, abs=1e-13)


@pytest.mark.parametrize("method", thorough_but(["ula"], ["ula", "primal-dual"]))
def test_a_linear_regression_runs_as_the_gaussian_that_it_is(method):
    regression = t.BayesianLinearRegression(X, Y, noise_std=0.5)
    how = {"method": method, "step_size": 1e-3, "n_steps": 20, "n_chains": 64, "x0": [0.0] * 3, "seed": 5}
    runs = [
        sf.langevin(t.Composite(smooth, t.TotalVariation1D(0.5)), **how)
        for smooth in (regression, t.Gaussian(regression.mean, regression.covariance))
    ]
    assert np.array_equal(runs[0].x, runs[1].x)


def most_curved(target, x):
    """The largest second derivative of -log p in any direction."""
    moves = 1e-5 * np.eye(target.dim)
    hessian = (target.score(x + moves) - target.score(x - moves)) / 2e-5
    return np.linalg.eigvalsh(-(hessian + hessian.T) / 2)[-1]


@pytest.mark.parametrize(
    "target",
    [
        t.LogisticRegression(X, LABELS, prior_std=[0.5, 1.0, 2.0]),
        t.Composite(t.LogisticRegression(X, LABELS), t.Quadratic(3.0, 0.5)),
        t.Composite(t.Gaussian([0.0, 0.0], [[2.0, 0.5], [0.5, 1.0]]), t.Quadratic([3.0, 0.1], 0.5)),
        t.Student(3.0, [0.0, 0.0], [[2.0, 0.5], [0.5, 1.0]]),
        t.GaussianMixture([0.3, 0.7], [[0.0, 0.0], [40.0, 0.5]], [0.5, 2.0]),
        t.DisjointMixture([0.3, 0.7], [[0.0, 0.0], [4.0, 0.5]], [0.5, 2.0]),
    ],
)
def test_curvatures_are_bounds_that_are_reached_in_the_middle(target):
    points = 2 * np.random.default_rng(12).normal(size=(200, target.dim))
    assert max(most_curved(target, x) for x in points) <= target.curvature * (1 + 1e-6)
    assert most_curved(target, np.zeros(target.dim)) == pytest.approx(target.curvature, rel=1e-8)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: t.DisjointMixture([0.5, 0.5], [1.0, 1.0]), "means must differ"),
        (lambda: t.LogisticRegression(X, np.where(LABELS, 1, -1)), "for -1 and 1 pass y > 0"),
        (lambda: t.LogisticRegression(X, LABELS, prior_std=[1.0, 2.0]), "one for each of the coefficients"),
        (lambda: t.BayesianLinearRegression(X[0], Y), "X must have shape"),
        (lambda: t.BayesianLinearRegression(X, Y[1:]), "y must have shape"),
        (lambda: t.DoubleWell(width=0.0), "width must be positive"),
        (lambda: t.Banana(thickness=-1.0), "thickness must be positive"),
        (lambda: t.Funnel(dim=1), "dim must be between 2"),
        (lambda: t.Laplace([0.0, 1.0], [1.0, 1.0, 1.0]), "scale must be one number or 2"),
        (lambda: t.DoubleWell().convolved(0.1), "with noise added"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong()
