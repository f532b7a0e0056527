"""Chains of many rows: compiled steps and the linear step run in narrow rows, against plain numpy on the same noise."""

from itertools import product

import numpy as np
import pytest
from conftest import thorough_but
from engine.test_feeds import tile

import sdefast as sf
from sdefast import _core, noise
from sdefast.engine.running import run_tile
from sdefast.engine.statistics import Layout
from sdefast.engine.tiles import Draws, Gathered
from sdefast.jit.compile import Program
from sdefast.jit.emit import Step, stepper_source
from sdefast.run import step as run_step
from sdefast.trace import as_expr, symbol

N, PATHS, STEPS, H = 66, 300, 20, 0.01
START = np.linspace(-1.0, 1.0, N)


def coupled(n=N):
    """A ring of nodes with cubic damping, under noise of their own."""

    def drift(t, x, p):
        return tuple(p.k * (x[(i + 1) % n] - 2 * x[i] + x[i - 1]) - x[i] ** 3 for i in range(n))

    return sf.SDE(drift, lambda t, x, p: (p.s,) * n, dim=n, noise="diagonal", params={"k": 2.0, "s": 0.5})


RING = coupled()


def ring(z, start=START, h=H):
    """Its states by Euler-Maruyama, (n_steps + 1, n, n_chains)."""
    x = [np.repeat(start[:, None], z.shape[-1], axis=1)]
    for dz in z:
        old = x[-1]
        drift = 2.0 * (np.roll(old, -1, axis=0) - 2 * old + np.roll(old, 1, axis=0)) - old**3
        x.append(old + h * drift + 0.5 * np.sqrt(h) * dz)
    return np.array(x)


def simulate(model, start=START, **options):
    defaults = {"t1": STEPS * H, "n_steps": STEPS, "n_paths": PATHS, "seed": 4, "save_at": "all", "covariance": True}
    return sf.simulate(model, x0=start, **{**defaults, **options})


def normals(dtype, n=N):
    return noise.normals(4, STEPS * n, PATHS, dtype=dtype).astype(float).reshape(STEPS, n, PATHS)


@pytest.mark.parametrize(
    ("dtype", "noise_dtype", "tolerance"),
    thorough_but(
        [("float64", "float32", 1e-12)],
        [("float64", "float64", 1e-12), ("float64", "float32", 1e-12), ("float32", "float32", 1e-5)],
    ),
)
def test_a_network_of_seventy_nodes(dtype, noise_dtype, tolerance):
    run = simulate(RING, dtype=dtype, noise_dtype=noise_dtype, expectations={"sum": lambda t, x: sum(x) + t})
    x = ring(normals(noise_dtype))
    np.testing.assert_allclose(run.x.transpose(0, 2, 1), x, rtol=0, atol=tolerance)
    np.testing.assert_allclose(run.mean, x.mean(axis=2), rtol=0, atol=tolerance)
    np.testing.assert_allclose(run.covariance[-1], np.cov(x[-1]), rtol=0, atol=10 * tolerance)
    total = x.sum(axis=1).mean(axis=1) + run.t
    np.testing.assert_allclose(run.expectations["sum"].value, total, rtol=0, atol=100 * tolerance)


def test_its_bits_do_not_depend_on_how_it_is_run():
    whole = simulate(RING, noise_dtype="float32", n_paths=4096 + 100, threads=1)
    parts = simulate(RING, noise_dtype="float32", n_paths=4096 + 100, n_steps=STEPS, threads=2)
    alone = simulate(RING, noise_dtype="float32", n_paths=1, first_chain=4100)
    assert whole.x.tobytes() == parts.x.tobytes()
    assert whole.mean.tobytes() == parts.mean.tobytes()
    assert alone.x.tobytes() == whole.x[:, 4100:4101].tobytes()


