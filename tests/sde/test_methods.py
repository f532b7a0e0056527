"""Under which schemes a model runs, and by which names they go."""

import numpy as np
import pytest
from conftest import LINEAR, MODELS

import sdefast as sf
from sdefast.sde.extras import Extras
from sdefast.sde.schemes import SCHEMES
from sdefast.sde.settings import compiled_chain, method_of

TIMED = sf.SDE(
    lambda t, x: (x[1], -t * x[0]), lambda t, x: ((0.0, x[1]), (1.0, 0.0)), dim=2, noise="general", noise_dim=2
)
EVERY = {**{name: model for name, (model, _) in MODELS.items()}, "linear": LINEAR, "timed": TIMED}


def runs(model, method):
    try:
        method_of(model, method)
        if method not in model.schemes:
            compiled_chain(model, method, Extras())
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("name", EVERY)
def test_methods_are_those_that_run(name):
    model = EVERY[name]
    assert model.methods == tuple(method for method in SCHEMES if runs(model, method))


def test_what_some_models_have():
    assert "exponential-euler" in sf.OrnsteinUhlenbeck().methods
    assert not {"exact", "milstein", "srk1", "sriw1", "sra1"} & set(sf.Heston().methods)
    assert "sra1" not in sf.CIR().methods
    assert {"exact", "qe"} <= set(sf.CIR().methods)
    assert "exact" not in sf.CIR(sigma=0.0).methods


def test_names_of_euler_maruyama():
    settings = {"x0": 1.0, "t1": 1.0, "n_steps": 3, "n_paths": 4, "seed": 1}
    runs = [
        sf.simulate(sf.BrownianMotion(), method=name, **settings)
        for name in (None, "euler", "EM", "euler_maruyama", "Euler-Maruyama")
    ]
    assert {run.settings.method for run in runs} == {"euler-maruyama"}
    assert len({run.x.tobytes() for run in runs}) == 1
    assert sf.simulate(sf.BrownianMotion(), method="Weak_Euler", **settings).settings.method == "weak-euler"


def test_the_linear_part_of_a_linear_drift_is_known():
    """One step is the exact transition: mean e^-h x and all of the noise."""
    model, h = sf.OrnsteinUhlenbeck(kappa=30.0, theta=0.5, sigma=0.7), 0.1
    settings = {"x0": 2.0, "t1": h, "n_steps": 1, "n_paths": 5, "seed": 1}
    run, exact = (sf.simulate(model, method=method, **settings) for method in ("exponential-euler", "exact"))
    np.testing.assert_allclose(run.x, exact.x, rtol=1e-13)
