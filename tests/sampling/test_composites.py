"""Targets in two parts: values, scores, proximal maps and laws, and what each penalty leaves a method with."""

import pickle
import warnings

import numpy as np
import pytest
from conftest import thorough_but
from scipy import optimize, stats

import sdefast as sf
from sdefast.sampling.methods import sort
from sdefast.sampling.targets.penalties.constraints import descending

t = sf.targets

#: standard errors by which a value may be off, under these seeds
MOST_Z = 5.0

GAUSSIAN = t.Gaussian([0.3, -0.2, 0.5, 0.1, -0.4, 0.2], 0.8)
INF = float("inf")

PENALTIES = {
    "L1": t.L1(0.7),
    "L1 of weights about centers": t.L1([0.2, 0.4, 0.6, 0.8, 1.0, 1.2], [0.0, 1.0, -1.0, 0.5, 0.0, 2.0]),
    "groups": t.GroupL2([[4, 0, 2], [1], [3, 5]], 0.8),
    "groups of weights": t.GroupL2([[4, 0, 2], [1], [3, 5]], [0.3, 0.6, 0.9]),
    "squares": t.Quadratic([0.2, 0.4, 0.6, 0.8, 1.0, 1.2], 0.3),
    "box": t.Box(-0.5, 0.8),
    "box with open sides": t.Box([-INF, -1.0, 0.0, -INF, -0.1, -2.0], [0.5, INF, 0.2, INF, 0.1, 0.3]),
    "non-negative": t.NonNegative(),
    "simplex": t.Simplex(1.5),
    "line": t.TotalVariation1D(0.6),
    "image": t.TotalVariation2D((2, 3), 0.6),
    "image along axes": t.TotalVariation2D((2, 3), 0.6, isotropic=False),
    "column": t.TotalVariation2D((6, 1), 0.6),
}

TARGETS = {name: t.Composite(GAUSSIAN, penalty) for name, penalty in PENALTIES.items()}
WITH_PROX = [name for name, target in TARGETS.items() if target.density.has("prox")]
#: of each kind of penalty and of its numbers
SOME = [
    "L1 of weights about centers",
    "groups of weights",
    "box with open sides",
    "simplex",
    "line",
    "image along axes",
]
WITH_DENSITY = [name for name, target in TARGETS.items() if target.density.has("log_density")]


def test_what_there_is():
    assert {name for name in TARGETS if name not in WITH_PROX} == {"line", "image", "image along axes", "column"}
    assert {name for name in TARGETS if name not in WITH_DENSITY} == {"simplex"}
    assert all(target.density.has(what) for target in TARGETS.values() for what in ("smooth_score", "dual_prox"))
    assert {type(penalty).__name__ for penalty in PENALTIES.values()} >= {
        name for name in t.__all__ if issubclass(getattr(t, name), t.Penalty) and name != "Penalty"
    }


def penalty_at(name, x):
    """g(D x), as what the log density has besides the smooth part."""
    return GAUSSIAN.log_density(x) - TARGETS[name].log_density(x)


# By hand, in numpy ----------------------------------------------------------------------------------------------------


def by_hand(name, x):
    weights, centers = np.array([0.2, 0.4, 0.6, 0.8, 1.0, 1.2]), np.array([0.0, 1.0, -1.0, 0.5, 0.0, 2.0])
    groups = np.array([np.linalg.norm(x[g]) for g in ([4, 0, 2], [1], [3, 5])])
    image = x.reshape(2, 3)
    right, down = np.zeros((2, 3)), np.zeros((2, 3))
    right[:, :-1], down[:-1] = np.diff(image, axis=1), np.diff(image, axis=0)
    line = 0.6 * np.abs(np.diff(x)).sum()
    return {
        "L1": 0.7 * np.abs(x).sum(),
        "L1 of weights about centers": (weights * np.abs(x - centers)).sum(),
        "groups": 0.8 * groups.sum(),
        "groups of weights": ([0.3, 0.6, 0.9] * groups).sum(),
        "squares": 0.5 * (weights * (x - 0.3) ** 2).sum(),
        "box": 0.0 if ((x >= -0.5) & (x <= 0.8)).all() else INF,
        "box with open sides": 0.0
        if x[0] <= 0.5 and x[1] >= -1 and 0 <= x[2] <= 0.2 and abs(x[4]) <= 0.1 and -2 <= x[5] <= 0.3
        else INF,
        "non-negative": 0.0 if (x >= 0).all() else INF,
        "line": line,
        "image": 0.6 * np.hypot(right, down).sum(),
        "image along axes": 0.6 * (np.abs(right) + np.abs(down)).sum(),
        "column": line,
    }[name]


