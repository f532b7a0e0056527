"""Instructions that compare, select, move and convert."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .arithmetic import BITWISE
from .rules import Binder, of, rule, simple
from .text import TYPES, Instruction, Symbol, Vector

if TYPE_CHECKING:
    from .execution import Lanes

_ORDERED = {"eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal}
_ORDERED |= {"gt": np.greater, "ge": np.greater_equal}
_COMPARISONS: dict[str, Any] = {
    **_ORDERED,
    **{name: _ORDERED[same] for name, same in {"lo": "lt", "ls": "le", "hi": "gt", "hs": "ge"}.items()},
    "equ": lambda a, b: ~((a < b) | (a > b)),
    "neu": np.not_equal,
    "ltu": lambda a, b: ~(a >= b),
    "leu": lambda a, b: ~(a > b),
    "gtu": lambda a, b: ~(a <= b),
    "geu": lambda a, b: ~(a < b),
    "num": lambda a, b: (a == a) & (b == b),
    "nan": lambda a, b: (a != a) | (b != b),
}
_COMPARE = rf"({'|'.join(_COMPARISONS)})"
_SCALAR = r"([bus](?:16|32|64)|f32|f64)"


def _comparison(name: str, kind: str) -> Callable[..., Any]:
    """Comparisons with NaN are false, unless their names say unordered; so is even !=."""
    if kind[0] == "f" and name == "ne":
        return lambda a, b: (a < b) | (a > b)
    return _COMPARISONS[name]


@rule(rf"setp\.{_COMPARE}(?:\.(and|or|xor))?\.{_SCALAR}")
def _set_predicate(name: str, join: str | None, kind: str) -> Binder:
    compare = _comparison(name, kind)
    alone = simple(compare if isinstance(compare, np.ufunc) else of(compare), "pred", kind, kind)

    def bind(lanes: Lanes, instruction: Instruction) -> Any:
        to, a, b, *condition = instruction.operands
        if join is None and isinstance(to, Symbol):
            return alone(lanes, instruction)
        outs = [lanes.write(part, "pred") for part in (to.parts if isinstance(to, Vector) else [to])]
        with_ = [lanes.predicate(c) for c in condition]

        def call(a: Any, b: Any, where: Any = True) -> None:
            truth = compare(a, b)
            others = [c ^ inverted for c, inverted in with_]
            for out, value in zip(outs, (truth, ~truth), strict=False):
                np.copyto(out, BITWISE[join](value, *others) if join else value, where=where)

        return lanes.both(call, lanes.read(a, kind), lanes.read(b, kind))

    return bind


@rule(rf"set\.{_COMPARE}\.(u32|s32|f32)\.{_SCALAR}")
def _set(name: str, out: str, kind: str) -> Binder:
    compare, true = _comparison(name, kind), np.array(1.0 if out == "f32" else -1, TYPES[out.replace("u", "s")])
    yes = true.view(TYPES[out])
    return simple(of(lambda a, b: np.where(compare(a, b), yes, np.zeros_like(yes))), out, kind, kind)


@rule(rf"selp\.{_SCALAR}")
def _select(kind: str) -> Binder:
    return simple(of(lambda a, b, condition: np.where(condition, a, b)), kind, kind, kind, "pred")


@rule(rf"slct\.{_SCALAR}\.(s32|f32)")
def _select_by_sign(kind: str, by: str) -> Binder:
    return simple(of(lambda a, b, c: np.where(c >= 0, a, b)), kind, kind, kind, by)


@rule(rf"mov\.(pred|{_SCALAR[1:-1]})")
def _move(kind: str) -> Binder:
    """Also {low, high} to a register and back."""

    def bind(lanes: Lanes, instruction: Instruction) -> Any:
        to, source = instruction.operands
        vector = next((o.parts for o in (to, source) if isinstance(o, Vector)), None)
        if vector is None:
            return lanes.copy(lanes.write(to, kind), lanes.read(source, kind))
        part = f"b{int(kind[1:]) // len(vector)}"
        whole = source if vector is getattr(to, "parts", None) else to
        slots = lanes.slots(whole, kind, len(vector))
        if whole is source:
            pairs = [(lanes.write(v, part), slot) for v, slot in zip(vector, slots, strict=True)]
        else:
            pairs = [(slot, lanes.read(v, part)) for v, slot in zip(vector, slots, strict=True)]

        def call(where: Any = True) -> None:
            for into, value in pairs:
                np.copyto(into, value, where=where)

        return lanes.both(call)

    return bind


@rule(r"cvta(?:\.to)?\.(?:global|shared|local|const)\.u64")
def _generic() -> Binder:
    """All memory shares one space of addresses here."""
    return _move("u64")


_ROUNDINGS = {"rni": np.rint, "rzi": np.trunc, "rmi": np.floor, "rpi": np.ceil}


def _to_integer(rounding: Any, kind: str, source: str) -> Callable[..., Any]:
    """The nearest number there is; NaN is 0 or, where 64 bits take part, the highest bit."""
    dtype = TYPES[kind]
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    top = 1 << (8 * dtype.itemsize - 1)
    nan = -top if kind[0] == "s" else top

    def convert(a: Any) -> Any:
        whole = rounding(a)
        inside = (whole >= float(low)) & (whole < float(high + 1))
        outside = np.where(a > 0, dtype.type(high), dtype.type(low))
        outside = np.where(a == a, outside, dtype.type(nan if "64" in kind + source else 0))
        return np.where(inside, np.where(inside, whole, 0).astype(dtype), outside)

    return convert


def _conversion(rounding: str | None, kind: str, source: str) -> Callable[..., Any] | None:
    """What makes an array of the one type of one of the other; None if there is no such instruction."""
    whole = rounding in _ROUNDINGS
    if kind[0] == source[0] == "f":
        if whole and kind == source:
            return _ROUNDINGS[rounding]
        narrower = kind == "f32" and source == "f64"
        return (lambda a: a.astype(TYPES[kind])) if rounding == ("rn" if narrower else None) else None
    if source[0] == "f":
        return _to_integer(_ROUNDINGS[rounding], kind, source) if whole else None
    needs = "rn" if kind[0] == "f" else None
    return (lambda a: a.astype(TYPES[kind])) if rounding == needs else None


_NUMBER = r"([us](?:8|16|32|64)|f32|f64)"


@rule(rf"cvt(?:\.(rn|{'|'.join(_ROUNDINGS)}))?\.{_NUMBER}\.{_NUMBER}")
def _convert(rounding: str | None, kind: str, source: str) -> Binder:
    conversion = _conversion(rounding, kind, source)

    def bind(lanes: Lanes, instruction: Instruction) -> Any:
        if conversion is None:
            raise NotImplementedError(instruction.opcode)
        to, operand = instruction.operands
        out, value = lanes.write(to, kind, extend=True), lanes.read(operand, source)
        if out.dtype == TYPES[kind] and rounding in (None, "rn"):
            return lanes.copy(out, value)
        return lanes.both(of(conversion), value, out=out)

    return bind
