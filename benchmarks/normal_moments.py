"""``python benchmarks/normal_moments.py [DRAWS]``: moments and tails of 10^9 normals of either type, in half a minute.

Every deviation from the standard normal law is given in standard errors, computed from exact variances. The result goes
to ``results/normal_moments.json``.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, field
from math import erfc, prod, sqrt
from pathlib import Path
from typing import Any

import numpy as np

import sdefast as sf
from sdefast.config import config

RESULT = Path(__file__).parent / "results" / "normal_moments.json"

SEED = 2024
MOMENTS = range(1, 9)
BOUNDS = range(1, 7)
CHUNK = 2000, 250  # draws, chains: several segments of a chain, in amounts that suit the cache


@dataclass
class Tally:
    """Sums of powers and counts over all draws seen."""

    draws: int = 0
    powers: np.ndarray = field(default_factory=lambda: np.zeros(len(MOMENTS)))
    beyond: np.ndarray = field(default_factory=lambda: np.zeros(len(BOUNDS), np.int64))
    largest: float = 0.0
    zeros: int = 0

    def add(self, z: np.ndarray) -> None:
        self.draws += z.size
        magnitude = np.abs(z)
        self.largest = max(self.largest, float(magnitude.max()))
        self.beyond += [np.count_nonzero(magnitude > bound) for bound in BOUNDS]
        self.zeros += z.size - int(np.count_nonzero(z))
        x = z.astype(np.float64)
        power = x.copy()
        for i in range(len(MOMENTS)):
            self.powers[i] += power.sum()
            power *= x


def normal_moment(p: int) -> int:
    """E[Z^p]."""
    return 0 if p % 2 else prod(range(1, p, 2))


def moment_row(tally: Tally, p: int) -> dict[str, float]:
    value, exact = tally.powers[p - 1] / tally.draws, normal_moment(p)
    error = sqrt((normal_moment(2 * p) - exact**2) / tally.draws)
    return {"moment": p, "value": value, "exact": exact, "z": (value - exact) / error}


def tail_row(tally: Tally, bound: int) -> dict[str, float]:
    probability, count = erfc(bound / sqrt(2)), int(tally.beyond[bound - 1])
    expected = tally.draws * probability
    z = (count - expected) / sqrt(expected * (1 - probability))
    return {"beyond": bound, "count": count, "expected": expected, "z": z}


def measure(dtype: str, draws: int) -> dict[str, Any]:
    """Draw chunk by chunk, each of chains of its own."""
    tally, start = Tally(), time.perf_counter()
    n_draws, n_chains = CHUNK
    for first_chain in range(0, -(-draws // n_draws), n_chains):
        tally.add(sf.noise.normals(SEED, n_draws, n_chains, first_chain=first_chain, dtype=dtype))
    return {
        "draws": tally.draws,
        "seconds": round(time.perf_counter() - start, 1),
        "moments": [moment_row(tally, p) for p in MOMENTS],
        "tails": [tail_row(tally, bound) for bound in BOUNDS],
        "largest": tally.largest,
        "zeros": tally.zeros,
    }


def show(dtype: str, result: dict[str, Any]) -> None:
    print(f"{dtype}: {result['draws']:.3g} draws in {result['seconds']} s")
    print(f"  {'moment':>6} {'value':>14} {'exact':>6} {'z':>6}")
    for row in result["moments"]:
        print(f"  {row['moment']:>6} {row['value']:>14.8f} {row['exact']:>6} {row['z']:>6.2f}")
    print(f"  {'beyond':>6} {'count':>14} {'expected':>14} {'z':>6}")
    for row in result["tails"]:
        print(f"  {row['beyond']:>6} {row['count']:>14} {row['expected']:>14.1f} {row['z']:>6.2f}")
    print(f"  largest {result['largest']:.4f}, exact zeros {result['zeros']}\n")


def main() -> None:
    draws = int(float(sys.argv[1])) if len(sys.argv) > 1 else 10**9
    results = {}
    for dtype in ("float32", "float64"):
        results[dtype] = measure(dtype, draws)
        show(dtype, results[dtype])
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps({"config": config(), "seed": SEED, **results}, indent=1) + "\n")
    print(f"written to {RESULT}")


if __name__ == "__main__":
    main()