@pytest.mark.parametrize("name", WITH_DENSITY)
def test_values_are_those_by_hand(name):
    draw = np.random.default_rng(1)
    inside = np.array([0.3, 0.2, 0.1, 0.4, 0.05, 0.25])
    for x in [inside, *draw.normal(size=(20, 6)), inside + 1e-9]:
        wanted = by_hand(name, x)
        assert penalty_at(name, x) == (pytest.approx(wanted, abs=1e-12) if wanted < INF else INF)


@pytest.mark.parametrize("name", WITH_DENSITY)
def test_scores_are_derivatives_inside(name):
    x, step = np.array([0.3, 0.22, 0.11, 0.41, 0.05, 0.25]), 1e-6
    moves = step * np.eye(6)
    slope = (TARGETS[name].log_density(x + moves) - TARGETS[name].log_density(x - moves)) / (2 * step)
    assert TARGETS[name].score(x) == pytest.approx(slope, abs=1e-7)
    assert TARGETS[name].smooth_score(x) == pytest.approx(GAUSSIAN.score(x), rel=1e-14)


def test_kinks_have_no_direction():
    for name in ("L1", "groups"):
        assert TARGETS[name].score(np.zeros(6)) == pytest.approx(GAUSSIAN.score(np.zeros(6)), rel=1e-14)
    assert TARGETS["image"].score(np.full(6, 0.7)) == pytest.approx(GAUSSIAN.score(np.full(6, 0.7)), rel=1e-14)


# Proximal maps --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [0.3, 4.0])
@pytest.mark.parametrize("name", WITH_PROX)
def test_moreau(name, scale):
    """prox of s g* at v and s times that of g / s at v / s are v together."""
    v = 2 * np.random.default_rng(4).normal(size=(40, 6))
    both = TARGETS[name].dual_prox(v, scale) + scale * TARGETS[name].prox(v / scale, 1 / scale)
    assert both == pytest.approx(v, abs=1e-13)


@pytest.mark.parametrize("name", [name for name in WITH_PROX if name != "simplex"])
def test_no_other_point_is_better(name):
    """The cost is convex: who has no better neighbour is the best."""
    draw, scale = np.random.default_rng(5), 0.7
    for v in 1.5 * draw.normal(size=(2, 6)):
        best = TARGETS[name].prox(v, scale)
        others = best + np.concatenate([size * draw.normal(size=(300, 6)) for size in (1e-3, 0.1, 1.0)])
        costs = [by_hand(name, u) + ((u - v) ** 2).sum() / (2 * scale) for u in (best - 0.0, *others)]
        assert costs[0] < INF
        assert costs[0] <= min(costs[1:]) + 1e-12


def test_projections_to_the_simplex():
    """Against the root of sum max(v - r, 0) = t."""
    for v in 2 * np.random.default_rng(6).normal(size=(20, 6)):
        off = optimize.brentq(lambda r, v=v: np.maximum(v - r, 0).sum() - 1.5, v.min() - 2, v.max(), xtol=1e-15)
        assert TARGETS["simplex"].prox(v, 0.2) == pytest.approx(np.maximum(v - off, 0), abs=1e-12)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 7, 8, 13, 31])
