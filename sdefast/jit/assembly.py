"""From the source of a kernel to LLVM's instructions.

Kernels are written in a small part of Python: numbers, names that keep their type, loops over ranges, rows of lanes.
What everything is follows from the arguments, line by line, so that a kernel is turned into instructions in one pass.
(A compiler of any Python, which looks for types first, takes several times as long for that as LLVM for the rest.)

Iterations of ``for l in paired(n)`` do not need one another: two of them are faster in turn than one after the other.

All floating point is strict; integers are 64 bits wide, words of the table are addressed without a sign.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from itertools import pairwise, zip_longest
from typing import Any, ClassVar, NamedTuple

import numpy as np
from llvmlite import ir

from .machine import calls_fma

__all__ = ["Emitter", "Kernel", "Value", "module_of", "type_of"]

_INT = ir.IntType(64)

#: what numbers are in memory and in registers, by the names of numpy's types
_TYPES: dict[str, ir.Type] = {
    "float32": ir.FloatType(), "float64": ir.DoubleType(), "int64": _INT, "uint64": _INT, "int32": ir.IntType(32),
    "uint32": ir.IntType(32), "bool": ir.IntType(1),
}  # fmt: skip

#: bits of integers
_BITS = {"int64": 64, "uint64": 64, "int32": 32, "uint32": 32, "bool": 1}

_FLOATS = ("float32", "float64")

#: LLVM's names of comparisons, and instructions for sums, differences and products of floats and of integers
_COMPARISONS = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}
_SIGNS = {ast.Add: ("fadd", "add"), ast.Sub: ("fsub", "sub"), ast.Mult: ("fmul", "mul")}
_LOGICAL = {ast.BitAnd: "and_", ast.BitOr: "or_", ast.BitXor: "xor", ast.RShift: "lshr"}


def type_of(kind: str) -> ir.Type:
    """LLVM's type of one of numpy's, by name."""
    return _TYPES[kind]


def _in_pairs(module: ir.Module) -> Any:
    """What says of a loop that two vectors of lanes go through it at a time."""
    count = module.add_metadata(["llvm.loop.interleave.count", ir.IntType(32)(2)])
    loop = module.add_metadata([count, str(len(module.metadata))])
    loop.operands = (loop, count)  # as LLVM tells loops from one another
    return loop


class Value(NamedTuple):
    """What an instruction leaves, and the name of its type: one of numpy's, with * for where such numbers lie."""

    kind: str
    ir: Any


#: What emits the instructions of a call: from the kernel and the arguments to the result, if there is one.
Emitter = Callable[["Kernel", list[Value]], Value | None]


def module_of(source: str, signature: Sequence[str], dtype: str, space: dict[str, Any], name: str) -> ir.Module:
    """The instructions of the kernel that ``source`` defines, as a function of that name in a module.

    ``signature`` are the types of its arguments, of which no two point to the same memory; ``dtype`` is what ``T`` is
    in the source; ``space`` are the functions that it calls.
    """
    *before, definition = ast.parse(source).body
    assert isinstance(definition, ast.FunctionDef)
    numbers = {"T": np.dtype(dtype).type, "D": np.float64, "W": np.uint32}
    known = {**space, **numbers}
    with np.errstate(over="ignore"):  # a number too large for float32 is infinite there
        exec(compile(ast.Module(before, []), "<sdefast kernel>", "exec"), known)
    module = ir.Module()
    arguments = [_TYPES[kind.rstrip("*")] for kind in signature]
    places = [t.as_pointer() if kind.endswith("*") else t for t, kind in zip(arguments, signature, strict=True)]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), places), name)
    for argument, kind in zip(function.args, signature, strict=True):
        if kind.endswith("*"):
            argument.add_attribute("noalias")
    given = zip((argument.arg for argument in definition.args.args), map(Value, signature, function.args), strict=True)
    kernel = Kernel(function, dict(given), known, dtype)
    kernel.statements(definition.body)
    kernel.finish()
    return module


