"""Compiled kernels: their source, their assembly, and the folder in which they are kept."""

import ctypes
import math
import os
import re
from dataclasses import replace

import numpy as np
import pytest
from conftest import python, thorough_but

import sdefast as sf
from sdefast.jit import cache, compile, emit, machine
from sdefast.sde import settings as sde_settings
from sdefast.sde.chain import Chain, Extras
from sdefast.sde.schemes import SCHEMES
from sdefast.sde.sde import sde_of
from sdefast.trace import symbol

VAN_DER_POL = sf.SDE(
    drift=lambda t, x, p: (x[1], p.mu * (1 - x[0] ** 2) * x[1] - x[0]),
    diffusion=lambda t, x, p: (p.s, p.s),
    dim=2,
    params={"mu": 1.0, "s": 0.2},
)
PENDULUM = sf.SDE(
    drift=lambda t, x, p: (x[1], -math.sin(x[0]) - math.tanh(x[1]) + math.exp(-x[0]) * math.cos(t)),
    diffusion=lambda t, x, p: (0.0, 0.1 * abs(x[0]) ** 1.5),
    dim=2,
)
OU = sde_of(sf.OrnsteinUhlenbeck())
HESTON = sde_of(sf.Heston())

KERNELS = [
    *((name, sde, "euler-maruyama") for name, sde in (("ou", OU), ("vdp", VAN_DER_POL), ("heston", HESTON))),
    ("pendulum", PENDULUM, "euler-maruyama"),
    *((f"vdp {scheme}", VAN_DER_POL, scheme) for scheme in ("heun", "milstein", "sriw1", "weak2", "implicit-euler")),
    ("ou weak-euler", OU, "weak-euler"),
]

PACKED = re.compile(r"\b(vfn?m(?:add|sub)\d*p[sd]|vmulp[sd]|vaddp[sd]|vsubp[sd])\b")


def packed_register():
    _, features = machine.processor()
    if "+avx512f" in features:
        return "zmm"
    if "+avx2" in features and "+fma" in features:
        return "ymm"
    pytest.skip("this processor has no AVX2, the narrowest level whose kernels are packed")


@pytest.mark.parametrize(
    ("name", "dtype"),
    thorough_but(
        [(name, ("float64", "float32")[i % 2]) for i, (name, *_) in enumerate(KERNELS[::2])],
        [(name, dtype) for name, *_ in KERNELS for dtype in ("float64", "float32")],
    ),
)
def test_vectorised(name, dtype):
    """The loop over lanes uses the widest registers and calls nothing."""
    sde, method = next(others for of, *others in KERNELS if of == name)
    register = packed_register()
    program = Chain(sde, SCHEMES[method], Extras()).program(dtype, dtype)
    module = machine.optimised(compile.instructions(program.source, program.signature, program.dtype))
    functions = [f.name for f in module.functions if f.is_declaration]
    lines = machine.native().emit_assembly(module).splitlines()
    packed = sum(1 for line in lines if PACKED.search(line) and register in line)
    assert packed >= 4
    assert not [f for f in functions if not f.startswith("llvm.")]
    if dtype == "float32":  # the clock is float64, lanes are not
        assert not [line for line in lines if re.search(r"v(add|mul|fmadd\d*)pd", line)]


def test_source():
    """What is equal in all lanes is computed once a step, and products are added in one rounding."""
    single = emit.stepper_source(Chain(OU, SCHEMES["euler-maruyama"], Extras()).step, 1)
    before, after = single.split("for l in range(lanes):")
    assert "p_kappa * h_v" in before
    assert "p_sigma * root_v" in before
    assert "p_kappa" not in after
    assert "fma_(" in after


#: Two rounds of exponentials, of which the second needs the first, and a function of its own.
LONG = sf.SDE(
    drift=lambda t, x, p: (math.exp(-x[0] - math.exp(x[1])) - math.exp(x[0] - x[1]), -math.exp(-x[1]) - math.sin(x[0])),
    diffusion=lambda t, x, p: (0.1, 0.1),
    dim=2,
)


