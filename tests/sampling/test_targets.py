"""Targets: scores are derivatives, moments and draws agree, proximal maps minimise, files lose nothing."""

import pickle

import numpy as np
import pytest
from scipy import optimize

import sdefast as sf
from sdefast.trace import symbol

t = sf.targets

#: standard errors by which a value may be off, under these seeds
MOST_Z = 5.0

rng = np.random.default_rng(5)
X = rng.normal(size=(40, 3))
Y = X @ [1.0, -0.5, 0.2] + 0.3 * rng.normal(size=40)
LABELS = (rng.uniform(size=40) < 1 / (1 + np.exp(-X @ [1.0, -0.5, 0.2]))).astype(float)
FULL = np.array([[2.0, 0.5], [0.5, 1.0]])

EXAMPLES = {
    "Gaussian": t.Gaussian([1.0, 0.0], FULL),
    "GaussianMixture": t.GaussianMixture([0.2, 0.8], [[-1.0, 0.0], [1.0, 0.5]], [FULL, 0.5 * np.eye(2)]),
    "DisjointMixture": t.DisjointMixture([0.2, 0.8], [[-4.0], [4.0]], 0.09),
    "DoubleWell": t.DoubleWell(),
    "Banana": t.Banana(),
    "Funnel": t.Funnel(dim=3),
    "Student": t.Student(5.0),
    "Laplace": t.Laplace(0.5, 2.0),
    "BayesianLinearRegression": t.BayesianLinearRegression(X, Y, noise_std=0.3, prior_std=2.0),
    "LogisticRegression": t.LogisticRegression(X, LABELS, prior_std=3.0),
    "Composite": t.Composite(t.Gaussian([1.0, -0.3], FULL), t.L1(0.5)),
    "Target": t.Target(lambda x, p: -p.a * (x[0] ** 2 - 1) ** 2, params={"a": 2.0}),
    "BatchTarget": t.BatchTarget(lambda x: -x, dim=2),
}

PENALTIES = {
    "L1": t.L1(0.7),
    "GroupL2": t.GroupL2([[0, 2], [1]], 0.8),
    "Quadratic": t.Quadratic(1.5),
    "Box": t.Box(-0.5, 0.8),
    "NonNegative": t.NonNegative(),
    "Simplex": t.Simplex(),
    "TotalVariation1D": t.TotalVariation1D(0.6),
    "TotalVariation2D": t.TotalVariation2D((2, 3), 0.6),
}

WRITTEN = [name for name in EXAMPLES if name != "BatchTarget"]


def test_every_target_and_penalty_is_here():
    assert {*EXAMPLES, *PENALTIES, "BaseTarget", "Penalty"} == set(t.__all__)


