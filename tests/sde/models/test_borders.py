"""Steps where square roots and powers meet the border of the state space: one by one in plain numpy, on equal noise.

Every step begins at the state that the run itself has reached, so that rounding errors do not add up: all that may
differ are a few units in the last place of what a step adds.
"""

import numpy as np
import pytest
import reference
from conftest import BORDERS, TYPES, thorough_but

import sdefast as sf

T1, N_STEPS, N_PATHS, SEED = 1.5, 60, 301, 11
CARRIED = {"functionals": {"average": sf.functionals.time_average()}}  # with which a step is compiled


@pytest.mark.parametrize(
    ("name", "types", "extras"),
    [
        *((name, types, {}) for name in BORDERS for types in TYPES),
        *thorough_but(
            [("cir", TYPES[0], CARRIED), ("heston", TYPES[2], CARRIED), ("cev", TYPES[1], CARRIED)],
            [(name, types, CARRIED) for name in BORDERS for types in TYPES],
        ),
    ],
)
def test_steps_from_below_0_and_to_it(name, types, extras):
    model, x0 = BORDERS[name]
    options = {"seed": SEED, "dtype": types[0], "noise_dtype": types[1], "save_at": "all", **extras}
    run = sf.simulate(model, x0=x0, t1=T1, n_steps=N_STEPS, n_paths=N_PATHS, **options)
    x, h, eps = run.x.astype(float), T1 / N_STEPS, np.finfo(types[0]).eps
    z = sf.noise.normals(SEED, N_STEPS * model.noise_dim, N_PATHS, dtype=types[1]).astype(float)
    dw = np.sqrt(h) * z.reshape(N_STEPS, model.noise_dim, N_PATHS).transpose(0, 2, 1)
    for old, new, step in zip(x, x[1:], dw, strict=False):
        added = np.abs(reference.drift(model, old) * h)
        added += np.einsum("nij,nj->ni", np.abs(reference.diffusion(model, old)), np.abs(step))
        expected = reference.euler_maruyama_step(model, old, h, step)
        assert (np.abs(new - expected) <= 8 * eps * (np.abs(old) + added)).all()
    last = x[:-1, :, -1]  # the component that has a border
    assert ((last <= 0).sum() > 500) & ((last > 0).sum() > 500)
    if isinstance(model, sf.CEV):
        assert last.min() == 0
        assert (x[1:][x[:-1] == 0] == 0).all()
    else:
        assert last.min() < -0.01
        assert np.diff(x[..., -1], axis=0)[last < 0] == pytest.approx(model.kappa * model.theta * h, rel=1e-2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_absorption_keeps_what_is_no_number(dtype):
    """A path that has left all bounds is told of, and does not end at 0 as if it were absorbed."""
    start = 0.9 * float(np.finfo(dtype).max)
    with pytest.warns(RuntimeWarning, match="no longer finite"):
        run = sf.simulate(
            sf.CEV(mu=2.0, sigma=3.0, beta=1.0), x0=start, t1=1.0, n_steps=10, n_paths=300, seed=1, dtype=dtype,
            save_at="all",
        )  # fmt: skip
    x = run.x[:, :, 0]
    gone = np.maximum.accumulate(~np.isfinite(x), axis=0)
    assert np.isnan(x).any()
    assert not np.isfinite(x[gone]).any()
    np.testing.assert_array_equal(run.n_nonfinite, gone.sum(axis=1))
