"""Correlated Brownian motions, many components, and steps by their size."""

import pickle

import numpy as np
import pytest

import sdefast as sf

C = np.array([[1.0, 0.5, -0.2], [0.5, 1.0, 0.0], [-0.2, 0.0, 1.0]])


def three(correlation, **other):
    return sf.SDE(drift=lambda t, x, p: (0.0, 0.0, 0.0), diffusion=lambda t, x, p: (1.0, p.s, x[2]), dim=3,
                  params={"s": 2.0}, correlation=correlation, **other)  # fmt: skip


@pytest.mark.parametrize("correlation", [C, np.ones((3, 3))], ids=["C", "all one"])
def test_correlations(correlation, tmp_path):
    """X = B L z on the same normals: the increments have covariance b_i b_j C_ij h; of all one there is one noise."""
    model, n = three(correlation), 20_000
    settings = {"x0": (0.0, 0.0, 1.0), "t1": 0.25, "n_steps": 1, "n_paths": n, "seed": 2}
    run = sf.simulate(model, covariance=True, **settings)
    z = sf.noise.normals(2, 3, n)
    root = np.linalg.cholesky(C) if correlation is C else np.array([[1.0, 0, 0]] * 3)
    move = np.array([1.0, 2.0, 1.0])[:, None] * (root @ z) * 0.5
    np.testing.assert_allclose(run.x[0].T, move + np.array([[0], [0], [1]]), rtol=0, atol=1e-14)
    exact = 0.25 * np.outer([1, 2, 1], [1, 2, 1]) * correlation
    assert (abs(run.covariance[0] - exact) < 5 * 0.25 * np.outer([1, 2, 1], [1, 2, 1]) * (2 / n) ** 0.5).all()
    run.save(tmp_path / "run.npz")
    for again in (sf.load(tmp_path / "run.npz").model, pickle.loads(pickle.dumps(model))):
        assert again == model
        np.testing.assert_array_equal(sf.simulate(again, **settings).x, run.x)
    assert model.with_parameters({"s": 3.0}) != model


def test_other_correlations_run_the_same_code(monkeypatch):
    from sdefast.jit import compile as jit_compile

    settings = {"x0": (0.0, 0.0, 1.0), "t1": 0.25, "n_steps": 1, "n_paths": 4, "seed": 2}
    sf.simulate(three(C), **settings)

    def refused(*args):
        raise AssertionError("compiled again")

    monkeypatch.setattr(jit_compile, "_compile", refused)
    sf.simulate(three(0.5 * C + 0.5 * np.eye(3)), **settings)


@pytest.mark.parametrize(
    ("correlation", "other", "message"),
    [
        (np.eye(2), {}, r"correlation must have shape \(3, 3\), got \(2, 2\)"),
        (np.triu(np.ones((3, 3))), {}, "correlation must be symmetric with ones on its diagonal"),
        (2 * np.eye(3), {}, "correlation must be symmetric with ones on its diagonal"),
        (1.0 - 1.9 * (1 - np.eye(3)), {}, "correlation must be positive semidefinite"),
        (C, {"noise": "scalar"}, "correlation is for noise='diagonal', got noise='scalar'"),
    ],
)
def test_correlations_that_are_refused(correlation, other, message):
    with pytest.raises(ValueError, match=message):
        three(correlation, **other)


def test_a_hundred_oscillators():
    """Two hundred components in narrow rows, against numpy on the same noise."""
    n, h = 100, 0.05

    def drift(t, x, p):
        q, v = x[:n], x[n:]
        pull = [p.k * (q[(i + 1) % n] - 2 * q[i] + q[i - 1]) - v[i] for i in range(n)]
        return (*v, *pull)

    model = sf.SDE(drift=drift, diffusion=lambda t, x, p: (0.0,) * n + (p.s,) * n, dim=2 * n,
                   params={"k": 1.5, "s": 0.3})  # fmt: skip
    start = np.cos(np.arange(2 * n))
    run = sf.simulate(model, x0=start, t1=4 * h, n_steps=4, n_paths=50, seed=6)
    z = sf.noise.normals(6, 4 * n, 50).reshape(4, n, 50)
    q, v = (np.repeat(part[:, None], 50, axis=1) for part in (start[:n], start[n:]))
    for k in range(4):
        pull = 1.5 * (np.roll(q, -1, 0) - 2 * q + np.roll(q, 1, 0)) - v
        q, v = q + h * v, v + h * pull + 0.3 * h**0.5 * z[k]
    np.testing.assert_allclose(run.x[0].T, np.concatenate([q, v]), rtol=0, atol=1e-13)


def test_a_linear_sde_of_many_components():
    n, h = 100, 0.1
    A = -np.eye(n) + 0.1 * np.eye(n, k=1)
    run = sf.simulate(sf.LinearSDE(A=A, b=np.ones(n), B=0.2 * np.eye(n)), x0=np.zeros(n), t1=3 * h, n_steps=3,
                      n_paths=20, seed=6)  # fmt: skip
    x = np.zeros((n, 20))
    for z in sf.noise.normals(6, 3 * n, 20).reshape(3, n, 20):
        x = x + h * (A @ x + 1) + 0.2 * h**0.5 * z
    np.testing.assert_allclose(run.x[0].T, x, rtol=0, atol=1e-13)


def test_steps_by_their_size():
    settings = {"x0": 1.0, "n_paths": 4, "seed": 1}
    ou = sf.OrnsteinUhlenbeck()
    by_size = sf.simulate(ou, t0=0.2, t1=1.0, dt=0.1, **settings)
    np.testing.assert_array_equal(by_size.x, sf.simulate(ou, t0=0.2, t1=1.0, n_steps=8, **settings).x)
    with pytest.raises(
        ValueError, match=r"dt must divide the time interval of 1 .* got 0.3; the nearest are 0.33.* 0.25"
    ):
        sf.simulate(ou, t1=1.0, dt=0.3, **settings)
    for bad in (2.0, -0.1, 0.0):
        with pytest.raises(ValueError, match="dt must"):
            sf.simulate(ou, t1=1.0, dt=bad, **settings)
    for extra in ({"n_steps": 10}, {"times": [0, 1]}, {"resume": by_size}):
        with pytest.raises(TypeError, match=f"leave out {next(iter(extra))}"):
            sf.simulate(ou, t1=1.0, dt=0.1, **extra)
