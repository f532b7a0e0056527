"""Networks of coupled nodes: the bits of straight-line code, the size of few nodes' code, and numpy's numbers."""

import math

import numpy as np
import pytest
from conftest import thorough_but

import sdefast as sf
from sdefast.jit import cache, compile, emit, networks
from sdefast.sde import settings
from sdefast.sde.chain import Chain, Extras
from sdefast.sde.schemes import SCHEMES
from sdefast.sde.sde import sde_of

N = 9
SPEEDS = np.linspace(-1.0, 1.0, N)
WEIGHTS = np.random.default_rng(2).choice([0.0, 1.0, 0.5, 0.7, -0.3], size=(N, N))


def all_to_all(t, x, p):
    """Every node pulled by all, itself too."""
    return tuple(SPEEDS[i] + p.k / N * sum(math.sin(x[j] - x[i]) for j in range(N)) for i in range(N))


def weighted(t, x, p):
    """On a graph with weights, of which some are 0 or 1; a drive of each node's own at times float32 cannot count."""
    pulls = [sum(WEIGHTS[i, j] * math.sin(x[j] - x[i] - 0.1) for j in range(N) if j != i) for i in range(N)]
    return [p.w[i] - pulls[i] * p.k + math.sin(p.w[i] * t) + math.cos(SPEEDS[i] * t) for i in range(N)]


def pairs(t, x, p):
    """Every pair once, added to one node and taken from the other."""
    pull = list(SPEEDS)
    for i in range(N):
        for j in range(i):
            force = p.k * math.sin(x[i] - x[j])
            pull[j] += force
            pull[i] -= force
    return pull


def mean_field(t, x, p):
    """By the order parameter."""
    c, s = sum(math.cos(v) for v in x) / N, sum(math.sin(v) for v in x) / N
    r, psi = math.hypot(c, s), math.atan2(s, c)
    return [SPEEDS[i] + p.k * r * math.sin(psi - x[i]) - p.w[i] * x[i] for i in range(N)]


def products(t, x, p):
    """Sums of products alone, of numbers and of rows, that begin with a product or without one."""
    linear = [sum(WEIGHTS[i, j] * x[j] for j in range(N)) for i in range(N)]
    return [linear[i] + sum((x[i] * x[j] for j in range(1, N)), x[0] * x[i] + p.k) for i in range(N)]


def by_arrays(t, x, p):
    """In numpy's words, with cosines that all terms of a sum share and one term unlike the others."""
    v = np.array(x, dtype=object)
    return np.sin(v) * np.cos(v)[:, None] @ np.ones(N) + np.exp(-v) + (p.w[0] * np.cos(2 * v)).sum() * SPEEDS


def infinite(t, x, p):
    """Numbers that a list must hold as they are, beside sums."""
    limits = [math.inf, -math.inf, 0.75, -2.0, 1.0, 3.0, -0.0, 8.0, 0.25]
    return [sum(math.atan(x[i] * x[j]) for j in range(N)) + max(-1.0, min(x[i], limits[i])) for i in range(N)]


NETWORKS = [all_to_all, weighted, pairs, mean_field, products, by_arrays, infinite]


def model(drift):
    params = {"k": 1.7, "w": np.linspace(0.5, 2.0, N)}
    return sf.SDE(drift, lambda t, x, p: [0.2 * p.w[1] + 0.01 * abs(v) for v in x], dim=N, params=params)


def step_of(drift, method="euler-maruyama"):
    return Chain(sde_of(model(drift)), SCHEMES[method], Extras()).step


@pytest.fixture
def looped(monkeypatch):
    """What makes kernels of loops, however short steps are, or of straight-line code."""

    def use(loops):
        monkeypatch.setattr(networks, "loops_of", networks.Network if loops else lambda step: None)
        emit.stepper_source.cache_clear()
        settings._chain.cache_clear()

    yield use
    monkeypatch.undo()
    emit.stepper_source.cache_clear()
    settings._chain.cache_clear()


CASES = [(drift, "euler-maruyama", "float64") for drift in NETWORKS]
CASES += [(drift, "heun", "float32") for drift in (all_to_all, weighted, mean_field)]


@pytest.mark.parametrize(("drift", "method", "dtype"), thorough_but([], CASES))
def test_networks_have_the_bits_of_straight_code(looped, drift, method, dtype):
    how = {"x0": np.linspace(-1, 1, N), "n_paths": 70, "seed": 3, "dtype": dtype, "method": method}
    for grid in ({"t0": 1000.0, "t1": 1000.5, "n_steps": 5}, {"times": [0.0, 0.1, 0.15, 0.4]}):
        found = []
        for loops in (True, False):
            looped(loops)
            found.append(sf.simulate(model(drift), **grid, **how).x)
        assert np.isfinite(found[0]).all()
        assert np.array_equal(*found)


