"""Settings as JSON and arrays: read again they are equal, whichever family's they are."""

import json
import math
from dataclasses import dataclass

import numpy as np
import pytest
from conftest import MODEL_METHODS, MODELS
from run.saved import DESCENTS, SIMULATIONS
from sde.equations import BUILT_IN, EQUATIONS, FUNCTIONALS, RUNS

import sdefast as sf
from sdefast.engine.grid import TimeGrid
from sdefast.engine.statistics import Histogram, Layout
from sdefast.run import records
from sdefast.sde.extras import Extras
from sdefast.sde.settings import Settings


def again(value):
    """By way of JSON as the standard has it."""
    record, arrays = records.write(value)
    return records.read(json.loads(json.dumps(record, allow_nan=False)), arrays)


def settings_of(model, method, **changes):
    """Settings of a run that is not made."""
    float64, layout = np.dtype(np.float64), Layout(model.dim, 2, False, False)
    usual = {
        "seed": 2**64 - 1, "dtype": float64, "noise_dtype": np.dtype(np.float32), "first_chain": 4096, "n_chains": 7,
        "grid": TimeGrid(0.1, 3, 5, h=0.1), "saves": np.array([8]), "layout": layout, "keeps_states": True,
        "x0": None,
    }  # fmt: skip
    return Settings(model=model, method=method, **usual | changes)


@pytest.mark.parametrize(
    "value",
    [
        None, True, 3, -(2**80), "name", 0.1, -0.0, 5e-324, math.inf, -math.inf, (), (1, (2.5, "x"), None),
        {"a": (1,), "class": 2, "array": None}, np.dtype(np.float32), Histogram(-1.0, 0.1, 7),
        sf.CEV(mu=0.1, sigma=0.2, beta=1 / 3), sf.inputs.Student(5.5), sf.boundaries.reflect(lower=0.1),
        sf.functionals.first_passage(0.3, bridge=False), Layout(3, 4, True, False),
    ],
    ids=repr,
)  # fmt: skip
def test_values_come_back(value):
    back = again(value)
    assert type(back) is type(value)
    assert repr(back) == repr(value)
    assert back == value


def test_numbers_of_numpy_come_back_as_pythons():
    assert [again(value) for value in (np.int64(3), np.float64(0.1), np.float32(0.1), np.bool_(True))] == [
        3, 0.1, float(np.float32(0.1)), True,
    ]  # fmt: skip
    assert math.isnan(again(math.nan))


@pytest.mark.parametrize("value", [object(), {1: 2}, {1, 2}, 1j, len, sf.simulate, (0, [object()]), b"bytes"])
def test_refuses_to_write_what_it_does_not_know(value):
    with pytest.raises(TypeError, match="cannot be written to a file"):
        records.write(value)


def test_models_of_ones_own_come_back_where_they_are_defined():
    @dataclass(frozen=True)
    class Mine(sf.Model):
        rate: float = 1.0

    assert again(Mine(0.1)) == Mine(0.1)
    record, arrays = records.write(Mine(0.1))
    record["class"] += "s"
    with pytest.raises(ValueError, match=r"Mines' is not known here: import the module that defines it"):
        records.read(record, arrays)

    class Law(sf.inputs.InputLaw):
        mean, variance, fourth_central_moment = 0.0, 1.0, 1.0

    with pytest.raises(TypeError, match="its class is no data class"):
        records.write(Law())


@pytest.mark.parametrize(("model", "method"), sorted({*MODEL_METHODS, *((model, name) for name, model in BUILT_IN)}))
def test_built_in_models_under_all_methods(model, method):
    _assert_equal_settings(settings_of(MODELS[model][0], method))


@pytest.mark.parametrize(("method", "equation"), RUNS)
def test_equations_under_all_schemes(method, equation):
    _assert_equal_settings(settings_of(EQUATIONS[equation][0], method))


@pytest.mark.parametrize("method", [name for name, model in BUILT_IN if model == "ou"])
def test_everything_else_happens_to_a_chain(method):
    model = MODELS["ou"][0]
    extras = Extras(
        boundaries=(sf.boundaries.absorb(lower=-3.0), sf.boundaries.reflect(upper=1e10)),
        functionals=tuple(FUNCTIONALS.items()),
        stop_when=lambda t, x, p, y: (y.hit < math.inf) | (x[0] > p.kappa + 3),
        antithetic=True,
        expectations=(("above", lambda t, x: x[0] > 1.0), ("top", lambda t, x, p, y: y.top * p.sigma)),
        controls=(
            ("x", lambda t, x: x[0], 0.5),
            ("1", lambda t, x: 1.0, lambda t: 1.0 + 0 * t),
            ("t", lambda t, x: max(t, x[0] - x[0]), (0.8,)),
        ),
    )
    back = _assert_equal_settings(settings_of(model, method, extras=extras, layout=Layout(1, 4, True, False)))
    assert back.extras.controls[1][2] == (1.0,)  # what the function of time gave at the saved times


