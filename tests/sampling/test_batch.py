"""Scores of many samples at once: the update in one pass, langevin on them, and what is refused."""

import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from conftest import thorough_but

import sdefast as sf
from sdefast import _core

TARGET = sf.targets.Gaussian([1.0, -0.5], [[1.0, 0.6], [0.6, 2.0]])


def score(x):
    """TARGET's, sample by sample."""
    p = TARGET.precision.astype(x.dtype)
    away = x - TARGET.mean.astype(x.dtype)
    return -(away[:, :1] * p[0] + away[:, 1:] * p[1])


BATCH = sf.targets.BatchTarget(score, dim=2)

HOW = {"step_size": 0.3, "n_steps": 12, "n_chains": 500, "seed": 3}

TYPES = [("float32", "float32"), ("float64", "float64"), ("float64", "float32")]


# The update -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [1, 2, 3, 5, 16, 40, 784])
@pytest.mark.parametrize(("dtype", "noise_dtype"), TYPES)
@pytest.mark.parametrize("score_dtype", ["float32", "float64"])
def test_a_step_is_that_of_numpy_on_the_same_noise(dim, dtype, noise_dtype, score_dtype):
    """Steps that follow each other, within and across segments of noise, and steps that do not."""
    n, kind = 300, np.dtype(dtype).type
    rng = np.random.default_rng(0)
    steps = _core.ScoreSteps(5, 7, n, dim, dtype == "float64", noise_dtype == "float32")
    x = rng.standard_normal((n, dim)).astype(dtype)
    for k in (0, 1, 2, 3, 10, 511, 512, 513, 5):
        s = rng.standard_normal((n, dim)).astype(score_dtype)
        z = sf.noise.normals(5, dim, n, first_draw=k * dim, first_chain=7, dtype=noise_dtype).T
        wanted = x + kind(0.1) * s.astype(dtype) + kind(0.3) * z.astype(dtype)
        assert steps.step(x, s, 0.1, 0.3, k) == -1
        assert np.abs(x - wanted).max() < 8 * np.finfo(dtype).eps
        x[...] = wanted


@pytest.mark.parametrize("dim", [1, 3])
def test_a_score_that_is_no_number_is_named_and_nothing_is_done(dim):
    steps = _core.ScoreSteps(5, 0, 300, dim, True, False)
    x, s = np.ones((300, dim)), np.zeros((300, dim))
    s[280, -1], s[299] = np.nan, np.inf
    assert steps.step(x, s, 0.1, 0.3, 0) == 280
    assert (x == 1).all()
    x[280] = np.inf  # a chain that is lost has no score
    assert steps.step(x, s, 0.1, 0.3, 0) == 299


def test_what_does_not_fit_is_refused():
    steps = _core.ScoreSteps(5, 0, 10, 2, True, False)
    x = np.zeros((10, 2))
    for wrong in (np.zeros((9, 2)), np.zeros((10, 3)), np.zeros((2, 10)).T, np.zeros((10, 2), int), np.zeros(20)):
        with pytest.raises((ValueError, TypeError)):
            steps.step(x, wrong, 0.1, 0.1, 0)
    for wrong in (x.astype("float32"), np.zeros((9, 2))):
        with pytest.raises(ValueError, match="x must be"):
            steps.step(wrong, x, 0.1, 0.1, 0)
    x.flags.writeable = False
    with pytest.raises(ValueError, match="writ"):
        steps.step(x, np.zeros((10, 2)), 0.1, 0.1, 0)


BITS = """
import hashlib, json, numpy as np
from sdefast import _core
found = {}
for dim in (1, 2, 3, 40):
    for dtype, noise in (("float32", True), ("float64", False), ("float64", True)):
        for kind in ("float32", "float64"):
            steps = _core.ScoreSteps(5, 7, 300, dim, dtype == "float64", noise)
            x = np.linspace(-1, 1, 300 * dim).reshape(300, dim).astype(dtype)
            for k in (0, 1, 2, 600):
                steps.step(x, np.sin(np.arange(300.0 * dim) % 7 / 8).reshape(300, dim).astype(kind), 0.1, 0.3, k)
            found[f"{dim} {dtype} {noise} {kind}"] = hashlib.sha256(x.tobytes()).hexdigest()
print(json.dumps(found))
"""


