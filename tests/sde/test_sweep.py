"""Sweeps over parameters: every cell is what `simulate` gives for it, with nothing compiled again."""

import numpy as np
import pytest

import sdefast as sf

MODEL = sf.SDE(drift=lambda t, x, p: p.mu * x[0], diffusion=lambda t, x, p: p.s * x[0], params={"mu": 0.1, "s": 0.2})
SHORT = {"x0": 1.0, "t1": 1.0, "n_steps": 8, "n_paths": 5000, "seed": 3, "save_at": [0.5, 1.0]}
MUS, SIGMAS = np.linspace(0.0, 0.4, 6), np.array([0.1, 0.3])
CALL = {"call": lambda t, x, p: max(x[0] - 1 - p.s, 0.0)}


def test_every_cell_is_a_simulation(monkeypatch):
    from sdefast.jit import compile as jit_compile

    functionals = {"peak": sf.functionals.running_max(bridge=False)}
    first = sf.sweep(MODEL, {"mu": [0.0]}, expectations=CALL, functionals=functionals, **SHORT)

    def refused(*args):
        raise AssertionError("compiled again")

    monkeypatch.setattr(jit_compile, "_compile", refused)
    found = sf.sweep(
        MODEL, {"mu": MUS, "s": SIGMAS}, expectations=CALL, functionals=functionals, threads=2, paths=True, **SHORT
    )
    assert first.shape == (1,)
    assert found.shape == (6, 2)
    assert found.mean.shape == found.variance.shape == found.standard_error.shape == (6, 2, 2, 1)
    assert found.x.shape == (6, 2, 2, 5000, 1)
    assert found.n_nonfinite.shape == found.expectations["call"].standard_error.shape == (6, 2, 2)
    for i, j in ((0, 0), (3, 1), (5, 0)):
        model = sf.SDE(drift=MODEL.drift, diffusion=MODEL.diffusion, params={"mu": MUS[i], "s": SIGMAS[j]})
        one = sf.simulate(model, expectations=CALL, functionals=functionals, **SHORT)
        assert found[i, j].model == model
        np.testing.assert_array_equal(found.x[i, j], one.x)
        np.testing.assert_array_equal(found.mean[i, j], one.mean)
        np.testing.assert_array_equal(found.expectations["call"].value[i, j], one.expectations["call"].value)
        np.testing.assert_array_equal(found.functionals["peak"].mean[i, j], one.functionals["peak"].mean)
    assert found.each(lambda run: run.seed).tolist() == np.full((6, 2), 3).tolist()
    assert repr(found).startswith("<Sweep over 6 mu x 2 s, each <Simulation of SDE(")


def test_means_of_built_in_models_and_their_differences():
    """Under one noise differences have small errors; under own noise cells are independent shards of one range."""
    settings = {**SHORT, "n_steps": 2, "method": "exact"}
    common = sf.sweep(sf.BlackScholes(sigma=0.2), {"mu": MUS}, paths=True, **settings)
    apart = sf.sweep(sf.BlackScholes(sigma=0.2), {"mu": MUS}, paths=True, common_noise=False, **settings)
    for found in (common, apart):
        z = (found.mean[:, 1, 0] - np.exp(MUS)) / found.standard_error[:, 1, 0]
        assert (abs(z) < 5).all()
    ratio = common.x[1:, 1, :, 0] / common.x[0, 1, :, 0]
    np.testing.assert_allclose(ratio, np.exp(MUS[1:, None]) * np.ones(5000), rtol=1e-12)
    assert abs(np.corrcoef(apart.x[0, 1, :, 0], apart.x[1, 1, :, 0])[0, 1]) < 5 / 5000**0.5
    assert [run.settings.first_chain for run in apart.runs] == [0, 8192, 16384, 24576, 32768, 40960]


@pytest.mark.parametrize(
    ("over", "options", "error", "message"),
    [
        ({"nu": [1.0]}, {}, ValueError, "over must have names of the model's parameters, mu, s, got 'nu'"),
        ({}, {}, TypeError, "over must be a mapping"),
        ({"mu": 0.1}, {}, ValueError, r"over\['mu'\] must be of shape \(n,\), got \(\)"),
        ({"mu": [np.nan]}, {}, ValueError, r"over\['mu'\] must be finite"),
        ({"mu": [0.1]}, {"progress": True}, TypeError, "leave out progress"),
        ({"mu": [0.1]}, {"resume": 3}, TypeError, "resume must be the result of an earlier sweep, got 3"),
    ],
)
def test_what_is_refused(over, options, error, message):
    with pytest.raises(error, match=message):
        sf.sweep(MODEL, over, **options, **SHORT)
    with pytest.raises(TypeError, match="model must be a model"):
        sf.sweep("model", over, **SHORT)


