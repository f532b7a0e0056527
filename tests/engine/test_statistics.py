"""Statistics that are gathered while paths run, against numpy on the states that were saved."""

import numpy as np
import pytest
from conftest import EVERYTHING, MODELS, python

import sdefast as sf
from sdefast.engine.tiles import BLOCK

#: around rows of 32 and 256 lanes and blocks of 4096 chains
COUNTS = [3, 31, 33, 255, 257, 300, 4095, 4097, 4100, 9001]

DIMENSIONS = {1: "ou", 2: "heston", 3: "linear"}


def of_states(x):
    """The same statistics by numpy in float64, from states (n_times, n_paths, dim) over paths that are all finite."""
    x = x.astype(np.float64)
    n = x.shape[1]
    mean = x.mean(1)
    d = x - mean[:, None]
    m2, m3, m4 = ((d**k).mean(1) for k in (2, 3, 4))
    return {
        "mean": mean,
        "variance": m2 * n / (n - 1),
        "standard_deviation": np.sqrt(m2 * n / (n - 1)),
        "standard_error": np.sqrt(m2 / (n - 1)),
        "minimum": x.min(1),
        "maximum": x.max(1),
        "covariance": np.einsum("tni,tnj->tij", d, d) / (n - 1),
        "variance_standard_error": np.sqrt(np.maximum(m4 - m2**2, 0) / n),
        "skewness": m3 / m2**1.5,
        "kurtosis": m4 / m2**2 - 3,
    }


def assert_agree(run, x, rtol, names=None):
    """Moments to ``rtol`` in units of standard deviations, extremes to the last bit."""
    expected = of_states(x)
    deviation = expected["standard_deviation"]
    units = dict.fromkeys(("skewness", "kurtosis"), np.ones_like(deviation))
    units |= dict.fromkeys(("mean", "standard_deviation", "standard_error"), deviation)
    units |= dict.fromkeys(("variance", "variance_standard_error"), deviation**2)
    units["covariance"] = deviation[:, :, None] * deviation[:, None, :]
    for name in names or expected:
        have, want = getattr(run, name), expected[name]
        assert have.shape == want.shape, name
        if name in ("minimum", "maximum"):
            np.testing.assert_array_equal(have, want, err_msg=name)
        else:
            assert (np.abs(have - want) <= rtol * units[name]).all(), (name, have, want)


#: float32 lanes are added in float32, eight to a column, if there are two moments; all else is in float64
def tolerance(dtype, moments):
    return 3e-5 if dtype == "float32" and moments == 2 else 1e-10


SECOND = ("mean", "variance", "standard_deviation", "standard_error", "minimum", "maximum", "covariance")