def test_the_network_sorts(n):
    """All sequences of 0 and 1, or many: then it sorts everything (Knuth's principle)."""
    from sdefast.trace import evaluate, symbol

    symbols = [symbol(f"v{i}") for i in range(n)]
    codes = np.arange(2**n) if n <= 8 else np.random.default_rng(0).integers(0, 2**n, 5000)
    bits = ((codes[:, None] >> np.arange(n)) & 1).astype(float)
    known = {}
    found = [evaluate(e, dict(zip(symbols, bits.T, strict=True)), known) for e in descending(symbols)]
    assert np.array_equal(np.stack(found, axis=1), -np.sort(-bits, axis=1))


@pytest.mark.parametrize("name", ["line", "image", "image along axes", "column"])
def test_dual_maps_of_total_variation_project(name):
    """g is its own supremum of <u, D x> over what the dual map leaves alone; and no projection is nearer."""
    target, draw = TARGETS[name], np.random.default_rng(7)
    n = target.density.dual_dim
    inside = target.dual_prox(draw.normal(size=(200, n)), 1.0)
    assert target.dual_prox(inside, 3.0) == pytest.approx(inside, abs=1e-13)
    for v in 2 * draw.normal(size=(5, n)):
        near = target.dual_prox(v, 0.4)
        assert ((inside - near) @ (v - near) <= 1e-12).all()


@pytest.mark.parametrize("shape", [(1, 2), (4, 4), (3, 7)])
def test_norms_of_differences_are_exact(shape):
    target = t.Composite(t.Gaussian(np.zeros(shape[0] * shape[1])), t.TotalVariation2D(shape))
    matrix = np.array([evaluated(target.density.forward, e) for e in np.eye(target.dim)]).T
    assert np.linalg.norm(matrix, 2) ** 2 == pytest.approx(target.density.operator_norm_squared, rel=1e-12)
    u = np.random.default_rng(8).normal(size=target.density.dual_dim)
    assert evaluated(target.density.adjoint, u) == pytest.approx(matrix.T @ u, abs=1e-13)


def evaluated(function, x):
    from sdefast.trace import as_expr

    return np.array([e.value for e in function(tuple(map(as_expr, x.tolist())))])


# Laws -----------------------------------------------------------------------------------------------------------------


def z_of(chains, mean, variance):
    of_mean = (chains.mean[-1] - mean) / chains.standard_error[-1]
    return np.abs([*of_mean, *((chains.variance[-1] - variance) / chains.variance_standard_error[-1])]).max()


def test_a_gaussian_and_a_square_are_a_gaussian():
    target = t.Composite(t.Gaussian([1.0, 0.0], [[1.0, 0.6], [0.6, 2.0]]), t.Quadratic([1.0, 3.0], [0.0, 2.0]))
    points = np.random.default_rng(9).normal(size=(20, 2))
    wanted = t.Gaussian(target.mean, target.covariance).log_density(points)
    difference = target.log_density(points) - wanted
    assert difference == pytest.approx(difference[0], abs=1e-12)
    same = t.Gaussian(target.mean, target.covariance).sample(30, seed=3)
    assert np.array_equal(target.sample(30, seed=3), same)


@pytest.mark.parametrize(("penalty", "bound"), [(t.Quadratic(3.0), 0.5), (t.L1(3.0), 2.0), (t.Box(-1.0, 1.0), 2.0)])
def test_steps_are_stable_below_the_bound_of_both_parts(penalty, bound):
    """2 / (1 + 3) of ULA on N(0, 1) with a square: on either side chains stay or are lost; kinks add nothing."""
    target = t.Composite(t.Gaussian(0.0, 1.0), penalty)
    how = {"n_steps": 3000, "n_chains": 4, "x0": 0.5, "seed": 1}
    with pytest.warns() as told:
        sf.langevin(target, **how, step_size=1.2 * bound)
    stepped, lost = [str(warning.message) for warning in told]
    assert f"not below {bound:g}, beyond which 'ula' is unstable" in stepped
    assert "4 of 4 chains are no longer finite at iteration 3000" in lost
    assert sf.langevin(target, **how, step_size=0.95 * bound).n_nonfinite[-1] == 0


