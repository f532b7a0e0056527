"""How numbers are said: how many there are of something, and how fast it went."""

from __future__ import annotations

#: what large numbers are counted in, the largest first
_UNITS = ((1e9, " G"), (1e6, " M"), (1e3, " k"))


def counted(n: int, word: str) -> str:
    """``n`` of what a word says, in the singular or the plural.

    Examples
    --------
    >>> counted(1, "path"), counted(20_000, "saved time")
    ('1 path', '20,000 saved times')
    """
    return f"{n:,} {word}{'' if n == 1 else 's'}"


def product(n: int, word: str, m: int, other: str) -> str:
    """So many of one thing times so many of another.

    Examples
    --------
    >>> product(1000, "path", 1, "step")
    '1,000 paths x 1 step'
    """
    return f"{counted(n, word)} x {counted(m, other)}"


def gone(n: int, of: int, word: str) -> str:
    """How many of some are no longer finite.

    Examples
    --------
    >>> gone(1, 3, "path"), gone(2, 3, "path"), gone(1, 1, "run")
    ('1 of 3 paths is', '2 of 3 paths are', '1 of 1 run is')
    """
    return f"{n} of {of} {word}{'' if of == 1 else 's'} {'is' if n == 1 else 'are'}"


def scaled(value: float) -> str:
    """Three digits of a number, in thousands and so on.

    Examples
    --------
    >>> scaled(28.41), scaled(500_123_456.0)
    ('28.4', '500 M')
    """
    size, letter = next(((size, letter) for size, letter in _UNITS if value >= size), (1.0, ""))
    return f"{value / size:.3g}{letter}"


def per_second(n: float, seconds: float, unit: str) -> str:
    """How fast so many of a unit were done.

    Examples
    --------
    >>> per_second(1e9, 2.0, "path-steps"), per_second(1000, 35.2, "path-steps")
    ('500 M path-steps/s', '28.4 path-steps/s')
    """
    return f"{scaled(n / max(seconds, 1e-12))} {unit}/s"
