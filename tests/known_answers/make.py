"""Write our part of ``noise.json`` from the installed library: ``python tests/known_answers/make.py``.

These numbers are the noise contract. A change of any of them changes the result of every simulation under its old seed:
it is a breaking change, to be made on purpose, said in the release notes, and never to make a test pass.

The published part (Random123's vectors for Philox, those of the authors for xoshiro128++) is kept as it stands. Floats
are hexadecimal, so that they are exact.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from sdefast import noise

PATH = Path(__file__).with_name("noise.json")

SEEDS_AND_CHAINS = [(0, 0), (7, 3), (2**64 - 1, 2**32 - 1), (0x0123456789ABCDEF, 2**32 + 5), (42, 2**40 + 2**32 + 1)]
COUNT = 8

# The start, across a segment border (draw 512 of float64, 1024 of float32 and of words), far away.
FIRST_WORDS = (0, 1020, 2**33 + 2**20 - 3)
FIRST_DRAWS = (0, 507, 1021, 2**33 + 2**20 - 3)


def _words(seed, stream, chain, first):
    return noise.words(seed, COUNT, stream=stream, first_word=first, first_chain=chain)[:, 0].tolist()


def _draws(kind, dtype, seed, chain, first):
    values = kind(seed, COUNT, first_draw=first, first_chain=chain, dtype=dtype)[:, 0]
    return [float(value).hex() for value in values]


def words():
    """Words of all three streams."""
    return [
        {"seed": seed, "stream": stream, "chain": chain, "first": first, "values": _words(seed, stream, chain, first)}
        for seed, chain in SEEDS_AND_CHAINS
        for stream in (0, 1, 2)
        for first in FIRST_WORDS
    ]


def draws(kind, dtype):
    """Draws of one kind, `noise.normals` or `noise.uniforms`."""
    return [
        {"seed": seed, "chain": chain, "first": first, "values": _draws(kind, dtype, seed, chain, first)}
        for seed, chain in SEEDS_AND_CHAINS
        for first in FIRST_DRAWS
    ]


def answers():
    """Everything that is ours, as it is written."""
    return {
        "words": words(),
        "normals float32": draws(noise.normals, np.float32),
        "normals float64": draws(noise.normals, np.float64),
        "uniforms float32": draws(noise.uniforms, np.float32),
        "uniforms float64": draws(noise.uniforms, np.float64),
    }


def read():
    """The file."""
    return json.loads(PATH.read_text())


def _rows(cases):
    return "[\n" + ",\n".join("      " + json.dumps(case) for case in cases) + "\n    ]"


def write(contents):
    """Write the file, a case a line."""
    parts = []
    for source, kinds in contents.items():
        lists = ",\n".join(f"    {json.dumps(kind)}: {_rows(cases)}" for kind, cases in kinds.items())
        parts.append(f"  {json.dumps(source)}: {{\n{lists}\n  }}")
    PATH.write_text("{\n" + ",\n".join(parts) + "\n}\n")


if __name__ == "__main__":
    write({**read(), "sdefast": answers()})
