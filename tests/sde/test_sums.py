"""Compiled sums over the rows of tables: what numpy computes on the same noise; the same bits however they are run."""

import itertools
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
from conftest import in_both_types, thorough_but
from sde.summing import RANDOM, everything, many_components, regression

import sdefast as sf
from sdefast.jit import rows
from sdefast.jit.compile import Program, _compile
from sdefast.jit.emit import observer_source, stepper_source
from sdefast.jit.sums import sums_in
from sdefast.sde import settings as sde_settings
from sdefast.sde.extras import Extras
from sdefast.trace import symbol, trace

# Python 3.12 and later warn of every fork of a process with threads.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

m = sf.math
EPS = {"float32": 2.0**-23, "float64": 2.0**-52}


def gradient(X, y, x):
    return X.T @ (y[:, None] / (1 + np.exp(y[:, None] * (X @ x)))) - x


REGRESSIONS = [
    *itertools.product([(1, 1), (2, 3), (4, 4), (7, 5)], ["euler-maruyama", "heun"], ["float32", "float64"]),
    ((5, 31), "euler-maruyama", "float64"), ((50, 31), "euler-maruyama", "float32"),
]  # fmt: skip
SOME_REGRESSIONS = [
    ((1, 1), "euler-maruyama", "float32"), ((2, 3), "heun", "float64"), ((5, 31), "euler-maruyama", "float64"),
]  # fmt: skip


@pytest.mark.parametrize(("shape", "method", "dtype"), thorough_but(SOME_REGRESSIONS, REGRESSIONS))
def test_langevin_of_a_regression(shape, method, dtype):
    n, d = shape
    X, y, log_density, sde = regression(n, d)
    h, n_steps = 0.02, 3
    run = sf.simulate(
        sde, x0=np.full(d, 0.1), t1=h * n_steps, n_steps=n_steps, n_paths=90, seed=4, method=method, dtype=dtype,
        expectations={"density": lambda t, x: log_density(x)},
    )  # fmt: skip
    z = sf.noise.normals(4, n_steps * d, 90, dtype=dtype).astype(float).reshape(n_steps, d, 90)
    x = np.full((d, 90), 0.1)
    for k in range(n_steps):
        noise = (2 * h) ** 0.5 * z[k]
        slope = gradient(X, y, x)
        if method == "heun":
            slope = (slope + gradient(X, y, x + h * slope + noise)) / 2
        x = x + h * slope + noise
    np.testing.assert_allclose(run.x[-1].T, x, rtol=0, atol=100 * n * EPS[dtype])
    density = -0.5 * (x**2).sum(0) - np.logaddexp(0, -y[:, None] * (X @ x)).sum(0)
    np.testing.assert_allclose(run.expectations["density"].value, density.mean(), rtol=100 * n * EPS[dtype])


@pytest.mark.parametrize(("n", "dtype"), in_both_types([1, 2, 3, 4, 7, 102]))
def test_the_order_of_a_sum(n, dtype):
    """Four rows at once, (t0 + t1) + (t2 + t3), then one by one: exactly so, in the type of the state."""
    data = RANDOM.normal(size=n)
    sde = sf.SDE(lambda t, x, p: 0.0, lambda t, x, p: 0.5)
    run = sf.simulate(
        sde, x0=0.0, t1=1.0, n_steps=1, n_paths=1, seed=1, dtype=dtype,
        expectations={"f": lambda t, x: m.sum(lambda y: m.abs(y - x[0]), data)},
    )  # fmt: skip
    terms = np.abs(data.astype(dtype) - run.x[-1, 0, 0])
    total, whole = np.zeros((), dtype), n // 4 * 4
    for t in terms[:whole].reshape(-1, 4):
        total = total + ((t[0] + t[1]) + (t[2] + t[3]))
    for t in terms[whole:]:
        total = total + t
    assert total.dtype == dtype
    assert run.expectations["f"].value[-1] == float(total)


