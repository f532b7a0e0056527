"""Derivatives along paths, against those of closed forms, of numpy's paths and of runs with the same noise."""

import math

import numpy as np
import pytest
from conftest import assert_same_bits

import sdefast as sf

MODEL = sf.BlackScholes(mu=0.05, sigma=0.2)
CALL = {"call": lambda t, x, p: math.exp(-p.mu * t) * max(x[0] - 100.0, 0.0)}
NAMES = ["mu", "sigma", "x0"]
HOW = {"x0": 100.0, "t1": 1.0, "n_paths": 100_000, "seed": 1, "paths": False, "sensitivities": NAMES}


def price(**changed):
    p = {"mu": 0.05, "sigma": 0.2, "x0": 100.0} | changed
    return sf.BlackScholes(p["mu"], p["sigma"]).call_price(100.0, 1.0, p["x0"])


@pytest.mark.parametrize(
    "options", [{}, {"antithetic": True, "controls": {"x": (lambda t, x: x[0], 100 * math.exp(0.05))}}]
)
def test_greeks_of_a_call(options):
    """Rho, vega and delta, with the exact transition; controls and antithetic pairs leave them right."""
    run = sf.simulate(MODEL, method="exact", n_steps=2, expectations=CALL, **HOW, **options)
    for name, size in zip(NAMES, (0.05, 0.2, 100.0), strict=True):
        h = 1e-4 * size
        exact = (price(**{name: size + h}) - price(**{name: size - h})) / (2 * h)
        greek = run.sensitivities[name].expectations["call"]
        assert abs(greek.value[0] - exact) < 4.5 * greek.standard_error[0]
        assert greek.standard_error[0] < 0.02 * exact
        state = run.sensitivities[name]
        forward = 100 * math.exp(0.05) * np.array({"mu": 1.0, "sigma": 0.0, "x0": 0.01}[name])
        assert abs(state.mean[0, 0] - forward) < 4.5 * state.standard_error[0, 0]


def oscillator(k, s):
    return sf.SDE(
        lambda t, x, p: (x[1], -p.k * math.sin(x[0])),
        lambda t, x, p: (0.0, p.s * math.sqrt(1 + x[0] ** 2)),
        dim=2,
        params={"k": k, "s": s},
    )


