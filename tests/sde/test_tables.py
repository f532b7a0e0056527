"""Coefficients in tables: what numpy computes on the same noise, on the CPU and in the simulator of a GPU."""

import numpy as np
import pytest

import sdefast as sf
from sdefast.trace import TraceError

RNG = np.random.default_rng(4)
DAYS, RATES = np.arange(366.0), RNG.normal(0.0, 0.01, 366)
UNEVEN = np.sort(RNG.uniform(0.0, 365.0, 366))
LEVELS, VALUES = np.array([-1.0, 0.25, 0.5, 2.0]), np.array([0.5, -1.0, 2.0, 1.0])


def seasonal(knots, values):
    return sf.SDE(drift=lambda t, x, p: np.interp(t, knots, values) * x[0], diffusion=lambda t, x, p: p.s * x[0],
                  params={"s": 0.01})  # fmt: skip


@pytest.mark.parametrize(("knots", "dtype"), [(DAYS, "float32"), (UNEVEN, "float64")], ids=["days", "uneven"])
def test_a_rate_of_every_day(knots, dtype):
    """Far from 0, where float32 knows no hours: the table is read in float64."""
    start, n = 2.0**17, 730
    run = sf.simulate(
        seasonal(knots + start, RATES), x0=1.0, t0=start, t1=start + 365, n_steps=n, n_paths=5, seed=3, dtype=dtype
    )
    z = sf.noise.normals(3, n, 5, dtype=dtype).astype(float)
    x = np.ones(5)
    for k in range(n):
        x = x + 0.5 * np.interp(0.5 * k, knots, RATES) * x + 0.01 * 0.5**0.5 * x * z[k]
    np.testing.assert_allclose(run.x[0, :, 0], x, rtol=1e-11 if dtype == "float64" else 2e-5)


def everything(t, x, p):
    y = x[0]
    smooth = np.interp(y, LEVELS, VALUES) + np.interp(3 * y, DAYS[:4], RATES[:4], left=-1.0, right=2.0)
    steps = VALUES[np.searchsorted(LEVELS, y, side="right") - 1] + VALUES[np.digitize(t, LEVELS[:3])]
    return (smooth + steps + VALUES[int(2 * y)], np.round(3 * y) + np.hypot(y, t) + np.arctan2(y, x[1]))


def in_numpy(t, y, other):
    smooth = np.interp(y, LEVELS, VALUES) + np.interp(3 * y, DAYS[:4], RATES[:4], left=-1.0, right=2.0)
    below = np.clip(np.searchsorted(LEVELS, y, side="right") - 1, 0, 3)
    steps = VALUES[below] + VALUES[np.digitize(t, LEVELS[:3])]
    first = smooth + steps + VALUES[np.clip((2 * y).astype(int), 0, 3)]
    return first, np.round(3 * y) + np.hypot(y, t) + np.arctan2(y, other)


MODEL = sf.SDE(drift=everything, diffusion=lambda t, x, p: (0.5, 0.5), dim=2)
OBSERVED = {"interpolated": lambda t, x: np.interp(x[0], LEVELS, VALUES), "stepwise": lambda t, x: VALUES[int(t)]}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_lookups_by_state(dtype):
    """The neighbours of knots, also in what is observed; the pieces that a path takes are those of numpy."""
    n, h = 64, 0.25
    x0 = np.stack([np.linspace(-2.0, 3.0, n), np.linspace(-1.0, 1.0, n)], axis=1).astype("float32")
    run = sf.simulate(
        MODEL, x0=x0, t1=4 * h, n_steps=4, n_paths=n, seed=8, save_at="all", expectations=OBSERVED, dtype=dtype,
        noise_dtype="float32",
    )  # fmt: skip
    z = sf.noise.normals(8, 8, n, dtype="float32").astype(float).reshape(4, 2, n)
    close = 1e-13 if dtype == "float64" else 3e-6
    for k in range(4):
        y, other = np.array(run.x[k].T, float)
        a, b = in_numpy(k * h, y, other)
        np.testing.assert_allclose(run.x[k + 1, :, 0], y + h * a + 0.25 * z[k, 0], rtol=0, atol=close)
        np.testing.assert_allclose(run.x[k + 1, :, 1], other + h * b + 0.25 * z[k, 1], rtol=0, atol=close)
        have = run.expectations["interpolated"].value[k]
        assert have == pytest.approx(np.interp(y, LEVELS, VALUES).mean(), rel=10 * close)
    assert run.expectations["stepwise"].value[[0, 4]] == pytest.approx([0.5, -1.0])


def test_the_tables_sum_and_no_kernel_for_other_numbers(monkeypatch):
    from sdefast.jit import compile as jit_compile

    def end(values, seed=1):
        sde = sf.SDE(drift=lambda t, x, p: np.interp(t, DAYS, values), diffusion=lambda t, x, p: 0.0)
        return sf.simulate(sde, x0=0.0, t1=366.0, n_steps=366, n_paths=1, seed=seed).x[0, 0, 0]

    assert end(RATES) == pytest.approx(RATES.sum(), rel=1e-13)

    def refused(*args):
        raise AssertionError("compiled again")

    monkeypatch.setattr(jit_compile, "_compile", refused)
    assert end(2 * RATES) == pytest.approx(2 * RATES.sum(), rel=1e-13)