OVERFLOWS = pytest.mark.filterwarnings("ignore:statistics overflow", "ignore:4 of 4 chains")


@OVERFLOWS
@pytest.mark.parametrize(
    ("method", "penalty", "options", "bound"),
    [
        ("proximal", t.L1(0.1), {}, 2.0),
        ("proximal-outside", t.L1(0.1), {"smoothing": 0.01}, 2.0),
        ("myula", t.Quadratic(3.0), {"smoothing": 0.1}, 2 / (1 + 3 / 1.3)),
        ("primal-dual-gradient", t.L1(0.1), {"ratio": 0.5}, 1 / (0.25 + 0.75)),
    ],
)
def test_steps_of_methods_for_parts_are_stable_below_their_bounds(method, penalty, options, bound):
    target = t.Composite(t.Gaussian(0.0, 1.0), penalty)
    how = {"method": method, "n_steps": 3000, "n_chains": 4, "x0": 0.5, "seed": 1, **options}
    with pytest.warns() as told:
        lost = sf.langevin(target, **how, step_size=1.05 * bound)
    assert f"not below {bound:.6g}, beyond which '{method}' may be unstable" in str(told[0].message)
    if method != "primal-dual-gradient":  # (whose bound is that of the worst penalty)
        assert not lost.variance[-1, 0] < 1e6
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sf.langevin(target, **how, step_size=0.95 * bound).variance[-1, 0] < 1e3


@OVERFLOWS
@pytest.mark.parametrize(("curvature", "friction"), [(1.0, 1.0), (4.0, 0.2), (1.0, 5.0)])
def test_steps_of_sort_are_stable_below_the_bound(curvature, friction):
    bound = sort.stable_step(curvature, {"friction": friction})
    how = {"method": "sort", "friction": friction, "n_steps": 3000, "n_chains": 4, "x0": 0.5, "seed": 1}
    with pytest.warns(RuntimeWarning, match=f"not below {bound:.6g}, beyond which 'sort' is unstable"):
        assert not sf.langevin(t.Gaussian(0.0, 1 / curvature), **how, step_size=1.03 * bound).variance[-1, 0] < 1e6
    assert sf.langevin(t.Gaussian(0.0, 1 / curvature), **how, step_size=0.97 * bound).variance[-1, 0] < 100


def test_bounds_of_primal_dual_steps_belong_to_what_is_stable():
    target = t.Composite(t.Gaussian([0.0, 0.0, 0.0]), t.TotalVariation1D(1.0))
    how = {"method": "primal-dual", "n_steps": 5, "n_chains": 4, "ratio": 100.0}
    bound = 0.1 / target.density.operator_norm_squared**0.5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sf.langevin(target, **how, step_size=bound)
    with pytest.warns(RuntimeWarning, match=f"not below {bound:.6g}, beyond which 'primal-dual' may be unstable"):
        sf.langevin(target, **how, step_size=1.001 * bound)


def test_mala_never_leaves_a_box_and_has_its_law():
    """Gaussians cut to intervals; a million draws of 100,000 chains."""
    lower, upper, mean = np.array([-0.5, 0.0]), np.array([0.8, INF]), np.array([0.3, -0.4])
    target = t.Composite(t.Gaussian(mean), t.Box(lower, upper))
    chains = sf.langevin(
        target, method="mala", step_size=0.15, n_steps=150, n_chains=100_000, x0=[0.1, 0.2], seed=2, moments=4
    )
    x = chains.x[-1]
    assert ((x >= lower) & (x <= upper)).all()
    cut = stats.truncnorm(lower - mean, upper - mean, loc=mean)
    assert z_of(chains, cut.mean(), cut.var()) < MOST_Z


