"""The loop over the rows of a table, in LLVM instructions on vectors of lanes.

Terms are Python source over the `Arithmetic` of ``arithmetic.py``, here of vectors; the loop around them is written
out, since a compiler does not turn a loop over rows in a loop over lanes outside in. Four rows are added up at once,
``sum += (t0 + t1) + (t2 + t3)`` or one fma after the other where terms are a slope times a column, and those that are
left one by one: sums are the same to the last bit on any machine, whatever the length of vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

from llvmlite import ir

from .arithmetic import Arithmetic, Number, Truth, scalars
from .assembly import Emitter, Kernel, Value
from .sums import LANES
from .vector_math import FUNCTIONS

#: Rows at once.
FOUR = 4

#: Bytes of a vector, and what it is aligned to.
_BYTES = 64

_WORD = ir.IntType(64)


class _Vectors(Arithmetic):
    """Arithmetic on vectors of lanes."""

    def __init__(self, context: Any, builder: Any, real: Any, integer: Any) -> None:
        super().__init__(context, builder, real, integer)
        self.lanes = _BYTES * 8 // self.width
        self.type = ir.VectorType(context.get_value_type(real), self.lanes)

    def _splat(self, scalar: ir.Constant) -> ir.Constant:
        return ir.Constant(ir.VectorType(scalar.type, self.lanes), [scalar] * self.lanes)

    def number(self, value: Any) -> Number:
        made = super().number(value)
        return made if made is value else Number(self, self._splat(made.ir))

    def integer(self, value: Any) -> Any:
        made = super().integer(value)
        return made if made is value else type(made)(self, self._splat(made.ir))

    @property
    def _bits_type(self) -> Any:
        return ir.VectorType(super()._bits_type, self.lanes)

    def from_bits(self, u: Any) -> Number:
        return Number(self, self.builder.bitcast(u.ir, self.type))

    def fma(self, a: Any, b: Any, c: Any) -> Number:
        return self._call("llvm.fma", *(self.number(x) for x in (a, b, c)))

    def _call(self, name: str, *args: Number) -> Number:
        full = f"{name}.v{self.lanes}f{self.width}"
        kind = ir.FunctionType(self.type, [self.type] * len(args))
        function = self.builder.module.declare_intrinsic(full, (), kind)
        return Number(self, self.builder.call(function, [x.ir for x in args]))

    def spread(self, scalar: Any) -> Number:
        """One number in all lanes."""
        undefined, word = ir.Constant(self.type, ir.Undefined), ir.IntType(32)
        first = self.builder.insert_element(undefined, scalar, word(0))
        zeros = ir.Constant(ir.VectorType(word, self.lanes), [0] * self.lanes)
        return Number(self, self.builder.shuffle_vector(first, undefined, zeros))


def library(v: Arithmetic) -> dict[str, Any]:
    """What the source of terms calls."""
    space: dict[str, Any] = {f"{name}_": partial(f, v) for name, f in FUNCTIONS.items()}
    space["le_"] = lambda a, b: Truth(v, v.builder.fcmp_ordered("<=", a.ir, b.ir))
    space["not_"] = lambda a: Truth(v, v.builder.not_(a.ir))
    return space | {"T": lambda x: v.number(float(x))}


def scratch(dtype: str, n_rows: int, lanes: int = LANES) -> Emitter:
    """What gives a kernel memory for rows of so many lanes."""

    def emit(kernel: Kernel, args: list[Value]) -> Value:
        real = scalars(kernel.builder, dtype).real
        memory = kernel.memory(ir.ArrayType(real, n_rows * lanes), _BYTES)
        return Value(f"{dtype}*", kernel.builder.bitcast(memory, real.as_pointer()))

    return emit


def row_loop(
    dtype: str, terms: str, first: int, n_rows: int, n_columns: int, products: Sequence[tuple[int, int, int]],
    sums: Sequence[int], families: Sequence[tuple[int, int, int]],
) -> Emitter:  # fmt: skip
    """``loop(table, q, m)`` for the first ``m`` lanes of the rows ``q``; see `sums.RowLoop`."""

    def emit(kernel: Kernel, args: list[Value]) -> None:
        v = scalars(kernel.builder, dtype, _Vectors)
        space = library(v)
        exec(compile(terms, "<sdefast terms>", "exec"), space)
        table, memory, m = args
        emitted = _Loop(v, space["terms"], n_columns, products, sums, families, table.ir, memory.ir)
        emitted.all_lanes(m.ir, first, n_rows)

    return emit


class _Loop:
    """Emits the loop: for a vector of lanes after the other, all rows, four at once."""

    def __init__(
        self, v: _Vectors, terms: Callable[..., Any], n_columns: int, products: Sequence[tuple[int, int, int]],
        sums: Sequence[int], families: Sequence[tuple[int, int, int]], table: Any, memory: Any,
    ) -> None:  # fmt: skip
        self.v, self.builder, self.terms, self.n_columns = v, v.builder, terms, n_columns
        self.products, self.sums, self.families = products, sums, families
        self.table, self.memory = table, memory
        self.lane: Any = None

    def all_lanes(self, m: Any, first: int, n_rows: int) -> None:
        whole = n_rows // FOUR * FOUR
        with self._turns(_WORD(0), m, self.v.lanes) as self.lane:
            for begin, n in [(row, 1) for row in self.sums] + [(row, n) for _, n, row in self.families]:
                with self._turns(_WORD(begin), _WORD(begin + n)) as row:
                    self._store(self.v.number(0.0), row)
            for begin, end, count in ((0, whole, FOUR), (whole, n_rows, 1)):
                if begin < end:
                    with self._turns(_WORD(begin), _WORD(end), count) as row:
                        start = self.builder.add(self.builder.mul(row, _WORD(self.n_columns)), _WORD(first))
                        self._add([self.builder.add(start, _WORD(k * self.n_columns)) for k in range(count)])

    def _add(self, starts: list[Any]) -> None:
        """Add up the terms of rows that begin there in the table."""
        products = [self._products(starts, *where) for where in self.products]
        part = cache(lambda row: self._load(_WORD(row)))
        found = [
            self.terms(cache(partial(self._number, start)), part, [product[k] for product in products].__getitem__)
            for k, start in enumerate(starts)
        ]
        for i, row in enumerate(self.sums):
            terms = [sums[i] for sums, _ in found]
            while len(terms) > 1:
                terms = [a + b for a, b in zip(terms[::2], terms[1::2], strict=True)]
            self._store(self._load(_WORD(row)) + terms[0], _WORD(row))
        for i, (column, n, first) in enumerate(self.families):
            with self._turns(_WORD(0), _WORD(n)) as j:
                row = self.builder.add(_WORD(first), j)
                total = self._load(row)
                for start, (_, slopes) in zip(starts, found, strict=True):
                    total = self.v.fma(slopes[i], self._number(self.builder.add(start, _WORD(column)), j), total)
                self._store(total, row)

    def _products(self, starts: list[Any], column: int, n: int, first: int) -> list[Number]:
        """Inner products of columns of the rows and rows of lanes."""
        builder, before = self.builder, self.builder.block
        with self._turns(_WORD(0), _WORD(n)) as j:
            totals = [builder.phi(self.v.type) for _ in starts]
            lanes = self._load(builder.add(_WORD(first), j))
            new = []
            for total, start in zip(totals, starts, strict=True):
                number = self._number(builder.add(start, _WORD(column)), j)
                new.append(self.v.fma(number, lanes, Number(self.v, total)))
                total.add_incoming(self.v.number(0.0).ir, before)
                total.add_incoming(new[-1].ir, builder.block)
        return new

    @contextmanager
    def _turns(self, begin: Any, end: Any, step: int = 1) -> Iterator[Any]:
        """A loop that runs at least once."""
        builder, before = self.builder, self.builder.block
        loop, after = builder.append_basic_block("turn"), builder.append_basic_block("after")
        builder.branch(loop)
        builder.position_at_end(loop)
        i = builder.phi(_WORD)
        yield i
        following = builder.add(i, _WORD(step))
        i.add_incoming(begin, before)
        i.add_incoming(following, builder.block)
        builder.cbranch(builder.icmp_signed("<", following, end), loop, after)
        builder.position_at_end(after)

    def _number(self, start: Any, column: Any) -> Number:
        """A number of the table in all lanes."""
        column = _WORD(column) if isinstance(column, int) else column
        return self.v.spread(self.builder.load(self.builder.gep(self.table, [self.builder.add(start, column)])))

    def _address(self, row: Any) -> Any:
        at = self.builder.add(self.builder.mul(row, _WORD(LANES)), self.lane)
        return self.builder.bitcast(self.builder.gep(self.memory, [at]), self.v.type.as_pointer())

    def _load(self, row: Any) -> Number:
        return Number(self.v, self.builder.load(self._address(row), align=_BYTES))

    def _store(self, value: Number, row: Any) -> None:
        self.builder.store(value.ir, self._address(row), align=_BYTES)
