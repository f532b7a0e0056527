r"""MYULA: the Langevin step on a target whose rough part is replaced by its Moreau-Yosida envelope of width lambda.

.. math::

    x' = x + h\, s_f(x) - \frac h\lambda \big(x - \operatorname{prox}_{\lambda g}(x)\big) + \sqrt{2 T h}\; z

for :math:`p \propto e^{-f-g}`; lambda is ``smoothing``. It samples the smoothed target, with the bias of its step: ULA
with :math:`P = f + k / (1 + \lambda k)` for quadratics f x^2 / 2 and k x^2 / 2.
"""

from collections.abc import Mapping

from ...trace import as_expr
from ..targets.density import Parts
from .base import Method, Move, Point


def step(at: Point) -> Move:
    width = at.options["smoothing"]
    pull = at.h / width
    near = at.density.prox(at.x, width)
    return Move(
        tuple(
            as_expr(x + at.h * s - pull * (x - n) + at.noise * z)
            for x, s, n, z in zip(at.x, at.density.smooth_score(at.x), near, at.z, strict=True)
        )
    )


def stable_parts(parts: Parts, options: Mapping[str, float]) -> float | None:
    """Of ULA: the envelope is curved by k / (1 + lambda k), at kinks by 1 / lambda."""
    envelope = 1 / (options["smoothing"] + (0 if parts.penalty is None else 1 / parts.penalty))
    return None if parts.smooth is None else 2 / (parts.smooth + envelope)


MYULA = Method(
    name="myula",
    step=step,
    needs=("smooth_score", "prox"),
    bias_order=1.0,
    options={"smoothing": None},
    stable_parts=stable_parts,
    reference="Durmus, Moulines and Pereyra, SIAM Journal on Imaging Sciences 11, 2018",
)
