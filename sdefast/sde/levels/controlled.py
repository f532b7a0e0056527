"""A chain whose expectation is corrected by controls with given regression coefficients."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import replace

import numpy as np

from ...trace import Replayed, as_expr, symbol
from ..chain import Chain
from ..schemes.equation import replayed_inputs


def controlled(chain: Chain, known: np.ndarray, slopes: np.ndarray) -> Chain:
    """The chain that observes f less what its controls are off by, times their slopes, and has no controls."""
    plain = replace(chain, extras=replace(chain.extras, antithetic=False))
    f, *controls = plain.observed
    for control, value, slope in zip(controls, known.tolist(), slopes.tolist(), strict=True):
        f = as_expr(f - slope * (control - value))
    dim, names = chain.sde.dim, [name for name, _ in chain.extras.functionals]
    y = namedtuple("Functionals", names)(*(symbol(f"x{dim + i}") for i in range(len(names))))
    inputs = replayed_inputs(dim, chain.sde.parameter_tuple(), ("y", y))
    extras = replace(chain.extras, expectations=(("f", Replayed("f", inputs, f)),), controls=())
    return replace(chain, extras=extras)