def one_after_the_other(source):
    """The source of a kernel without vectors in pairs and functions side by side."""

    def split(found):
        pairs = zip(found[2].split(", "), found[3].split(", "), strict=True)
        return "".join(f"{found[1]}{name} = {call}\n" for name, call in pairs)

    return re.sub(r"( +)(v\w+, .*) = (exp_.*)\n", split, source.replace("in paired(", "in range("))


def stepped(program, n_steps=3, lanes=96):
    """What a stepper makes of rows of two components."""
    kernel = compile.function(program.source, tuple(program.signature), program.dtype)
    integer, size, array = ctypes.c_int64, ctypes.c_int32, ctypes.c_void_p
    run = ctypes.CFUNCTYPE(None, array, *[integer] * 3, *[size] * 3, *[array] * 5)(kernel.address)
    random = np.random.default_rng(1)
    x, z = (random.normal(size=shape).astype(program.dtype) for shape in ((2, 256), (n_steps, 2, 256)))
    clock, none = np.array([0.0, 0.1, 0.1, 0.3, 0.0]), np.zeros(1, program.dtype)
    run(clock.ctypes.data, 0, 0, n_steps, 2, 2, lanes, *(a.ctypes.data for a in (x, z, none, none, none)))
    return x


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_lanes_in_pairs_and_functions_side_by_side_have_the_bits_of_one_after_the_other(dtype):
    step = Chain(LONG, SCHEMES["euler-maruyama"], Extras()).step
    program = compile.Program("stepper", emit.stepper_source(step), dtype, dtype)
    assert "for l in paired(lanes)" in program.source
    plain = replace(program, source=one_after_the_other(program.source))
    assert "paired" not in plain.source
    assert len(plain.source.splitlines()) == len(program.source.splitlines()) + 2
    have = stepped(program)
    assert have.tobytes() == stepped(plain).tobytes()
    assert np.isfinite(have).all()


def test_long_functions_are_written_side_by_side_where_they_do_not_need_one_another():
    source = emit.stepper_source(Chain(LONG, SCHEMES["euler-maruyama"], Extras()).step)
    (together,) = (line for line in source.splitlines() if line.count("exp_(") > 1)
    assert together.count("exp_(") == 3
    assert source.count("exp_(") == 4
    assert "paired" not in Chain(VAN_DER_POL, SCHEMES["euler-maruyama"], Extras()).source


def test_vectors_go_in_pairs_and_no_lanes_are_left_over():
    """One loop, and what registers do not hold lies in whole lines of the cache."""
    register = packed_register()
    program = Chain(LONG, SCHEMES["euler-maruyama"], Extras()).program("float64", "float64")
    sources = program.source, program.source.replace("in paired(", "in range(")
    paired, single = (machine.optimised(compile.instructions(s, program.signature, "float64")) for s in sources)
    count = [len(re.findall(r"call <\d+ x double> @llvm\.fma", str(module))) for module in (paired, single)]
    assert count[0] == 2 * count[1] > 0
    _, lanes = machine.native().emit_assembly(paired).split(register, 1)
    assert not re.search(r"vfn?m(add|sub)\w*sd\s", lanes)
    assert f"andq\t$-{64 if register == 'zmm' else 32}, %rsp" in machine.native().emit_assembly(paired)


def test_products_with_signs_flip_bits():
    source = Chain(OU, SCHEMES["weak-euler"], Extras()).source
    assert "flip_(" in source


@pytest.mark.parametrize("n_steps", [1, 2, 3, 4, 5, 7, 8, 37])
def test_several_steps_at_once_have_the_bits_of_single_ones(n_steps, monkeypatch):
    options = {"x0": 1.0, "t1": 0.5, "n_steps": n_steps, "n_paths": 300, "seed": 3, "dtype": "float32"}
    several = sf.simulate(OU, **options)
    sde_settings._chain.cache_clear()
    monkeypatch.setattr(Chain, "steps_at_once", 1)
    single = sf.simulate(OU, **options)
    sde_settings._chain.cache_clear()
    assert several.x.tobytes() == single.x.tobytes()