@pytest.mark.parametrize("isa", thorough_but(_core.isas[-1:], _core.isas[1:]))
def test_bits_do_not_depend_on_the_instruction_set(isa):
    def digests(level):
        done = subprocess.run(
            [sys.executable, "-c", BITS], env=os.environ | {"SDEFAST_ISA": level}, capture_output=True, text=True,
            check=True,
        )  # fmt: skip
        return json.loads(done.stdout)

    assert digests(isa) == digests(_core.isas[0])


# langevin -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "noise_dtype"), TYPES)
def test_langevin_gives_what_kernels_give_to_rounding(dtype, noise_dtype):
    how = HOW | {"dtype": dtype, "noise_dtype": noise_dtype, "save_at": "all", "x0": [3.0, 0.0], "temperature": 0.5}
    arrays = sf.langevin(BATCH, **how, histogram=(-4.0, 4.0, 10))
    kernels = sf.langevin(TARGET, **how, histogram=(-4.0, 4.0, 10), diagnostics=False)
    near = 3e-6 if dtype == "float32" else 1e-13
    assert np.abs(arrays.x - kernels.x).max() < near
    assert np.abs(arrays.variance - kernels.variance).max() < near
    assert np.abs(arrays.histogram - kernels.histogram).sum() <= 2
    assert arrays.x.dtype == dtype


def test_step_sizes_may_change_and_runs_go_on():
    sizes = np.linspace(0.3, 0.1, 12)
    whole = sf.langevin(BATCH, **HOW | {"step_size": sizes})
    first = sf.langevin(BATCH, **HOW | {"step_size": sizes[:7], "n_steps": 7})
    rest = sf.langevin(BATCH, n_steps=5, step_size=sizes[7:], resume=first)
    assert np.array_equal(rest.x, whole.x)
    assert np.array_equal(rest.variance, whole.variance)


def test_saving_changes_no_bit():
    every = sf.langevin(BATCH, **HOW, save_at="all")
    last = sf.langevin(BATCH, **HOW)
    assert np.array_equal(every.x[-1:], last.x)


def test_it_travels_to_other_processes():
    again = pickle.loads(pickle.dumps(sf.targets.BatchTarget(lambda x: -x, dim=2, chunk=7)))
    assert (again.dim, again.chunk) == (2, 7)
    assert again.score(np.ones(2)).tolist() == [-1.0, -1.0]


def test_lost_chains_are_counted():
    with pytest.warns(RuntimeWarning, match="no longer finite"):
        run = sf.langevin(
            sf.targets.BatchTarget(lambda x: np.where(np.abs(x) > 1e100, 1e308 * np.sign(x), -x), dim=1),
            step_size=10.0, n_steps=3, n_chains=3, x0=[0.0, 1e101, 0.0], seed=1,
        )  # fmt: skip
    assert run.n_nonfinite.tolist() == [1]


def test_log_densities_check_starts():
    target = sf.targets.BatchTarget(lambda x: -x, dim=1, log_density=lambda x: np.log(np.maximum(x[:, 0], 0)))
    with np.errstate(divide="ignore"), pytest.raises(ValueError, match=r"x0 of chain 1 is .*where log_density is -inf"):
        sf.langevin(target, step_size=0.1, n_steps=1, n_chains=2, x0=[1.0, -1.0])


def test_tensors_come_as_tensors():
    torch = pytest.importorskip("torch")
    target = sf.targets.BatchTarget(lambda x: -x, dim=2)
    start = torch.ones(500, 2)
    tensors, arrays = sf.langevin(target, **HOW, x0=start), sf.langevin(target, **HOW, x0=start.numpy())
    assert isinstance(tensors.x, torch.Tensor)
    assert isinstance(arrays.x, np.ndarray)
    assert np.array_equal(tensors.x.numpy(), arrays.x)
    asked = sf.langevin(sf.targets.BatchTarget(lambda x: -x, dim=2, arrays="torch"), **HOW)
    assert isinstance(asked.x, torch.Tensor)


def test_a_gradient_of_an_energy_is_a_score():
    torch = pytest.importorskip("torch")

    @torch.enable_grad()
    def energy_score(x):
        x = x.detach().requires_grad_()
        return torch.autograd.grad(-(x**2).sum() / 2, x)[0]

    energies = sf.langevin(sf.targets.BatchTarget(energy_score, dim=2, arrays="torch"), **HOW)
    assert np.abs(energies.x.numpy() - sf.langevin(sf.targets.BatchTarget(lambda x: -x, dim=2), **HOW).x).max() < 1e-14


# What is refused ------------------------------------------------------------------------------------------------------

