"""The noise contract: words to the bit, normals to a few eps of their radius, the same at every instruction set."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import reference
from conftest import thorough_but
from hypothesis import given, settings
from hypothesis import strategies as st
from known_answers import make

from sdefast import _core, noise

KNOWN = make.read()
CHAINS = np.array([0, 1, 5, 2**32 - 1, 2**32, 2**40 + 3, 2**61], np.uint64)

# What |z - exact| reaches, in units of eps times the radius. Measured on 1.2e7 and 1e6 pairs: 3.9 and 23.7. In float32
# the worst errors of all angles and of all radii add up to 4.2.
WORST = {"float32": 4.5, "float64": 30.0}

long_double_is_wider = pytest.mark.skipif(
    np.finfo(np.longdouble).eps > 1e-18, reason="the reference for float64 normals needs a wider long double"
)
both = pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=long_double_is_wider)])


def by_chain(draw, *args, chains=CHAINS, **options):
    """The library's draws of chains that are no range, side by side."""
    return np.hstack([draw(*args, first_chain=int(chain), **options) for chain in chains])


@pytest.mark.parametrize("case", KNOWN["published"]["philox4x32-10"])
def test_reference_is_philox(case):
    key, counter = ([int(word, 16) for word in case[name]] for name in ("key", "counter"))
    assert [f"{word[0]:08x}" for word in reference.philox4x32_10(key, counter)] == case["words"]


@pytest.mark.parametrize("case", KNOWN["published"]["xoshiro128++"])
def test_reference_is_xoshiro(case):
    assert reference.xoshiro128plusplus(case["state"], len(case["words"]))[:, 0].tolist() == case["words"]


@pytest.mark.parametrize("seed", [0, 1, 2**32, 2**64 - 1])
@pytest.mark.parametrize("stream", [0, 1, 2, 2**32 - 1])
@pytest.mark.parametrize("first", [0, 1000, 1024, 2**40 - 5])
def test_words(seed, stream, first):
    have = by_chain(noise.words, seed, 1100, stream=stream, first_word=first)
    np.testing.assert_array_equal(have, reference.words(seed, stream, CHAINS, first, 1100))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("first", [0, 505, 1023, 2**33 + 1])
def test_uniforms(dtype, first):
    have = by_chain(noise.uniforms, 11, 600, first_draw=first, dtype=dtype)
    assert have.dtype == dtype
    np.testing.assert_array_equal(have, reference.uniforms(11, 600, CHAINS, first, dtype))


def worst_error(seed, n_pairs, first_chain, n_chains, dtype):
    """The largest |z - exact| / (eps r) over both members of all pairs."""
    wider, chains = reference.wider(dtype), first_chain + np.arange(n_chains, dtype=np.uint64)
    polar = reference.polar(seed, chains, 0, n_pairs, dtype)
    scale = np.finfo(dtype).eps * reference.radius(polar, wider)
    z = noise.normals(seed, 2 * n_pairs, n_chains, first_chain=first_chain, dtype=dtype)
    exact = reference.box_muller(polar, wider)
    return max(np.max(np.abs(z[member::2] - exact[member]) / scale) for member in (0, 1))


@both
def test_normals_are_accurate(dtype):
    assert worst_error(3, 512, 2**33, 1000, dtype) < WORST[dtype]


@both
@pytest.mark.parametrize("first", [0, 1, 507, 1023, 2**33 + 1])
def test_normals_are_those_of_the_reference(dtype, first):
    """Offsets, odd ones too, and far chains; the bound holds for radii up to 9.5."""
    have = by_chain(noise.normals, 2**63 + 9, 40, first_draw=first, dtype=dtype)
    assert have.dtype == dtype
    want = reference.normals(2**63 + 9, 40, CHAINS, first, dtype)
    assert np.abs(have - want).max() < 9.5 * WORST[dtype] * np.finfo(dtype).eps


def test_the_tail_is_kept():
    """A radius word of 16 among 2^32: a cut to 24 bits would end at 5.77."""
    z = noise.normals(0, 2, first_draw=824, first_chain=550039, dtype="float32")
    want = reference.normals(0, 2, 550039, 824, "float32")
    np.testing.assert_allclose(z, want, rtol=5e-7)
    assert np.abs(z).max() > 6


@both
def test_brownian(dtype):
    times, wider = np.array([0.0, 0.5, 0.75, 3.0]), reference.wider(dtype)
    options = {"dim": 3, "first_step": 341, "dtype": dtype}
    have = noise.brownian(5, times, 4, first_chain=2**32 - 2, increments=True, **options)
    want = reference.brownian_increments(5, np.diff(times), 2**32 - 2 + np.arange(4, dtype=np.uint64), **options)
    assert have.dtype == dtype
    assert np.abs(have - want).max() < 40 * WORST[dtype] * np.finfo(dtype).eps
    path = noise.brownian(5, times, 4, first_chain=2**32 - 2, **options)
    np.testing.assert_array_equal(path[0], 0)
    np.testing.assert_allclose(np.diff(path.astype(wider), axis=0), want, atol=1e3 * np.finfo(dtype).eps)


