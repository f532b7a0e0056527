"""Rows on a GPU, or in its simulator, or from their PTX: the bits of the CPU."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="the simulator of the GPU is numba-cuda's")
pytest.importorskip("torch")

import torch
from cards import card, noted, resources
from conftest import in_both_types, thorough_but

from sdefast import diffusion
from sdefast.cuda import target
from sdefast.diffusion import arrays, gpu, kernel
from sdefast.diffusion.arrays import OUTPUT_TYPES
from sdefast.diffusion.cuda import field_step
from sdefast.diffusion.cuda.field_step import Kind
from sdefast.diffusion.kernel import Keys, State

without_a_gpu = pytest.mark.skipif(
    not target.SIMULATED, reason="with a GPU these kernels run there, in the tests above"
)

#: elements of a sample: below and above the border between small and wide, an image, above a group of 4096
SIZES = (2, 31, 32, 784, 4097)
DTYPES = ("float32", "float64")

ROW = np.array([1.1, -0.3, 1.0, 0.7, 0.2, 0.1, 0.3, -0.4, 0.5])
KEYS = Keys(2**64 - 3, 2**33 + 1)


def placed(x):
    """A tensor of the same numbers on the card; the simulator's is the host."""
    x = torch.as_tensor(x).clone()
    return x if target.SIMULATED else x.cuda()


def normals(count, n, elements, dtype):
    return np.random.default_rng(elements).normal(size=(count, n, elements)).astype(dtype)


def both(row, x, output, *, history=False, keeps=False, in_place=False, given=None, **options):
    """(out, kept, H1, first sample that is not finite) of the GPU and of the CPU."""
    found = []
    for function in (on_gpu, kernel.apply):
        put = placed if function is on_gpu else lambda a: torch.as_tensor(a).clone()
        mine, h1, h2 = put(x), put(x + 1), put(x - 2)
        out = mine if in_place else torch.full_like(mine, 7)
        kept = (h1 if history else torch.full_like(mine, 7)) if keeps else None  # D in the place of H1
        memory = {"h1": h1, "h2": h2} if history else {}
        z = None if given is None else put(given)
        said = put(output)
        code = OUTPUT_TYPES[str(said.dtype)[6:]]
        wrong = function(row, State("x", mine), said, code, out, kept=kept, given=z, **memory, **options)
        found.append((out.cpu().numpy(), h1.cpu().numpy(), None if kept is None else kept.cpu().numpy(), wrong))
    return found


def on_gpu(row, state, output, code, out, *, h1=None, h2=None, kept=None, noisy=False, given=None, keys=KEYS, key=0):
    """`kernel.apply`, whatever the tensors say of where they are."""
    return gpu.apply(row, state, output, code, out, h1, h2, kept, noisy, given, keys, key)


def assert_same(gpu_found, cpu_found):
    for have, want in zip(gpu_found, cpu_found, strict=True):
        np.testing.assert_array_equal(have, want)


@contextmanager
def everything_on_gpu(monkeypatch):
    """Arrays of the host are taken for those of a card by all calls."""
    with monkeypatch.context() as patched:
        patched.setattr(arrays._Torch, "on_gpu", lambda self, x: True)
        yield


@pytest.mark.parametrize(("elements", "dtype"), in_both_types(SIZES))
def test_bits_of_the_cpu(elements, dtype):
    x, e = normals(2, 3, elements, dtype)
    for noisy in (True, False):
        have, want = both(ROW, x, e, history=True, keeps=True, noisy=noisy, keys=KEYS, key=998)
        assert_same(have, want)
        assert (want[0] != both(ROW, x, e, noisy=noisy, keys=KEYS, key=998)[1][0]).any()  # H1 and H2 are read


@pytest.mark.parametrize("dtype", thorough_but(["float32"], DTYPES))
def test_all_kinds_of_rows(dtype):
    x, e, z = normals(3, 3, 40, dtype)
    for history in (False, True):
        for keeps in (False, True):
            for noise in ({}, {"noisy": True}, {"noisy": True, "given": z}):
                for in_place in (False, True):
                    assert_same(*both(ROW, x, e, history=history, keeps=keeps, in_place=in_place, **noise, keys=KEYS))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("output", [name for name in OUTPUT_TYPES if name != "float32"])
