"""Parameters of which every path has its own on a GPU: the bits of the CPU, in numba's simulator."""

import numpy as np
import pytest

import sdefast as sf


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_bits_of_the_cpu(dtype):
    model = sf.BlackScholes(mu=np.linspace(0.0, 1.0, 7), sigma=0.2)
    expectations = {"net": lambda t, x, p: x[0] - p.mu}
    cpu, gpu = (
        sf.simulate(
            model, x0=1.0, t1=1.0, n_steps=4, n_paths=7, seed=1, dtype=dtype, save_at="all", device=device,
            expectations=expectations,
        )
        for device in ("cpu", "cuda")
    )  # fmt: skip
    assert gpu.x.to_numpy().tobytes() == np.ascontiguousarray(cpu.x).tobytes()
    np.testing.assert_allclose(gpu.expectations["net"].value, cpu.expectations["net"].value, rtol=1e-6)