def test_the_lasso_by_mala():
    """N(1, 1) and |x|: two cut Gaussians."""
    target = t.Composite(t.Gaussian([1.0]), t.L1(1.0))
    x = np.linspace(-9, 9, 200_001)
    weights = np.exp(target.log_density(x[:, None]))
    mean = (weights @ x) / weights.sum()
    variance = weights @ (x - mean) ** 2 / weights.sum()
    chains = sf.langevin(target, method="mala", step_size=0.5, n_steps=60, n_chains=200_000, seed=1, moments=4)
    assert z_of(chains, [mean], [variance]) < MOST_Z


def test_mirror_steps_on_the_simplex_see_the_smooth_part():
    start, how = [0.2, 0.3, 0.5], {"method": "mirror-simplex", "step_size": 1e-3, "n_steps": 20, "n_chains": 64}
    smooth = t.Gaussian([0.3, 0.4, 0.3], 0.1)
    runs = [
        sf.langevin(target, x0=start, seed=4, **how)
        for target in (smooth, t.Composite(smooth, t.Simplex()))
    ]  # fmt: skip
    assert np.array_equal(runs[0].x, runs[1].x)


# What every one can do ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", thorough_but(SOME, TARGETS))
def test_files_and_processes_lose_nothing(name, tmp_path):
    target = TARGETS[name]
    again = pickle.loads(pickle.dumps(target))
    assert (again, hash(again)) == (target, hash(target))
    assert sum(other == target for other in TARGETS.values()) == 1
    method = "proximal" if target.density.has("prox") else "primal-dual"
    start = np.full(6, 0.25) if name == "simplex" else [0.3, 0.2, 0.1, 0.4, 0.05, 0.25]
    run = sf.langevin(target, method=method, step_size=0.01, n_steps=3, n_chains=16, x0=start, seed=1)
    run.save(tmp_path / "run.npz")
    loaded = sf.load(tmp_path / "run.npz")
    assert loaded.target == target
    assert loaded.describe() == run.describe()
    assert np.array_equal(*(sf.langevin(r.target, resume=r, n_steps=3).x for r in (run, loaded)))


@pytest.mark.parametrize("name", ["L1", "groups of weights", "squares", "box", "simplex", "image"])
def test_other_numbers_run_the_same_kernel(name):
    """Expressions have symbols for them: those of two targets are one object."""
    others = {
        "L1": t.L1(0.9), "groups of weights": t.GroupL2([[4, 0, 2], [1], [3, 5]], [0.2, 0.2, 0.5]),
        "squares": t.Quadratic([0.3, 0.3, 0.3, 0.8, 1.0, 1.2], 0.7), "box": t.Box(-1.0, 2.0), "simplex": t.Simplex(3.0),
        "image": t.TotalVariation2D((2, 3), 0.1),
    }  # fmt: skip
    symbols = tuple(sf.trace.symbol(f"x{i}") for i in range(6))
    one, other = TARGETS[name].density, t.Composite(GAUSSIAN, others[name]).density
    assert all(a is b for a, b in zip(one.score(symbols), other.score(symbols), strict=True))
    if one.has("prox"):
        maps = (density.prox(symbols, sf.trace.symbol("scale")) for density in (one, other))
        assert all(a is b for a, b in zip(*maps, strict=True))


def test_starts_must_lie_inside():
    how = {"step_size": 0.01, "n_steps": 1, "n_chains": 2, "seed": 0}
    with pytest.raises(ValueError, match=r"x0 is \[.*\], where the density is 0"):
        sf.langevin(TARGETS["non-negative"], method="proximal", x0=[-1.0] * 6, **how)
    with pytest.raises(ValueError, match=r"x0 is \[.*\], which is not in Simplex"):
        sf.langevin(TARGETS["simplex"], method="proximal", x0=[0.2] * 6, **how)


