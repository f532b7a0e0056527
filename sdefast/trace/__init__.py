"""Scalar Python code turned into expressions: what it computes, its derivatives, and its source for a compiler."""

from .arguments import ITERATION, argument_order, call_with
from .captures import captured
from .evaluate import as_function, evaluate, substitute
from .expression import (
    Expr,
    all_parts,
    as_expr,
    constant,
    depends_on,
    derivative,
    flip,
    held,
    inside_out,
    make,
    maximum,
    minimum,
    node,
    plain,
    raised,
    select,
    symbol,
    symbols_in,
)
from .records import Names, Replayed
from .sums import Rows, rows_in, sum_over, work
from .tracing import TraceError, trace

__all__ = [
    "ITERATION",
    "Expr",
    "Names",
    "Replayed",
    "Rows",
    "TraceError",
    "all_parts",
    "argument_order",
    "as_expr",
    "as_function",
    "call_with",
    "captured",
    "constant",
    "depends_on",
    "derivative",
    "evaluate",
    "flip",
    "held",
    "inside_out",
    "make",
    "maximum",
    "minimum",
    "node",
    "plain",
    "raised",
    "rows_in",
    "select",
    "substitute",
    "sum_over",
    "symbol",
    "symbols_in",
    "trace",
    "work",
]
