"""What steps promise besides orders: what they refuse, what they leave out, what they solve, how they stay stable."""

import math

import numpy as np
import pytest
import scipy.linalg
from sde.schemes.numpy_step import NumpyStep

from sdefast.sde.schemes import SCHEMES
from sdefast.sde.schemes.implicit_euler import MOST_COMPONENTS, solve
from sdefast.sde.sde import SDE
from sdefast.trace import evaluate, symbol

NAMES = [name for name, scheme in SCHEMES.items() if scheme.step is not None]

OSCILLATOR = {"drift": lambda t, x, p: (x[1], -np.sin(x[0]) - x[1]), "dim": 2, "linear": [[0.0, 1.0], [-1.0, -1.0]]}
ADDITIVE = SDE(diffusion=lambda t, x, p: ((0.3, 0.1), (0.0, 0.4)), noise="additive", **OSCILLATOR)
DIAGONAL = SDE(diffusion=lambda t, x, p: (0.3 * x[0], np.cos(x[1])), **OSCILLATOR)
#: diagonal noise that is not: the second noise's coefficient feels the first
INTERACTING = SDE(diffusion=lambda t, x, p: (1.0, x[0]), **OSCILLATOR)
#: the same noise moves both columns, which commute though each changes the other
COMMUTING = SDE(
    diffusion=lambda t, x, p: ((x[0], 2 * x[0]), (3 * x[1], x[1])), noise="general", noise_dim=2, **OSCILLATOR
)
#: defined for positive states only
ROOTS = SDE(
    diffusion=lambda t, x, p: ((np.sqrt(x[0]), 0.0), (0.0, p.s * np.sqrt(x[0] * x[1]))),
    noise="general",
    noise_dim=2,
    params={"s": 0.3},
    **OSCILLATOR,
)


def operations(expressions):
    """The nodes that expressions are made of."""
    found, todo = set(), list(expressions)
    while todo:
        node = todo.pop()
        if node not in found:
            found.add(node)
            todo.extend(node.args)
    return found


# What is refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sde", [INTERACTING, ROOTS], ids=["interacting", "roots"])
def test_milstein_refuses_noise_that_does_not_commute(sde):
    with pytest.raises(ValueError, match="'milstein' needs noise that commutes"):
        NumpyStep(SCHEMES["milstein"], sde)


@pytest.mark.parametrize("sde", [ADDITIVE, DIAGONAL, COMMUTING], ids=["additive", "diagonal", "commuting"])
def test_milstein_takes_noise_that_commutes(sde):
    NumpyStep(SCHEMES["milstein"], sde)


@pytest.mark.parametrize("name", ["srk1", "sriw1"])
def test_noises_that_change_one_another_are_refused(name):
    with pytest.raises(ValueError, match=f"'{name}' needs each noise to act on its own, but noise 0 .* column 1"):
        NumpyStep(SCHEMES[name], INTERACTING)


def test_a_given_derivative_says_nothing_of_other_components():
    given = SDE(diffusion=lambda t, x, p: (1.0, x[0]), diffusion_derivative=lambda t, x, p: (0.0, 0.0), **OSCILLATOR)
    with pytest.raises(ValueError, match="needs noise that commutes"):
        NumpyStep(SCHEMES["milstein"], given)


def test_a_given_derivative_is_used():
    wrong = SDE(lambda t, x, p: 0.0, lambda t, x, p: x[0], diffusion_derivative=lambda t, x, p: 5.0)
    end = NumpyStep(SCHEMES["milstein"], wrong)(0.0, 0.01, np.array([[2.0]]), np.array([[3.0]]))
    assert end[0, 0] == pytest.approx(2 + 2 * 0.3 + 5 * 2 * (0.09 - 0.01) / 2)


def test_the_exponential_scheme_needs_the_linear_part():
    with pytest.raises(ValueError, match="linear"):
        NumpyStep(SCHEMES["exponential-euler"], SDE(lambda t, x, p: -x[0] * t, lambda t, x, p: 1.0))