def test_same_bits_however_it_runs(tmp_path):
    """Threads, shards, a run in two parts, a run that was saved."""
    model, settings = seasonal(UNEVEN, RATES), {"x0": 1.0, "seed": 2, "n_paths": 9000}
    whole = sf.simulate(model, t1=20.0, n_steps=20, threads=2, **settings)
    half = sf.simulate(model, t1=10.0, n_steps=10, threads=1, **settings)
    half.save(tmp_path / "half.npz")
    rest = sf.simulate(model, resume=half, n_steps=10)
    again = sf.simulate(sf.load(tmp_path / "half.npz").model, resume=sf.load(tmp_path / "half.npz"), n_steps=10)
    one = sf.simulate(model, t1=20.0, n_steps=20, **{**settings, "n_paths": 1, "first_chain": 8999})
    for other in (rest, again):
        np.testing.assert_array_equal(other.x, whole.x)
    np.testing.assert_array_equal(one.x[0, 0], whole.x[0, 8999])


@pytest.mark.parametrize(
    ("drift", "message"),
    [
        (lambda t, x, p: np.interp(t, [0.0, 2.0, 1.0], p.v), "xp, the knots of numpy.interp, must increase, got 2 and "
         "then 1 in row 2"),
        (lambda t, x, p: np.interp(t, p.falling, p.v), r"params\['falling'\], xp, .* in row 1"),
        (lambda t, x, p: np.interp(t, [0.0, 1.0], [1.0, np.inf]), "fp of numpy.interp must be finite, got inf in row"),
        (lambda t, x, p: np.interp(t, [0.0, 1.0], p.v), "got 2 knots and 3 values: from row 2 on"),
        (lambda t, x, p: np.interp(t, [0.0, 1.0], np.ones((2, 2))), "must be of one dimension"),
        (lambda t, x, p: float(np.searchsorted(p.falling, t)), r"params\['falling'\], the knots of numpy"),
    ],
)  # fmt: skip
def test_bad_tables(drift, message):
    """Errors of values, though they come out of a function that is compiled: its line is told too."""
    params = {"v": [1.0, 2.0, 3.0], "falling": [3.0, 2.0, 1.0]}
    with pytest.raises(ValueError, match=message) as caught:
        sf.SDE(drift=drift, diffusion=lambda t, x, p: 0.0, params=params)
    assert isinstance(caught.value, TraceError)
    assert "test_tables.py, line" in str(caught.value)


def test_a_table_of_every_paths_own_is_one_long_table():
    own = np.arange(12.0).reshape(4, 3) ** 2
    model = sf.SDE(
        drift=lambda t, x, p: p.table[p.first + t],
        diffusion=lambda t, x, p: 0.0,
        params={"table": own.ravel(), "first": 3.0 * np.arange(4)},
    )
    run = sf.simulate(model, x0=0.0, t1=3.0, n_steps=3, n_paths=4)
    np.testing.assert_allclose(run.x[0, :, 0], own.sum(1), rtol=1e-14)
    with pytest.raises(ValueError, match=r"got shape \(4, 3\): a table of every path's own is one long table"):
        sf.SDE(drift=lambda t, x, p: p.table[t], diffusion=lambda t, x, p: 0.0, params={"table": own})


def test_beside_sums_over_rows():
    """Lookups outside of a sum, and of a row alone; not of both."""
    rows, h, x = RNG.normal(size=(9, 2)), 0.25, 0.3

    def term(r, y, p):
        return r[0] * sf.math.tanh(y * r[1]) + p.k[1] * y * np.interp(r[1], LEVELS, VALUES)

    def drift(t, x, p):
        return np.interp(x[0], LEVELS, VALUES) - sf.math.sum(lambda r: term(r, x[0], p), rows)

    model = sf.SDE(drift=drift, diffusion=lambda t, x, p: 0.0, params={"k": [1.0, 0.5]})
    run = sf.simulate(model, x0=x, t1=0.5, n_steps=2, n_paths=3, seed=1)
    for _ in range(2):
        of_rows = rows[:, 0] * np.tanh(x * rows[:, 1]) + 0.5 * x * np.interp(rows[:, 1], LEVELS, VALUES)
        x = x + h * (np.interp(x, LEVELS, VALUES) - of_rows.sum())
    np.testing.assert_allclose(run.x[0, :, 0], x, rtol=1e-13)
    with pytest.raises(TraceError, match="must depend on the row alone, or not at all"):
        sf.SDE(
            drift=lambda t, x, p: sf.math.sum(lambda r: np.interp(r[0] * x[0], LEVELS, VALUES), rows),
            diffusion=lambda t, x, p: 0.0,
        )
