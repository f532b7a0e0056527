"""The exact transition: X[k+1] is drawn from the law of X(t[k+1]) given X(t[k]), whatever the step."""

import math

from .base import Scheme

EXACT = Scheme(
    name="exact",
    calculus="ito",
    strong_order=math.inf,
    weak_order=math.inf,
    strong_order_additive=math.inf,
    reference="Glasserman, Monte Carlo Methods in Financial Engineering, 2003, chapter 3",
)