def test_the_implicit_scheme_is_for_few_components():
    n = MOST_COMPONENTS + 1
    sde = SDE(lambda t, x, p: tuple(-v for v in x), lambda t, x, p: (1.0,) * n, dim=n)
    with pytest.raises(ValueError, match=f"up to {MOST_COMPONENTS} components, got {n}"):
        NumpyStep(SCHEMES["implicit-euler"], sde)


# What is left out ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sde", [ADDITIVE, DIAGONAL], ids=["additive", "diagonal"])
def test_increments_are_summed_before_they_are_added(name, sde):
    """So that float32 does not lose those that are far below the state's last place."""
    if sde.noise not in SCHEMES[name].noises:
        return
    step = NumpyStep(SCHEMES[name], sde)
    for x, new in zip(step.state, step.expressions, strict=True):
        assert new.op in ("add", "sub")
        assert new.args[0] is x


@pytest.mark.parametrize("name", ["milstein", "srk1"])
def test_corrections_vanish_with_additive_noise(name):
    euler, step = (NumpyStep(SCHEMES[n], ADDITIVE) for n in ("euler-maruyama", name))
    assert operations(step.expressions) == operations(euler.expressions)


@pytest.mark.parametrize(("sde", "n"), [(ADDITIVE, 2), (DIAGONAL, 2), (COMMUTING, 3), (INTERACTING, 3)])
def test_signs_are_drawn_for_noises_that_change_one_another(sde, n):
    assert NumpyStep(SCHEMES["weak2"], sde).n_draws == n


def test_a_linear_drift_takes_one_newton_iteration():
    """The Jacobian is not computed again where it does not depend on the state."""
    sde = SDE(lambda t, x, p: (x[1] - x[0], -2.0 * x[0]), lambda t, x, p: (1.0, 1.0), dim=2)
    assert sum(e.op == "div" for e in operations(NumpyStep(SCHEMES["implicit-euler"], sde).expressions)) == 3


# Stages in time ------------------------------------------------------------------------------------------------------


def test_times_of_the_stages_of_heun_and_midpoint():
    """Which their orders do not tell apart from wrong ones."""
    sde = SDE(lambda t, x, p: t * x[0], lambda t, x, p: np.cos(t), noise="additive")
    x, z, t, h = 2.0, 0.6, 0.3, 0.2
    dw = math.sqrt(h) * z
    increment = lambda t, x: t * x * h + math.cos(t) * dw  # noqa: E731
    first = increment(t, x)
    expected = {
        "heun": x + (first + increment(t + h, x + first)) / 2,
        "midpoint": x + increment(t + h / 2, x + first / 2),
    }
    for name, value in expected.items():
        end = NumpyStep(SCHEMES[name], sde)(t, h, np.array([[x]]), np.array([[z]]))
        assert end[0, 0] == pytest.approx(value, rel=1e-14)


# The implicit scheme -------------------------------------------------------------------------------------------------


def dense(n):
    """A drift with a full Jacobian that pulls inwards."""

    def drift(t, x, p):
        total = sum(x)
        return tuple(np.sin(t) - x[i] ** 3 - total + sum((i - j) * x[j] for j in range(n)) for i in range(n))

    return drift


@pytest.mark.parametrize("dim", [1, 2, 5, MOST_COMPONENTS])
def test_the_implicit_equation_is_solved(dim):
    sde = SDE(dense(dim), lambda t, x, p: (0.5,) * dim, dim=dim)
    x, z = np.random.default_rng(1).normal(size=(2, 50, dim))
    t, h = 0.7, 0.05
    y = NumpyStep(SCHEMES["implicit-euler"], sde)(t, h, x, z)
    noise = 0.5 * math.sqrt(h) * z
    drift = np.stack(dense(dim)(t + h, y.T, None), axis=1)
    np.testing.assert_allclose(y, x + h * drift + noise, rtol=0, atol=1e-10)


def test_elimination():
    rng, n = np.random.default_rng(2), 6
    matrix, right = np.eye(n) + 0.3 * rng.normal(size=(n, n)), rng.normal(size=n)
    m, r = [[symbol(f"m{i}{j}") for j in range(n)] for i in range(n)], [symbol(f"r{i}") for i in range(n)]
    values = {m[i][j]: matrix[i, j] for i in range(n) for j in range(n)} | dict(zip(r, right, strict=True))
    solution = [evaluate(e, values) for e in solve(tuple(map(tuple, m)), tuple(r))]
    np.testing.assert_allclose(solution, np.linalg.solve(matrix, right), rtol=1e-10)


