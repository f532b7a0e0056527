"""Runs on a card without one: launches go to a function, such as one that executes the PTX of the kernels."""

import os
import pickle
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
import pytest
from ptx import Machine

from sdefast.cuda import chains, programs, run, statistics

_COMPILE = """
import pickle, sys
from numba import cuda
programs = pickle.load(sys.stdin.buffer)
made = []
for program in programs:
    made.append(cuda.compile(program.function, program.signature, device=False, cc=(9, 0), abi="numba")[0])
pickle.dump(made, sys.stdout.buffer)
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


def compiled(programs):
    """Program -> its PTX and the machine that executes it."""
    done = subprocess.run(
        [sys.executable, "-c", _COMPILE], input=pickle.dumps(list(programs)), capture_output=True, check=False,
        env={**os.environ, "NUMBA_ENABLE_CUDASIM": "0"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    return {program: (text, Machine(text)) for program, text in zip(programs, pickle.loads(done.stdout), strict=True)}


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