def test_outputs_of_other_types(output, dtype):
    x, e = normals(2, 3, 33, dtype)
    said = torch.as_tensor(e).to(getattr(torch, output))
    assert_same(*both(ROW, x, said, keeps=True, noisy=True, keys=KEYS, key=4))
    assert_same(*both(ROW, x, said))


@pytest.mark.parametrize("elements", [5, 40])
def test_rows_seeds_and_steps_of_each_sample(elements):
    n, random = 35, np.random.default_rng(1)
    x, e = normals(2, n, elements, "float32")
    rows = random.normal(size=(n, 9))
    rows[:, 2] = np.abs(rows[:, 2])
    seeds, steps = random.integers(0, 2**64, n, np.uint64, endpoint=False), random.integers(0, 999, n)
    for row, keys, key in (
        (rows, Keys(seeds, 6), steps), (rows, Keys(2**64 - 9, 6), 11), (ROW, Keys(seeds, 6), 11),
        (ROW, Keys(3, 6), steps),
    ):  # fmt: skip
        assert_same(*both(row, x, e, noisy=True, keys=keys, key=key))
    assert_same(*both(rows, x, e, history=True))


def test_the_first_sample_that_is_not_finite_is_found():
    for elements in (2, 40):
        for noisy in (False, True):
            x, e = normals(2, 40, elements, "float32")
            assert both(ROW, x, e, noisy=noisy)[0][-1] == -1
            e[39, 0], e[33, elements - 1] = np.inf, np.nan
            assert both(ROW, x, e, noisy=noisy)[0][-1] == 33
            e[33] = 0
            assert both(ROW, x, e, noisy=noisy)[0][-1] == 39  # nothing is left of what was found before


@pytest.mark.parametrize(("elements", "dtype"), in_both_types([1, 784, 4097]))
def test_noise_and_squares(elements, dtype, monkeypatch):
    x = torch.empty((3, elements), dtype=getattr(torch, dtype))
    for seed in (2**63 + 5, [4, 5, 2**64 - 1]):
        want = diffusion.randn_like(x, seed=seed, step=9, first_sample=7)
        with everything_on_gpu(monkeypatch):
            have = diffusion.randn_like(placed(x), seed=seed, step=9, first_sample=7)
            squares = kernel.squares(State("x", have))
        assert torch.equal(have.cpu(), want)
        np.testing.assert_array_equal(squares, kernel.squares(State("x", want)))


SCHEDULE = diffusion.linear_beta_schedule(1000)
PLANS = {
    "ddpm": diffusion.plan("ddpm", SCHEDULE, n_steps=3, clip=1.0),
    "dpm++2m": diffusion.plan("dpm++2m", SCHEDULE, n_steps=4, prediction="v"),
    "dpm++2m-sde": diffusion.plan_of_sigmas("dpm++2m-sde", [10.0, 3.0, 1.0, 0.2, 0.0]),
    "dpm++3m": diffusion.plan("dpm++3m", SCHEDULE, n_steps=4, prediction="v"),
    "heun": diffusion.plan_of_sigmas("heun", [10.0, 3.0, 1.0, 0.0], s_churn=1.0),
    "predictor-corrector": diffusion.plan("predictor-corrector", SCHEDULE, n_steps=3, prediction="score"),
}


@pytest.mark.parametrize("name", PLANS)
def test_whole_plans_have_the_bits_of_the_cpu(name, monkeypatch):
    def model(x, t):
        return x * 0.25

    x = diffusion.prior((3, 2, 5, 5), PLANS[name], seed=1, dtype=torch.float32)
    want = diffusion.sample(model, PLANS[name], x=x, seed=[3, 1, 2], first_sample=4)
    with everything_on_gpu(monkeypatch):
        have = diffusion.sample(model, PLANS[name], x=placed(x), seed=[3, 1, 2], first_sample=4)
    assert torch.equal(have.cpu(), want)


