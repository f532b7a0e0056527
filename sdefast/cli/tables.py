"""What the commands print alike."""

from __future__ import annotations

from ..run.result import Cost
from ..words import scaled


def row(start: str, name: str, value: float, error: float, exact: float | None, has_z: bool = True) -> str:
    """A simulated value with its standard error and, where there is one, the exact value and the z-score."""
    text = f"{start:>8} {name:>10} {value:14.7g} {error:12.3g}"
    if exact is None:
        return text
    if not has_z:
        return f"{text} {exact:14.7g} {'-':>7}"
    z = (value - exact) / error if error > 0 else 0.0
    return f"{text} {exact:14.7g} {z:7.2f}"


def header(start: str, exact: str | None) -> str:
    """The line above such rows; ``exact`` is the name of the exact value, if there is one."""
    text = f"{start:>8} {'':>10} {'simulated':>14} {'std. error':>12}"
    return text if exact is None else f"{text} {exact:>14} {'z':>7}"


def cost_line(cost: Cost, n: int, unit: str) -> str:
    """Time, speed, what ran it; ``n`` is the number of ``unit``, such as path-steps, that were done."""
    speed = f"{scaled(n / cost.seconds)} {unit} per second"
    return f"{cost.seconds:.3f} s, {speed}, {cost.executor}, instruction set {cost.isa}"
