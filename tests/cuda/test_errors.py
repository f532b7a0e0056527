"""What is said where there is no GPU, no numba-cuda, or no such device."""

import importlib.util
import sys

import pytest
from conftest import has_gpu, python

import sdefast as sf

RUN = {"x0": 1.0, "t1": 1.0, "n_steps": 2, "n_paths": 2}


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:-1", "CUDA", "cuda:1.0", ""])
def test_unknown_devices_are_refused(device):
    with pytest.raises(ValueError, match="device must be 'cpu', 'cuda' or 'cuda:N', got"):
        sf.simulate(sf.CIR(), **RUN, device=device)


@pytest.mark.parametrize("device", [None, 0, True])
def test_devices_are_strings(device):
    with pytest.raises(TypeError, match="device must be 'cpu', 'cuda' or 'cuda:N', got"):
        sf.simulate(sf.CIR(), **RUN, device=device)


def test_devices_that_are_not_there():
    with pytest.raises(ValueError, match=r"device='cuda:99' is not there: the GPUs are cuda:0 to cuda:\d+"):
        sf.simulate(sf.CIR(), **RUN, device="cuda:99")


def test_executors_are_for_the_cpu():
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool, pytest.raises(TypeError, match="executor is for device='cpu'"):
        sf.simulate(sf.CIR(), **RUN, device="cuda", executor=pool)


def test_without_numba_cuda(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "numba_cuda" else found(name))
    with pytest.raises(ImportError, match=r"device='cuda' needs numba-cuda: pip install 'sdefast\[cuda\]'"):
        sf.simulate(sf.CIR(), **RUN, device="cuda")


@pytest.mark.skipif(has_gpu(), reason="there is a GPU")
def test_without_a_gpu():
    code = """
import sdefast as sf
try:
    sf.simulate(sf.CIR(), x0=1.0, t1=1.0, n_steps=2, n_paths=2, device="cuda")
except RuntimeError as error:
    print(error)
"""
    said = python(code, NUMBA_ENABLE_CUDASIM="0")
    assert "device='cuda' needs an NVIDIA GPU and its driver" in said
    assert len(said.splitlines()) == 1


def test_importing_needs_neither():
    code = "import sys, sdefast; print([m for m in ('numba', 'numba_cuda', 'torch', 'cuda') if m in sys.modules])"
    assert python(code).strip() == "[]"


def test_the_stream_that_torch_uses(monkeypatch):
    """What torch has queued on its current stream comes before our kernels; without torch it is the default stream."""
    import types

    from sdefast.cuda import target

    streams = types.SimpleNamespace(
        external_stream=lambda handle: ("external", handle), default_stream=lambda: "default"
    )
    monkeypatch.setattr(target, "SIMULATED", False)
    monkeypatch.setattr(target, "cuda", streams)
    device = target.Device(1)

    def torch(initialized, handle):
        stream = types.SimpleNamespace(cuda_stream=handle)
        current = types.SimpleNamespace(
            is_initialized=lambda: initialized, current_stream=lambda number: (number, stream)[1]
        )
        return types.SimpleNamespace(cuda=current)

    for there, expected in ((None, "default"), (torch(False, 7), "default"), (torch(True, 0), "default")):
        monkeypatch.setitem(sys.modules, "torch", there)
        assert device.stream() == expected
    monkeypatch.setitem(sys.modules, "torch", torch(True, 7))
    assert device.stream() == ("external", 7)
