"""Weak errors of the modified equations by simulation, against the exact ones, and the variance reduction they use."""

import math
import warnings

import numpy as np
import pytest
from conftest import thorough_but

import sdefast as sf
from sdefast.engine.gathering import ONE
from sdefast.engine.statistics import Layout
from sdefast.least_squares.asked import start_rows
from sdefast.least_squares.experiments import weak_errors
from sdefast.least_squares.steps.base import Settings
from sdefast.run.schedule import iteration_grid
from sdefast.run.where import Where

#: standard errors by which a mean may be off; the seeds are fixed
MOST_Z = 5.0

#: what a distance has to be in standard errors
LEAST_EFFECT = 10.0

THESIS = sf.LeastSquares(theta_star=[0.1, -0.2, 1.0, 0.5, -0.5], noise_std=0.1)
TWO = sf.LeastSquares(theta_star=[1.0, 1.0], noise_std=0.1)
H = np.array([[1.0, 0.3, 0.0], [0.3, 0.5, -0.1], [0.0, -0.1, 2.0]])
CORRELATED = sf.LeastSquares(theta_star=[1.0, -1.0, 0.5], noise_std=0.3, covariance=H)
UNEVEN = sf.LeastSquares([1.0, -1.0, 2.0], 0.3, np.diag([1.0, 0.5, 1.0]))
NAMES = ("order 1", "order 2", "Ornstein-Uhlenbeck")


def compared(problem, step_size, time, **settings):
    """Few runs: the exact curves and the weak errors do not depend on them."""
    return sf.compare(problem, step_size=step_size, n_steps=round(time / step_size), n_runs=2, seed=0, **settings)


def assert_near_exact(weak, exact):
    """Distances, up to chance and to the scheme's known bias."""
    for name in NAMES:
        off = np.abs(weak.distances[name] - weak.biases[name] - exact.distances[name])
        assert (off < MOST_Z * weak.standard_errors[name]).all(), name


@pytest.mark.thorough
def test_orders_of_the_thesis_are_seen():
    """d = 5: every distance is more than ten standard errors and a hundred times the scheme's bias."""
    comparison = compared(THESIS, 0.0125, 2.0)
    weak, exact = comparison.weak_errors(n_runs=[40_000, 40_000, 60_000, 100_000], seed=1), comparison.weak_errors()
    assert_near_exact(weak, exact)
    for name, order in (("order 1", 1), ("order 2", 2), ("Ornstein-Uhlenbeck", 1)):
        assert (np.abs(weak.distances[name]) > LEAST_EFFECT * weak.standard_errors[name]).all(), name
        assert (np.abs(weak.biases[name]) < 0.011 * np.abs(exact.distances[name])).all(), name
        assert abs(weak.orders[name] - exact.orders[name]) < MOST_Z * weak.order_standard_errors[name] + 0.01, name
        assert abs(weak.orders[name] - order) < 0.15, name
        assert weak.order_standard_errors[name] < 0.04, name


@pytest.mark.thorough
def test_orders_are_seen_without_variance_reduction():
    """Two parameters and large steps, as half the step size takes eight times the runs: each says its squared error."""
    comparison, sizes = compared(TWO, 0.05, 2.0), [0.05, 0.025]
    weak = comparison.weak_errors(sizes, n_runs=[400_000, 2_000_000], seed=1, variance_reduction=False)
    assert_near_exact(weak, comparison.weak_errors(sizes))
    for name, order in (("order 1", 1), ("order 2", 2), ("Ornstein-Uhlenbeck", 1)):
        assert (np.abs(weak.distances[name]) > LEAST_EFFECT * weak.standard_errors[name]).all(), name
        assert abs(weak.orders[name] - order) < 0.3, name


DISTANT = {
    "correlated": (CORRELATED, {"theta0": [3.0, -2.0, 0.0], "batch_size": 2}),
    "singular": (sf.LeastSquares([1.0, 1.0], 0.5, covariance=[[1.0, 1.0], [1.0, 1.0]]), {}),
    "one parameter": (sf.LeastSquares([2.0], 0.0), {}),
}


@pytest.mark.filterwarnings("ignore:the fitted order")
@pytest.mark.parametrize(
    ("name", "variance_reduction"),
    thorough_but(
        [("correlated", True), ("one parameter", False)],
        [(name, reduction) for name in DISTANT for reduction in (True, False)],
    ),
)
def test_distances_are_the_exact_ones(name, variance_reduction):
    problem, settings = DISTANT[name]
    comparison = compared(problem, 0.05, 1.0, **settings)
    sizes = [0.05, 0.025]
    weak = comparison.weak_errors(sizes, n_runs=60_000, seed=3, variance_reduction=variance_reduction, substeps=3)
    assert_near_exact(weak, comparison.weak_errors(sizes))


