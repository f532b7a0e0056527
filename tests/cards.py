"""Runs on a card without one: launches go to a function, such as one that executes the PTX of the kernels."""

import hashlib
import os
import pickle
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
import pytest
from ptx import Machine

from sdefast.cuda import chains, programs, run, statistics

_COMPILER = """
import pickle, sys, traceback
from numba import cuda
while True:
    try:
        program = pickle.load(sys.stdin.buffer)
    except EOFError:
        break
    try:
        ptx = cuda.compile(program.function, program.signature, device=False, cc=(9, 0), abi="numba")[0]
        answer = ptx, ""
    except Exception:
        answer = "", traceback.format_exc()
    pickle.dump(answer, sys.stdout.buffer)
    sys.stdout.flush()
"""

#: Threads that share a block of chains on a card, and that merge blocks.
_THREADS, _MERGING = 64, 512


class _Launcher:
    """In place of a compiled kernel: ``launch(program, grid, block, arguments)``."""

    def __init__(self, program, launch):
        self.program, self.launch = program, launch

    def __getitem__(self, configuration):
        grid, block = configuration[:2]
        x, y, z = (*(grid if isinstance(grid, tuple) else (grid,)), 1, 1)[:3]
        assert x < 2**31
        assert max(y, z) < 2**16

        def call(*arguments):
            types = self.program.signature.args
            values = [
                getattr(a, "_ary", a) if kind.name.startswith("array") else getattr(np, kind.name)(a)
                for kind, a in zip(types, arguments, strict=True)
            ]
            self.launch(self.program, grid, block, values)

        return call


@contextmanager
def card(launch):
    """Runs on the GPU launch their kernels by this function, with as many threads as on a card."""
    with (
        patch.object(programs, "_compiled", lambda program, device: _Launcher(program, launch)),
        patch.object(statistics, "THREADS", _THREADS),
        patch.object(chains, "THREADS", 128),
        patch.object(run, "_MERGING", _MERGING),
    ):
        yield


class Machines:
    """Program -> its PTX and the machine that executes it, each compiled when somebody first asks for it.

    A process of its own compiles, because this one has numba's simulator in place of its compiler; what it made lies in
    the tests' folder, where all workers find it.
    """

    def __init__(self):
        self._made, self._compiler = {}, None
        self._folder = Path(os.environ["SDEFAST_TESTS_DIR"]) / "ptx"
        self._folder.mkdir(exist_ok=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._compiler:
            self._compiler.kill()  # it waits for the next program and has nothing to put in order
            self._compiler.communicate()

    def __getitem__(self, program):
        if program not in self._made:
            file = self._folder / hashlib.sha256(repr(program).encode()).hexdigest()
            if not file.exists():
                part = file.with_suffix(f".{os.getpid()}")
                part.write_text(self._compile(program))
                part.replace(file)
            text = file.read_text()
            self._made[program] = text, Machine(text)
        return self._made[program]

    def _compile(self, program):
        if self._compiler is None:
            self._compiler = subprocess.Popen(
                [sys.executable, "-c", _COMPILER], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                env={**os.environ, "NUMBA_ENABLE_CUDASIM": "0"},
            )  # fmt: skip
        pickle.dump(program, self._compiler.stdin)
        self._compiler.stdin.flush()
        ptx, error = pickle.load(self._compiler.stdout)
        assert ptx, error
        return ptx


def noted(work):
    """The programs that the runs in ``work()`` launch; arrays are filled with zeros."""
    programs = {}

    def note(program, grid, block, values):
        programs[program] = None
        for value in values:
            if isinstance(value, np.ndarray) and value.flags.writeable:
                value[...] = 0

    with card(note):
        work()
    return list(programs)


class Resources(NamedTuple):
    """What a thread takes: registers, bytes of arrays in memory of its own, bytes of registers that were spilled."""

    registers: int
    local: int
    spilled: int


def resources(ptx, folder):
    """What the assembler says of a kernel; without one the test is skipped."""
    ptxas = shutil.which("ptxas")
    if ptxas is None:
        pytest.skip("there is no ptxas")
    source = folder / "kernel.ptx"
    source.write_text(ptx)
    command = [ptxas, "-arch=sm_90", "-v", str(source), "-o", str(folder / "out.cubin")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", done.stderr)
    stack, stores, loads = map(int, found.groups())
    return Resources(int(re.search(r"Used (\d+) registers", done.stderr)[1]), stack, stores + loads)