def _first(t, x):
    return x[0]


def _assert_equal_settings(s):
    back = again(s)
    assert back.identity() == s.identity()
    assert (back.first_chain, back.n_chains) == (s.first_chain, s.n_chains)
    assert type(back.stepping) is type(s.stepping)
    assert again(back).identity() == s.identity()
    return back


@pytest.mark.parametrize("name", SIMULATIONS)
def test_simulations_settings(name):
    model, call = SIMULATIONS[name]
    settings = sf.simulate(model, n_paths=6, seed=3, **call).settings
    assert again(settings).identity() == settings.identity()


@pytest.mark.parametrize("name", DESCENTS)
def test_descents_settings(name):
    problem, call = DESCENTS[name]
    settings = sf.sgd(problem, n_runs=5, seed=3, **call).settings
    back = again(settings)
    assert back.identity() == settings.identity()
    assert back.iteration.parameters == settings.iteration.parameters
    for part in ("star", "basis", "scales", "root"):
        have, want = (getattr(s.iteration.coordinates, part) for s in (back, settings))
        np.testing.assert_array_equal(have, want)


def test_eigenvectors_are_those_of_the_run():
    """Another machine may give eigenvectors other signs: rows of the run would then be read by the wrong ones."""
    problem, call = DESCENTS["correlated"]
    settings = sf.sgd(problem, n_runs=5, seed=3, **call).settings
    record, arrays = settings.record()
    name = "iteration.derived.coordinates.basis"
    back = records.read(record, {**arrays, name: -arrays[name]})
    np.testing.assert_array_equal(back.iteration.coordinates.basis, -settings.iteration.coordinates.basis)


def test_minimisers_of_data_are_those_of_the_run():
    """Another machine may round them differently."""
    problem, _ = DESCENTS["data"]
    record, arrays = records.write(problem)
    back = records.read(
        record, {**arrays, "minimiser": arrays["minimiser"] + 1.0, "residuals": arrays["residuals"] * 2}
    )
    np.testing.assert_array_equal(back.theta_star, problem.theta_star + 1.0)
    assert back.noise_std == 2 * problem.noise_std
    for one, other in zip(back.data, problem.data, strict=True):
        np.testing.assert_array_equal(one, other)
        assert not one.flags.writeable
    rows = back.padded_rows(np.dtype(float), 1)
    np.testing.assert_array_equal(rows[:, -1], 2 * problem.padded_rows(np.dtype(float), 1)[:, -1])


def test_functions_that_have_changed_are_refused():
    strike = [1.0]

    def call(t, x):
        return max(x[0] - strike[0], 0.0)

    run = sf.simulate(MODELS["ou"][0], x0=1.0, t1=1.0, n_steps=2, n_paths=4, expectations={"call": call}, seed=1)
    before = run.settings.record()
    strike[0] = 2.0
    with pytest.raises(ValueError, match="refer to values that have changed since then"):
        run.settings.record()
    strike[0] = 1.0
    assert run.settings.record()[0] == before[0]


def test_equations_are_written_as_they_were_when_they_were_made():
    rate = [1.0]
    model = sf.SDE(lambda t, x, p: -rate[0] * x[0], lambda t, x, p: 0.5)
    rate[0] = 2.0
    back = again(model)
    assert back == model
    assert back.drift(0.0, (3.0,), ()) == (-3.0,)
    assert repr(back) == repr(model)


@pytest.mark.parametrize("diffusion", [(0.0, 0.3, 0.0), (0.0, 0.0, 0.0), (0.1, -0.0, 0.2)])
@pytest.mark.parametrize("slope", [None, (0.0, 1.0, 0.0)])
def test_diagonal_noises_that_do_nothing(diffusion, slope):
    model = sf.SDE(
        lambda t, x, p: x, lambda t, x, p: diffusion, dim=3,
        diffusion_derivative=None if slope is None else lambda t, x, p: slope,
    )  # fmt: skip
    back = again(model)
    assert back == model
    assert back.noise_dim == model.noise_dim
