r"""Jumps of a state: compound Poisson processes, ``SDE(..., jumps=sf.jumps.Merton(...))``.

In a step of length h jumps come at the rate :math:`\lambda`. Their number has its exact law, Poisson with mean
:math:`\int \lambda\,dt`, by inversion of one uniform, so that several may come in one step; what the uniform says
beyond the number is uniform again and used for their sizes. (Uniforms of float32 states have 23 bits: probabilities of
a step are then right to 6e-8; sizes are made of the whole word of 32 bits.) The state makes its step by the scheme
first, then its jumps, one after the other (Glasserman, Monte Carlo Methods in Financial Engineering, 2003, section
3.5.1). A rate that depends on the state is held for the step, and thinned: jumps come at the rate ``bound``, and those
that are too many for the rate that the state has are left out (Glasserman and Merener, Finance and Stochastics 7,
2003).

Intensities and laws may have parameters of every path's own. A step is then written for the path that jumps most, or
for ``bound``: with the same bound shards of such a run have the bits of the whole, and can be merged.

All that jumps draw are uniforms, of stream 1: the normals of a path, and with them its way between jumps, are those
that it has without.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from .. import checks
from ..trace import Expr, Replayed, as_expr, constant, make, select, symbol, trace
from .arrivals import Arrivals, normal
from .jump_process import Jumps
from .schemes.equation import Vector, plainly_named, replayed_inputs, state_symbols, time_symbol

__all__ = ["CompoundPoisson", "Jumps", "Kou", "Merton"]


def __dir__() -> list[str]:
    return __all__


@dataclass(frozen=True)
class _LogJumps(Jumps):
    """Jumps that multiply a component by exp of their size."""

    def land(self, arrivals: Arrivals, x: Vector, u: Vector, numbers: Vector) -> Vector:
        size = self.size(arrivals, u, numbers)
        grown = as_expr(x[self.component] * make("exp", as_expr(size)))  # type: ignore[attr-defined]
        return tuple(grown if i == self.component else xi for i, xi in enumerate(x))  # type: ignore[attr-defined]

    def size(self, arrivals: Arrivals, u: Vector, numbers: Vector) -> Any:
        """The sum of the sizes."""
        raise NotImplementedError

    def of(self, dim: int, parameters: Any, own: Sequence[Expr] = ()) -> Jumps:
        component = checks.count("component", self.component, least=0)  # type: ignore[attr-defined]
        if component >= dim:
            raise ValueError(f"component must be from 0 to {dim - 1}, got {component}")
        return super().of(dim, parameters, own)


@dataclass(frozen=True)
class MertonJumps(_LogJumps):
    r"""Jumps by the factor :math:`e^J` with :math:`J \sim N(m, s^2)`.

    A step with several of them draws their sum, which is normal.

    Parameters
    ----------
    intensity : float or callable
        Jumps per unit of time: a number, or ``intensity(t, x)`` or ``intensity(t, x, p)`` in scalar code as for `SDE`.
        One of time alone is integrated over every step by Gauss' rule of 5 points.
    mean, std : float
        Mean m and standard deviation s of the jumps of the logarithm.
    component : int
        Which component of the state jumps.
    bound : float, optional
        What an intensity that depends on the state, or on parameters of which every path has its own, does not exceed;
        a path on which it does, or is negative, becomes NaN, and is counted and warned of. The first needs it, and the
        second if it depends on the time too.

    Raises
    ------
    ValueError
        If an intensity or std is negative.

    References
    ----------
    Merton, Journal of Financial Economics 3, 1976, equation 2.

    Examples
    --------
    >>> import sdefast as sf
    >>> sde = sf.SDE(lambda t, x, p: 0.1 * x[0], lambda t, x, p: 0.2 * x[0], jumps=sf.jumps.Merton(2.0, -0.1, 0.15))
    >>> sf.simulate(sde, x0=1.0, t1=1.0, n_steps=50, n_paths=1000, seed=1).mean.shape
    (1, 1)
    """

    mean: float
    std: float
    component: int = 0

    law: ClassVar[tuple[str, ...]] = ("mean", "std")

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "mean", checks.real("mean", self.mean))
        object.__setattr__(self, "std", checks.real("std", self.std, least=0.0))

    def size(self, arrivals: Arrivals, u: Vector, numbers: Vector) -> Any:
        mean, std = numbers
        return arrivals.n * mean + make("sqrt", arrivals.n) * (std * normal(*arrivals.pair))


@dataclass(frozen=True)
class KouJumps(_LogJumps):
    r"""Jumps by the factor :math:`e^J` where J is exponential upwards with probability p, downwards otherwise.

    The density of J is :math:`p\,\eta_1 e^{-\eta_1 y}` for y > 0 and :math:`(1 - p)\,\eta_2 e^{\eta_2 y}` for y < 0.

    Parameters
    ----------
    intensity : float or callable
        Jumps per unit of time, as of `Merton`.
    p_up : float
        Probability p that a jump goes up.
    eta_up, eta_down : float
        Rates of the two exponential laws, one over their means; positive. E[e^J] is finite for eta_up > 1.
    component : int
        Which component of the state jumps.
    bound : float, optional
        As of `Merton`.

    Raises
    ------
    ValueError
        If an intensity is negative, or another number out of range.

    References
    ----------
    Kou, Management Science 48, 2002, equation 2.

    Examples
    --------
    >>> import sdefast as sf
    >>> sf.jumps.Kou(1.0, p_up=0.4, eta_up=10.0, eta_down=5.0).eta_up
    10.0
    """

    p_up: float
    eta_up: float
    eta_down: float
    component: int = 0

    law: ClassVar[tuple[str, ...]] = ("p_up", "eta_up", "eta_down")
    chances: ClassVar[tuple[str, ...]] = ("p_up",)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "p_up", checks.real("p_up", self.p_up, least=0.0, most=1.0))
        for name in ("eta_up", "eta_down"):
            object.__setattr__(self, name, checks.real(name, getattr(self, name), positive=True))

    def number(self, name: str, value: Any) -> Any:
        return value if name == "p_up" else 1 / value

    def n_more(self, most: int) -> int:
        return most - 1

    def size(self, arrivals: Arrivals, u: Vector, numbers: Vector) -> Any:
        p, up, down = numbers
        total = constant(0.0)
        first = (arrivals.pair[1], None) if arrivals.coarse else arrivals.pair
        pairs = [first, *((ui, None) for ui in u)]
        for i, (chosen, rest) in enumerate(pairs):
            rises = chosen < p
            if rest is None:  # what is left of the uniform, given which way
                rest = make("max", as_expr(select(rises, chosen / p, (1 - chosen) / (1 - p))), constant(2.0**-33))
            size = -make("log", rest) * select(rises, up, -down)
            total = as_expr(total + select(float(i) < arrivals.n, size, 0.0))
        return total


@dataclass(frozen=True)
class CompoundPoisson(Jumps):
    """Jumps of any law, in scalar code.

    Parameters
    ----------
    intensity : float or callable
        Jumps per unit of time, as of `Merton`.
    jump : callable
        By what a jump moves the state, ``dim`` numbers (a single number will do where ``dim`` is 1):
        ``jump(t, x, p)``, with ``uniforms`` and ``normals`` ``jump(t, x, p, u, z)``, tuples of as many independent
        draws of one jump; without one of the two its argument is left out.
    uniforms, normals : int
        How many draws of each kind a jump takes. They are drawn for every jump that a step might have, of which few
        come: steps of less than a tenth of a jump on average draw for up to 6 or so.
    bound : float, optional
        As of `Merton`.

    Raises
    ------
    TypeError, ValueError
        If the function has the wrong number of arguments or of values, or a number is out of range.

    Examples
    --------
    A Poisson process, as the state of an equation without drift or noise:

    >>> import sdefast as sf
    >>> none = lambda t, x, p: 0.0
    >>> count = sf.SDE(none, none, jumps=sf.jumps.CompoundPoisson(3.0, lambda t, x, p: 1.0))
    >>> run = sf.simulate(count, x0=0.0, t1=2.0, n_steps=8, n_paths=10_000, seed=1)
    >>> bool(abs(run.mean[0, 0] - 6.0) < 5 * run.standard_error[0, 0])
    True
    """

    jump: Callable[..., Any]
    uniforms: int = 0
    normals: int = 0

    takes_pair: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not callable(self.jump):
            raise TypeError(f"jump must be a function of (t, x, p), got {self.jump!r}")
        for name in ("uniforms", "normals"):
            object.__setattr__(self, name, checks.count(name, getattr(self, name), least=0, most=64))

    @property
    def _per_jump(self) -> int:
        return self.uniforms + 2 * self.normals

    def n_more(self, most: int) -> int:
        return most * self._per_jump

    def of(self, dim: int, parameters: Any, own: Sequence[Expr] = ()) -> Jumps:
        draws = {"u": self.uniforms, "z": self.normals}
        named = {kind: tuple(f"{kind}{i}" for i in range(n)) for kind, n in draws.items() if n}
        args = [time_symbol(), state_symbols(dim), parameters, *(tuple(map(symbol, names)) for names in named.values())]
        moved = plainly_named(trace(self.jump, *args, what="jump"), parameters)
        moved = moved if isinstance(moved, tuple) else (moved,)
        if len(moved) != dim or any(not isinstance(value, Expr) for value in moved):
            raise ValueError(f"jump must return {dim} number{'s' * (dim > 1)}, got {len(moved)}")
        inputs = (*replayed_inputs(dim, parameters), *named.items())
        settled: CompoundPoisson = super().of(dim, parameters, own)  # type: ignore[assignment]
        return replace(settled, jump=Replayed("jump", inputs, moved))

    @property
    def moves(self) -> Vector:
        return self.jump.outputs if isinstance(self.jump, Replayed) else ()

    def land(self, arrivals: Arrivals, x: Vector, u: Vector, numbers: Vector) -> Vector:
        for i in range(arrivals.most):
            own = u[i * self._per_jump : (i + 1) * self._per_jump]
            uniforms, rest = own[: self.uniforms], own[self.uniforms :]
            normals = tuple(normal(*rest[2 * j : 2 * j + 2]) for j in range(self.normals))
            draws = [values for values in (uniforms, normals) if values]
            moves = self.jump(arrivals.t, x, arrivals.parameters, *draws)
            here = float(i) < arrivals.n
            x = tuple(as_expr(xi + select(here, move, 0.0)) for xi, move in zip(x, moves, strict=True))
        return x


#: what users call them
Merton, Kou = MertonJumps, KouJumps
