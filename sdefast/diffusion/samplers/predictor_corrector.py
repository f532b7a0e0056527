"""A step of a predictor, then Langevin steps at the level it came to, each of size 2 (snr |z| / |score|)^2.

That size is found by the loop, `_correct` in ../sample.py, as it depends on samples. The norms are each sample's own,
as one number over a batch would make a sample depend on its neighbours. Where they vary much, of samples of fewer than
256 coordinates, |score| is taken to be |z| / sigma: steps that depend on the sample would change the law. Where the
variance is preserved the size is multiplied by 1 - beta_t, as there. There is no score to follow at the data.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from ... import checks
from ..levels import Level, Levels
from .base import Option, Row, Sampler, first_order, nonnegative, one_of
from .reverse_sde import euler_maruyama


def rows(levels: Levels, predictor: str, n_corrector: int, snr: float) -> Iterator[Row]:
    for now, to in levels.steps():
        yield euler_maruyama(levels, now, to) if predictor == "reverse-sde" else _ancestral(now, to)
        if to.sigma > 0 and snr > 0:
            size = snr * math.sqrt(1 - levels.forgotten(to))
            for j in range(1, n_corrector + 1):
                yield _corrector(to, size, levels.further(to.key, j))


def _ancestral(now: Level, to: Level) -> Row:
    a, b, s = first_order(now, to, 1.0)
    return Row(now, to, a=a, b=b, s=s, key=now.key)


def _corrector(at: Level, snr: float, key: int) -> Row:
    """Along the score (alpha D - x) / sigma^2."""
    return Row(at, at, a=-1 / at.sigma**2, b=at.alpha / at.sigma**2, key=key, snr=snr)


PREDICTOR_CORRECTOR = Sampler(
    name="predictor-corrector",
    rows=rows,
    order=1,
    reference="Song et al. 2021, algorithms 2 to 5",
    options={
        "predictor": Option("reverse-sde", one_of("reverse-sde", "ancestral")),
        "n_corrector": Option(1, lambda name, value: checks.count(name, value, least=0)),
        "snr": Option(0.16, nonnegative),
    },
)
