"""Compiles kernels for `Machine`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

_CHILD = """
import json, sys
import numba.cuda.types
from numba import cuda
source, signatures, options = json.load(sys.stdin)
space = {"__name__": "kernels"}
exec(source, space)
options = {"device": False, "abi": "numba"} | options | {"cc": tuple(options.get("cc", (9, 0)))}
names = vars(numba.cuda.types) | space
made = {name: cuda.compile(space[name], eval(text, names), **options)[0] for name, text in signatures.items()}
json.dump(made, sys.stdout)
"""


def compile_ptx(source: str, signatures: Mapping[str, str], **options: Any) -> dict[str, str]:
    """The PTX of functions that Python code defines, by name, for signatures such as "void(float32[::1], int64)".

    Signatures may also use what the code defines. A fresh interpreter compiles them all, because this one may have
    numba's simulator in place of its compiler.
    """
    done = subprocess.run(
        [sys.executable, "-c", _CHILD],
        input=json.dumps([source, dict(signatures), options]),
        env={**os.environ, "NUMBA_ENABLE_CUDASIM": "0"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"the kernels do not compile\n{done.stderr}")
    made: dict[str, str] = json.loads(done.stdout)
    return made