def test_the_implicit_scheme_is_stable_on_stiff_linear_drift():
    sde = SDE(lambda t, x, p: -1000.0 * x[0], lambda t, x, p: 1.0)
    z = np.random.default_rng(3).normal(size=(50, 20, 1))
    x, h = np.full((20, 1), 5.0), 0.1
    for normal in z:
        x = (x + math.sqrt(h) * normal) / (1 + 1000 * h)
    np.testing.assert_allclose(NumpyStep(SCHEMES["implicit-euler"], sde).path(5.0, 0.0, h, z), x, rtol=1e-12)


CUBIC = SDE(lambda t, x, p: -(x[0] ** 3), lambda t, x, p: 1.0)


@pytest.mark.parametrize(("start", "name"), [(30.0, "implicit-euler"), (1e5, "implicit-euler"), (1e5, "tamed-euler")])
def test_cubic_drift_does_not_explode(start, name):
    """From where Euler-Maruyama overflows within ten steps."""
    h, n = 0.05, 40
    z = np.random.default_rng(4).normal(size=(n, 100, 1))
    ends = NumpyStep(SCHEMES[name], CUBIC).path(start, 0.0, h, z)
    if name == "implicit-euler":
        assert np.abs(ends).max() < 4
    else:  # which moves by less than 1 a step
        assert (np.abs(ends - start) < n + 5 * math.sqrt(n * h)).all()
    with np.errstate(all="ignore"):
        assert not np.isfinite(NumpyStep(SCHEMES["euler-maruyama"], CUBIC).path(start, 0.0, h, z)).any()


# The exponential scheme ----------------------------------------------------------------------------------------------


def damped(rates, h):
    """sqrt of phi_1(2 h rates)."""
    return np.array([math.sqrt(math.expm1(2 * h * r) / (2 * h * r)) if r else 1.0 for r in rates])


@pytest.mark.parametrize("linear", [[-50.0, 0.0], [[-3.0, 2.0], [-1.0, 0.5]]], ids=["diagonal", "full"])
@pytest.mark.parametrize("h", [1e-6, 0.1, 3.0])
def test_the_exponential_scheme_solves_linear_drifts(linear, h):
    L = np.diag(linear) if np.ndim(linear) == 1 else np.array(linear)
    force = np.array([0.7, -0.2])
    sde = SDE(
        lambda t, x, p: tuple(L[i, 0] * x[0] + L[i, 1] * x[1] + force[i] for i in range(2)),
        lambda t, x, p: (0.5, 2.0 * x[1]),
        dim=2,
        linear=linear,
    )
    x, z = np.random.default_rng(5).normal(size=(2, 30, 2))
    both = scipy.linalg.expm(h * np.block([[L, force[:, None]], [np.zeros((1, 3))]]))
    noise = math.sqrt(h) * z * np.stack([np.full(30, 0.5), 2 * x[:, 1]], axis=1)
    damping = both[:2, :2] if np.ndim(linear) == 2 else np.diag(damped(np.diag(L), h))
    exact = x @ both[:2, :2].T + noise @ damping.T + both[:2, 2]
    np.testing.assert_allclose(NumpyStep(SCHEMES["exponential-euler"], sde)(0.0, h, x, z), exact, rtol=1e-10)


def test_constants_of_diagonal_and_full_matrices():
    constants, h = SCHEMES["exponential-euler"].constants, np.array([0.1, 0.2, 0.1])
    for linear, n in (([-1.0, -2.0, 0.0], 6), (np.ones((3, 3)), 18)):
        sde = SDE(lambda t, x, p: x, lambda t, x, p: x, dim=3, linear=linear)
        table = constants(sde, h)
        assert table.shape == (3, n)
        np.testing.assert_array_equal(table[0], table[2])
        exponential = scipy.linalg.expm(0.2 * sde.linear)
        expected = damped(np.diag(sde.linear), 0.2) if n == 6 else exponential.ravel()
        np.testing.assert_allclose(table[1, : n // 2], expected, rtol=1e-12)
