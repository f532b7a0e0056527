"""From expressions to the source of a kernel: the statements of ``code.py`` in loops over steps and lanes."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from .. import _core
from ..trace import Expr, all_parts
from . import networks
from .code import SIGNS, TIMES, Code, constant_lines, indent, known_lanes, over_lanes
from .rare import found_in, searching_loop
from .step import CLOCK, OBSERVER, ROW, Step, clock_lines, draw_lines, draw_setup, parameter_lines
from .sums import sums_in
from .turns import Turns

__all__ = ["CLOCK", "ROW", "SIGNS", "Code", "Step", "indent", "n_written", "observer_source", "stepper_source"]


def n_written(step: Step) -> int:
    """Operations that a stepper is written with: those of rows that are alike once."""
    loops = None if sums_in(step.whole).turns else networks.loops_of(_placed(step.folded()))
    return loops.n_operations if loops is not None else sum(bool(e.args) for e in all_parts(step.whole))


def _placed(step: Step) -> Step:
    """A step that knows where in the kernel's table is what it looks up."""
    return replace(step, outputs=tuple(sums_in(step.outputs).outputs))


@lru_cache(maxsize=64)
def stepper_source(step: Step, at_once: int = 1) -> str:
    """The source of a stepper (see csrc/engine/step.hpp): ``at_once`` steps where there are enough, else one.

    It is one where something rare may happen between them.
    """
    if sums_in(step.whole).turns:
        return _summing_stepper(step.folded())
    step = _placed(step)
    loops = networks.loops_of(step.folded())
    if loops is not None:
        return loops.source()
    constants: dict[str, str] = {}
    fixed, single, doubles = _steps(step, 1, constants)
    parameters = parameter_lines(step.parameters, doubles, "c", len(CLOCK))
    if at_once == 1 or step.rare is not None:
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
    lines = [known_lanes(step.lanes), *parameters, *body]
    return "\n".join([*constant_lines(constants), step.head, *indent(lines), ""])


@lru_cache(maxsize=256)
def observer_source(
    outputs: tuple[Expr, ...], names: tuple[str, ...], dim: int, layout: str = "wide", first: int = 0
) -> str:
    """The source of an observer (see csrc/levels/table.hpp): ``outputs`` of ``t``, ``x0``, ... and ``names``.

    ``layout`` is that of the step; what sums over rows read begins at ``first`` in the kernel's table.
    """
    sums = sums_in(outputs, first)
    if sums.turns:
        return _summing_observer(outputs, names, dim, layout, first)
    row = _core.lanes[layout]
    code = Code((f"x{i}" for i in range(dim)), abreast=True)
    results = code.add(sums.outputs)
    lane = [f"x{i} = x[{i * row} + l]" for i in range(dim)] + code.per_lane
    lane += [f"out[{r * row} + l] = T({name})" for r, name in enumerate(results)]
    body = [known_lanes(row), "t = time", *parameter_lines(names, code.doubles, "p"), *code.fixed, *code.once]
    body += over_lanes(lane)
    return "\n".join([*constant_lines(code.constants), OBSERVER, *indent(body), ""])


def _steps(step: Step, count: int, constants: dict[str, str]) -> tuple[list[str], list[str], frozenset[str]]:
    """``count`` steps, from step ``s`` of the call on, in one loop over lanes: the state stays in registers.

    Returns what does not depend on the time, the rest, and the symbols that are needed in float64. Several steps have
    one step size.
    """
    rows, row = range(len(step.outputs)), step.lanes
    mark = "w" if count > 1 else "v"
    before, lane = draw_setup(step, count)
    fixed: list[str] = []
    lane += [f"x{i} = x[{i * row} + l]" for i in rows]
    signs = frozenset(f"z{j}" for j in range(step.n_draws)) if step.signs else frozenset()
    first: Code | None = None
    for i in range(count):
        names = {name: f"{name}_{i}" for name in TIMES} | {name: f"{name}_{mark}" for name in (*CLOCK, *step.constants)}
        code = Code(step.lane_inputs, signs, f"{mark}{i}_", names, constants, abreast=True)
        if first is not None:
            code.follow(first)
        results = code.add(step.outputs)
        used, doubles, rare = code.used, code.doubles, found_in(step, code, names, constants)
        if rare is not None:
            used, doubles = used | rare.used, doubles | rare.doubles
        if first is None:
            fixed = [*clock_lines(step, names, used, doubles), *code.fixed, *(rare.fixed if rare else ())]
        for name in (name for name in TIMES if name in doubles):
            before.append(f"{name}_{i} = " + TIMES[name].format(k=f"(first_step + s + {i})"))
        before += [*code.once, *(rare.once if rare else ())]
        first = first or code
        lane += draw_lines(step, i, count) + code.per_lane
        lane.append(f"{', '.join(f'x{r}' for r in rows)} = {', '.join(results)}")
    lane += [f"x[{i * row} + l] = x{i}" for i in rows]
    loop = searching_loop(step, rare, lane) if rare else over_lanes(lane)
    return fixed, [*before, *loop], doubles


def _summing_stepper(step: Step) -> str:
    row = step.lanes
    names = {name: f"{name}_0" for name in TIMES} | {name: f"{name}_v" for name in (*CLOCK, *step.constants)}
    signs = frozenset(f"z{j}" for j in range(step.n_draws)) if step.signs else frozenset()
    before, _ = draw_setup(step, 1)
    loads = {f"x{i}": f"x[{i * row} + l]" for i in range(len(step.outputs))}
    loads |= dict(line.split(" = ", 1) for line in draw_lines(step, 0, 1))
    rows = {"x": f"x[({{}}) * {row} + l]", "u": f"u[us + ({{}}) * {row} + l]"}
    rows |= {} if step.signs else {"z": f"T(z[zs + ({{}}) * {row} + l])"}
    turns = Turns(sums_in(step.outputs), loads, rows, signs=signs, names=names)
    lines = turns.lines("x", in_place=True)
    times = [f"{n}_0 = " + TIMES[n].format(k="(first_step + s)") for n in TIMES if n in turns.doubles]
    body = [*clock_lines(step, names, turns.used, turns.doubles), *turns.fixed, *before, *times, *turns.once, *lines]
    parameters = parameter_lines(step.parameters, turns.doubles, "c", len(CLOCK))
    return turns.source(step.head, [*parameters, "for s in range(n_steps):", *indent(body)])


def _summing_observer(outputs: tuple[Expr, ...], names: tuple[str, ...], dim: int, layout: str, first: int) -> str:
    row = _core.lanes[layout]
    rows = {"x": f"x[({{}}) * {row} + l]", "out": f"out[({{}}) * {row} + l]"}
    turns = Turns(sums_in(outputs, first), {f"x{i}": f"x[{i * row} + l]" for i in range(dim)}, rows)
    lines = turns.lines("out", in_place=False)
    body = ["t = time", *parameter_lines(names, turns.doubles, "p"), *turns.fixed, *turns.once, *lines]
    return turns.source(OBSERVER, body)