class Kernel:
    """Emits the instructions of one kernel.

    ``arguments`` are its arguments, ``known`` the numbers and functions that it reads from outside.
    """

    def __init__(self, function: ir.Function, arguments: dict[str, Value], known: dict[str, Any], dtype: str) -> None:
        self._entry, body = ir.IRBuilder(function.append_basic_block()), function.append_basic_block()
        self.builder = ir.IRBuilder(body)
        self._body, self._arguments, self._known = body, arguments, known
        self._variables: dict[str, Value] = {}
        self._types = {"T": dtype, "D": "float64", "I": "int32", "U": "uint64", "W": "uint32"}

    def finish(self) -> None:
        self.builder.ret_void()
        self._entry.branch(self._body)

    def memory(self, kind: ir.Type, align: int | None = None) -> Any:
        """Memory for as long as the kernel runs."""
        memory = self._entry.alloca(kind)
        memory.align = align
        return memory

    # Statements -------------------------------------------------------------------------------------------------------

    def statements(self, body: Sequence[ast.stmt]) -> None:
        for statement in body:
            self._emit[type(statement)](self, statement)

    def _assign(self, statement: ast.Assign) -> None:
        (target,) = statement.targets
        if isinstance(target, ast.Tuple):
            assert isinstance(statement.value, ast.Tuple)
            values = self._abreast(statement.value.elts)
            for one, value in zip(target.elts, values, strict=True):
                self._store(one, value)
        else:
            self._store(target, self._value(statement.value))

    def _abreast(self, expressions: Sequence[ast.expr]) -> list[Value]:
        """Values that do not need one another, by an instruction of each in turn.

        The instructions of one may all wait for the one before, and a processor looks ahead no more than some dozens.
        """
        instructions, values = self.builder.block.instructions, list[Value]()
        ends = [len(instructions)]
        for e in expressions:
            values.append(self._value(e))
            ends.append(len(instructions))
        if not calls_fma():
            each = [instructions[begin:end] for begin, end in pairwise(ends)]
            instructions[ends[0] :] = [i for turn in zip_longest(*each) for i in turn if i is not None]
        return values

    def _add_to(self, statement: ast.AugAssign) -> None:
        assert isinstance(statement.target, ast.Name)
        place = ast.Name(statement.target.id, ast.Load())
        self._store(statement.target, self._value(ast.BinOp(place, statement.op, statement.value)))

    def _store(self, target: ast.expr, value: Value) -> None:
        if isinstance(target, ast.Subscript):
            kind, address = self._address(target)
            self.builder.store(self.converted(value, kind).ir, address)
            return
        assert isinstance(target, ast.Name)
        variable = self._variables.get(target.id)
        if variable is None:
            variable = self._variables[target.id] = Value(value.kind, self._entry.alloca(value.ir.type))
        self.builder.store(self.converted(value, variable.kind).ir, variable.ir)

    def _call_alone(self, statement: ast.Expr) -> None:
        assert isinstance(statement.value, ast.Call)
        self._call(statement.value)

    def _for(self, statement: ast.For) -> None:
        assert isinstance(statement.iter, ast.Call)
        begin, end, step = self._range([self._integer(self._value(e)) for e in statement.iter.args])
        builder, before = self.builder, self.builder.block
        body, after = builder.append_basic_block(), builder.append_basic_block()
        builder.cbranch(builder.icmp_signed("<", begin, end), body, after)
        builder.position_at_end(body)
        i = builder.phi(_INT)
        i.add_incoming(begin, before)
        self._store(statement.target, Value("int64", i))
        self.statements(statement.body)
        following = builder.add(i, step, flags=["nsw"])
        i.add_incoming(following, builder.block)
        again = builder.cbranch(builder.icmp_signed("<", following, end), body, after)
        if isinstance(statement.iter.func, ast.Name) and statement.iter.func.id == "paired" and not calls_fma():
            again.set_metadata("llvm.loop", _in_pairs(builder.module))
        builder.position_at_end(after)

    @staticmethod
    def _range(given: list[Any]) -> list[Any]:
        """Begin, end and step of a range."""
        given = given if len(given) > 1 else [_INT(0), *given]
        return given if len(given) > 2 else [*given, _INT(1)]

    def _while(self, statement: ast.While) -> None:
        builder = self.builder
        again, body, after = (builder.append_basic_block() for _ in range(3))
        builder.branch(again)
        builder.position_at_end(again)
        builder.cbranch(self._value(statement.test).ir, body, after)
        builder.position_at_end(body)
        self.statements(statement.body)
        builder.branch(again)
        builder.position_at_end(after)

    def _if(self, statement: ast.If) -> None:
        builder = self.builder
        yes, no, after = (builder.append_basic_block() for _ in range(3))
        builder.cbranch(self._value(statement.test).ir, yes, no)
        for block, body in ((yes, statement.body), (no, statement.orelse)):
            builder.position_at_end(block)
            self.statements(body)
            builder.branch(after)
        builder.position_at_end(after)

    # Expressions ------------------------------------------------------------------------------------------------------

    def _value(self, e: ast.expr) -> Value:
        return self._evaluate[type(e)](self, e)

    def _name(self, e: ast.Name) -> Value:
        variable = self._variables.get(e.id)
        if variable is not None:
            return Value(variable.kind, self.builder.load(variable.ir))
        return self._arguments[e.id] if e.id in self._arguments else self.number(self._known[e.id])

    def _constant(self, e: ast.Constant) -> Value:
        return self.number(e.value)

    def number(self, value: Any) -> Value:
        """A number of Python or numpy: floats of Python are float64, its integers int64."""
        kind = str(np.asarray(value).dtype)
        return Value(kind, ir.Constant(_TYPES[kind], float(value) if kind in _FLOATS else int(value)))

    def _subscript(self, e: ast.Subscript) -> Value:
        kind, address = self._address(e)
        return Value(kind, self.builder.load(address))

    def _address(self, e: ast.Subscript) -> tuple[str, Any]:
        array, index = self._value(e.value), self._integer(self._value(e.slice))
        return array.kind.removesuffix("*"), self.builder.gep(array.ir, [index], inbounds=True)

    def _unary(self, e: ast.UnaryOp) -> Value:
        value = self._value(e.operand)
        if isinstance(e.op, ast.Not):
            return Value("bool", self.builder.not_(value.ir))
        assert isinstance(e.op, ast.USub)
        if value.kind in _FLOATS:
            return Value(value.kind, self.builder.fneg(value.ir))
        return Value("int64", self.builder.neg(self._integer(value)))

    def _binary(self, e: ast.BinOp) -> Value:
        a, b = self._value(e.left), self._value(e.right)
        if type(e.op) in _LOGICAL:
            (a, b), kind = ((a, b), "bool") if a.kind == b.kind == "bool" else self._alike(a, b)
            return Value(kind, getattr(self.builder, _LOGICAL[type(e.op)])(a.ir, b.ir))
        (a, b), kind = self._alike(a, b)
        if isinstance(e.op, ast.Div):
            kind = kind if kind in _FLOATS else "float64"
            return Value(kind, self.builder.fdiv(*(self.converted(x, kind).ir for x in (a, b))))
        if type(e.op) in _SIGNS:
            of_floats, of_integers = _SIGNS[type(e.op)]
            return Value(kind, getattr(self.builder, of_floats if kind in _FLOATS else of_integers)(a.ir, b.ir))
        assert isinstance(e.op, (ast.FloorDiv, ast.Mod))
        assert kind == "int64"
        return Value(kind, self._floored(a.ir, b.ir)[isinstance(e.op, ast.Mod)])

    def _floored(self, a: Any, b: Any) -> tuple[Any, Any]:
        """Quotient and remainder as Python has them: the quotient is rounded down."""
        builder = self.builder
        quotient, rest = builder.sdiv(a, b), builder.srem(a, b)
        signs_differ = builder.icmp_signed("<", builder.xor(rest, b), _INT(0))
        wrong = builder.and_(signs_differ, builder.icmp_signed("!=", rest, _INT(0)))
        below = builder.sub(quotient, _INT(1))
        return builder.select(wrong, below, quotient), builder.select(wrong, builder.add(rest, b), rest)

    def _alike(self, a: Value, b: Value) -> tuple[tuple[Value, Value], str]:
        """Two numbers as one type: the wider float; integers that have a sign are int64."""
        if a.kind == b.kind and a.kind in (*_FLOATS, "uint64"):
            return (a, b), a.kind
        if {a.kind, b.kind} & {*_FLOATS}:
            kind = "float32" if {a.kind, b.kind} <= {"float32", "bool"} else "float64"
        else:
            assert "uint64" not in (a.kind, b.kind)
            kind = "int64"
        return (self.converted(a, kind), self.converted(b, kind)), kind

    def _compare(self, e: ast.Compare) -> Value:
        (op,), (right,) = e.ops, e.comparators
        (a, b), kind = self._alike(self._value(e.left), self._value(right))
        if kind in _FLOATS:  # nothing is true of NaN but that it differs
            how = self.builder.fcmp_unordered if isinstance(op, ast.NotEq) else self.builder.fcmp_ordered
        else:
            how = self.builder.icmp_unsigned if kind == "uint64" else self.builder.icmp_signed
        return Value("bool", how(_COMPARISONS[type(op)], a.ir, b.ir))

    def _both(self, e: ast.BoolOp) -> Value:
        """``and`` and ``or``: what comes later is looked at only if that is needed."""
        builder, decides = self.builder, isinstance(e.op, ast.Or)
        after, ends = builder.append_basic_block(), []
        for operand in e.values[:-1]:
            value, following = self._value(operand).ir, builder.append_basic_block()
            ends.append((ir.Constant(ir.IntType(1), decides), builder.block))
            builder.cbranch(value, *((after, following) if decides else (following, after)))
            builder.position_at_end(following)
        ends.append((self._value(e.values[-1]).ir, builder.block))
        builder.branch(after)
        builder.position_at_end(after)
        found = builder.phi(ir.IntType(1))
        for value, block in ends:
            found.add_incoming(value, block)
        return Value("bool", found)

    def _choice(self, e: ast.IfExp) -> Value:
        """One of two numbers, both of which are computed."""
        (a, b), kind = self._alike(self._value(e.body), self._value(e.orelse))
        return Value(kind, self.builder.select(self._value(e.test).ir, a.ir, b.ir))

    def _called(self, e: ast.Call) -> Value:
        value = self._call(e)
        assert value is not None
        return value

    def _call(self, e: ast.Call) -> Value | None:
        assert isinstance(e.func, ast.Name)
        args = [self._value(a) for a in e.args]
        if e.func.id in self._types:
            return self.converted(args[0], self._types[e.func.id])
        if e.func.id == "min":
            a, b = (self._integer(x) for x in args)
            return Value("int64", self.builder.select(self.builder.icmp_signed("<", b, a), b, a))
        return self._known[e.func.id](self, args)  # type: ignore[no-any-return]

    # Types ------------------------------------------------------------------------------------------------------------

    def _integer(self, value: Value) -> Any:
        return value.ir if value.kind == "uint64" else self.converted(value, "int64").ir

    def converted(self, value: Value, kind: str) -> Value:
        """A number as one of another type."""
        if value.kind == kind:
            return value
        builder, to, signed = self.builder, _TYPES[kind], value.kind in ("int64", "int32")
        if value.kind in _FLOATS:
            change = builder.fptosi if kind not in _FLOATS else builder.fpext if kind == "float64" else builder.fptrunc
            return Value(kind, change(value.ir, to))
        if kind in _FLOATS:
            return Value(kind, (builder.sitofp if signed else builder.uitofp)(value.ir, to))
        more = _BITS[kind] - _BITS[value.kind]
        if more == 0:
            return Value(kind, value.ir)
        change = builder.trunc if more < 0 else builder.sext if signed else builder.zext
        return Value(kind, change(value.ir, to))

    _emit: ClassVar[dict[type, Callable[..., None]]] = {
        ast.Assign: _assign, ast.AugAssign: _add_to, ast.Expr: _call_alone, ast.For: _for, ast.While: _while,
        ast.If: _if,
    }  # fmt: skip
    _evaluate: ClassVar[dict[type, Callable[..., Value]]] = {
        ast.Name: _name, ast.Constant: _constant, ast.Subscript: _subscript, ast.UnaryOp: _unary, ast.BinOp: _binary,
        ast.Compare: _compare, ast.BoolOp: _both, ast.IfExp: _choice, ast.Call: _called,
    }  # fmt: skip
