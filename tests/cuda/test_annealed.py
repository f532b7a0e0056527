"""Annealed chains on a GPU: the bits of traces on the CPU, and to rounding those of steps that are built in there."""

import numpy as np
import pytest
from conftest import in_both_types

import sdefast as sf
from sdefast.sampling import levels

SHORT = {"sigmas": [4.0, 1.0, 0.25], "step_size": 5e-3, "steps_per_level": 3, "n_chains": 37, "seed": 4}

TARGETS = {
    "modes": sf.targets.GaussianMixture([0.2, 0.5, 0.3], [[0.0, 0.0], [3.0, 1.0], [-2.0, 2.0]], [0.3, 0.2, 0.3]),
    "skew": sf.targets.GaussianMixture(
        [0.3, 0.7], [[0.0, 0.0], [3.0, 1.0]], [[[1.0, 0.3], [0.3, 0.5]], [[0.2, 0.0], [0.0, 0.4]]]
    ),
    "one": sf.targets.Gaussian(1.5, 0.04),
}


@pytest.mark.parametrize(("name", "dtype"), in_both_types(TARGETS))
def test_every_level_has_the_bits_of_the_cpu(name, dtype, monkeypatch):
    how = SHORT | {"dtype": dtype, "save_at": "levels"}
    tabulated, gpu = (sf.annealed_langevin(TARGETS[name], **how, device=device) for device in ("cpu", "cuda"))
    monkeypatch.setattr(levels, "_chain", lambda target, sigmas: levels._traced_chain(target))
    cpu = sf.annealed_langevin(TARGETS[name], **how)
    assert gpu.x.to_numpy().tobytes() == np.ascontiguousarray(cpu.x).tobytes()
    rounding = 1e-5 if dtype == "float32" else 1e-12
    assert gpu.mean == pytest.approx(cpu.mean, rel=rounding)
    assert np.abs(tabulated.x - cpu.x).max() < 10 * rounding


def test_sums_over_rows_of_long_traces_find_their_tables():
    """A GPU runs the trace, whose numbers are others than those of the step that the CPU takes."""
    root = np.tril(np.cos(np.arange(18 * 18)).reshape(18, 18) / 18) + np.eye(18)
    target = sf.targets.Gaussian(np.arange(18.0) / 5, root @ root.T)
    how = {"n_chains": 3, "seed": 4}
    runs = [sf.annealed_langevin(target, **SHORT | how, device=device) for device in ("cpu", "cuda")]
    assert np.abs(runs[0].x - runs[1].x.to_numpy()).max() < 1e-11
    runs = [sf.langevin(target, step_size=0.01, n_steps=4, **how, device=device) for device in ("cpu", "cuda")]
    assert np.abs(runs[0].x - runs[1].x.to_numpy()).max() < 1e-11


def test_a_score_of_many_samples_runs_on_the_cpu():
    with pytest.raises(ValueError, match="leave out device="):
        sf.annealed_langevin(lambda x, sigma: -x, **SHORT, dim=1, device="cuda")