@pytest.mark.parametrize("method", ["heun", pytest.param("euler-maruyama", marks=pytest.mark.thorough)])
def test_derivatives_are_those_of_paths_with_the_same_noise(method):
    """Central differences of paths, of a functional and of an expectation, common random numbers."""
    how = {"x0": (0.5, 0.1), "t1": 1.0, "n_steps": 20, "n_paths": 50, "seed": 3, "method": method, "save_at": 10}
    more = {
        "functionals": {"mean": sf.functionals.time_average(of=0), "high": sf.functionals.running_max(bridge=False)},
        "expectations": {"energy": lambda t, x, p, y: x[1] ** 2 / 2 - p.k * math.cos(x[0]) + p.s * y.mean},
    }
    run = sf.simulate(oscillator(1.5, 0.4), **how, **more, sensitivities=["k", "s", "x0[1]"])
    h = 1e-6

    def difference(of, name):
        shifted = []
        for sign in (1, -1):
            k, s, v = (value + sign * h * (name == n) for n, value in (("k", 1.5), ("s", 0.4), ("x0[1]", 0.1)))
            shifted.append(of(sf.simulate(oscillator(k, s), **how | {"x0": (0.5, v)}, **more)))
        return (shifted[0] - shifted[1]) / (2 * h)

    for name, found in run.sensitivities.items():
        np.testing.assert_allclose(found.values, difference(lambda r: r.x, name), rtol=1e-6, atol=1e-8)
        for key in ("mean", "high"):
            have, want = found.functionals[key].values, difference(lambda r, k=key: r.functionals[k].values, name)
            np.testing.assert_allclose(have, want, rtol=1e-6, atol=1e-8)
        energy = difference(lambda r: r.expectations["energy"].value, name)
        np.testing.assert_allclose(found.expectations["energy"].value, energy, rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(found.mean, found.values.mean(1), rtol=1e-12, atol=1e-14)
    alone = sf.simulate(oscillator(1.5, 0.4), **how)
    np.testing.assert_allclose(run.x, alone.x, rtol=1e-12, atol=1e-14)


def test_the_same_bits_in_parts_and_from_a_file(tmp_path):
    how = HOW | {"paths": True, "n_paths": 6000, "n_steps": 4, "extremes": True, "save_at": "final"}
    how |= {"expectations": CALL, "method": "milstein"}
    whole = sf.simulate(MODEL, **how, threads=2)
    shards = [sf.simulate(MODEL, **how | {"n_paths": n, "first_chain": at}) for at, n in ((0, 4096), (4096, 1904))]
    half = sf.simulate(MODEL, **how | {"t1": 0.5, "n_steps": 2})
    more = sf.simulate(MODEL, resume=half, n_steps=2, expectations=CALL, extremes=True)
    whole.save(tmp_path / "run.npz")
    merged = sf.merge(*shards)
    assert_same_bits(merged, whole)
    for run in (merged, more, sf.load(tmp_path / "run.npz")):
        for name in NAMES:
            have, want = run.sensitivities[name], whole.sensitivities[name]
            assert have.mean.tobytes() == want.mean.tobytes()
            assert have.expectations["call"].value.tobytes() == want.expectations["call"].value.tobytes()
    assert whole.describe()["sensitivities"] == "mu, sigma, x0"


def test_on_a_gpu():
    how = HOW | {"n_paths": 40, "n_steps": 3, "paths": True, "method": "milstein", "expectations": CALL}
    cpu, gpu = (sf.simulate(MODEL, **how, device=device) for device in ("cpu", "cuda"))
    for name in NAMES:
        assert gpu.sensitivities[name].values.to_numpy().tobytes() == cpu.sensitivities[name].values.tobytes()
        have, want = (run.sensitivities[name].expectations["call"].value for run in (gpu, cpu))
        np.testing.assert_allclose(have, want, rtol=1e-12)


def test_tangents_go_through_jumps():
    """Of what is multiplied by a jump the derivative is too; those of sizes against paths with the same noise."""
    how = {"x0": 100.0, "t1": 1.0, "n_steps": 4, "n_paths": 2000, "seed": 1, "method": "exact"}
    given = {"mu": 0.05, "sigma": 0.2, "jump_mean": -0.1, "jump_std": 0.15}
    model = sf.Merton(intensity=2.0, **given)
    run = sf.simulate(model, sensitivities=[*given, "x0"], functionals={"mean": sf.functionals.time_average()}, **how)
    np.testing.assert_allclose(run.sensitivities["mu"].values, run.x, rtol=1e-12)  # S grows as exp(mu t)
    np.testing.assert_allclose(run.sensitivities["x0"].values, run.x / 100, rtol=1e-12)
    h = 1e-6
    for name in ("sigma", "jump_mean", "jump_std"):
        both = [
            sf.simulate(
                model.with_parameters({name: given[name] + s * h}),
                functionals={"mean": sf.functionals.time_average()},
                **how,
            )
            for s in (1, -1)
        ]
        np.testing.assert_allclose(
            run.sensitivities[name].values, (both[0].x - both[1].x) / (2 * h), rtol=1e-5, atol=1e-4
        )
        average = [one.functionals["mean"].mean for one in both]
        found = run.sensitivities[name].functionals["mean"].mean
        np.testing.assert_allclose(found, (average[0] - average[1]) / (2 * h), rtol=1e-5)


def test_greeks_of_a_call_on_what_jumps():
    """In the law of the jumps too, against Merton's series; float32, the jumps looked for."""
    how = HOW | {"n_paths": 40_000, "sensitivities": ["sigma", "jump_mean", "x0"], "dtype": "float32", "n_steps": 10}
    run = sf.simulate(sf.Merton(), method="exact", expectations=CALL, **how)
    for name, h in (("sigma", 1e-4), ("jump_mean", 1e-4), ("x0", 1e-2)):
        two = []
        for s in (1, -1):
            model = (
                sf.Merton() if name == "x0" else sf.Merton().with_parameters({name: getattr(sf.Merton(), name) + s * h})
            )
            two.append(model.call_price(100.0, 1.0, 100.0 + s * h * (name == "x0")))
        greek = run.sensitivities[name].expectations["call"]
        assert abs(greek.value[0] - (two[0] - two[1]) / (2 * h)) < 4.5 * greek.standard_error[0]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"sensitivities": ["kappa"]}, "must be among mu, sigma, x0, got 'kappa'"),
        ({"sensitivities": ["mu", "mu"]}, "different names"),
        ({"expectations": {"digital": lambda t, x: x[0] > 100}}, "jumps between 1.0 and 0.0"),
        ({"stop_when": lambda t, x: x[0] > 120}, "cannot see paths stop"),
        ({"functionals": {"tau": sf.functionals.first_passage(120.0)}}, "cannot see functionals\\['tau'\\] jump"),
    ],
)
def test_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        sf.simulate(MODEL, **HOW | {"n_steps": 1, "n_paths": 2} | changed)


def test_refused_where_laws_are_chosen():
    with pytest.raises(ValueError, match="'qe' jump"):
        sf.simulate(sf.CIR(), **HOW | {"n_steps": 1, "n_paths": 2, "sensitivities": ["kappa"]}, method="qe")
    with pytest.raises(TypeError, match=r"list of names of parameters, such as \['mu'\]"):
        sf.simulate(MODEL, **HOW | {"n_steps": 1, "sensitivities": "mu"})
