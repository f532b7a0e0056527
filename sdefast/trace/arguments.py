"""Which of its arguments a user's function takes, and in which order: its own names say so."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from .tracing import trace

#: what users call the time, and the parameters
TIME = frozenset({"t", "time"})
PARAMETERS = frozenset({"p", "params", "parameters"})

#: what they call the number of an iteration
ITERATION = TIME | {"k", "iteration", "step"}

#: the arguments that functions of a path may take
NAMES = ("t", "x", "p", "y")


def argument_order(
    what: str,
    function: Callable[..., Any],
    n: int,
    spare: int = 2,
    names: tuple[str, ...] = NAMES,
    times: frozenset[str] = TIME,
) -> tuple[int, ...]:
    """Which of the first ``n`` of (t, x, p, y), or of other ``names``, a function takes, as numbers, in its own order.

    It takes the time and the state, in either order: what is called ``t`` or ``time`` (or by another of ``times``) is
    the time, and otherwise the first. Parameters ``p`` and functionals ``y`` may follow. Arguments with defaults are
    the function's own, but for ``p=None``. One of any number of arguments (``*args``) takes the first ``spare``.

    Raises
    ------
    TypeError
        If it takes too few or too many arguments, or their names say that it takes them for something else.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return tuple(range(spare))
    taken = _taken(signature)
    if any(p.kind is p.VAR_POSITIONAL for p in signature.parameters.values()):
        taken += names[len(taken) : spare]
    allowed = f"({', '.join(names[:n])})"
    allowed = allowed if n == 2 else f"({names[0]}, {names[1]}), up to {allowed}"
    if not 2 <= len(taken) <= n or _needs_keywords(signature):
        raise TypeError(f"{what} must be a function of {allowed}, got one of {signature}")
    wrong = _misleading(taken, names, times)
    if wrong is not None:
        raise TypeError(f"{what} must be a function of {allowed}, got one of {signature}: {wrong}")
    first = (1, 0) if taken[1] in times else (0, 1)
    return (*first, 3) if n > 3 and taken[2:] == ("y",) else (*first, *range(2, len(taken)))


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


def _misleading(taken: tuple[str, ...], names: tuple[str, ...], times: frozenset[str]) -> str | None:
    """What in the names of arguments says that they are meant for something else than ``names``."""
    time, state = ("the time", "the state") if times is TIME else ("the iteration", names[1])
    if any(name in times for name in taken[2:]) or (taken[0] in times and taken[1] in times):
        return f"{time} must be its first argument, or the second after {state}"
    if "p" in names and any(name in PARAMETERS for name in taken[:2]):
        return f"the parameters come after {time} and {state}"
    if taken[0] == names[1] and taken[1] not in times:
        return f"its first argument would be {time}, but is called {names[1]}"
    if names[1] in taken[2:]:
        return f"{state} must be its second argument, or the first before {time}"
    return None