OU = sf.OrnsteinUhlenbeck()
GRID = {"kappa": [0.5, 1.0, 2.0], "sigma": [0.1, 0.3]}
HOW = {"x0": 1.0, "t1": 1.0, "n_steps": 10, "n_paths": 500, "seed": 3, "save_at": 5}


def same(one, other):
    assert one.runs.shape == other.runs.shape
    assert all((one.over[name] == other.over[name]).all() for name in GRID)
    for a, b in zip(one.runs.flat, other.runs.flat, strict=True):
        assert a.model == b.model
        assert a.mean.tobytes() == b.mean.tobytes()


def test_saved_loaded_resumed(tmp_path):
    whole = sf.sweep(OU, GRID, **HOW, paths=True)
    whole.save(tmp_path / "sweep.npz")
    loaded = sf.load(tmp_path / "sweep.npz")
    same(loaded, whole)
    assert repr(loaded).startswith("<Sweep over 3 kappa x 2 sigma")
    half = sf.sweep(OU, GRID, **HOW | {"t1": 0.5, "n_steps": 5}, paths=True)
    rest = sf.sweep(OU, GRID, resume=half, n_steps=5)
    assert rest.mean[:, :, -1].tobytes() == whole.mean[:, :, -1].tobytes()
    for changed, message in (({"kappa": [0.5, 1.0], "sigma": [0.1, 0.3]}, "over the same values"),):
        with pytest.raises(ValueError, match=message):
            sf.sweep(OU, changed, resume=half, n_steps=5)
    with pytest.raises(TypeError, match="leave out seed"):
        sf.sweep(OU, GRID, resume=half, n_steps=5, seed=1)


def test_a_checkpoint_of_all_cells(tmp_path, monkeypatch):
    """Stopped in the fourth cell: those before it are not run again."""
    from sdefast.sde import sweep as module

    whole = sf.sweep(OU, GRID, **HOW)
    simulate, file, ran = module.simulate, tmp_path / "sweep", []

    def stopping(model, **options):
        if len(ran) == 3:
            raise KeyboardInterrupt
        ran.append(model)
        return simulate(model, **options)

    monkeypatch.setattr(module, "simulate", stopping)
    with pytest.raises(KeyboardInterrupt):
        sf.sweep(OU, GRID, **HOW, checkpoint=file)
    monkeypatch.setattr(module, "simulate", simulate)
    found = sf.sweep(OU, GRID, **{name: value for name, value in HOW.items() if name != "seed"}, checkpoint=file)
    same(found, whole)
    assert found.each(lambda run: run.cost.found).ravel().tolist() == [1, 1, 1, 0, 0, 0]
    again = sf.sweep(OU, GRID, **HOW, checkpoint=file)
    same(again, whole)
    assert (again.each(lambda run: run.cost.found) == 1).all()
    with pytest.raises(ValueError, match=r"is of another call: over\.kappa"):
        sf.sweep(OU, GRID | {"kappa": [0.5, 1.0, 2.5]}, **HOW, checkpoint=file)


def test_tables_with_an_axis_for_every_parameter():
    found = sf.sweep(OU, GRID, **HOW, paths=True)
    table = found.to_xarray()
    assert dict(table.sizes) == {"kappa": 3, "sigma": 2, "time": 3, "component": 1, "path": 500}
    assert table["mean"].dims == ("kappa", "sigma", "time", "component")
    np.testing.assert_array_equal(table["x"].sel(kappa=2.0, sigma=0.3).values, found[2, 1].x)
    assert table.attrs["over"] == "3 kappa x 2 sigma"


def test_figures():
    found = sf.sweep(OU, GRID, **HOW, expectations={"square": lambda t, x: x[0] ** 2})
    ax = found.plot()
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("kappa", "mean X")
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["exact", "sigma = 0.1", "sigma = 0.3"]
    bars = list(ax.containers)
    np.testing.assert_array_equal(bars[1][0].get_ydata(), found.mean[:, 1, -1, 0])
    ends = np.array([line.get_ydata() for line in bars[1][1]])
    np.testing.assert_allclose(np.ptp(ends, axis=0), 4 * found.standard_error[:, 1, -1, 0], rtol=1e-9)
    exact = next(line for line in ax.lines if line.get_label() == "exact")
    np.testing.assert_allclose(exact.get_ydata(), [sf.OrnsteinUhlenbeck(k).mean(1.0, 1.0) for k in GRID["kappa"]])
    over_time = found.plot(statistic="square", against="time")
    assert len(over_time.containers) == 6
    np.testing.assert_array_equal(over_time.containers[5][0].get_ydata(), found.expectations["square"].value[2, 1])
    assert found.plot(over_time, statistic="variance", against="sigma") is over_time
    for options, message in (({"statistic": "median"}, "statistic must be one of 'mean', 'square', 'variance'"),
                             ({"against": "theta"}, "against must be one of 'kappa', 'sigma', 'time'")):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            found.plot(**options)
