"""Scalar Python code turned into expressions: what it computes, its derivatives, and its source for a compiler."""

from . import numpy_calls, simplify  # noqa: F401  what numpy asks of expressions; what they are made simpler to
from .arguments import ITERATION, argument_order, call_with
from .captures import captured
from .derivatives import derivative
from .evaluate import as_function, evaluate, substitute
from .expression import Expr, as_expr, constant, flip, held, make, maximum, minimum, node, plain, raised, select, symbol
from .records import Names, Replayed
from .sums import Rows, rows_in, sum_over, work
from .tracing import TraceError, trace
from .walk import all_parts, depends_on, inside_out, symbols_in

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
