"""Chains in ArviZ: as InferenceData before its version 1, as a DataTree from then on."""

import builtins
import importlib
import inspect
import sys

import numpy as np
import pytest
from conftest import thorough_but

import sdefast as sf

pytestmark = pytest.mark.filterwarnings("ignore:\\s*ArviZ is undergoing:FutureWarning")

TARGET = sf.targets.Gaussian([1.0, -0.5], [[1.0, 0.6], [0.6, 2.0]])
HOW = {"method": "mala", "step_size": 0.6, "n_steps": 300, "n_chains": 40, "burn_in": 60, "x0": "sample", "seed": 1}


@pytest.fixture(params=["arviz", "arviz_base"])
def arviz(request, monkeypatch):
    """ArviZ as it is installed, and what of version 1 makes data, as if it alone were."""
    module = importlib.import_module(request.param)
    if request.param == "arviz_base":
        monkeypatch.setitem(sys.modules, "arviz", None)
    return module


@pytest.mark.parametrize("dtype", thorough_but(["float32"], ["float32", "float64"]))
def test_draws_chains_and_settings_arrive(arviz, dtype):
    chains = sf.langevin(TARGET, thin=4, first_chain=4096, dtype=dtype, **HOW)
    data = chains.to_arviz()
    old = "posterior" in inspect.signature(arviz.from_dict).parameters
    assert type(data).__name__ == ("InferenceData" if old else "DataTree")
    posterior = data["posterior"]
    assert posterior["x"].dims == ("chain", "draw", "component")
    assert posterior["x"].dtype == dtype
    assert np.array_equal(posterior["x"].values, chains.x.transpose(1, 0, 2))
    assert np.array_equal(posterior["chain"], np.arange(4096, 4136))
    assert np.array_equal(posterior["draw"], np.arange(64, 301, 4))
    assert np.array_equal(posterior["component"], [0, 1])
    for attributes in (data.attrs, posterior.attrs):
        assert chains.describe().items() <= attributes.items()
    rate = data["sample_stats"]["acceptance_rate"]
    assert rate.dims == ("chain", "draw")
    assert rate.values.mean() == pytest.approx(chains.acceptance, rel=1e-6)
    assert (rate.values == rate.values[:, :1]).all()
    assert np.ptp(rate.values[:, 0]) > 0


def test_arviz_reckons_with_them():
    """Its effective sample size, of all draws, is near that of batch means; R-hat is near 1."""
    import arviz

    chains = sf.langevin(TARGET, save_at="all", **HOW | {"n_steps": 1060})
    data = chains.to_arviz()
    found = [function(data) for function in (arviz.ess, arviz.rhat)]
    ess, rhat = (np.asarray((f if "x" in f else f["posterior"])["x"]) for f in found)
    assert ess == pytest.approx(chains.ess, rel=0.2)
    assert (rhat < 1.01).all()


def test_methods_that_accept_all_have_no_acceptance(arviz):
    data = sf.langevin(TARGET, thin=4, **HOW | {"method": "ula"}).to_arviz()
    assert "posterior" in data
    assert "sample_stats" not in data
    data = sf.langevin(TARGET, thin=4, final_states=False, diagnostics=False, **HOW).to_arviz()
    assert "sample_stats" not in data


def test_many_chains_are_no_mistake(arviz):
    """ArviZ warns of more chains than draws: warnings are errors here."""
    chains = sf.gradient_descent(TARGET, step_size=0.1, n_steps=4, x0=np.ones((30, 2)), save_at="all")
    assert chains.to_arviz()["posterior"]["x"].shape == (30, 5, 2)


def test_refused(arviz):
    with pytest.raises(ValueError, match="needs 4 saved iterations or more, got 1: langevin with thin="):
        sf.langevin(TARGET, **HOW).to_arviz()
    with pytest.raises(AttributeError, match="no states were kept"):
        sf.langevin(TARGET, thin=4, paths=False, **HOW).to_arviz()


def test_without_arviz(monkeypatch):
    chains = sf.langevin(TARGET, thin=4, **HOW)
    real = builtins.__import__

    def without(name, *arguments, **named):
        if name.startswith("arviz"):
            raise ImportError(name)
        return real(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match="pip install arviz"):
        chains.to_arviz()
