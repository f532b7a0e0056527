r"""Tamed Euler: the drift moves the state by less than 1 in a step, so that a drift that grows faster than linearly
cannot throw a path to infinity.

.. math:: X_{k+1} = X_k + \frac{a(t_k, X_k) h}{1 + h |a(t_k, X_k)|} + b(t_k, X_k) \Delta W
"""

from ...trace import Expr, make
from .base import Interval, Scheme
from .equation import Equation, Vector
from .euler_maruyama import noise_term


def step(equation: Equation, interval: Interval, x: Vector, z: Vector, c: Vector) -> Vector:
    t, h, root = interval
    dw = tuple(root * n for n in z)
    a, b = equation.drift(t, x), equation.diffusion(t, x)
    tamed = h / (1 + h * norm(a))
    return tuple(x[i] + (a[i] * tamed + noise_term(b[i], dw)) for i in range(equation.dim))


def norm(a: Vector) -> Expr:
    """|a|."""
    if len(a) == 1:
        return abs(a[0])
    square = a[0] * a[0]
    for entry in a[1:]:
        square = square + entry * entry
    return make("sqrt", square)


TAMED_EULER = Scheme(
    name="tamed-euler",
    calculus="ito",
    strong_order=0.5,
    weak_order=1.0,
    strong_order_additive=1.0,
    strong_order_general=0.5,
    step=step,
    reference="Hutzenthaler, Jentzen and Kloeden, Strong convergence of an explicit numerical method for SDEs with "
    "nonglobally Lipschitz continuous coefficients, Ann. Appl. Probab. 22, 2012",
)
