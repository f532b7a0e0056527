"""Loops over rows that are alike: the bits of straight-line code, the size of one row's code, images against numpy."""

import math

import numpy as np
import pytest
from conftest import TYPES, thorough_but
from hypothesis import given
from hypothesis import strategies as st

import sdefast as sf
from sdefast.jit import alike, emit, networks
from sdefast.sampling import settings
from sdefast.sampling.chain import Chain
from sdefast.sde import settings as sde_settings

N = 6


def ring(t, x, p):
    """Neighbours and their products, which two sums take, a wave, and parameters of every row and of none."""
    bonds = [x[i] * x[(i + 1) % N] for i in range(N)]
    waves = [math.exp(-math.cos(x[i] + p.speed * t)) for i in range(N)]
    return [
        p[i] * (waves[i - 1] - waves[i]) + bonds[i - 1] + bonds[i] - p.speed * x[i] ** 3 + math.sin(p[i] * t)
        for i in range(N)
    ]


def noise(t, x, p):
    return [0.1 * p.speed * abs(x[i]) for i in range(N)]


RING = sf.SDE(ring, noise, dim=N, params={**{f"a{i}": 0.5 + 0.1 * i for i in range(N)}, "speed": 2.0})


def image(shape, weight=3.0, **options):
    seen = np.random.default_rng(4).normal(size=shape)
    spread = np.linspace(0.1, 0.2, seen.size)
    return sf.targets.Composite(
        sf.targets.Gaussian(seen.ravel(), spread), sf.targets.TotalVariation2D(shape, weight=weight, **options)
    )


@pytest.fixture
def straight(monkeypatch):
    """What makes kernels of loops, however short steps are, or of straight-line code."""

    def use(loops):
        monkeypatch.setattr(networks, "loops_of", alike.Loops if loops else lambda step: None)
        emit.stepper_source.cache_clear()
        settings._chain.cache_clear()
        sde_settings._chain.cache_clear()

    yield use
    monkeypatch.undo()
    use(False)
    monkeypatch.undo()


def both(straight, run):
    """The rows at the end by loops and by straight-line code."""
    found = []
    for loops in (True, False):
        straight(loops)
        found.append(run())
    assert np.isfinite(found[0]).all()
    return found


RINGS = [("euler-maruyama", *TYPES[0]), ("euler-maruyama", *TYPES[1]), ("heun", *TYPES[2]), ("milstein", *TYPES[0])]
SOME_RINGS = [RINGS[0]]


@pytest.mark.parametrize(("method", "dtype", "noise_dtype"), thorough_but(SOME_RINGS, RINGS))
def test_a_ring_has_the_bits_of_straight_code(straight, method, dtype, noise_dtype):
    """On a grid whose steps differ, too, and at times that float32 cannot count."""
    how = {"x0": np.linspace(-1, 1, N), "n_paths": 70, "seed": 3, "dtype": dtype, "noise_dtype": noise_dtype}
    for grid in ({"t0": 1000.0, "t1": 1001.0, "n_steps": 20}, {"times": [0.0, 0.1, 0.15, 0.4]}):
        looped, plain = both(straight, lambda g=grid: sf.simulate(RING, method=method, **g, **how).x)
        assert np.array_equal(looped, plain)


def test_names_of_users_are_no_rows(straight):
    """A parameter of that name was once taken for a row."""
    names = {"m1": 0.5, "c_2": 0.25, "x_m1": 0.125}
    sde = sf.SDE(
        lambda t, x, p: [-p.m1 * x[i] + p.c_2 * x[i - 1] for i in range(N)],
        lambda t, x, p: [p.x_m1] * N, dim=N, params=names,
    )  # fmt: skip
    how = {"x0": np.linspace(0.1, 1, N), "t1": 1.0, "n_steps": 5, "n_paths": 70, "seed": 3}
    looped, plain = both(straight, lambda: sf.simulate(sde, **how).x)
    assert np.array_equal(looped, plain)


def test_what_is_true_or_false_is_no_row(straight):
    """A long condition that all rows share."""

    def drift(t, x, p):
        if (x[0] > 0) & (x[1] > 0) & (x[2] * x[3] > x[4]) & (x[5] + x[1] < x[0]) & (x[2] < 3):
            return [-x[i] for i in range(N)]
        return [1.0 - x[i] * x[i - 1] for i in range(N)]

    sde = sf.SDE(drift, lambda t, x, p: [0.3] * N, dim=N)
    how = {"x0": np.linspace(0.1, 1, N), "t1": 1.0, "n_steps": 20, "n_paths": 70, "seed": 3}
    looped, plain = both(straight, lambda: sf.simulate(sde, **how).x)
    assert np.array_equal(looped, plain)


METHODS = {
    "primal-dual": {}, "primal-dual-gradient": {"relaxation": 0.9}, "ula": {}, "mala": {"burn_in": 2}, "baoab": {},
    "tamed": {"step_size": np.linspace(1e-3, 2e-3, 70)[None]},
}  # fmt: skip
PENALTIES = {"isotropic": {}, "along axes": {"isotropic": False}}


@pytest.mark.parametrize(
    ("method", "penalty", "dtype"),
    thorough_but(
        [("tamed", "along axes", "float32")],
        [
            (method, penalty, ("float32", "float64")[(i + j) % 2])
            for i, method in enumerate(METHODS)
            for j, penalty in enumerate(PENALTIES)
        ],
    ),
)
def test_images_have_the_bits_of_straight_code(straight, method, penalty, dtype):
    target = image((3, 3), **PENALTIES[penalty])
    how = {"step_size": 1e-3, "n_steps": 6, "n_chains": 70, "seed": 3, "dtype": dtype, **METHODS[method]}
    looped, plain = both(straight, lambda: sf.langevin(target, method=method, **how)._final_rows())
    assert np.array_equal(looped, plain)


