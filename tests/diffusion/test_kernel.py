"""The kernel of rows against plain numpy on the same noise, the noise of fields draw by draw, and bits."""

import json
import os
import subprocess
import sys
from itertools import product

import numpy as np
import pytest

from sdefast import _core, diffusion, noise
from sdefast.diffusion import kernel
from sdefast.diffusion.arrays import OUTPUT_TYPES
from sdefast.diffusion.kernel import Keys, State

#: elements of a sample: below and above the border between small and wide, and around a group of 4096
SIZES = (1, 2, 31, 32, 33, 784, 4096, 4097, 9000)

ROW = np.array([1.1, -0.3, 1.0, 0.7, 0.2, 0.1, 0.3, -0.4, 0.5])
NO_NOISE = np.array([*ROW[:8], 0.0])


def contract(seed, step, sample, elements, dtype):
    """The noise of a sample, draw by draw from `sdefast.noise.normals`, as csrc/noise/field.hpp says."""
    draws, width = 256, 16 if elements >= 32 else 1
    segments = width * -(-elements // (width * draws))
    in_segment = 1024 if dtype == "float32" else 512
    z = np.empty(elements, dtype)
    for lane in range(width):
        for group in range(segments // width):
            first = (step * segments + width * group + lane) * in_segment
            drawn = noise.normals(seed, draws, first_draw=first, first_chain=sample, dtype=dtype)[:, 0]
            part = z[group * draws * width :][lane : draws * width : width]
            part[...] = drawn[: len(part)]
    return z


def arrays(n, elements, dtype, count):
    random = np.random.default_rng(elements)
    return [random.normal(size=(n, elements)).astype(dtype) for _ in range(count)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("elements", SIZES)
def test_noise_is_that_of_the_contract(elements, dtype):
    n = 35 if elements < 32 else 3  # more than a row of lanes
    x = np.zeros((n, elements), dtype)
    z = diffusion.randn_like(x, seed=2**63 + 5, step=9, first_sample=2**32 - 2)
    for i in (0, 1, n - 1):
        np.testing.assert_array_equal(z[i], contract(2**63 + 5, 9, 2**32 - 2 + i, elements, dtype))


@pytest.mark.parametrize("output_type", list(OUTPUT_TYPES))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("elements", [3, 33, 4100])
def test_row_is_what_numpy_computes(elements, dtype, output_type):
    torch = pytest.importorskip("torch")
    n = 34
    x, e, h1, h2 = arrays(n, elements, dtype, 4)
    said = torch.as_tensor(e).to(getattr(torch, output_type))
    out, kept = np.empty_like(x), np.empty_like(x)
    row = np.array([*ROW])
    row[2] = 0.8  # clips some
    state, address = State("x", x), kernel.library_of("x", x).address
    pointers = (
        address(x), said.data_ptr(), OUTPUT_TYPES[output_type], address(h1), address(h2), address(out), address(kept),
        True, 0,
    )  # fmt: skip
    assert kernel._run(state, row, pointers, True, Keys(4, 7), 3, None) == -1
    e, z = said.double().numpy(), diffusion.randn_like(x, seed=4, step=3, first_sample=7)
    D = np.clip(row[0] * x + row[1] * e, -row[2], row[2])
    assert 0.05 < (np.abs(D) == row[2]).mean() < 0.95
    want = row[3] * x + row[4] * D + row[5] * e + row[6] * h1 + row[7] * h2 + row[8] * z
    near = 4 * np.finfo(dtype).eps
    np.testing.assert_allclose(kept, D, atol=near)
    np.testing.assert_allclose(out, want, atol=4 * near, rtol=0)


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_every_number_of_half_precision_is_converted(name):
    torch = pytest.importorskip("torch")
    said = torch.arange(2**16, dtype=torch.int32).to(torch.uint16).view(getattr(torch, name))[None]
    x, out = torch.zeros(1, 2**16), torch.empty(1, 2**16)
    row = np.array([0, 0, np.inf, 0, 0, 1.0, 0, 0, 0])
    wrong = kernel.apply(row, State("x", x), said, OUTPUT_TYPES[name], out)
    assert wrong == 0  # infinities and NaN are among them
    finite = said.float().isfinite()
    assert torch.equal(out[finite], said.float()[finite])
    assert not out[~finite].isfinite().any()


def test_rows_seeds_and_steps_of_each_sample():
    for elements in (5, 40):
        x, e = arrays(35, elements, "float64", 2)
        random = np.random.default_rng(1)
        rows = random.normal(size=(35, 9))
        rows[:, 2], rows[:, 6:8] = np.inf, 0.0
        seeds, steps = random.integers(0, 2**62, 35).astype(np.uint64), random.integers(0, 999, 35)
        out = np.empty_like(x)
        kernel.apply(rows, State("x", x), e, 1, out, noisy=True, keys=Keys(seeds, 6), key=steps)
        for i in (0, 33, 34):
            one = np.empty((1, elements))
            alone = Keys(int(seeds[i]), 6)
            kernel.apply(rows[i], State("x", x[i : i + 1]), e[i : i + 1], 1, one, noisy=True, keys=alone, key=steps[i])
            np.testing.assert_array_equal(one[0], out[i])


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("output", ["float32", "float64", "float16"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_not_unusual_is_done_at_once_with_the_same_bits(dtype, output, library, monkeypatch):
    x, e, h1, h2, z = arrays(5, 40, dtype, 5)
    e = e.astype(output)
    if library == "torch":
        torch = pytest.importorskip("torch")
        x, e, h1, h2, z = map(torch.from_numpy, (x, e, h1, h2, z))
    empty = kernel.library_of("x", x).empty_like

    def found(**how):
        out, kept = empty(x), empty(x)
        assert (
            kernel.apply(ROW, State("x", x), e, OUTPUT_TYPES[output], out, kept=kept, keys=Keys(3, 8), key=5, **how)
            == -1
        )
        return np.stack([out, kept])

    ways = [{}, {"noisy": True}, {"noisy": True, "given": z}, {"h1": h1, "noisy": True}, {"h1": h1, "h2": h2}]
    at_once = [found(**how) for how in ways]
    assert len({a.tobytes() for a in at_once}) == len(ways)
    monkeypatch.setattr(kernel._core, "field_row_at_once", lambda *given: None)
    for how, have in zip(ways, at_once, strict=True):
        np.testing.assert_array_equal(have, found(**how))
    monkeypatch.undo()
    monkeypatch.setattr(kernel, "_run", None)
    np.testing.assert_array_equal(at_once[1], found(noisy=True))


@pytest.mark.parametrize("elements", [7, 784, 5000])
def test_bits_depend_on_neither_batch_nor_threads_nor_place(elements, monkeypatch):
    monkeypatch.setattr(kernel, "_LEAST", {True: 1, False: 1})
    monkeypatch.setattr(kernel._core, "field_row_at_once", lambda *given: None)
    monkeypatch.setattr(kernel.resources, "available_threads", lambda: 8)
    x, e, h1 = arrays(67, elements, "float32", 3)

    def run(part=slice(None), threads=1, in_place=False):
        mine = x[part].copy()
        out = mine if in_place else np.empty_like(mine)
        kept = h1[part].copy()  # D takes its place
        keys = Keys(3, part.start or 0)
        kernel.apply(ROW, State("x", mine), e[part], 0, out, h1=kept, h2=kept, kept=kept, noisy=True, keys=keys, key=5,
                     threads=threads)  # fmt: skip
        return np.stack([out, kept])

    whole = run()
    for threads in (2, 3, 8):
        np.testing.assert_array_equal(run(threads=threads), whole)
    np.testing.assert_array_equal(run(in_place=True), whole)
    for first, last in ((0, 1), (31, 34), (66, 67)):
        np.testing.assert_array_equal(run(slice(first, last)), whole[:, first:last])


def test_the_first_sample_that_is_not_finite_is_found(monkeypatch):
    monkeypatch.setattr(kernel, "_LEAST", {True: 1, False: 1})  # threads divide the smallest batch, and samples
    monkeypatch.setattr(kernel._core, "field_row_at_once", lambda *given: None)
    monkeypatch.setattr(kernel.resources, "available_threads", lambda: 8)
    torch = pytest.importorskip("torch")
    for elements, threads in product((2, 31, 32, 5000), (1, 2, 7)):
        x, e = arrays(40, elements, "float32", 2)
        assert kernel.apply(ROW, State("x", x), e, 0, np.empty_like(x), h1=x, threads=threads) == -1
        e[39, 0], e[33, elements - 1] = np.inf, np.nan
        assert kernel.apply(ROW, State("x", x), e, 0, np.empty_like(x), h1=x, threads=threads) == 33
        half = torch.from_numpy(e).bfloat16()
        state = State("x", torch.from_numpy(x))
        out = torch.empty_like(state.x)
        assert kernel.apply(ROW, state, half, OUTPUT_TYPES["bfloat16"], out, h1=state.x, threads=threads) == 33
        x[[3, 32]], e[[3, 32]] = 3.4e38, 3e38  # what they become is not finite, yet their outputs are
        new = np.empty_like(x)
        assert kernel.apply(ROW, State("x", x), e, 0, new, h1=x, threads=threads) == 33
        assert not np.isfinite(new[[3, 32]]).any()
        assert kernel.apply(ROW, State("x", x), e, 0, e, h1=x, threads=threads) == 33  # written over the output


def test_squares_are_summed_in_double_precision():
    for elements in (1, 31, 4097):
        (x,) = arrays(3, elements, "float32", 1)
        np.testing.assert_allclose(kernel.squares(State("x", x)), (x.astype(float) ** 2).sum(1), rtol=1e-13)


BITS = """
import hashlib, json
import numpy as np
from sdefast import _core, diffusion
from sdefast.diffusion import kernel
from sdefast.diffusion.kernel import Keys, State
digests = {}
for dtype in ("float32", "float64"):
    for elements in (3, 784, 4100):
        x, e, h = np.random.default_rng(elements).normal(size=(3, 37, elements)).astype(dtype)
        out, row = np.empty_like(x), np.array([1.1, -0.3, 0.9, 0.7, 0.2, 0.1, 0.3, -0.4, 0.5])
        code = 0 if dtype == "float32" else 1
        kernel.apply(row, State("x", x), e, code, out, h1=h, h2=x, kept=h, noisy=True, keys=Keys(2, 5), key=8)
        half = e.astype(np.float16)
        kernel.apply(row, State("x", x), half, 3, x)
        digests[f"{dtype} {elements}"] = hashlib.sha256(b"".join(a.tobytes() for a in (out, h, x))).hexdigest()
print(json.dumps([_core.isa, digests]))
"""


def test_every_instruction_set_gives_the_same_bits():
    found = {}
    for isa in _core.isas:
        environment = {**os.environ, "SDEFAST_ISA": isa}
        run = subprocess.run([sys.executable, "-c", BITS], env=environment, capture_output=True, text=True, check=True)
        name, found[isa] = json.loads(run.stdout)
        assert name == isa
    assert all(digests == found[_core.isas[0]] for digests in found.values())


def test_bindings_refuse_what_does_not_fit():
    x = np.zeros((2, 3), np.float32)
    at = x.__array_interface__["data"][0]

    def call(row=ROW, seed=1, step=0, last=1, kind=0):
        return _core.field_step(False, row, 2, 3, at, at, kind, 0, 0, at, 0, True, 0, seed, 0, step, 0, last)

    assert call() == -1
    for wrong in (
        {"row": ROW[:8]}, {"row": np.zeros((3, 9))}, {"seed": np.zeros(3, np.uint64)}, {"step": -1}, {"last": 2},
        {"kind": 4}, {"step": np.zeros(1, np.int64)},
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"must|row has|units|type"):
            call(**wrong)
