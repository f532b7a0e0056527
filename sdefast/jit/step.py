"""A step of a chain in symbols, and the statements by which its kernel reads coefficients and draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from .. import _core
from ..lazy import cached_property
from ..trace import Expr, all_parts, as_expr, select, substitute, symbol
from .code import LONG, Code

#: Lanes in a row of wide rows.
ROW = _core.lanes["wide"]

#: What a row of coefficients begins with: step number k begins at time base + k * per_index.
CLOCK = ("base", "per_index", "h", "root", "start")

#: The first lines of kernels.
STEPPER = "def kernel(c, stride, first_step, n_steps, dim, noise_dim, lanes, x, z, u, path, table):"
DATA_STEPPER = STEPPER.replace("table):", "table, picks, n_picks, rows, width):")
OBSERVER = "def kernel(p, time, lanes, x, out, table):"


@dataclass(frozen=True)
class Rare:
    """What happens after a step to few chains, or after few steps: where ``condition`` holds, rows become ``outputs``.

    Both are expressions of the rows that the step has led to, of its draws and of its clock. Kernels look for the
    condition in many lanes at once, or once a step if it is the same in all, and compute the outputs where it holds
    alone.
    """

    condition: Expr
    outputs: tuple[Expr, ...]


@dataclass(frozen=True)
class Step:
    """One step of a chain as expressions.

    ``outputs`` are the new rows of the state, in symbols ``x0``, ``x1``, ... for the old ones, ``z0``, ... for the
    normals (or signs), ``u0``, ... for the uniforms, ``t``, ``elapsed``, ``h``, ``root`` for the clock, ``step`` for
    the number of the step. The clock is followed in a row of coefficients by the values of the symbols ``parameters``,
    which are equal in all rows, and of ``constants``, which depend on the step size. Of the rows of data that it picks,
    ``d0_0``, ``d0_1``, ... are the first ``columns`` numbers of the first. ``rare`` is what happens to few chains
    or in few steps afterwards. Uniforms of float32 may be drawn as ``words``, of which ``b0``, ... are, as uniforms of
    512 values, the 9 bits that ``u0``, ... leave out.
    """

    outputs: tuple[Expr, ...]
    parameters: tuple[str, ...]
    constants: tuple[str, ...]
    n_draws: int
    n_uniforms: int = 0
    signs: bool = False
    picks: int = 0
    columns: int = 0
    rare: Rare | None = None
    words: bool = False

    @cached_property
    def whole(self) -> tuple[Expr, ...]:
        """The rows after the step and what is rare, as expressions of the rows before it."""
        if self.rare is None:
            return self.outputs
        after, known = {symbol(f"x{i}"): e for i, e in enumerate(self.outputs)}, dict[Expr, Expr]()
        happens, *rows = (substitute(e, after, known) for e in (self.rare.condition, *self.rare.outputs))
        return tuple(as_expr(select(happens, *pair)) for pair in zip(rows, self.outputs, strict=True))

    def folded(self) -> Step:
        """The same with nothing rare: everything is computed for all chains."""
        return self if self.rare is None else replace(self, outputs=self.whole, rare=None)

    @property
    def layout(self) -> str:
        """How chains lie: short steps are fastest in wide rows, narrow ones keep many rows in the first-level cache."""
        few_rows = len(self.outputs) <= _core.largest_wide_dim
        few_draws = max(self.n_draws, self.n_uniforms, self.picks) <= _core.most_wide_draws
        return "wide" if few_rows and few_draws else "narrow"

    @property
    def lanes(self) -> int:
        """Lanes in a row."""
        return _core.lanes[self.layout]

    @property
    def lane_inputs(self) -> list[str]:
        """Symbols that differ between lanes."""
        kinds = [("x", len(self.outputs)), ("z", self.n_draws), ("u", self.n_uniforms)]
        kinds += [("b", self.n_uniforms)] if self.words else []
        picked = [f"d{b}_{j}" for b in range(self.picks) for j in range(self.columns)]
        return [f"{kind}{i}" for kind, n in kinds for i in range(n)] + picked

    @cached_property
    def has_long_functions(self) -> bool:
        """Whether it computes functions such as exp in every lane."""
        code = Code(self.lane_inputs)
        return any(e.op in LONG and code.varies(e) for e in all_parts(self.outputs))

    @property
    def head(self) -> str:
        """The first line of its kernel."""
        return DATA_STEPPER if self.picks else STEPPER


def parameter_lines(names: Sequence[str], doubles: frozenset[str], values: str, first: int = 0) -> list[str]:
    """What loads parameters from ``values``, of which those in ``doubles`` are needed in float64 too."""
    lines = [f"{name} = T({values}[{i}])" for i, name in enumerate(names, start=first)]
    return lines + [f"d_{name} = {values}[{i}]" for i, name in enumerate(names, start=first) if name in doubles]


def clock_lines(step: Step, names: dict[str, str], used: frozenset[str], doubles: frozenset[str]) -> list[str]:
    """What the row of step s of the coefficients says besides the time, as far as it is used."""
    first = len(CLOCK) + len(step.parameters)
    where = {name: at for at, name in enumerate(CLOCK)} | {name: first + j for j, name in enumerate(step.constants)}
    lines = [f"{names[name]} = T(c[r + {at}])" for name, at in where.items() if name in used]
    lines += [f"d_{names[name]} = c[r + {at}]" for name, at in where.items() if name in doubles]
    return ["r = s * stride", *lines]


def draw_setup(step: Step, count: int) -> tuple[list[str], list[str]]:
    """Where the draws of ``count`` steps from ``s`` on begin: once, and for every lane."""
    row = step.lanes
    before = [f"us = s * {step.n_uniforms * row}"] if step.n_uniforms else []
    before += [f"ps = s * {step.picks * row}"] if step.picks else []
    if not step.signs:
        return [f"zs = s * {step.n_draws * row}", *before], []
    first = f"bit = (first_step + s) * {step.n_draws} - first_step * {step.n_draws} // 32 * 32"
    if count == 1:
        return [first, *before], []
    return [first, f"word = bit // 32 * {row}", "bit = bit % 32", *before], ["w = shift_(z[word + l], bit)"]


def draw_lines(step: Step, i: int, count: int) -> list[str]:
    """The draws of step s + i."""
    m, row = step.n_draws, step.lanes
    lines = uniform_lines(step, i)
    for b in range(step.picks):
        place = f"picks[ps + {(i * step.picks + b) * row} + l] * width"
        lines += [f"d{b}_{j} = T(rows[{place} + {j}])" for j in range(step.columns)]
    if not step.signs:
        return lines + [f"z{j} = T(z[zs + {(i * m + j) * row} + l])" for j in range(m)]
    if count > 1:
        return lines + [f"z{j} = sign_(w, {i * m + j})" for j in range(m)]
    return lines + [f"z{j} = sign_(z[(bit + {j}) // 32 * {row} + l], (bit + {j}) % 32)" for j in range(m)]


def uniform_lines(step: Step, i: int) -> list[str]:
    """The uniforms of step s + i."""
    k = step.n_uniforms
    drawn = [f"u[us + {(i * k + j) * step.lanes} + l]" for j in range(k)]
    if not step.words:
        return [f"u{j} = {number}" for j, number in enumerate(drawn)]
    parts = (("u", "unit_"), ("b", "spare_"))
    return [f"{kind}{j} = {part}(word_({number}))" for j, number in enumerate(drawn) for kind, part in parts]
