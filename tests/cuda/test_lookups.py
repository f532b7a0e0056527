"""What is looked up in tables on a GPU: the bits of the CPU, in numba's simulator."""

import numpy as np
import pytest
from sde.test_tables import MODEL, OBSERVED, UNEVEN, seasonal

import sdefast as sf

SHORT = {"t1": 2.0, "n_steps": 4, "n_paths": 7, "seed": 9, "save_at": "all"}


SEASONAL = seasonal(UNEVEN, np.cos(UNEVEN))


@pytest.mark.parametrize(("model", "x0", "dtype"), [(MODEL, (0.3, -0.5), "float32"), (SEASONAL, 1.0, "float64")])
def test_the_bits_of_the_cpu(model, x0, dtype):
    observed = OBSERVED if model is MODEL else {}
    cpu, gpu = (
        sf.simulate(model, x0=x0, device=device, dtype=dtype, expectations=observed, **SHORT)
        for device in ("cpu", "cuda")
    )
    assert gpu.x.to_numpy().tobytes() == np.ascontiguousarray(cpu.x).tobytes()
    for name in observed:
        have, want = (run.expectations[name].value for run in (gpu, cpu))
        np.testing.assert_allclose(have, want, rtol=1e-6)