@pytest.mark.parametrize("n_paths", COUNTS)
@pytest.mark.parametrize("dim", DIMENSIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("moments", [2, 4])
def test_against_numpy(n_paths, dim, dtype, moments):
    model, x0 = MODELS[DIMENSIONS[dim]]
    settings = {"n_paths": n_paths, "seed": 4, "dtype": dtype, "moments": moments, "save_at": [0.25, 1.0]}
    run = sf.simulate(model, x0=x0, t1=1.0, n_steps=20, extremes=True, covariance=True, **settings)
    names = SECOND if moments == 2 else None
    exact = None if names is None else [name for name in names if name != "covariance"]
    # Products are added in the type of the state whatever the number of moments.
    assert_agree(run, run.x, tolerance(dtype, 2), names)
    assert_agree(run, run.x, tolerance(dtype, moments), exact or [n for n in of_states(run.x) if n != "covariance"])
    assert (run.n_nonfinite == 0).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("save_at", ["all", 7, 1000, [0.5, 0.525, 2.0]], ids=str)
@pytest.mark.parametrize("paths", [True, False])
def test_at_all_kinds_of_times(dtype, save_at, paths):
    model, _ = MODELS["linear"]
    x0 = np.random.default_rng(0).normal(size=(777, 3))
    settings = {"x0": x0, "t1": 2.0, "n_steps": 80, "n_paths": 777, "seed": 6, "dtype": dtype, "save_at": save_at}
    stored = sf.simulate(model, **settings)
    run = sf.simulate(model, paths=paths, **settings, **EVERYTHING)
    assert_agree(run, stored.x, tolerance(dtype, 2))
    np.testing.assert_array_equal(run.t, stored.t)


def test_a_deterministic_start_has_no_variance():
    run = sf.simulate(sf.OrnsteinUhlenbeck(), x0=0.1, t1=1.0, n_steps=4, n_paths=5000, save_at="all", moments=4, seed=0)
    assert run.mean[0, 0] == 0.1
    assert run.variance[0, 0] == run.standard_error[0, 0] == 0.0
    assert (run.variance[1:] > 0).all()


def test_one_path_has_a_mean_and_no_variance():
    run = sf.simulate(sf.OrnsteinUhlenbeck(), x0=0.1, t1=1.0, n_steps=4, n_paths=1, seed=0, **EVERYTHING)
    assert run.mean == run.minimum == run.maximum == run.x[:, 0]
    for name in ("variance", "standard_error", "variance_standard_error", "skewness", "kurtosis", "covariance"):
        assert np.isnan(getattr(run, name)).all(), name


def test_moments_by_default():
    """Two where most steps are saved, four otherwise; what was not gathered says how to ask for it."""
    settings = {"x0": (1.0, 0.5), "t1": 1.0, "n_steps": 100, "n_paths": 50, "seed": 0}
    assert sf.simulate(sf.Heston(), **settings).kurtosis.shape == (1, 2)
    run = sf.simulate(sf.Heston(), save_at="all", **settings)
    for name, option in (("skewness", "moments=4"), ("kurtosis", "moments=4"), ("variance_standard_error", "moments=4"),
                         ("minimum", "extremes=True"), ("covariance", "covariance=True")):  # fmt: skip
        with pytest.raises(AttributeError, match=option):
            getattr(run, name)
    assert sf.simulate(sf.Heston(), save_at="all", moments=4, **settings).kurtosis.shape == (101, 2)


def test_covariance_of_one_component_is_its_variance():
    run = sf.simulate(sf.OrnsteinUhlenbeck(), x0=0.0, t1=1.0, n_steps=4, n_paths=50, seed=0)
    np.testing.assert_array_equal(run.covariance[:, :, 0], run.variance)


# Standard errors are those of the estimates -----------------------------------------------------------------------


def test_standard_errors_over_many_independent_runs():
    """The errors of mean and variance over 500 runs of 400 paths, in units of their standard errors."""
    model = sf.BrownianMotion(mu=0.3, sigma=0.5)
    z = []
    for i in range(500):
        run = sf.simulate(model, x0=0.0, t1=1.0, n_steps=1, n_paths=400, first_chain=400 * i, seed=8)
        z.append(
            [(run.mean[0, 0] - 0.3) / run.standard_error[0, 0],
             (run.variance[0, 0] - 0.25) / run.variance_standard_error[0, 0]]
        )  # fmt: skip
    z = np.array(z)
    assert (np.abs(z.mean(0)) < 5 / np.sqrt(len(z)) + [0, 0.1]).all()  # the variance's z is skewed, like chi-square
    assert (np.abs(z.std(0) - 1) < 5 / np.sqrt(2 * len(z))).all()


# Paths that are no longer finite -----------------------------------------------------------------------------------


def explosive(which, n_paths):
    """Paths around 5 that fall into a well, but for those of ``which``, which leave all bounds in their first step."""
    x0 = np.linspace(4.5, 5.5, n_paths)
    x0[which] = 1e30
    return x0


EXPLOSIVE = {2: ("mean", "variance", "minimum", "maximum"), 4: None}

WHICH = {
    "first of the block": [0],
    "first of the second block": [BLOCK],
    "some": [17, 31, 32, 255, 256, 290],
    "last": [-1],
    "a whole block": slice(0, BLOCK),
    "all of the first row of lanes": slice(0, 256),
}


@pytest.mark.parametrize("which", WHICH)
@pytest.mark.parametrize("n_paths", [BLOCK + 10, BLOCK + 300])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("moments", [2, 4])
def test_explosive_paths_are_left_out_and_counted(which, n_paths, dtype, moments):
    x0 = explosive(WHICH[which], n_paths)
    x0 = np.where(x0 == 1e30, 1e30 if dtype == "float32" else 1e120, x0)
    settings = {"t1": 0.02, "n_steps": 10, "n_paths": n_paths, "seed": 1, "dtype": dtype, "moments": moments}
    gone = len(x0[WHICH[which]])
    with pytest.warns(RuntimeWarning, match=f"{gone} of {n_paths} paths (is|are) no longer finite at t=0.02"):
        run = sf.simulate(sf.DoubleWell(), x0=x0, save_at=[0.01, 0.02], extremes=True, **settings)
    finite = np.isfinite(run.x[-1, :, 0])
    assert (~finite).sum() == gone
    assert (run.n_nonfinite == gone).all()
    assert_agree(run, run.x[:, finite], max(tolerance(dtype, moments), 1e-7), EXPLOSIVE[moments])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_explosions_are_counted_as_they_happen(dtype):
    x0 = np.linspace(5.0, 40.0, 500)
    settings = {"t1": 0.5, "n_steps": 10, "n_paths": 500, "seed": 1, "dtype": dtype, "moments": 2}
    with pytest.warns(RuntimeWarning, match="no longer finite at t=0.5"):
        run = sf.simulate(sf.DoubleWell(), x0=x0, save_at="all", **settings)
    np.testing.assert_array_equal(run.n_nonfinite, (~np.isfinite(run.x[:, :, 0])).sum(1))
    assert run.n_nonfinite[0] == 0
    assert len(set(run.n_nonfinite)) >= 3


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("first", [0, 5])
def test_a_path_counts_with_all_components_or_none(dtype, first):
    model = sf.Heston(mu=50.0, kappa=1.5, theta=0.5, xi=0.1)
    x0 = np.random.default_rng(0).uniform(0.5, 1.0, (290, 2))
    x0[first] = float(np.finfo(dtype).max) / 2, 0.1
    with pytest.warns(RuntimeWarning, match="1 of 290 paths"):
        run = sf.simulate(model, x0=x0, t1=0.1, n_steps=5, n_paths=290, seed=1, dtype=dtype, **EVERYTHING)
    assert np.isfinite(run.x[0, first, 1])
    assert not np.isfinite(run.x[0, first, 0])
    assert_agree(run, np.delete(run.x, first, axis=1), tolerance(dtype, 2))


def test_no_path_left():
    with pytest.warns(RuntimeWarning, match="40 of 40 paths"):
        run = sf.simulate(sf.DoubleWell(), x0=1e200, t1=1.0, n_steps=4, n_paths=40, seed=0, **EVERYTHING)
    assert run.n_nonfinite == 40
    for name in ("mean", "variance", "minimum", "maximum", "skewness", "standard_error", "covariance"):
        assert np.isnan(getattr(run, name)).all(), name


def test_the_warning_points_at_the_call():
    with pytest.warns(RuntimeWarning, match="smaller step") as warned:
        sf.simulate(sf.DoubleWell(), x0=1e200, t1=1.0, n_steps=4, n_paths=4, seed=0)
    assert warned[0].filename == __file__


def test_spread_is_kept_where_the_first_path_explodes():
    """A mean that is large beside the deviation, and no first path to measure the distance from."""
    model = sf.DoubleWell(barrier=1e6, width=1e6, temperature=1e-6)
    x0 = np.full(300, 1e6)
    x0[0] = 1e200
    with pytest.warns(RuntimeWarning, match="1 of 300 paths"):
        run = sf.simulate(model, x0=x0, t1=1.0, n_steps=10, n_paths=300, seed=1)
    np.testing.assert_allclose(run.variance, run.x[:, 1:].var(1, ddof=1), rtol=1e-6)


# Scales ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "x0", "sigma"), [("float64", 1e6, 1e-3), ("float64", -1e9, 1.0), ("float32", 1000.0, 0.1)]
)
@pytest.mark.parametrize("moments", [2, 4])
def test_a_mean_that_is_large_beside_the_deviation(dtype, x0, sigma, moments):
    settings = {"t1": 1.0, "n_steps": 16, "n_paths": 3 * BLOCK + 77, "seed": 3, "dtype": dtype, "moments": moments}
    run = sf.simulate(sf.BrownianMotion(sigma=sigma), x0=x0, **settings)
    exact = run.x.astype(np.longdouble)
    rtol = tolerance(dtype, moments) + 2e-16 * abs(x0) / sigma  # blocks keep their means in float64
    np.testing.assert_allclose(run.variance, exact.var(1, ddof=1).astype(float), rtol=rtol)
    offset = (exact - x0).mean(1).astype(float)
    np.testing.assert_allclose(run.mean - x0, offset, rtol=0, atol=1e-6 * sigma + 4e-16 * abs(x0))


