"""The list of models, and what every model must be."""

import pickle

import numpy as np
import pytest

from sdefast.sde import models
from sdefast.sde.models import MODELS, LinearSDE, Model

EVERY_MODEL = [*(cls() for cls in MODELS.values()), LinearSDE([[-1.0, 0.5], [0.0, -2.0]], B=[[1.0], [2.0]])]


def test_exports():
    assert set(models.__all__) >= {cls.__name__ for cls in MODELS.values()} | {"LinearSDE", "MODELS", "Model"}
    assert all(len(cls.example_start) == cls().dim for cls in MODELS.values())
    assert models.GeometricBrownianMotion is models.BlackScholes


@pytest.mark.parametrize("model", EVERY_MODEL, ids=lambda model: type(model).__name__)
def test_every_model(model):
    h = np.array([0.1, 0.25, 0.001])
    assert isinstance(model, Model)
    assert "euler-maruyama" in model.methods
    assert model.jumps is not None or "euler-maruyama" in model.schemes
    for scheme in model.schemes:
        kernel, coefficients = model.step(scheme, h)
        assert isinstance(kernel, str)
        assert coefficients.dtype == np.float64
        assert coefficients.ndim == 2
        assert len(coefficients) == 3
        assert np.isfinite(coefficients).all()
        assert model.noise_dim_of(scheme) >= 1
        single = np.concatenate([model.step(scheme, h[i : i + 1]).coefficients for i in range(3)])
        np.testing.assert_array_equal(coefficients, single)
    assert model.noise_dim_of("euler-maruyama") == model.noise_dim
    assert pickle.loads(pickle.dumps(model)) == model
    assert hash(model) == hash(type(model)(**model.parameters()))
    with pytest.raises(AttributeError):
        model.new_attribute = 1.0