# Everything in one digest per kind: draws in amounts that are no round numbers, and the vector math on a wide range.
DIGESTS = """
import hashlib, json, sys
import numpy as np
sys.path.insert(0, sys.argv[1])
from known_answers import make
from sdefast import _core, noise

digests = {}
for dtype in ("float32", "float64"):
    u = noise.uniforms(1, 1111, 97, dtype=dtype)
    x = ((u - 0.5) * 1500 * u).astype(dtype).ravel()
    power = (10 * u).ravel()
    with np.errstate(over="ignore"):
        wide = np.exp(np.clip(x, *((-87, 88) if dtype == "float32" else (-700, 700)))).astype(dtype)
    results = {
        "normals": noise.normals(1, 2345, 97, first_draw=3, first_chain=2**32 - 50, dtype=dtype),
        "uniforms": u,
        "exp": _core.exp(x),
        "log": _core.log(wide),
        "pow": _core.pow(wide, power),
    }
    for name, values in results.items():
        digests[f"{name} {dtype}"] = hashlib.sha256(values.tobytes()).hexdigest()
digests["words"] = hashlib.sha256(noise.words(1, 2345, 97).tobytes()).hexdigest()
print(json.dumps({"isa": _core.isa, "answers": make.answers(), "digests": digests}))
"""


def python(code, isa):
    """Run code in a process of its own, since the instruction set is chosen once at import."""
    command = [sys.executable, "-c", code, str(Path(__file__).parents[1])]
    return subprocess.run(command, env={**os.environ, "SDEFAST_ISA": isa}, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def run_at():
    """Digests and known answers at an instruction set, each computed once."""
    results = {}

    def run(isa):
        if isa not in results:
            process = python(DIGESTS, isa)
            assert process.returncode == 0, process.stderr
            results[isa] = json.loads(process.stdout)
        return results[isa]

    return run


@pytest.mark.parametrize("isa", thorough_but([_core.isas[0], _core.isas[-1]], _core.isas))
def test_known_answers_at_every_instruction_set(run_at, isa):
    result = run_at(isa)
    assert result["isa"] == isa
    for kind, cases in KNOWN["sdefast"].items():
        assert result["answers"][kind] == cases, kind


@pytest.mark.parametrize("isa", _core.isas[1:])
def test_every_instruction_set_gives_the_same_bits(run_at, isa):
    assert run_at(isa)["digests"] == run_at(_core.isas[0])["digests"]


def test_known_answers_cover_far_chains_and_segment_borders():
    for cases in KNOWN["sdefast"].values():
        assert any(case["chain"] > 2**32 for case in cases)
        assert any(case["first"] < 1024 < case["first"] + len(case["values"]) for case in cases)


def test_an_unknown_instruction_set_is_refused():
    process = python("import sdefast", "avx1024")
    assert process.returncode != 0
    error = process.stderr.strip().splitlines()[-1]
    assert error.startswith("ImportError: SDEFAST_ISA must be one of")
    assert error.endswith("got 'avx1024'")
    assert all(isa in error for isa in _core.isas)


WHOLE = {
    (kind, dtype): getattr(noise, kind)(13, 1300, 600, dtype=dtype)
    for kind in ("normals", "uniforms")
    for dtype in ("float32", "float64")
}


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(sorted(WHOLE)), st.integers(0, 1299), st.integers(0, 1300), st.integers(0, 599), st.integers(0, 600)
)
def test_slices_are_those_of_one_big_array(key, first_draw, n_draws, first_chain, n_chains):
    kind, dtype = key
    n_draws, n_chains = min(n_draws, 1300 - first_draw), min(n_chains, 600 - first_chain)
    part = getattr(noise, kind)(13, n_draws, n_chains, first_draw=first_draw, first_chain=first_chain, dtype=dtype)
    want = WHOLE[key][first_draw : first_draw + n_draws, first_chain : first_chain + n_chains]
    np.testing.assert_array_equal(part, want)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**40), st.integers(0, 2**62), st.integers(0, 40), st.integers(0, 40))
def test_far_slices_overlap_consistently(first, chain, later, further):
    """Two windows on the same draws, anywhere, agree where they overlap."""
    first, chain = min(first, 2**40 - 40), min(chain, 2**62 - 40)
    whole = noise.normals(21, 80, 80, first_draw=first, first_chain=chain, dtype="float32")
    part = noise.normals(21, 40, 40, first_draw=first + later, first_chain=chain + further, dtype="float32")
    np.testing.assert_array_equal(part, whole[later : later + 40, further : further + 40])