@pytest.mark.parametrize("moments", [2, 4])
@pytest.mark.parametrize(
    ("dtype", "scale"),
    [
        ("float32", 1e-15),
        ("float32", 1e15),
        ("float32", 1e25),
        ("float64", 1e-60),
        ("float64", 1e60),
        ("float64", 1e80),
    ],
)
def test_tiny_and_huge_scales(dtype, scale, moments):
    """What the squares of float32 numbers cannot hold is gathered in float64."""
    model = sf.LinearSDE(A=np.zeros((2, 2)), B=np.array([[1.0, 0.0], [0.8, 0.6]]) * scale)
    settings = {"t1": 1.0, "n_steps": 4, "n_paths": BLOCK + 300, "seed": 3, "dtype": dtype, "moments": moments}
    run = sf.simulate(model, x0=(0.0, 0.0), covariance=True, **settings)
    expected = of_states(run.x / scale)
    rtol = tolerance(dtype, 2)
    np.testing.assert_allclose(run.mean / scale, expected["mean"], rtol=0, atol=rtol)
    np.testing.assert_allclose(run.variance / scale / scale, expected["variance"], rtol=rtol)
    np.testing.assert_allclose(run.covariance / scale / scale, expected["covariance"], rtol=rtol)


@pytest.mark.parametrize("n_paths", [2, 16, 17])
@pytest.mark.parametrize("dim", [1, 2])
def test_tiny_scales_of_few_chains(n_paths, dim):
    """The first column has the reference alone, whose difference to itself says nothing of underflow."""
    model = sf.LinearSDE(A=np.zeros((dim, dim)), B=np.eye(dim) * 1e-30)
    settings = {"t1": 1.0, "n_steps": 4, "n_paths": n_paths, "seed": 3, "dtype": "float32", "moments": 2}
    run = sf.simulate(model, x0=np.zeros(dim), **settings)
    np.testing.assert_allclose(run.variance, of_states(run.x)["variance"], rtol=1e-5)