@pytest.mark.parametrize(
    ("problem", "batch_size"),
    thorough_but(
        [(THESIS, 1), (UNEVEN, 3)], [(problem, batch_size) for problem in (THESIS, UNEVEN) for batch_size in (1, 3)]
    ),
)
def test_runs_know_the_noise_that_they_met(problem, batch_size):
    """The runs are those of sgd, and the squares of their noise have the mean of their error less the known part."""
    g, n, n_runs, d = 0.05, 40, 20_000, problem.dim
    iteration = weak_errors.NoiseIteration(problem, batch_size)
    assert iteration.n_rows == d + len(np.unique(np.diag(problem.hessian)))
    settings = Settings(
        iteration=iteration, rates=np.array([[g]]), theta0=np.zeros(d), seed=7, dtype=np.dtype(float),
        noise_dtype=np.dtype(float), first_chain=0, n_chains=n_runs, grid=iteration_grid(n), saves=np.array([n]),
        layout=Layout(d, 2, False, False), keeps_states=True,
    )  # fmt: skip
    outcome = Where.of("cpu", 1, None).run(settings.tile(start_rows(settings)), None)
    rows = outcome.states[0][:, :100]
    fit = sf.sgd(problem, step_size=g, n_steps=n, n_runs=n_runs, batch_size=batch_size, seed=7, runs=100, save_at=[n])
    assert np.abs(problem.theta_star + rows[:d].T - fit.theta[0]).max() < 1e-13

    # The same with plain loops, for the first runs.
    z = sf.noise.normals(7, n * batch_size * (d + 1), 100).reshape(n, batch_size, d + 1, 100)
    delta, h = -np.tile(problem.theta_star, (100, 1)), np.diag(problem.hessian)
    met = np.zeros((100, d))
    for k in range(n):
        x, xi = np.sqrt(h) * z[k, :, :d].transpose(0, 2, 1), problem.noise_std * z[k, :, d]
        gradient = (x * ((x * delta).sum(-1) - xi)[..., None]).mean(0)
        noise = h * delta - gradient
        met = (1 - g * h) ** 2 * met + g**2 * noise**2
        delta = delta - g * gradient
    np.testing.assert_allclose(rows[d:].sum(0), met.sum(1), rtol=1e-10)

    nodes = outcome.nodes
    (_, error, squares), (_, noise_met, of_noise) = (ONE.total(nodes[i])[-1] for i in (0, 1))
    known = ((1 - g * h) ** (2 * n) * problem.theta_star**2).sum()
    exact = problem.expected_error(step_size=g, n_steps=n, batch_size=batch_size)[-1]
    assert abs(error - known - noise_met) < MOST_Z * math.sqrt(squares) / n_runs
    assert abs(noise_met + known - exact) < MOST_Z * math.sqrt(of_noise) / n_runs
    assert of_noise < 0.2 * squares


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("problem", [THESIS, CORRELATED], ids=["isotropic", "correlated"])
def test_the_bias_of_the_scheme_is_of_first_order_at_most(problem, order):
    """It is what an independent recursion of matrices says, and halves, or better, with the step."""
    g, n, B = 0.05, 20, 2
    problem, theta0 = weak_errors.in_eigenbasis(problem, np.zeros(problem.dim))
    chain = weak_errors.Chain(problem, theta0, B, g, n, n_runs=1)
    biases = [chain.bias(order, substeps) for substeps in (1, 2, 4, 8)]
    assert (np.abs(biases[1:]) < 0.55 * np.abs(biases[:-1])).all()

    h, A = g / 2, problem.hessian + (g / 2 * problem.hessian @ problem.hessian if order == 2 else 0)
    M, half = np.outer(problem.theta_star, problem.theta_star), np.diag(np.exp(-np.diag(A) * h / 2))
    for _ in range(2 * n):
        M = half @ M @ half
        Sigma = (np.trace(problem.hessian @ M) + problem.noise_std**2) * problem.hessian
        M = half @ (M + h * g / B * (Sigma + problem.hessian @ M @ problem.hessian)) @ half
    exact = problem.modified_expected_error(g * n, g, order=order, batch_size=B)
    assert biases[1] == pytest.approx(np.trace(M) - exact, rel=1e-9)


def test_settings_decide_the_numbers():
    comparison = compared(TWO, 0.1, 1.0)
    settings = {"step_sizes": [0.1, 0.05], "n_runs": [6001, 5000], "seed": 5}
    one = comparison.weak_errors(**settings, threads=1)
    again, other = comparison.weak_errors(**settings, threads=2), comparison.weak_errors(**{**settings, "seed": 6})
    for name in NAMES:
        assert again.distances[name].tobytes() == one.distances[name].tobytes()
        assert (other.distances[name] != one.distances[name]).all()
    single = comparison.weak_errors(**settings, dtype="float32")
    for name in NAMES:
        np.testing.assert_allclose(single.standard_errors[name], one.standard_errors[name], rtol=0.2)
        off = np.abs(single.distances[name] - one.distances[name])
        assert (off < MOST_Z * math.sqrt(2) * one.standard_errors[name]).all()