# Numbers --------------------------------------------------------------------------------------------------------------


def oscillators(n):
    """Kuramoto's, each pulled by all, as users write them; and the same pull in numpy."""
    speeds = np.linspace(-1.0, 1.0, n)
    sde = sf.SDE(
        lambda t, x: tuple(speeds[i] + 2.0 / n * sum(math.sin(x[j] - x[i]) for j in range(n)) for i in range(n)),
        lambda t, x: (0.3,) * n, dim=n,
    )  # fmt: skip
    return sde, lambda x: speeds[:, None] + 2.0 / n * np.sin(x[None] - x[:, None]).sum(axis=1)


def by_order_parameter(n):
    """The same by r cos psi and r sin psi."""
    speeds = np.linspace(-1.0, 1.0, n)

    def drift(t, x):
        c, s = sum(map(math.cos, x)) / n, sum(map(math.sin, x)) / n
        return [speeds[i] + 2.0 * (s * math.cos(x[i]) - c * math.sin(x[i])) for i in range(n)]

    return sf.SDE(drift, lambda t, x: (0.3,) * n, dim=n), oscillators(n)[1]


SIZES = [(oscillators, 10), (oscillators, 32), (oscillators, 100), (by_order_parameter, 100)]


@pytest.mark.parametrize(("network", "n"), thorough_but(SIZES[:1], SIZES))
def test_oscillators_against_numpy(network, n):
    """On the same noise, in wide and narrow rows; any path alone is the same."""
    sde, pull = network(n)
    assert isinstance(networks.loops_of(Chain(sde_of(sde), SCHEMES["euler-maruyama"], Extras()).step), networks.Network)
    how, h = {"x0": np.linspace(0.0, 3.0, n), "t1": 0.3, "n_steps": 3, "seed": 5}, 0.1
    run = sf.simulate(sde, n_paths=70, **how)
    x = np.repeat(how["x0"][:, None], 70, axis=1)
    for z in sf.noise.normals(5, 3 * n, 70).reshape(3, n, 70):
        x = x + h * pull(x) + 0.3 * h**0.5 * z
    np.testing.assert_allclose(run.x[0].T, x, rtol=0, atol=1e-13 * n)
    one = sf.simulate(sde, n_paths=1, first_chain=66, **how)
    assert np.array_equal(one.x[0][0], run.x[0][66])


# Size -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("drift", thorough_but([all_to_all], NETWORKS[:4]))
def test_larger_networks_take_no_more_code(monkeypatch, drift):
    lines = []
    for n in (16, 20) if drift is all_to_all else (48, 56):
        monkeypatch.setitem(globals(), "N", n)
        monkeypatch.setitem(globals(), "SPEEDS", np.linspace(-1.0, 1.0, n))
        monkeypatch.setitem(globals(), "WEIGHTS", np.random.default_rng(2).normal(size=(n, n)))
        lines.append(emit.stepper_source(step_of(drift)).count("\n"))
    assert lines[0] == lines[1] < 200


def test_terms_unlike_one_another_are_straight_code():
    functions = [math.sin, math.cos, math.exp, math.tanh, math.atan, math.erf, math.cosh, math.sinh]

    def drift(t, x, p):
        return [
            sum(f(k * v * x[0]) for k, f in enumerate(functions[i % 8 :] + functions[: i % 8])) for i, v in enumerate(x)
        ]

    for given in (drift, lambda t, x, p: [-v for v in x]):
        assert networks.loops_of(emit._placed(step_of(given))) is None


def sums(t, x, p):
    return [sf.math.sum(lambda row: math.sin(row * x[0]), SPEEDS) - v for v in x]


@pytest.mark.parametrize("drift", thorough_but([all_to_all], [all_to_all, sums]))
def test_loops_are_kept_on_disk(looped, monkeypatch, tmp_path, drift):
    """Nothing in them may raise an exception, as the compiler sees it: such kernels are not kept."""
    monkeypatch.setenv("SDEFAST_CACHE_DIR", str(tmp_path / "kernels"))
    looped(True)
    program = compile.Program("stepper", emit.stepper_source(step_of(drift)), "float32", "float32")
    compile._compile(program)
    assert cache.load(program).address