@pytest.mark.parametrize("moments", [2, 4])
@pytest.mark.parametrize("exponent", [-12, -15, -18, -20, -21, -22, -23, -25, -30, -38])
@pytest.mark.parametrize("dim", [1, 2])
def test_every_tiny_scale(dim, exponent, moments):
    """Of float32 states whose squares and products float32 holds, holds in part, or not at all."""
    x0 = np.random.default_rng(2).normal(size=(700, dim))
    x0[:, -1] += x0[:, 0]
    x0 *= 10.0**exponent
    model = sf.LinearSDE(A=np.zeros((dim, dim)), B=np.zeros((dim, dim)))
    settings = {"t1": 1.0, "n_steps": 1, "dtype": "float32", "moments": moments, "covariance": True, "seed": 1}
    for rows in (slice(0, 250), slice(0, 37), slice(0, 3), slice(100, None)):
        run = sf.simulate(model, x0=x0[rows], n_paths=len(x0[rows]), **settings)
        expected = of_states(run.x)
        np.testing.assert_allclose(run.variance, expected["variance"], rtol=3e-5)
        np.testing.assert_allclose(run.covariance, expected["covariance"], rtol=3e-5)
        assert (np.abs(run.mean - expected["mean"]) < 3e-5 * expected["standard_deviation"]).all()


@pytest.mark.parametrize("exponent", [0, -15, -22, -30])
@pytest.mark.parametrize("moments", [2, 4])
def test_sums_that_cancel_at_tiny_scales(exponent, moments):
    """A row of lanes whose sums are all exactly 0, about a first chain at 0."""
    pattern = np.repeat([1.0, -1.0] * 8, 16)
    pattern[[0, 16]] = 0.0  # a column is every 16th lane
    x0 = np.stack([pattern, -2 * pattern], axis=1) * 10.0**exponent
    for dim in (1, 2):
        model = sf.LinearSDE(A=np.zeros((dim, dim)), B=np.zeros((dim, dim)))
        settings = {"t1": 1.0, "n_steps": 1, "dtype": "float32", "moments": moments, "covariance": True, "seed": 1}
        run = sf.simulate(model, x0=x0[:, :dim], n_paths=256, **settings)
        np.testing.assert_allclose(run.covariance, of_states(run.x)["covariance"], rtol=1e-6)


# Memory ------------------------------------------------------------------------------------------------------------


PEAK = """
import resource, sys
import sdefast as sf
settings = dict(x0=0.0, t1=1.0, n_steps=100, paths=False, extremes=True, seed=0, dtype="float32", threads=2)
for n_paths in (400_000, int(sys.argv[1])):
    sf.simulate(sf.BrownianMotion(), n_paths=n_paths, **settings)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_of_statistics_does_not_grow_with_the_number_of_paths():
    n_paths = 3_000_000
    small, large = map(int, python(PEAK, str(n_paths)).split())
    assert (large - small) * 1024 < n_paths * 4 / 2, "half of what the final states would take"


PEAK_OF_MOMENTS = """
import resource
import numpy as np
import sdefast as sf
problem = sf.LeastSquares(theta_star=np.ones(2000), noise_std=0.1)
for moments in (False, True):
    sf.sgd(problem, step_size=1e-4, n_steps=4000, n_runs=1, save_at=10, seed=1, threads=1, moments=moments)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_of_statistics_is_that_of_the_times_in_a_chunk():
    errors, moments = map(int, python(PEAK_OF_MOMENTS).split())
    assert (moments - errors) * 1024 < 401 * 2 * 2000 * 16 * 8, "sums of all times at once"