WRONG_SCORES = [
    (lambda x: -x[:, :1], ValueError, r"shape \(500, 2\), as x has, got \(500, 1\) at step 0, of chains from 0 on"),
    (lambda x: np.ones(x.shape, int), TypeError, "float32 or float64, got int64 at step 0"),
    (lambda x: x.tolist(), TypeError, "array of numpy, got list at step 0"),
    (lambda x: x + np.where(x > 2, np.nan, 0), ValueError, r"finite, got \[.*\] at step \d+ of chain \d+, where x is"),
]


@pytest.mark.parametrize(("wrong", "error", "message"), WRONG_SCORES)
def test_wrong_scores_are_named_with_step_and_chain(wrong, error, message):
    with pytest.raises(error, match=message):
        sf.langevin(sf.targets.BatchTarget(wrong, dim=2), **HOW)


def test_the_chain_that_is_named_is_the_one():
    def at_chain_4100(x):
        s = -x
        s[np.isclose(x[:, 0], 7.0)] = np.nan
        return s

    start = np.zeros((5000, 2))
    start[4100] = 7.0
    with pytest.raises(ValueError, match=r"at step 0 of chain 4100, where x is \[7.0, 7.0\]"):
        sf.langevin(sf.targets.BatchTarget(at_chain_4100, dim=2), **HOW | {"n_chains": 5000}, x0=start)


def test_wrong_tensors_are_refused():
    torch = pytest.importorskip("torch")
    for wrong, message in ((lambda x: x.numpy(), "tensor"), (lambda x: x.half(), "float16"), (lambda x: 1.0, "float")):
        with pytest.raises(TypeError, match=message):
            sf.langevin(sf.targets.BatchTarget(wrong, dim=2, arrays="torch"), **HOW)
    with pytest.raises(ValueError, match="meta: scores on arrays run on the CPU"):
        sf.langevin(sf.targets.BatchTarget(torch.nn.Linear(2, 2, device="meta"), dim=2), **HOW)


def test_scores_may_not_write_to_samples():
    def careless(x):
        x *= -1
        return x

    with pytest.raises(ValueError, match="read-only"):
        sf.langevin(sf.targets.BatchTarget(careless, dim=2), **HOW)


def test_a_score_may_be_its_own_sample():
    """x and the score share memory: the step is still x + h x + noise."""
    run = sf.langevin(sf.targets.BatchTarget(lambda x: x, dim=2), **HOW)
    other = sf.langevin(sf.targets.BatchTarget(lambda x: 1.0 * x, dim=2), **HOW)
    assert np.array_equal(run.x, other.x)


REFUSED = [
    ({"method": "mala"}, ValueError, "'ula' works"),
    ({"method": "tamed"}, ValueError, "'ula' works"),
    ({"metric": [1.0, 2.0]}, ValueError, "no metric"),
    ({"step_size": np.full((1, 500), 0.1)}, ValueError, "alike for all chains"),
    ({"diagnostics": True}, ValueError, "diagnostics"),
    ({"adapt": True, "burn_in": 5}, ValueError, "accept or reject"),
    ({"x0": "sample"}, ValueError, "cannot be sampled"),
]


@pytest.mark.parametrize(("change", "error", "message"), REFUSED)
def test_what_scores_on_arrays_do_not_do_is_refused(change, error, message):
    with pytest.raises(error, match=message):
        sf.langevin(BATCH, **HOW | change)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"score": 1.0}, TypeError, "score must be a function"),
        ({"log_density": 1.0}, TypeError, "log_density must be a function"),
        ({"dim": 0}, ValueError, "dim"),
        ({"chunk": 0}, ValueError, "chunk"),
        ({"arrays": "jax"}, ValueError, "arrays must be one of 'numpy', 'torch'"),
        ({"sigma_as": "scalar"}, ValueError, "sigma_as must be one of"),
    ],
)
def test_wrong_targets_are_refused(given, error, message):
    with pytest.raises(error, match=message):
        sf.targets.BatchTarget(**{"score": score} | given)


def test_files_and_checkpoints_are_refused(tmp_path):
    with pytest.raises(TypeError, match="cannot be written to a file"):
        sf.langevin(BATCH, **HOW).save(tmp_path / "run.npz")
    with pytest.raises(TypeError, match="no checkpoint"):
        sf.langevin(BATCH, **HOW, checkpoint=tmp_path / "begun")
    with pytest.raises(ValueError, match="not known"):
        _ = sf.langevin(BATCH, **HOW).exact_mean