IMAGES = list(zip(PENALTIES, ("float64", "float32"), strict=True))


@pytest.mark.thorough
@pytest.mark.parametrize(("name", "dtype"), IMAGES)
def test_an_image_against_numpy(name, dtype):
    """The primal-dual step on 9 x 8 pixels, whole images at once, on the same noise."""
    shape, n, h, ratio, weight, n_steps = (9, 8), 40, 2e-3, 100.0, 3.0, 25
    target = image(shape, weight, **PENALTIES[name])
    chains = sf.langevin(
        target,
        method="primal-dual",
        step_size=h,
        n_steps=n_steps,
        n_chains=n,
        seed=7,
        dtype=dtype,
        x0=target.smooth.mean,
    )
    assert networks.loops_of(chains.settings.stepping.step) is not None
    d = shape[0] * shape[1]
    z = sf.noise.normals(7, n_steps * d, n, dtype=dtype).astype(float).reshape(n_steps, *shape, n)
    seen = target.smooth.mean.reshape(*shape, 1)
    precision = 1 / np.diag(target.smooth.covariance).reshape(*shape, 1)
    x, u = np.broadcast_to(seen, (*shape, n)), np.zeros((2, *shape, n))
    ahead = u
    for k in range(n_steps):
        pull = -ahead[0] - ahead[1]
        pull[:, 1:] += ahead[0][:, :-1]
        pull[1:] += ahead[1][:-1]
        inside = x - h * pull + (2 * h) ** 0.5 * z[k]
        new = (inside + h * precision * seen) / (1 + h * precision)
        y, slope = 2 * new - x, np.zeros_like(u)
        slope[0][:, :-1], slope[1][:-1] = np.diff(y, axis=1), np.diff(y, axis=0)
        v = u + ratio * h * slope
        size = np.sqrt((v**2).sum(axis=0)) if name == "isotropic" else np.abs(v)
        old, u, x = u, v / np.maximum(size / weight, 1), new
        ahead = old + 1.0 * (u - old)
    close = 1e-11 if dtype == "float64" else 2e-4
    np.testing.assert_allclose(chains.x[0].T.reshape(*shape, n), x, rtol=0, atol=close)


@pytest.mark.parametrize("method", thorough_but(["ula"], ["primal-dual", "ula"]))
def test_larger_images_take_no_more_code(method):
    steps = [Chain(image(shape), method).step for shape in ((12, 14), (16, 18))]
    sizes = [emit.n_written(step) for step in steps]
    assert sizes[0] == sizes[1] < 200
    assert abs(len(emit.stepper_source(steps[1])) / len(emit.stepper_source(steps[0])) - 1) < 0.05


@pytest.mark.thorough
def test_a_user_s_stencil():
    """The score of a blurred image, whose residuals nine pixels share."""
    rows, columns = 11, 10
    blurred = np.random.default_rng(0).normal(size=rows * columns)

    def around(values, k):
        i, j = divmod(k, columns)
        near = [(i + a, j + b) for a in (-1, 0, 1) for b in (-1, 0, 1)]
        return sum(values[a * columns + b] for a, b in near if 0 <= a < rows and 0 <= b < columns) / 9

    def score(x, p):
        rest = [p[k] - around(x, k) for k in range(rows * columns)]
        return [around(rest, k) / 0.1**2 for k in range(rows * columns)]

    seen = {f"y{k}": float(v) for k, v in enumerate(blurred)}
    target = sf.targets.Target(score=score, dim=rows * columns, params=seen)
    chains = sf.langevin(target, step_size=1e-3, n_steps=2, n_chains=3, seed=1)
    assert networks.loops_of(chains.settings.stepping.step) is not None
    line = [np.abs(np.subtract.outer(np.arange(n), np.arange(n))) <= 1 for n in (rows, columns)]
    blur = np.kron(*line) / 9
    z = sf.noise.normals(1, 2 * rows * columns, 3).reshape(2, rows * columns, 3)
    x = np.zeros((rows * columns, 3))
    for k in range(2):
        x = x + 1e-3 * blur.T @ (blurred[:, None] - blur @ x) / 0.1**2 + math.sqrt(2e-3) * z[k]
    np.testing.assert_allclose(chains.x[0].T, x, rtol=0, atol=1e-12)


@given(st.sets(st.integers(0, 60), min_size=1))
def test_nests_are_the_rows(places):
    rows = sorted(places)
    found = [i for nest in alike.nests(rows) for i in rows_of(nest)]
    assert sorted(found) == rows


def rows_of(nest):
    return [
        first + k
        for first in range(nest.begin, nest.begin + nest.stride * nest.times, nest.stride)
        for k in range(nest.length)
    ]


def test_a_grid_is_one_nest():
    rows = [28 * i + j for i in range(1, 27) for j in range(1, 27)]
    assert list(alike.nests(rows)) == [alike.Nest(29, 26, 28, 26)]
    assert list(alike.nests([3, 10, 17])) == [alike.Nest(3, 1, 7, 3)]
    assert list(alike.nests([3])) == [alike.Nest(3, 1, 1, 1)]