@pytest.mark.parametrize("dtype", thorough_but(["float32"], ["float32", "float64"]))
def test_sums_of_sums(dtype):
    X, _, sde, in_numpy = everything()
    run = sf.simulate(
        sde, x0=(0.5, -0.5), t0=0.5, t1=1.0, n_steps=5, n_paths=70, seed=9, dtype=dtype, save_at="all",
        functionals={"f": sf.functionals.time_average(lambda t, x: m.sum(lambda r: m.abs(r[0] - x[0]), X))},
    )  # fmt: skip
    z = sf.noise.normals(9, 10, 70, dtype=dtype).astype(float).reshape(5, 2, 70)
    x, h = np.tile([[0.5], [-0.5]], 70), 0.1
    average, before = np.abs(X[:, 0, None] - x[0]).sum(0), np.abs(X[:, 0, None] - x[0]).sum(0)
    for k in range(5):
        x = x + h * in_numpy(0.5 + h * k, x, 0.7) + h**0.5 * np.array([[0.3], [0.2]]) * z[k]
        now = np.abs(X[:, 0, None] - x[0]).sum(0)
        average, before = average + (0.5 * (before + now) - average) / (k + 1), now
    np.testing.assert_allclose(run.x[-1].T, x, atol=300 * EPS[dtype])
    np.testing.assert_allclose(run.functionals["f"].values[-1], average, rtol=300 * EPS[dtype])


def test_the_same_bits_however_it_is_run():
    X, _, sde, _ = everything()
    settings = {
        "x0": (0.5, -0.5), "t1": 1.0, "n_steps": 7, "seed": 3, "dtype": "float32", "method": "weak-euler",
        "expectations": {"f": lambda t, x: m.sum(lambda r: m.sqrt(r[0] ** 2 + x[0] ** 2), X)},
    }  # fmt: skip
    whole = sf.simulate(sde, n_paths=9000, threads=1, **settings)
    threads = sf.simulate(sde, n_paths=9000, threads=3, **settings)
    assert whole.x.tobytes() == threads.x.tobytes()
    with ProcessPoolExecutor(1) as pool:
        other = sf.simulate(sde, n_paths=9000, executor=pool, **settings)
    assert whole.x.tobytes() == other.x.tobytes()
    assert whole.expectations["f"].value.tobytes() == other.expectations["f"].value.tobytes()
    one = sf.simulate(sde, n_paths=1, first_chain=4200, **settings)
    assert one.x[-1, 0].tobytes() == whole.x[-1, 4200].tobytes()


@pytest.mark.parametrize("dtype", thorough_but(["float32"], ["float32", "float64"]))
def test_bits_do_not_depend_on_the_length_of_vectors(dtype, monkeypatch, tmp_path):
    _, _, _, sde = regression(21, 6)

    def run(folder, address):
        monkeypatch.setenv("SDEFAST_CACHE_DIR", str(tmp_path / folder))
        monkeypatch.setattr(Program, "address", address)
        return sf.simulate(sde, x0=np.zeros(6), t1=1.0, n_steps=9, n_paths=100, seed=5, dtype=dtype).x.tobytes()

    kept = []

    def compiled_anew(self):
        kept.append(_compile(self))
        return kept[-1].address

    expected = run("long", Program.address)
    monkeypatch.setattr(rows, "_BYTES", 16)
    assert run("short", compiled_anew) == expected
    assert len(kept) >= 1


def test_changed_data_are_seen():
    data = np.ones((3, 2))
    f = {"f": lambda t, x: m.sum(lambda r: r[0] * x[0], data)}
    settings = {"x0": 2.0, "t1": 1.0, "n_steps": 1, "n_paths": 1, "seed": 1, "expectations": f, "save_at": [0.0]}
    assert sf.simulate(sf.BrownianMotion(), **settings).expectations["f"].value == 6.0
    data[1, 0] = 5.0
    assert sf.simulate(sf.BrownianMotion(), **settings).expectations["f"].value == 14.0


def test_data_of_one_shape_share_a_kernel():
    def source(data):
        return observer_source((trace(lambda x: m.sum(lambda r: m.exp(r[0] * x), data), symbol("x0")),), (), 1)

    assert source(RANDOM.normal(size=(9, 2))) == source(RANDOM.normal(size=(9, 2)))
    assert "row_loop_" in source(np.ones((9, 2)))