def test_steps_of_long_functions_are_taken_one_by_one():
    """Of those that every lane computes."""
    scheme, clocked = SCHEMES["euler-maruyama"], sf.SDE(lambda t, x, p: -math.exp(-t) * x[0], lambda t, x, p: 1.0)
    assert Chain(OU, scheme, Extras()).steps_at_once == Chain(clocked, scheme, Extras()).steps_at_once == 4
    assert (
        Chain(LONG, scheme, Extras()).steps_at_once == Chain(LONG, SCHEMES["weak-euler"], Extras()).steps_at_once == 1
    )


def test_observer_source():
    t, x = symbol("t"), symbol("x0")
    source = emit.observer_source((x * symbol("p_a") + t,), ("p_a",), 1)
    assert "p_a = T(p[0])" in source
    assert "t = time" in source  # in float64, rounded once
    assert "v3 = T(t)" in source
    assert "fma_(p_a, x0, v3)" in source


# The folder ----------------------------------------------------------------------------------------------------------

SCRIPT = """
import sys
import numpy as np
import sdefast as sf
ou = sf.SDE(lambda t, x, p: -p.k * x[0] + 0.125, lambda t, x, p: sf.math.cos(x[0]), params={"k": 1.5})
run = sf.simulate(ou, x0=1.0, t1=1.0, n_steps=10, n_paths=100, seed=1, expectations={"f": lambda t, x: x[0] ** 3})
print(*(name in sys.modules for name in ("numba", "sdefast.jit.assembly")))
print(run.x.tobytes().hex(), run.expectations["f"].value.tobytes().hex())
"""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """What a first process printed, and the folder in which it left its kernels."""
    folder = tmp_path_factory.mktemp("kernels")
    return python(SCRIPT, SDEFAST_CACHE_DIR=str(folder)).split(), folder


def test_a_second_process_does_not_compile(compiled):
    first, folder = compiled
    second = python(SCRIPT, SDEFAST_CACHE_DIR=str(folder)).split()
    assert first[:2] == ["False", "True"]
    assert second[:2] == ["False", "False"]
    assert first[2:] == second[2:]
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        pytest.param(lambda data: b"", marks=pytest.mark.thorough),
        pytest.param(lambda data: data[::-1], marks=pytest.mark.thorough),
    ],
    ids=["half", "nothing", "reversed"],
)
def test_damaged_files_are_compiled_again(compiled, tmp_path, damage):
    want, folder = compiled
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(damage(file.read_bytes()))
    assert python(SCRIPT, SDEFAST_CACHE_DIR=str(tmp_path)).split() == want
    assert python(SCRIPT, SDEFAST_CACHE_DIR=str(tmp_path)).split()[2:] == want[2:]


@pytest.mark.thorough
def test_nothing_is_kept_where_there_is_no_folder(tmp_path):
    assert python(SCRIPT, SDEFAST_CACHE_DIR=os.devnull, HOME=str(tmp_path)).startswith("False True")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"SDEFAST_CACHE_DIR": "here"}, "here"),
        ({"SDEFAST_CACHE_DIR": ""}, None),
        ({"XDG_CACHE_HOME": "/caches"}, "/caches/sdefast"),
        ({"XDG_CACHE_HOME": "caches", "HOME": "/home"}, "/home/.cache/sdefast"),
        ({"XDG_CACHE_HOME": "", "HOME": "/home"}, "/home/.cache/sdefast"),
        ({"SDEFAST_CACHE_DIR": "~/kernels", "HOME": "/home"}, "/home/kernels"),
        ({"XDG_CACHE_HOME": "", "HOME": "home"}, None),
        ({"XDG_CACHE_HOME": "", "HOME": ""}, None),
    ],
)
def test_folder(variables, folder, monkeypatch):
    monkeypatch.delenv("SDEFAST_CACHE_DIR", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = cache.folder()
    assert (None if found is None else str(found)) == folder


def test_parameters_do_not_compile_again():
    def run(mu):
        sde = sf.SDE(VAN_DER_POL.drift, VAN_DER_POL.diffusion, dim=2, params={"mu": mu, "s": 0.2})
        return sf.simulate(sde, x0=(1.0, 0.0), t1=1.0, n_steps=20, n_paths=64, seed=1).x

    first, n = run(1.0), len(compile._compiled)
    second = run(2.0)
    assert len(compile._compiled) == n
    assert not np.array_equal(first, second)
