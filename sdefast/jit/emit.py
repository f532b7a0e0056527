"""From expressions to the source of a kernel: the statements of ``code.py`` in loops over steps and lanes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from .. import _core
from ..trace import Expr
from .code import SIGNS, TIMES, Code, constant_lines, indent
from .sums import sums_in
from .turns import Turns

__all__ = ["CLOCK", "ROW", "SIGNS", "Code", "Step", "indent", "observer_source", "stepper_source"]

#: Lanes in a row of wide rows.
ROW = _core.lanes["wide"]

#: What a row of coefficients begins with: step number k begins at time base + k * per_index.
CLOCK = ("base", "per_index", "h", "root", "start")

#: The first lines of kernels.
STEPPER = "def kernel(c, stride, first_step, n_steps, dim, noise_dim, lanes, x, z, u, path, table):"
DATA_STEPPER = STEPPER.replace("table):", "table, picks, n_picks, rows, width):")
OBSERVER = "def kernel(p, time, lanes, x, out, table):"


@dataclass(frozen=True)
class Step:
    """One step of a chain as expressions.

    ``outputs`` are the new rows of the state, in symbols ``x0``, ``x1``, ... for the old ones, ``z0``, ... for the
    normals (or signs), ``u0``, ... for the uniforms, ``t``, ``elapsed``, ``h``, ``root`` for the clock, ``step`` for
    the number of the step. The clock is followed in a row of coefficients by the values of the symbols ``parameters``,
    which are equal in all rows, and of ``constants``, which depend on the step size. Of the rows of data that it picks,
    ``d0_0``, ``d0_1``, ... are the first ``columns`` numbers of the first.
    """

    outputs: tuple[Expr, ...]
    parameters: tuple[str, ...]
    constants: tuple[str, ...]
    n_draws: int
    n_uniforms: int = 0
    signs: bool = False
    picks: int = 0
    columns: int = 0

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
        kinds = (("x", len(self.outputs)), ("z", self.n_draws), ("u", self.n_uniforms))
        picked = [f"d{b}_{j}" for b in range(self.picks) for j in range(self.columns)]
        return [f"{kind}{i}" for kind, n in kinds for i in range(n)] + picked

    @property
    def head(self) -> str:
        """The first line of its kernel."""
        return DATA_STEPPER if self.picks else STEPPER


# Kernels -------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def stepper_source(step: Step, at_once: int = 1) -> str:
    """The source of a stepper (see csrc/engine/step.hpp): ``at_once`` steps where there are enough, else one."""
    if sums_in(step.outputs).turns:
        return _summing_stepper(step)
    constants: dict[str, str] = {}
    fixed, single, doubles = _steps(step, 1, constants)
    parameters = _parameter_lines(step.parameters, doubles, "c", len(CLOCK))
    if at_once == 1:
        body = ["for s in range(n_steps):", *indent(fixed + single)]
    else:
        # On a uniform grid what does not depend on time is the same in all steps.
        ahead, several, _ = _steps(step, at_once, constants)
        fits = f"stride == 0 and s + {at_once} <= n_steps"
        if step.signs:  # their bits come out of one word
            fits += f" and (first_step + s) % {at_once} == 0"
        body = [
            "s = 0", *ahead, "while s < n_steps:", f"    if {fits}:", *indent(several, 2), f"        s += {at_once}",
            "    else:", *indent(fixed + single, 2), "        s += 1",
        ]  # fmt: skip
    return "\n".join([*constant_lines(constants), step.head, *indent(parameters + body), ""])


@lru_cache(maxsize=256)
def observer_source(
    outputs: tuple[Expr, ...], names: tuple[str, ...], dim: int, layout: str = "wide", first: int = 0
) -> str:
    """The source of an observer (see csrc/levels/table.hpp): ``outputs`` of ``t``, ``x0``, ... and ``names``.

    ``layout`` is that of the step; what sums over rows read begins at ``first`` in the kernel's table.
    """
    if sums_in(outputs, first).turns:
        return _summing_observer(outputs, names, dim, layout, first)
    row = _core.lanes[layout]
    code = Code(f"x{i}" for i in range(dim))
    results = code.add(outputs)
    lane = [f"x{i} = x[{i * row} + l]" for i in range(dim)] + code.per_lane
    lane += [f"out[{r * row} + l] = T({name})" for r, name in enumerate(results)]
    body = ["t = time", *_parameter_lines(names, code.doubles, "p"), *code.fixed, *code.once]
    body += ["for l in range(lanes):", *indent(lane)]
    return "\n".join([*constant_lines(code.constants), OBSERVER, *indent(body), ""])


def _parameter_lines(names: Sequence[str], doubles: frozenset[str], values: str, first: int = 0) -> list[str]:
    lines = [f"{name} = T({values}[{i}])" for i, name in enumerate(names, start=first)]
    return lines + [f"{name}_d = {values}[{i}]" for i, name in enumerate(names, start=first) if name in doubles]


def _steps(step: Step, count: int, constants: dict[str, str]) -> tuple[list[str], list[str], frozenset[str]]:
    """``count`` steps, from step ``s`` of the call on, in one loop over lanes: the state stays in registers.

    Returns what does not depend on the time, the rest, and the symbols that are needed in float64. Several steps have
    one step size.
    """
    rows, row = range(len(step.outputs)), step.lanes
    mark = "w" if count > 1 else "v"
    before, lane = _draw_setup(step, count)
    fixed: list[str] = []
    lane += [f"x{i} = x[{i * row} + l]" for i in rows]
    signs = frozenset(f"z{j}" for j in range(step.n_draws)) if step.signs else frozenset()
    first: Code | None = None
    for i in range(count):
        names = {name: f"{name}_{i}" for name in TIMES} | {name: f"{name}_{mark}" for name in (*CLOCK, *step.constants)}
        code = Code(step.lane_inputs, signs, f"{mark}{i}_", names, constants)
        if first is not None:
            code.follow(first)
        results = code.add(step.outputs)
        if first is None:
            fixed = [*_clock(step, names, code.used, code.doubles), *code.fixed]
        for name in (name for name in TIMES if name in code.doubles):
            before.append(f"{name}_{i} = " + TIMES[name].format(k=f"(first_step + s + {i})"))
        before += code.once
        first = first or code
        lane += _draws(step, i, count) + code.per_lane
        lane.append(f"{', '.join(f'x{r}' for r in rows)} = {', '.join(results)}")
    lane += [f"x[{i * row} + l] = x{i}" for i in rows]
    assert first is not None
    return fixed, [*before, "for l in range(lanes):", *indent(lane)], first.doubles


def _clock(step: Step, names: dict[str, str], used: frozenset[str], doubles: frozenset[str]) -> list[str]:
    """What the row of step s of the coefficients says besides the time, as far as it is used."""
    first = len(CLOCK) + len(step.parameters)
    where = {name: at for at, name in enumerate(CLOCK)} | {name: first + j for j, name in enumerate(step.constants)}
    lines = [f"{names[name]} = T(c[r + {at}])" for name, at in where.items() if name in used]
    lines += [f"{names[name]}_d = c[r + {at}]" for name, at in where.items() if name in doubles]
    return ["r = s * stride", *lines]


def _draw_setup(step: Step, count: int) -> tuple[list[str], list[str]]:
    row = step.lanes
    before = [f"us = s * {step.n_uniforms * row}"] if step.n_uniforms else []
    before += [f"ps = s * {step.picks * row}"] if step.picks else []
    if not step.signs:
        return [f"zs = s * {step.n_draws * row}", *before], []
    first = f"bit = (first_step + s) * {step.n_draws} - first_step * {step.n_draws} // 32 * 32"
    if count == 1:
        return [first, *before], []
    return [first, f"word = bit // 32 * {row}", "bit = bit % 32", *before], ["w = shift_(z[word + l], bit)"]


def _draws(step: Step, i: int, count: int) -> list[str]:
    """The draws of step s + i."""
    m, k, row = step.n_draws, step.n_uniforms, step.lanes
    lines = [f"u{j} = u[us + {(i * k + j) * row} + l]" for j in range(k)]
    for b in range(step.picks):
        place = f"picks[ps + {(i * step.picks + b) * row} + l] * width"
        lines += [f"d{b}_{j} = T(rows[{place} + {j}])" for j in range(step.columns)]
    if not step.signs:
        return lines + [f"z{j} = T(z[zs + {(i * m + j) * row} + l])" for j in range(m)]
    if count > 1:
        return lines + [f"z{j} = sign_(w, {i * m + j})" for j in range(m)]
    return lines + [f"z{j} = sign_(z[(bit + {j}) // 32 * {row} + l], (bit + {j}) % 32)" for j in range(m)]


def _summing_stepper(step: Step) -> str:
    row = step.lanes
    names = {name: f"{name}_0" for name in TIMES} | {name: f"{name}_v" for name in (*CLOCK, *step.constants)}
    signs = frozenset(f"z{j}" for j in range(step.n_draws)) if step.signs else frozenset()
    before, _ = _draw_setup(step, 1)
    loads = {f"x{i}": f"x[{i * row} + l]" for i in range(len(step.outputs))}
    loads |= dict(line.split(" = ", 1) for line in _draws(step, 0, 1))
    rows = {"x": f"x[({{}}) * {row} + l]", "u": f"u[us + ({{}}) * {row} + l]"}
    rows |= {} if step.signs else {"z": f"T(z[zs + ({{}}) * {row} + l])"}
    turns = Turns(sums_in(step.outputs), loads, rows, signs=signs, names=names)
    lines = turns.lines("x", in_place=True)
    times = [f"{n}_0 = " + TIMES[n].format(k="(first_step + s)") for n in TIMES if n in turns.doubles]
    body = [*_clock(step, names, turns.used, turns.doubles), *turns.fixed, *before, *times, *turns.once, *lines]
    parameters = _parameter_lines(step.parameters, turns.doubles, "c", len(CLOCK))
    return turns.source(step.head, [*parameters, "for s in range(n_steps):", *indent(body)])


def _summing_observer(outputs: tuple[Expr, ...], names: tuple[str, ...], dim: int, layout: str, first: int) -> str:
    row = _core.lanes[layout]
    rows = {"x": f"x[({{}}) * {row} + l]", "out": f"out[({{}}) * {row} + l]"}
    turns = Turns(sums_in(outputs, first), {f"x{i}": f"x[{i * row} + l]" for i in range(dim)}, rows)
    lines = turns.lines("out", in_place=False)
    body = ["t = time", *_parameter_lines(names, turns.doubles, "p"), *turns.fixed, *turns.once, *lines]
    return turns.source(OBSERVER, body)
