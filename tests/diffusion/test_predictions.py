"""What a model predicts: the data follow from each, and where they do not, that is said."""

import numpy as np
import pytest

from sdefast.diffusion import PREDICTIONS, coefficients, linear_beta_schedule, plan, row_of

LEVELS = [(0.9, np.sqrt(0.19)), (1.0, 37.0), (0.3, 0.7), (1e-3, 1.0)]


@pytest.mark.parametrize(("alpha", "sigma"), LEVELS)
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_the_data_come_back(prediction, alpha, sigma):
    x0, eps = 0.8, -1.3
    out = {"eps": eps, "x0": x0, "v": alpha * eps - sigma * x0, "score": -eps / sigma, "flow": eps - x0}[prediction]
    p, q = coefficients(prediction, alpha, sigma)
    assert p * (alpha * x0 + sigma * eps) + q * out == pytest.approx(x0, rel=1e-9)


@pytest.mark.parametrize("prediction", ["v", "x0", "flow"])
def test_noise_alone_is_no_obstacle_to_these(prediction):
    p, q = coefficients(prediction, 0.0, 1.0)
    assert (p, q) == {"v": (0, -1), "x0": (0, 1), "flow": (1, -1)}[prediction]


@pytest.mark.parametrize("prediction", ["eps", "score"])
def test_zero_terminal_snr_refuses_models_of_noise(prediction):
    schedule = linear_beta_schedule(1000).zero_terminal_snr()
    for make in (
        lambda: coefficients(prediction, 0.0, 1.0),
        lambda: plan("ddim", schedule, 10, spacing="trailing", prediction=prediction),
        lambda: row_of("ddpm", schedule, 999, 998, prediction=prediction),
    ):
        with pytest.raises(ValueError, match=rf"'{prediction}' .* 'v', 'x0' or 'flow'"):
            make()
    plan("ddim", schedule, 10, spacing="leading", prediction=prediction)  # which does not visit the last


def test_v_of_zero_terminal_snr_is_minus_the_data():
    schedule = linear_beta_schedule(1000).zero_terminal_snr()
    multistep = "dpm++2m", "dpm++2m-sde", "dpm++3m", "dpm++3m-sde"
    for method in (*multistep, "ddim", "ddpm", "euler", "heun", "euler-ancestral", "ode"):
        made = plan(method, schedule, 10, spacing="trailing", prediction="v")
        first = made.rows[0]
        assert (first["p"], first["q"]) == (0, -1)
        assert all(np.isfinite(made.rows[name]).all() for name in "abgs")
        assert first["b"] == pytest.approx(schedule.alpha[899] - schedule.alpha[999] * first["a"], rel=1e-12)


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="did you mean 'eps'"):
        coefficients("epss", 1.0, 1.0)
