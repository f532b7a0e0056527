"""From expressions to the source of GPU kernels: one thread takes one chain through its steps, all of it in registers.

The statements of a step are those of ``jit/emit.py``; here they stand in a loop over steps instead of lanes, between
what draws their noise (``draws.py``) and what records their states.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

from ..jit.emit import CLOCK, SIGNS, Code, Step, indent
from ..jit.rare import Found, found_in
from ..jit.sums import sums_in
from ..trace import Expr
from .draws import Draws, Given, NormalsInArray, Others, Signs, Uniforms, drawn_normals
from .sums import SummingCode

#: Operations that may be written with signs: arithmetic may not, a compiler would contract it.
_WRITTEN = {name: sign for name, sign in SIGNS.items() if name not in ("add", "sub", "mul", "div", "neg")}

_TIMES = {
    "t": "add64_(clock[r, 0], mul64_(D({k}), clock[r, 1]))",
    "elapsed": "add64_(sub64_(clock[r, 0], clock[r, 4]), mul64_(D({k}), clock[r, 1]))",
    "step": "D({k})",
}

#: Steps of up to so many statements stand in the loop several times over, where that saves branches.
SHORT = 32

#: What the kernel of every chain is given; what else it is given comes before and after.
_ARGUMENTS = (
    "c", "seed_low", "seed_high", "first_chain", "n", "first_step", "n_steps", "saves", "state", "saved",
)  # fmt: skip


@lru_cache(maxsize=256)
def paths_source(step: Step, dtype: str, noise_dtype: str, *, uniform_grid: bool, given: bool) -> str:
    """The source of the kernel that takes chains through steps and stores them where they are saved.

    ``c`` are rows of coefficients, one for all steps of a uniform grid, else one a step, and ``clock`` the same in
    float64; ``saves`` the steps after which to save, the first of which may be the start, and at the end a number that
    no step has. ``given`` normals (draws, n) take the generator's place. ``table`` has the run's constants.
    """
    uniforms = Uniforms(step.n_uniforms, 1 if dtype == "float32" else 2, step.words)
    return Paths(_Steps(step, uniform_grid), _draws(step, noise_dtype, given), uniforms).source(*AROUND)


#: What the kernel of `paths_source` is given before and after what the kernel of every chain is.
AROUND = ("clock",), ("given", "table")


def _draws(step: Step, noise_dtype: str, given: bool) -> Draws:
    if given or not step.n_draws:
        return Given(step.n_draws, in_array=False)
    if step.signs:
        return Signs(step.n_draws)
    return drawn_normals(step.n_draws, 1 if noise_dtype == "float32" else 2)


def steps_in_loops(step: Statements, n_draws: int, noise_dtype: str, given: bool) -> str:
    """The same of a step in loops, whose normals are in an array ``z``."""
    words = 1 if noise_dtype == "float32" else 2
    draws: Draws = Given(n_draws, in_array=True)
    if n_draws and not given:
        draws = NormalsInArray(n_draws, words, unpacked=False)
    return Paths(step, draws, Uniforms(0, 1)).source(*AROUND)


class Statements(Protocol):
    """What a chain is and does, in lines of source.

    ``constants`` are numbers and the names that the lines have for them.
    """

    @property
    def constants(self) -> dict[str, str]: ...

    @property
    def is_short(self) -> bool: ...

    @property
    def needs_k(self) -> bool: ...

    def load(self) -> list[str]:
        """From ``state``."""
        ...

    def record(self) -> list[str]:
        """Into ``saved``, number ``save``."""
        ...

    def store(self) -> list[str]:
        """Into ``state``."""
        ...

    def setup(self) -> list[str]:
        """Before the first step."""
        ...

    def lines(self, index: int) -> list[str]:
        """Step number k + ``index``, its noise being there."""
        ...


class _Steps:
    """The statements of a step on one chain, whose rows are variables."""

    def __init__(self, step: Step, uniform_grid: bool) -> None:
        self.step, self.uniform_grid = step, uniform_grid
        self.rows = [f"x{i}" for i in range(len(step.outputs))]
        self.constants: dict[str, str] = {}
        self._sums = sums_in(step.whole)
        if self._sums.turns:
            self.step = step = step.folded()
        self._first: Code | SummingCode
        self._first, self._results = self._summing() if self._sums.turns else self._code(0)
        self._first_found = self._found(self._first, 0)
        used, doubles = self._first.used, self._first.doubles
        if self._first_found is not None:
            used, doubles = used | self._first_found.used, doubles | self._first_found.doubles
        self._doubles = doubles
        first = len(CLOCK) + len(step.parameters)
        where = {name: at for at, name in enumerate(CLOCK)}
        where |= {name: first + j for j, name in enumerate(step.constants)}
        clock = [f"{name}_v = c[r, {at}]" for name, at in where.items() if name in used]
        clock += [f"d_{name}_v = clock[r, {at}]" for name, at in where.items() if name in doubles]
        #: what does not depend on the time
        self.fixed = [*clock, *self._first.fixed, *(self._first_found.fixed if self._first_found else ())]

    @property
    def is_short(self) -> bool:
        return not self._sums.turns and len(self._first.per_lane) <= SHORT

    @property
    def needs_k(self) -> bool:
        return not self.uniform_grid or not self._doubles.isdisjoint(_TIMES)

    def load(self) -> list[str]:
        return [f"{name} = state[{j}, i]" for j, name in enumerate(self.rows)]

    def record(self) -> list[str]:
        return [f"saved[save, {j}, i] = {name}" for j, name in enumerate(self.rows)]

    def store(self) -> list[str]:
        return [f"state[{j}, i] = {name}" for j, name in enumerate(self.rows)]

    def setup(self) -> list[str]:
        """Before the first step."""
        numbered = list(enumerate(self.step.parameters, start=len(CLOCK)))
        lines = self._first.begin if isinstance(self._first, SummingCode) else []
        lines = [*lines, *(f"{name} = c[0, {j}]" for j, name in numbered)]
        lines += [f"d_{name} = clock[0, {j}]" for j, name in numbered if name in self._doubles]
        return [*lines, "r = 0", *self.fixed] if self.uniform_grid else lines

    def lines(self, index: int) -> list[str]:
        """Step number k + ``index``."""
        k = f"k + {index}" if index else "k"
        if self.uniform_grid:
            code, results = (self._first, self._results) if index == 0 else self._code(index)
            found = self._first_found if index == 0 else self._found(code, index)
            again = []
        else:
            code, results, found, index = self._first, self._results, self._first_found, 0
            again = [f"r = {k} - first_step", *self.fixed]
        times = [f"{name}_{index} = {_TIMES[name].format(k=k)}" for name in _TIMES if name in self._doubles]
        after = [] if found is None else self._after(found)
        return [*again, *times, *code.once, *code.per_lane, self._assigned(results), *after]

    def _assigned(self, results: Sequence[str]) -> str:
        return f"{', '.join(self.rows)} = {', '.join(f'T({result})' for result in results)}"

    def _found(self, code: Code | SummingCode, index: int) -> Found | None:
        if isinstance(code, SummingCode):  # whose step is a whole
            return None
        return found_in(self.step, code, self._names(index), self.constants, self._first_found if index else None)

    def _after(self, found: Found) -> list[str]:
        """What happens rarely, after a step."""
        then = [*found.then.per_lane, self._assigned(found.results)]
        return [*found.once, *found.search.per_lane, f"if {found.condition}:", *indent(then)]

    def _code(self, index: int) -> tuple[Code, list[str]]:
        step = self.step
        code = Code(step.lane_inputs, self._signs, f"v{index}_", self._names(index), self.constants, _WRITTEN)
        if index:
            assert isinstance(self._first, Code)
            code.follow(self._first)
        return code, code.add(self._sums.outputs if step.rare is None else step.outputs)

    def _summing(self) -> tuple[SummingCode, list[str]]:
        step, letters = self.step, "xu" if self.step.signs else "xuz"
        code = SummingCode(self._sums, step.lane_inputs, letters, self.constants, _WRITTEN, self._signs, self._names(0))
        return code, code.results()

    def _names(self, index: int) -> dict[str, str]:
        names = {name: f"{name}_{index}" for name in _TIMES}
        return names | {name: f"{name}_v" for name in (*CLOCK, *self.step.constants)}

    @property
    def _signs(self) -> frozenset[str]:
        return frozenset(f"z{j}" for j in range(self.step.n_draws)) if self.step.signs else frozenset()


class Paths:
    """The source of a kernel that takes chains through steps, put together from the step and what draws its noise."""

    def __init__(self, step: Statements, draws: Draws, others: Others) -> None:
        self.step, self.draws, self.others = step, draws, others

    def source(self, before: Sequence[str], after: Sequence[str]) -> str:
        """With arguments before and after those of every chain."""
        step = self.step
        loop = self.draws.loop(self)  # first, since it collects constants
        lines = [
            "chain = first_chain + i", "low, high = low_(chain), high_(chain)",
            *step.load(), *step.setup(), *self.draws.begin(), *self.others.begin(),
            "k, save, last = first_step, 0, first_step + n_steps",
            "while True:",
            *indent(["while saves[save] == k:", *indent([*step.record(), "save += 1"])]),
            *indent(["if k == last:", "    break", "end = min(last, saves[save])"]),
            *indent(loop),
            *step.store(),
        ]  # fmt: skip
        header = f"def kernel({', '.join([*before, *_ARGUMENTS, *after])}):"
        kernel = [header, "    i = cuda.grid(1)", "    if i < n:", *indent(lines, 2), ""]
        return "\n".join([*(f"{name} = {value}" for value, name in step.constants.items()), *kernel])

    @property
    def is_short(self) -> bool:
        return self.step.is_short

    @property
    def needs_k(self) -> bool:
        return self.step.needs_k

    def __call__(self, index: int) -> list[str]:
        """Step number k + ``index``, its normals being there."""
        return [*self.others.draw(), *self.step.lines(index)]


# Observers -----------------------------------------------------------------------------------------------------------

#: How the source of every one begins.
OBSERVER = "def kernel(p, times, n, x, out, table):"


@lru_cache(maxsize=256)
def observer_source(outputs: tuple[Expr, ...], names: tuple[str, ...], dim: int, first: int = 0) -> str:
    """The source of the kernel that evaluates functions at saved times.

    ``outputs`` are expressions of ``t``, ``x0``, ... and of the parameters ``names``, in the order of ``p``; ``x`` is
    (n_times, rows, n), ``out`` (n_times, outputs, n), ``table`` the run's constants, of which what sums over rows read
    begins at ``first``; the grid is (chains, times).
    """
    inputs, sums = [f"x{i}" for i in range(dim)], sums_in(outputs, first)
    code: Code | SummingCode
    if sums.turns:
        code = SummingCode(sums, inputs, ("x", "out"), {}, _WRITTEN)
        begin, results = code.begin, code.results(in_place=False)
    else:
        code = Code(inputs, written=_WRITTEN)
        begin, results = [], code.add(sums.outputs)
    lines = [*begin, *(f"{name} = T(p[{i}])" for i, name in enumerate(names))]
    lines += [f"d_{name} = p[{i}]" for i, name in enumerate(names) if name in code.doubles]
    lines += ["time = cuda.blockIdx.y", "t = times[time]", *(f"x{i} = x[time, {i}, i]" for i in range(dim))]
    lines += [*code.fixed, *code.once, *code.per_lane]
    lines += [f"out[time, {r}, i] = T({name})" for r, name in enumerate(results)]
    header = [OBSERVER, "    i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x"]
    constants = [f"{name} = {value}" for value, name in code.constants.items()]
    return "\n".join([*constants, *header, "    if i < n:", *indent(lines, 2), ""])


# Statistics ----------------------------------------------------------------------------------------------------------


def function_source(name: str, arguments: Sequence[str], outputs: Sequence[Expr]) -> str:
    """The source of a device function of numbers that returns ``outputs``, every operation rounded on its own."""
    code = Code(arguments, written=_WRITTEN, fuses=False)
    results = code.add(outputs)
    body = [*code.fixed, *code.once, *code.per_lane, f"return {', '.join(results)}"]
    constants = [f"{constant} = {value}" for value, constant in code.constants.items()]
    return "\n".join([*constants, f"def {name}({', '.join(arguments)}):", *indent(body), ""])
