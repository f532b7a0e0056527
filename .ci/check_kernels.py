"""``check_kernels.py BUILD``: are the hot loops vectorised at every level, and do the levels share no symbols?

Reads the object files of a build with objdump and nm. A kernel that stops vectorising costs a factor ten and breaks no
test; a weak symbol that two levels share may run AVX-512 code on a machine without it.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

#: Level -> the register that packed arithmetic must use. At the baseline the fused multiply-adds are library calls, so
#: only the generator's integer arithmetic can be packed there.
REGISTERS = {"baseline": "xmm", "v3": "ymm", "v4": "zmm"}

HOT = re.compile(
    r"(fill<\w+::\w+::Normals|FieldStreams::fill<|::update<\w+, |stepper<(?!\w+::\w+::(Linear|LeastSquares|Langevin))"
    r"|Statistics<[^>]*>::add"
    r"|(Linear|Langevin)<.*>::rows<|(Mixture|Gaussian|Logistic)<\w+, \d+>::"
    r"|LeastSquares::Step<[^>]*>::(one_sample|batch)|DataSteps<[^>]*>::(rows|squared_norms|Step::))"
)
PACKED = re.compile(r"\b(vfn?m(?:add|sub)\w*p[sd]|vmulp[sd]|vaddp[sd]|vsubp[sd])\b")
SCALAR = re.compile(r"\b(vfn?m(?:add|sub)\w*s[sd]|vsqrts[sd])\b")
LIBRARY = {"memcpy", "memmove", "memset", "fma", "fmaf", "_GLOBAL_OFFSET_TABLE_", "__stack_chk_fail"}


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def functions(object_file: Path) -> dict[str, str]:
    """Demangled name -> disassembly."""
    text = run("objdump", "-d", "-C", "--no-show-raw-insn", str(object_file))
    parts = re.split(r"^[0-9a-f]+ <(.+)>:$", text, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def check_vectors(level: str, code: dict[str, str]) -> list[str]:
    """What is wrong with the hot functions of a level."""
    if level == "baseline":
        packed = sum(body.count("pxor") for name, body in code.items() if "skip(" in name or "rekey(" in name)
        return [] if packed else ["baseline: the generator is not vectorised"]
    problems, register = [], REGISTERS[level]
    hot = {name: body for name, body in code.items() if HOT.search(name)}
    for name, body in hot.items():
        lines = body.splitlines()
        packed = sum(1 for line in lines if PACKED.search(line) and register in line)
        scalar = sum(1 for line in lines if SCALAR.search(line))
        # The slow path of the statistics, over chains that are not finite, is scalar on purpose; on data, what is one
        # vector long and the ends of longer loops are, and conversions take half vectors.
        on_data = "DataSteps" in name
        # Langevin steps take the root of a step size; the last elements of a field are fewer than a vector.
        allowed = 40 if "Statistics" in name or on_data or "::update<" in name else "Langevin" in name
        packed += on_data * sum(1 for line in lines if PACKED.search(line) and "ymm" in line)
        if not packed or scalar > allowed:
            problems.append(f"{level}: {packed} packed {register} and {scalar} scalar operations in {name}")
    print(f"{level}: {len(hot)} hot functions, {register}")
    return problems if len(hot) >= 30 else [*problems, f"{level}: only {len(hot)} hot functions found"]


def symbols(object_file: Path) -> dict[str, str]:
    """Symbol -> type, demangled."""
    rows = (line.split(None, 2) for line in run("nm", "-C", str(object_file)).splitlines())
    return {row[-1]: row[-2] for row in ((r if len(r) == 3 else ["", *r]) for r in rows)}


def check_symbols(tables: dict[str, dict[str, str]]) -> list[str]:
    problems = []
    defined = {
        level: {name for name, kind in table.items() if (kind not in "Uw" and kind.isupper()) or kind in "uvw"}
        for level, table in tables.items()
    }
    for level, table in tables.items():
        # A level's code must not run before the level is chosen.
        problems += [f"{level} runs {name} when it is loaded" for name in table if name.startswith("_GLOBAL__sub_I")]
        wanted = {name for name, kind in table.items() if kind == "U"} - LIBRARY
        problems += [f"{level} needs {name}, which is not in the list of what kernels may call" for name in wanted]
        for other in tables:
            if other > level:
                problems += [f"{level} and {other} share {name}" for name in defined[level] & defined[other]]
    return problems


def main() -> int:
    build = Path(sys.argv[1])
    files = {level: next(build.rglob(f"kernels_{level}.dir/**/level.cpp.o")) for level in REGISTERS}
    problems = check_symbols({level: symbols(file) for level, file in files.items()})
    for level, file in files.items():
        problems += check_vectors(level, functions(file))
    print(*problems, sep="\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
