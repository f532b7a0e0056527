"""Means of user functions over the chains: against the kept states, on every kind of kernel."""

import numpy as np
import pytest
from conftest import in_both_types

import sdefast as sf
from sdefast.sampling import built_in

m = sf.math
ROWS = np.random.default_rng(3).normal(size=(5, 2))
PLANE = sf.targets.Gaussian([1.0, -0.5], [[1.0, 0.6], [0.6, 2.0]])
MIXTURE = sf.targets.GaussianMixture([0.4, 0.6], [[-1.0, 0.0], [1.0, 1.0]], [0.5, 0.3])
LOGISTIC = sf.targets.LogisticRegression(ROWS, [0, 1, 1, 0, 1], 1.0)

#: traced steps, with and without sums over rows; built-in ones, whose table has the density too; velocities
RUNS = {
    "traced": (PLANE, "ula"), "accepted": (PLANE, "mala"), "moving": (PLANE, "baoab"), "mixture": (MIXTURE, "mala"),
    "logistic": (LOGISTIC, "ula"), "logistic, traced": (LOGISTIC, "barker"),
}  # fmt: skip
HOW = {"step_size": 0.2, "n_steps": 9, "n_chains": 300, "seed": 3, "save_at": [0, 4, 9]}


def asked(method):
    functions = {
        "square": lambda k, x: x[0] ** 2,
        "late": lambda k, x: k * m.exp(-x[1]),
        "likely": lambda k, x: m.sum(lambda row: m.log(1 + m.exp(m.dot(row, x))), ROWS),
        "above": lambda k, x: x[0] > x[1],
    }
    return functions | ({"energy": lambda k, x, v: v[0] ** 2 + v[1] ** 2 - x[0]} if method == "baoab" else {})


def in_numpy(chains):
    k, x = chains.iterations[:, None], np.moveaxis(chains.x.astype(float), 2, 0)
    found = {
        "square": x[0] ** 2, "late": k * np.exp(-x[1]), "above": (x[0] > x[1]).astype(float),
        "likely": np.log1p(np.exp(np.einsum("rj,jkn->rkn", ROWS, x))).sum(axis=0),
    }  # fmt: skip
    if chains.settings.how.has_velocity:
        v = np.moveaxis(chains.velocity.astype(float), 2, 0)
        found["energy"] = v[0] ** 2 + v[1] ** 2 - x[0]
    return found


@pytest.mark.parametrize(("name", "dtype"), in_both_types(RUNS))
def test_they_are_those_of_the_states(name, dtype):
    target, method = RUNS[name]
    chains = sf.langevin(target, method=method, dtype=dtype, expectations=asked(method), **HOW)
    is_built_in = isinstance(chains.settings.stepping, built_in.BuiltInChain)
    assert is_built_in == (name in ("mixture", "logistic"))
    close = 1e-12 if dtype == "float64" else 2e-6
    for key, values in in_numpy(chains).items():
        have = chains.expectations[key]
        np.testing.assert_allclose(have.value, values.mean(axis=1), rtol=close, atol=close, err_msg=key)
        error = values.std(axis=1, ddof=1) / np.sqrt(300)
        np.testing.assert_allclose(have.standard_error, error, rtol=100 * close, atol=close, err_msg=key)
    assert list(chains.expectations) == list(asked(method))
    plain = sf.langevin(target, method=method, dtype=dtype, **HOW)
    assert np.array_equal(plain.x, chains.x)
    if method == "mala":
        assert plain.acceptance == chains.acceptance


def test_many_components_in_a_kernel_that_is_built_in():
    target = sf.targets.Gaussian(np.arange(12) / 12, 0.5 * np.eye(12) + 0.5)
    weights = np.linspace(-1, 1, 12)
    chains = sf.langevin(target, expectations={"f": lambda k, x: m.dot(weights, x)}, **HOW)
    assert isinstance(chains.settings.stepping, built_in.BuiltInChain)
    np.testing.assert_allclose(chains.expectations["f"].value, (chains.x @ weights).mean(axis=1), rtol=1e-12)


@pytest.mark.parametrize("name", ["moving", "logistic"])
def test_saved_resumed_merged_and_on_a_gpu(name, tmp_path):
    """What is asked of a run that goes on is said anew."""
    target, method = RUNS[name]
    how = {"method": method, "expectations": asked(method)}
    whole = sf.langevin(target, **HOW, **how)
    first = sf.langevin(target, **{**HOW, "n_steps": 4, "save_at": "final"}, **how)
    first.save(tmp_path / "chains.npz")
    loaded = sf.load(tmp_path / "chains.npz")
    after = sf.langevin(target, resume=loaded, n_steps=5, expectations=asked(method))
    bare = sf.langevin(target, resume=first, n_steps=5)
    gpu = sf.langevin(target, **{**HOW, "n_chains": 20}, **how, device="cuda")
    cpu = sf.langevin(target, **{**HOW, "n_chains": 20}, **how)
    assert bare.expectations == {}
    for key in asked(method):
        assert loaded.expectations[key].value == first.expectations[key].value == whole.expectations[key].value[1]
        assert after.expectations[key].value == whole.expectations[key].value[2]
        np.testing.assert_allclose(gpu.expectations[key].value, cpu.expectations[key].value, rtol=1e-11, atol=1e-13)
    merged = sf.merge(*(sf.langevin(target, **{**HOW, "n_chains": n, "first_chain": c}, **how)
                        for c, n in ((0, 4096), (4096, 50))))  # fmt: skip
    both = sf.langevin(target, **{**HOW, "n_chains": 4146}, **how)
    assert merged.expectations["square"].value.tobytes() == both.expectations["square"].value.tobytes()


def test_what_is_refused():
    how = {"step_size": 0.1, "n_steps": 2, "n_chains": 2}
    with pytest.raises(TypeError, match=r"expectations\['f'\] must be a function of \(k, x\)"):
        sf.langevin(PLANE, **how, expectations={"f": lambda x: x[0]})
    with pytest.raises(ValueError, match=r"expectations\['f'\] must return one number, got 2"):
        sf.langevin(PLANE, **how, expectations={"f": lambda k, x: x})
    with pytest.raises(ValueError, match="gathered by kernels"):
        sf.langevin(sf.targets.BatchTarget(lambda x: -x, dim=1), **how, expectations={"f": lambda k, x: x[0]})