@pytest.mark.parametrize("name", WRITTEN)
def test_scores_are_derivatives(name):
    target = EXAMPLES[name]
    points = np.random.default_rng(1).normal(size=(50, target.dim)) * 0.8 + 0.37
    step, found = 1e-5, target.score(points)
    for i in range(target.dim):
        move = step * np.eye(target.dim)[i]
        slope = (target.log_density(points + move) - target.log_density(points - move)) / (2 * step)
        assert found[:, i] == pytest.approx(slope, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("name", [n for n in WRITTEN if EXAMPLES[n].mean is not None and EXAMPLES[n].dim <= 2])
def test_moments_are_those_of_the_density(name):
    """By sums over a fine grid."""
    target = EXAMPLES[name]
    mean, deviation = target.mean, np.sqrt(np.diag(target.covariance))
    wide = 60.0 if name in ("Student", "Laplace") else 12.0
    n = 200_001 if target.dim == 1 else 801
    axes = [m + s * np.linspace(-wide, wide, n) for m, s in zip(mean, deviation, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, target.dim)
    weight = np.exp(target.log_density(points) - np.max(target.log_density(mean[None])))
    weight /= weight.sum()
    assert (np.abs(weight @ points - mean) < 2e-3 * deviation).all()
    away = points - mean
    assert (weight[:, None] * away).T @ away == pytest.approx(target.covariance, rel=5e-3, abs=2e-3)


def samplable(name):
    try:
        return EXAMPLES[name].sample(2, seed=0) is not None
    except ValueError:
        return False


@pytest.mark.parametrize("name", [n for n in EXAMPLES if samplable(n)])
def test_draws_have_the_moments_and_every_chain_its_own(name):
    target, n = EXAMPLES[name], 200_000
    draws = target.sample(n, seed=3)
    assert draws.shape == (n, target.dim)
    assert np.array_equal(target.sample(100, seed=3, first_chain=70), draws[70:170])
    error = draws.std(axis=0) / np.sqrt(n)
    assert (np.abs(draws.mean(axis=0) - target.mean) < MOST_Z * error).all()
    if name == "Funnel":  # its fourth moments are too large for a sample variance to tell anything
        assert draws[:, 0].var() == pytest.approx(target.covariance[0, 0], rel=0.03)
        return
    away = (draws - target.mean) ** 2
    spread = away.std(axis=0) / np.sqrt(n)
    assert (np.abs(away.mean(axis=0) - np.diag(target.covariance)) < MOST_Z * spread + 1e-12).all()


@pytest.mark.parametrize("name", [n for n in WRITTEN if samplable(n) and n not in ("DisjointMixture", "Funnel")])
def test_exact_starts_stay_exact_under_mala(name):
    target = EXAMPLES[name]
    h = 0.1 if target.curvature is None else 0.3 / target.curvature
    chains = sf.langevin(target, method="mala", step_size=h, n_steps=10, n_chains=40_000, x0="sample", seed=2)
    assert (np.abs(chains.mean[0] - target.mean) < MOST_Z * chains.standard_error[0]).all()
    assert 0.5 < chains.acceptance <= 1


def test_disjoint_modes_lose_their_weights():
    """The score far from the middle is that of one component, whatever the weights."""
    points = np.array([[-4.3], [-3.9], [3.8], [4.4]])
    scores = [t.GaussianMixture([w, 1 - w], [[-4.0], [4.0]], 0.09).score(points) for w in (0.2, 0.7)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-12)
    assert EXAMPLES["DisjointMixture"].score(points) == pytest.approx(scores[0], abs=1e-12)


# Penalties ------------------------------------------------------------------------------------------------------------


def in_numbers(function, v, scale):
    """A proximal map in scalar code at a point."""
    from sdefast.trace import as_expr, evaluate

    symbols = tuple(symbol(f"v{i}") for i in range(len(v)))
    outputs = function(symbols, symbol("scale"))
    parameters = {symbol(name): value for name, value in PARAMETERS.items()}
    values = parameters | dict(zip(symbols, v, strict=True)) | {symbol("scale"): scale}
    return np.array([float(evaluate(as_expr(e), values)) for e in outputs])


PARAMETERS = {name: value for penalty in PENALTIES.values() for name, value in penalty.parameters.items()}


def value_of(penalty, u):
    """g at a point, for numbers."""
    name = type(penalty).__name__
    if name == "L1":
        return 0.7 * np.abs(u).sum()
    if name == "GroupL2":
        return 0.8 * (np.hypot(u[0], u[2]) + abs(u[1]))
    return 0.75 * (u**2).sum()


@pytest.mark.parametrize("name", ["L1", "GroupL2", "Quadratic"])
def test_proximal_maps_minimise(name):
    penalty = PENALTIES[name]
    PARAMETERS.update(penalty.parameters)
    for v in np.random.default_rng(2).normal(size=(6, 3)) * 1.5:
        found = in_numbers(penalty.prox, v, 0.6)

        def cost(u, v=v):
            return value_of(penalty, u) + ((u - v) ** 2).sum() / 1.2

        best = optimize.minimize(cost, found, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-13})
        assert cost(found) <= best.fun + 1e-10


def test_projections():
    PARAMETERS.update(PENALTIES["Box"].parameters)
    assert in_numbers(PENALTIES["Box"].prox, [-2.0, 0.3, 5.0], 0.4) == pytest.approx([-0.5, 0.3, 0.8])
    assert in_numbers(PENALTIES["NonNegative"].prox, [-2.0, 0.3], 0.4) == pytest.approx([0.0, 0.3])
    PARAMETERS.update(PENALTIES["Simplex"].parameters)
    for v in np.random.default_rng(2).normal(size=(6, 4)):
        found = in_numbers(PENALTIES["Simplex"].prox, v, 0.4)
        ordered = np.sort(v)[::-1]
        k = max(j for j in range(1, 5) if ordered[j - 1] > (ordered[:j].sum() - 1) / j)
        assert found == pytest.approx(np.maximum(v - (ordered[:k].sum() - 1) / k, 0), abs=1e-12)


@pytest.mark.parametrize("name", ["L1", "GroupL2", "Quadratic", "Box", "NonNegative"])
def test_duals_are_those_of_moreau(name):
    """v = prox_{s g*}(v) + s prox_{g/s}(v/s)."""
    penalty, scale = PENALTIES[name], 0.7
    PARAMETERS.update(penalty.parameters)
    v = np.random.default_rng(4).normal(size=3) * 2
    whole = in_numbers(penalty.dual_prox, v, scale) + scale * in_numbers(penalty.prox, v / scale, 1 / scale)
    assert whole == pytest.approx(v, abs=1e-12)


@pytest.mark.parametrize("name", PENALTIES)
def test_adjoints_are_adjoint(name):
    """<D x, u> = <x, D' u>, and |D|^2 is bounded by what is said."""
    penalty, dim = PENALTIES[name], 6 if name == "TotalVariation2D" else 3
    n, draw = penalty.dual_dim(dim), np.random.default_rng(6)
    forward = [in_numbers(lambda v, s: penalty.forward(v), e, 1.0) for e in np.eye(dim)]
    matrix = np.stack(forward, axis=1)
    assert matrix.shape == (n, dim)
    u = draw.normal(size=n)
    assert in_numbers(lambda v, s: penalty.adjoint(v), u, 1.0) == pytest.approx(matrix.T @ u, abs=1e-12)
    assert np.linalg.norm(matrix, 2) ** 2 <= penalty.norm_squared(dim) + 1e-12


def test_total_variation_projects():
    PARAMETERS.update(PENALTIES["TotalVariation1D"].parameters)
    v = np.array([-2.0, 0.1, 0.9])
    assert in_numbers(PENALTIES["TotalVariation1D"].dual_prox, v, 0.3) == pytest.approx(np.clip(v, -0.6, 0.6))


def test_denoising_by_the_dual():
    """Long primal-dual runs at a low temperature lie near the minimiser of |x - y|^2 / 2 + w sum |x_i - x_{i-1}|.

    Here that has two steps, each w / 3 nearer to the other than the means of y there.
    """
    y = np.array([0.1, -0.1, 0.0, 2.1, 1.9, 2.0])
    target = t.Composite(t.Gaussian(y, 1.0), t.TotalVariation1D(0.5))
    chains = sf.langevin(
        target, method="primal-dual", ratio=25.0, step_size=0.05, n_steps=2000, n_chains=300, temperature=1e-6, x0=y,
        seed=1,
    )  # fmt: skip
    assert chains.mean[0] == pytest.approx([1 / 6] * 3 + [11 / 6] * 3, abs=1e-3)


# What every target can do ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EXAMPLES)
def test_files_and_processes_lose_nothing(name, tmp_path):
    target = EXAMPLES[name]
    if name != "BatchTarget":
        again = pickle.loads(pickle.dumps(target))
        assert again == target
        assert hash(again) == hash(target)
    assert target != t.Gaussian(7.0)
    run = sf.langevin(target, step_size=0.001, n_steps=5, n_chains=20, x0=np.full(target.dim, 0.4), seed=1)
    if name == "BatchTarget":
        return
    run.save(tmp_path / "run.npz")
    loaded = sf.load(tmp_path / "run.npz")
    assert loaded.target == target
    more = [sf.langevin(r.target, resume=r, n_steps=4).x for r in (run, loaded)]
    assert np.array_equal(*more)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: t.Gaussian([0.0, 0.0], [[1.0, 2.0], [2.0, 1.0]]), "positive definite"),
        (lambda: t.Gaussian([0.0, 0.0], np.eye(3)), "shape"),
        (lambda: t.GaussianMixture([0.5, -0.5], [0.0, 1.0]), "weights must be positive"),
        (lambda: t.GaussianMixture([0.5, 0.5], [0.0, 1.0], -1.0), "covariances must be positive"),
        (lambda: t.Laplace(0.0, -1.0), "scale"),
        (lambda: t.Student(-1.0), "df"),
        (lambda: t.LogisticRegression(X, Y), "y"),
        (lambda: t.LogisticRegression(X, LABELS[:-1]), "y"),
        (lambda: t.BayesianLinearRegression(X, Y, noise_std=0.0), "noise_std"),
        (lambda: t.GroupL2([[0, 0]]), "group"),
        (lambda: t.L1(-1.0), "weight"),
        (lambda: t.Box(1.0, 0.0), "lower"),
        (lambda: t.Target(lambda x: (x[0], x[0])), "log_density must return 1 number"),
        (lambda: t.Target(score=lambda x: x[0], dim=2), "score must return 2 numbers"),
    ],
)
def test_what_is_wrong_is_said(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong()


def test_a_target_needs_a_function():
    with pytest.raises(TypeError, match="log_density or score"):
        t.Target()
    with pytest.raises(TypeError, match=r"function of \(x\) or \(x, p\)"):
        t.Target(lambda x, p, q: 0.0)


def test_parameters_of_targets_do_not_change():
    target = sf.targets.Target(lambda x, p: -p.b * x[0] ** 2, params={"b": 1.0})
    with pytest.raises(TypeError):
        target.params["b"] = 2.0
    assert pickle.loads(pickle.dumps(target)) == target