def test_a_score_alone_can_have_a_penalty():
    target = t.Composite(t.Target(score=lambda x: (-x[0],)), t.L1(0.5))
    assert not target.density.has("log_density")
    assert target.score([2.0]) == pytest.approx([-2.5])
    with pytest.raises(AttributeError, match="log density"):
        target.log_density([2.0])


FLAT = t.Target(lambda x: 0.0, dim=3)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (lambda: t.Composite(FLAT, 1.0), TypeError, "penalty must be one of"),
        (lambda: t.Composite(1.0, t.L1()), TypeError, "smooth must be one of"),
        (lambda: t.Composite(t.Laplace([0.0]), t.L1()), ValueError, "without a penalty of its own"),
        (lambda: t.Composite(FLAT, t.L1([1.0, 2.0])), ValueError, "weight must be one number or 3"),
        (lambda: t.Composite(FLAT, t.L1(1.0, [1.0, 2.0])), ValueError, "center must be one number or 3"),
        (lambda: t.Composite(FLAT, t.GroupL2([[0, 1]])), ValueError, "each of the 3 components"),
        (lambda: t.Composite(FLAT, t.Box(0.0, [1.0, 2.0])), ValueError, "upper must be one number or 3"),
        (lambda: t.Composite(FLAT, t.TotalVariation2D((2, 2))), ValueError, "of 4 pixels, the state has 3"),
        (lambda: t.Composite(t.Target(lambda x: 0.0), t.TotalVariation1D()), ValueError, "2 components or more"),
        (lambda: t.Composite(t.Gaussian(np.zeros(65)), t.Simplex()), ValueError, "up to 64 components"),
        (lambda: t.L1(0.0), ValueError, "weight must be positive"),
        (lambda: t.L1(float("nan")), ValueError, "weight must be finite"),
        (lambda: t.GroupL2([[0, 1], [1, 2]]), ValueError, "once and none be empty"),
        (lambda: t.GroupL2([[0, 1], []]), ValueError, "once and none be empty"),
        (lambda: t.GroupL2([[0, 2]]), ValueError, "once and none be empty"),
        (lambda: t.GroupL2("01"), TypeError, "sequence of sequences"),
        (lambda: t.GroupL2([[0.0, 1.0]]), TypeError, "integer"),
        (lambda: t.GroupL2([[0], [1]], [1.0, 2.0, 3.0]), ValueError, "one for each of the groups"),
        (lambda: t.Box(1.0, 1.0), ValueError, "lower must be below upper"),
        (lambda: t.Box(INF, INF), ValueError, "lower must be below upper"),
        (lambda: t.Box([0.0, 1.0], [1.0, 2.0, 3.0]), ValueError, "as long"),
        (lambda: t.Box(float("nan"), 1.0), ValueError, "lower must be finite"),
        (lambda: t.Simplex(0.0), ValueError, "total must be positive"),
        (lambda: t.TotalVariation1D(-1.0), ValueError, "weight must be positive"),
        (lambda: t.TotalVariation2D(4), TypeError, "rows, columns"),
        (lambda: t.TotalVariation2D((1, 1)), ValueError, "two pixels"),
        (lambda: t.TotalVariation2D((2, 2), isotropic="no"), TypeError, "isotropic must be True or False"),
        (lambda: TARGETS["L1"].prox(np.zeros(6), 0.0), ValueError, "scale must be positive"),
        (lambda: TARGETS["L1"].prox(np.zeros(5), 1.0), ValueError, "v must have shape"),
        (lambda: TARGETS["image"].prox(np.zeros(6), 1.0), AttributeError, "no proximal map"),
        (lambda: TARGETS["L1"].sample(3, seed=0), ValueError, "cannot be sampled exactly"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(wrong, error, message):
    with pytest.raises(error, match=message):
        wrong()
