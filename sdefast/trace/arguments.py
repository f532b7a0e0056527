"""Which of its arguments a user's function takes, and in which order: its own names say so."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from .tracing import trace

#: what users call the time, and the parameters
TIME = frozenset({"t", "time"})
PARAMETERS = frozenset({"p", "params", "parameters"})

#: the arguments that functions of a path may take
NAMES = ("t", "x", "p", "y")


def argument_order(what: str, function: Callable[..., Any], n: int, spare: int = 2) -> tuple[int, ...]:
    """Which of the first ``n`` of (t, x, p, y) a function takes, as numbers, in its own order.

    It takes the time and the state, in either order: what is called ``t`` or ``time`` is the time, and otherwise the
    first. Parameters ``p`` and functionals ``y`` may follow. Arguments with defaults are the function's own, but for
    ``p=None``. One of any number of arguments (``*args``) takes the first ``spare``.

    Raises
    ------
    TypeError
        If it takes too few or too many arguments, or their names say that it takes them for something else.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return tuple(range(spare))
    names = _taken(signature)
    if any(p.kind is p.VAR_POSITIONAL for p in signature.parameters.values()):
        names += NAMES[len(names) : spare]
    allowed = f"({', '.join(NAMES[:n])})" if n == 2 else f"(t, x), up to ({', '.join(NAMES[:n])})"
    if not 2 <= len(names) <= n or _needs_keywords(signature):
        raise TypeError(f"{what} must be a function of {allowed}, got one of {signature}")
    wrong = _misleading(names)
    if wrong is not None:
        raise TypeError(f"{what} must be a function of {allowed}, got one of {signature}: {wrong}")
    first = (1, 0) if names[1] in TIME else (0, 1)
    return (*first, 3) if n > 3 and names[2:] == ("y",) else (*first, *range(2, len(names)))


def call_with(function: Callable[..., Any], what: str, *args: Any, spare: int = 2) -> Any:
    """Trace a user's function with what it takes of (t, x, p, y), see `argument_order`."""
    order = argument_order(what, function, len(args), spare)
    return trace(function, *(args[i] for i in order), what=what)


def _taken(signature: inspect.Signature) -> tuple[str, ...]:
    """Names of the arguments that a function wants to be given."""
    given = [p for p in signature.parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    names = ((p.name.lower(), p.default) for p in given)
    return tuple(n for n, own in names if own is inspect.Parameter.empty or (own is None and n in PARAMETERS))


def _needs_keywords(signature: inspect.Signature) -> bool:
    return any(p.kind is p.KEYWORD_ONLY and p.default is p.empty for p in signature.parameters.values())


def _misleading(names: tuple[str, ...]) -> str | None:
    """What in the names of arguments says that they are meant for something else."""
    if any(name in TIME for name in names[2:]) or (names[0] in TIME and names[1] in TIME):
        return "the time must be its first argument, or the second after the state"
    if any(name in PARAMETERS for name in names[:2]):
        return "the parameters come after the time and the state"
    if names[0] == "x" and names[1] not in TIME:
        return "its first argument would be the time, but is called x"
    if "x" in names[2:]:
        return "the state must be its second argument, or the first before the time"
    return None