def test_signs_in_narrow_rows():
    """Random bits in place of normals: sign n is bit n % 32 of word n / 32 of stream 2."""
    n = 65
    outputs = tuple(as_expr(symbol(f"x{i}") + symbol(f"z{i}")) for i in range(n))
    step = Step(outputs, (), (), n, signs=True)
    assert step.layout == "narrow"
    run = tile(
        "narrow", False, data=None, kernel=Program("stepper", stepper_source(step), "float64", "uint32", step.layout),
        coefficients=np.zeros((1, 5)), draws=Draws(n, signs=True), start=np.zeros((n, 1)),
        gathered=(Gathered(Layout(n, 2, False, False)),),
    )  # fmt: skip
    words = noise.words(run.seed, -(-n * run.n_steps // 32), run.n_chains, stream=2)
    bits = (words[:, None, :] >> np.arange(32, dtype=np.uint32)[:, None]) & 1
    signs = 2.0 * bits.reshape(-1, run.n_chains)[: n * run.n_steps].reshape(run.n_steps, n, -1) - 1
    np.testing.assert_array_equal(run_tile(run).saved[1:], signs.cumsum(axis=0))


@pytest.mark.parametrize(
    ("d", "dtype", "method"),
    thorough_but(
        [(64, "float32", "exact"), (65, "float32", "euler-maruyama")],
        list(product([64, 65, 130], ["float32", "float64"], ["euler-maruyama", "exact"])),
    ),
)  # fmt: skip
def test_the_linear_step_of_any_dimension(d, dtype, method):
    rng = np.random.default_rng(d)
    model = sf.LinearSDE(
        A=0.3 * rng.standard_normal((d, d)) - 3 * np.eye(d), b=rng.standard_normal(d), B=rng.standard_normal((d, 3))
    )
    start = rng.standard_normal(d)
    run = simulate(
        model, start, dtype=dtype, method=method, covariance=False, expectations={"last": lambda t, x: x[d - 1]}
    )
    kernel, coefficients = model.step(method, np.array([H]))
    assert kernel == ("linear" if d == 64 else "linear_of_many")
    m = model.noise_dim_of(method)
    M, c, L = np.split(coefficients[0], [d * d, d * d + d])
    z = noise.normals(4, STEPS * m, PATHS, dtype=dtype).astype(float).reshape(STEPS, m, PATHS)
    x = [np.repeat(start[:, None], PATHS, axis=1)]
    for dz in z:
        x.append(x[-1] + M.reshape(d, d) @ x[-1] + c[:, None] + L.reshape(d, m) @ dz)
    tolerance = 3e-5 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(run.x.transpose(0, 2, 1), np.array(x), rtol=0, atol=tolerance)
    np.testing.assert_allclose(run.expectations["last"].value, np.mean(x, axis=2)[:, d - 1], rtol=0, atol=tolerance)


@pytest.mark.thorough
def test_antithetic_pairs_of_many_components():
    """Sixty-six rows, and as many groups of statistics for the pairs."""
    n = 33
    run = simulate(coupled(n), START[:n], antithetic=True, covariance=False)
    z = noise.normals(4, STEPS * n, PATHS // 2).reshape(STEPS, n, PATHS // 2)
    first, second = ring(z, START[:n]), ring(-z, START[:n])
    np.testing.assert_allclose(run.mean, (first + second).mean(axis=2) / 2, rtol=0, atol=1e-12)


def test_more_expectations_than_sixty_four():
    asked = {f"e{i}": lambda t, x, i=i: i * x[0] for i in range(70)}
    run = sf.simulate(sf.BrownianMotion(), x0=1.0, t1=1.0, n_steps=3, n_paths=50, seed=1, expectations=asked)
    for i in (0, 1, 69):
        np.testing.assert_allclose(run.expectations[f"e{i}"].value, i * run.mean[:, 0], rtol=1e-13)


# What is refused -----------------------------------------------------------------------------------------------------


def test_more_rows_than_there_may_be():
    with pytest.raises(ValueError, match="dim must be between 1 and 8192, got 8193"):
        coupled(_core.largest_dim + 1)


def test_steps_that_would_take_too_long_to_compile(monkeypatch):
    monkeypatch.setattr(run_step, "_MOST_OPERATIONS", 5)
    with pytest.raises(ValueError, match=r"\d+ operations would take too long to compile; there may be 5"):
        simulate(RING)
