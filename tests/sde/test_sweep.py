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
        ({"mu": [0.1]}, {"resume": None}, TypeError, "leave out resume"),
    ],
)
def test_what_is_refused(over, options, error, message):
    with pytest.raises(error, match=message):
        sf.sweep(MODEL, over, **options, **SHORT)
    with pytest.raises(TypeError, match="model must be a model"):
        sf.sweep("model", over, **SHORT)