def test_many_components():
    """Rows that are alike are loops in the source; those that read their neighbours are not."""
    X, sde = many_components()
    d = 12
    x = RANDOM.normal(size=d)
    run = sf.simulate(sde, x0=x, t1=0.2, n_steps=2, n_paths=80, seed=6)
    z = sf.noise.normals(6, 2 * d, 80).reshape(2, d, 80)
    x = np.tile(x[:, None], 80)
    for k in range(2):
        f = (np.tanh(X[:, 2:] @ x[2:]) * (X[:, :10] @ x[:10])).sum(0)
        last = [x[i - 1] - x[i] + np.sin(X[:, i, None] * x[0]).sum(0) for i in range(9, d)]
        x = x + 0.1 * np.concatenate([-0.3 * x[:9] + 0.1 * f, last]) + 0.1**0.5 * 0.1 * (1 + x * x) * z[k]
    np.testing.assert_allclose(run.x[-1].T, x, rtol=0, atol=1e-13)
    source = sde_settings.compiled_chain(sde, "euler-maruyama", Extras()).source
    assert "for i in range(10, 20):" in source  # the second inner product's numbers, stored behind the first's
    assert "x__m8 = x[(i + -8) * 256 + l]" in source


def test_sums_over_one_table_share_a_loop():
    X, y, _, sde = regression(40, 6)
    step = sde_settings.compiled_chain(sde, "euler-maruyama", Extras()).step
    plan = sums_in(step.outputs)
    (turn,) = plan.turns
    (loop,) = turn.loops
    assert loop.n_columns == 7
    assert [n for _, n, _ in loop.products] == [6]
    assert [n for _, _, n, _ in loop.families] == [6]
    assert not loop.sums
    assert len(stepper_source(step)) < 6000  # whatever the number of rows
    np.testing.assert_array_equal(plan.values().reshape(40, 7), np.column_stack([X, y]))


@pytest.mark.thorough
def test_antithetic_pairs_and_multilevel():
    data = RANDOM.normal(size=5)
    sde = sf.SDE(lambda t, x, p: -0.2 * m.sum(lambda r: m.tanh(x[0] - r), data), lambda t, x, p: 0.4)
    plain = sf.simulate(sde, x0=0.3, t1=1.0, n_steps=8, n_paths=20_000, seed=2)
    pairs = sf.simulate(sde, x0=0.3, t1=1.0, n_steps=8, n_paths=20_000, seed=2, antithetic=True)
    assert np.array_equal(plain.x[-1, :10_000], pairs.x[-1, :10_000])
    result = sf.multilevel(sde, lambda t, x: m.sum(lambda r: (x[0] - r) ** 2, data), x0=0.3, t1=1.0, accuracy=0.02)
    fine = sf.simulate(
        sde, x0=0.3, t1=1.0, n_steps=64, n_paths=25_000, seed=3, paths=False,
        expectations={"f": lambda t, x: m.sum(lambda r: (x[0] - r) ** 2, data)},
    ).expectations["f"]  # fmt: skip
    z = (result.value - fine.value[-1]) / np.hypot(0.02, fine.standard_error[-1])
    assert abs(z) < 4


def test_saved_runs_go_on(tmp_path):
    """Expressions with sums are written with their tables."""
    X, _, sde, _ = everything()
    settings = {"n_steps": 3, "expectations": {"f": lambda t, x: m.sum(lambda r: m.abs(r[0] - x[0]), X)}}
    run = sf.simulate(sde, x0=(0.5, -0.5), t1=1.0, n_paths=20, seed=2, dtype="float32", **settings)
    run.save(tmp_path / "run")
    (file,) = tmp_path.iterdir()
    loaded = sf.load(file)
    assert loaded.expectations["f"].value.tobytes() == run.expectations["f"].value.tobytes()
    rest, again = (
        sf.simulate(model, resume=begun, **settings) for model, begun in ((sde, run), (loaded.settings.model, loaded))
    )
    assert rest.x.tobytes() == again.x.tobytes()


def test_a_parameter_is_no_row():
    """One that is called m1 was once taken for the row before."""
    data = RANDOM.normal(size=(20, 12))
    sde = sf.SDE(
        lambda t, x, p: [-p.m1 * x[i] + m.sum(lambda r, i=i: r[i] * m.dot(r, x), data) for i in range(12)],
        lambda t, x, p: [0.0] * 12, dim=12, params={"m1": 2.0},
    )  # fmt: skip
    x0 = np.linspace(-1, 1, 12)
    run = sf.simulate(sde, x0=x0, t1=0.1, n_steps=1, n_paths=2, seed=1)
    np.testing.assert_allclose(run.x[0, 0], x0 + 0.1 * (data.T @ (data @ x0) - 2 * x0), rtol=1e-12)