def test_errors_name_step_and_sample(monkeypatch):
    def model(x, t):
        x = x.clone()
        x[2] *= torch.nan if int(t[0]) == 333 else 1
        return x

    with everything_on_gpu(monkeypatch), pytest.raises(FloatingPointError, match="at timestep 333, in sample 2"):
        diffusion.sample(model, PLANS["ddpm"], x=placed(torch.ones(3, 4)))
    with everything_on_gpu(monkeypatch), pytest.raises(ValueError, match="have noise for 268435456 steps"):
        diffusion.randn_like(placed(torch.ones(3, 4000)), step=2**28)


def test_other_devices_are_refused():
    with pytest.raises(ValueError, match="on a CPU or on a GPU of CUDA, got device meta"):
        diffusion.randn_like(torch.ones(3, 4, device="meta"))


# From the PTX --------------------------------------------------------------------------------------------------------


@pytest.fixture
def compiled(machines):
    """Launches execute the PTX of the kernels."""
    with card(lambda program, *how: machines[program][1].run(*how)):
        yield


@without_a_gpu
@pytest.mark.parametrize("dtype", DTYPES)
def test_compiled_kernels_have_the_bits_of_the_cpu(dtype, compiled):
    for n, elements in ((40, 5), (3, 4500)):
        x, e = normals(2, n, elements, dtype)
        e[n - 1, 1] = np.nan
        assert_same(*both(ROW, x, e, history=True, keeps=True, noisy=True, keys=KEYS, key=998))
        rows = np.random.default_rng(1).normal(size=(n, 9))
        said = torch.as_tensor(e).to(torch.bfloat16)
        seeds = np.arange(n).astype(np.uint64) + np.uint64(2**63)
        assert_same(*both(rows, x, said, noisy=True, keys=Keys(seeds, 6), key=np.arange(n)))
        assert_same(*both(ROW, x, e, history=True, keeps=True, in_place=True))


@without_a_gpu
@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_compiled_kernels_convert_every_number_of_half_precision(name, compiled):
    said = torch.arange(2**16, dtype=torch.int32).to(torch.uint16).view(getattr(torch, name))[None]
    row = np.array([0, 0, np.inf, 0, 0, 1.0, 0, 0, 0])
    have, want = both(row, torch.zeros(1, 2**16), said)
    assert have[-1] == want[-1] == 0  # infinities and NaN are among them
    np.testing.assert_array_equal(have[0], want[0])


@without_a_gpu
def test_compiled_noise_and_squares(compiled, monkeypatch):
    for dtype in (torch.float32, torch.float64):
        want = diffusion.randn_like(torch.empty(2, 4500, dtype=dtype), seed=5, step=9)
        with everything_on_gpu(monkeypatch):
            have = diffusion.randn_like(torch.empty(2, 4500, dtype=dtype), seed=5, step=9)
            squares = kernel.squares(State("x", have))
        assert torch.equal(have, want)
        np.testing.assert_array_equal(squares, kernel.squares(State("x", want)))


@without_a_gpu
def test_threads_need_no_memory_of_their_own(machines, tmp_path):
    """No local arrays and nothing spilled; enough warps fit to hide what they wait for."""
    for dtype, most in (("float32", 64), ("float64", 96)):
        program = field_step.program(Kind(dtype, dtype, True, True, "drawn", False))
        found = resources(machines[program][0], tmp_path)
        assert (found.local, found.spilled) == (0, 0)
        assert found.registers <= most


@without_a_gpu
def test_kernels_are_told_apart_by_their_kind_alone():
    """Rows, sizes and seeds do not compile anything; coefficients that a row does not read are no arguments."""

    def work():
        for elements, seed, row in ((4, 1, ROW), (4000, 2, 2 * ROW)):
            x, e = normals(2, 2, elements, "float32")
            state = SimpleNamespace(**{k: getattr(State("x", x), k) for k in State.__slots__})
            on_gpu(row, state, e, 0, x.copy(), noisy=True, keys=Keys(seed))

    (program,) = noted(work)
    assert program.names == (
        "n", "elements", "out", "x", "output", "wrong", "p", "q", "limit", "a", "b", "g", "s", "seed", "first_sample",
        "step",
    )  # fmt: skip