@pytest.mark.filterwarnings("ignore:the fitted order")
def test_more_options_of_sgd_are_passed_on(monkeypatch):
    given = []

    def spy(*args, **options):
        given.append(options)
        return sf.sgd(*args, **options)

    monkeypatch.setattr(weak_errors, "sgd", spy)
    settings = {"step_sizes": [0.4, 0.2], "n_runs": 20_000, "seed": 5, "variance_reduction": False}
    compared(TWO, 0.4, 0.8).weak_errors(**settings, sgd_options={"covariance": True})
    assert [options["covariance"] for options in given] == [True, True]


def test_orders_that_are_not_seen_are_said_to_be():
    with pytest.warns(RuntimeWarning, match="the fitted order of 'order 2' says little: at step size 0.00"):
        compared(THESIS, 0.0125, 2.0).weak_errors(n_runs=500, seed=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compared(THESIS, 0.0125, 2.0).weak_errors()


def test_orders_and_their_standard_errors():
    sizes = np.array([0.4, 0.2, 0.1])
    distances, errors = {"law": -3 * sizes**1.5}, {"law": 0.03 * sizes**1.5}
    weak = weak_errors.WeakErrors(1.0, sizes, distances, errors, {"law": np.zeros(3)})
    assert weak.orders["law"] == pytest.approx(1.5, rel=1e-12)
    samples = distances["law"] + errors["law"] * np.random.default_rng(1).standard_normal((20_000, 3))
    slopes = np.polyfit(np.log(sizes), np.log(np.abs(samples)).T, 1)[0]
    assert weak.order_standard_errors["law"] == pytest.approx(slopes.std(), rel=0.03)
    exact = compared(TWO, 0.1, 1.0).weak_errors()
    assert exact.order_standard_errors == dict.fromkeys(NAMES, 0.0)


def test_they_are_drawn(tmp_path):
    import matplotlib as mpl

    mpl.use("Agg")
    comparison = compared(TWO, 0.1, 1.0)
    axes = comparison.weak_errors([0.1, 0.05], n_runs=20_000, seed=1).plot()
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert [label.split(":")[0] for label in labels] == list(NAMES)
    assert all("±" in label for label in labels)
    axes.figure.savefig(tmp_path / "simulated.png")
    labels = [text.get_text() for text in comparison.weak_errors().plot(axes).get_legend().get_texts()]
    assert labels[3].startswith("order 1: order 0.")
    assert "±" not in labels[3]


@pytest.mark.filterwarnings("ignore:the fitted order")
@pytest.mark.parametrize("variance_reduction", [True, False])
def test_a_gpu_gives_the_same_numbers(variance_reduction):
    settings = {"step_sizes": [0.4, 0.2], "n_runs": 8, "seed": 1, "variance_reduction": variance_reduction}
    comparison = compared(TWO, 0.4, 0.8)
    cpu, gpu = comparison.weak_errors(**settings), comparison.weak_errors(**settings, device="cuda")
    for name in NAMES:
        np.testing.assert_allclose(gpu.distances[name], cpu.distances[name], rtol=1e-8, atol=1e-12)
        np.testing.assert_allclose(gpu.standard_errors[name], cpu.standard_errors[name], rtol=1e-8)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"n_runs": 1}, ValueError, "n_runs must be between 2"),
        ({"n_runs": 10.0}, TypeError, "n_runs must be an integer"),
        ({"n_runs": [10, 10, 10]}, ValueError, "n_runs must be a number or one for each of the 2 step sizes, got 3"),
        ({"n_runs": 10, "seed": -1}, ValueError, "seed must be"),
        ({"n_runs": 10, "substeps": 0}, ValueError, "substeps must be between"),
        ({"n_runs": 10, "variance_reduction": 1}, TypeError, "variance_reduction must be True or False"),
        ({"n_runs": 10, "sgd_options": 1}, TypeError, "sgd_options must be a mapping"),
        (
            {"n_runs": 10, "sgd_options": {"covariance": True}},
            ValueError,
            "sgd_options are for variance_reduction=False",
        ),
        ({"n_runs": 10, "dtype": "float16"}, TypeError, "dtype must be"),
        ({"n_runs": 10, "device": "tpu"}, ValueError, "device must be"),
        ({"seed": 1, "threads": 2}, TypeError, "seed, threads is for simulated weak errors: pass n_runs too"),
    ],
)
def test_refused(settings, error, message):
    with pytest.raises(error, match=message):
        compared(TWO, 0.1, 1.0).weak_errors([0.1, 0.05], **settings)


def test_what_no_kernel_takes_is_refused():
    wide = sf.LeastSquares(np.ones(257), 0.1, covariance=np.diag(np.linspace(0.1, 1.0, 257)))
    how = weak_errors.Simulated(np.array([10, 10]), 0, True, 1, {}, "float64", "cpu", None, None)
    with pytest.raises(ValueError, match="must be 512 together at most, got 514; variance_reduction=False takes them"):
        weak_errors.simulated(wide, np.zeros(257), 1, 0.1, np.array([0.01, 0.005]), how)
    with pytest.raises(ValueError, match="batches of 300 with 2 parameters are too large"):
        compared(TWO, 0.1, 1.0, batch_size=300).weak_errors([0.1, 0.05], n_runs=10)
