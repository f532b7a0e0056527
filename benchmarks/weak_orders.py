"""``python benchmarks/weak_orders.py [--plain]``: weak orders of the modified equations of SGD, seen by simulation.

The thesis' problem (d = 5, sigma = .1, from zero, at time 2), all standard errors at least ten times below the
distances. With ``--plain`` also without variance reduction, at the two largest step sizes: minutes.
"""

from __future__ import annotations

import argparse
import time
import warnings
from typing import Any

import numpy as np

import sdefast as sf

PROBLEM = sf.LeastSquares(theta_star=[0.1, -0.2, 1.0, 0.5, -0.5], noise_std=0.1)
SIZES = 0.0125 / 2 ** np.arange(4)


def show(title: str, sizes: np.ndarray, n_runs: list[int], **settings: Any) -> None:
    """Simulate, and print distances, what they are in standard errors and off the exact ones, and the orders."""
    comparison = sf.compare(PROBLEM, step_size=0.0125, n_steps=160, n_runs=2, seed=0)
    with warnings.catch_warnings():  # the first call, of so few runs that it says nothing, compiles
        warnings.simplefilter("ignore")
        comparison.weak_errors(sizes, n_runs=2, seed=0, **settings)
    start = time.perf_counter()
    weak, exact = comparison.weak_errors(sizes, n_runs=n_runs, seed=1, **settings), comparison.weak_errors(sizes)
    print(f"{title}: {time.perf_counter() - start:.1f} s")
    for name, order in weak.orders.items():
        print(f"  {name}: order {order:.3f} ± {weak.order_standard_errors[name]:.3f}, exact {exact.orders[name]:.3f}")
        rows = (weak.step_sizes, n_runs, weak.distances[name], weak.standard_errors[name], weak.biases[name])
        for g, n, distance, error, bias, known in zip(*rows, exact.distances[name], strict=True):
            print(
                f"    step {g:<10.6g} {n:>11,} runs  distance {distance:+.4e}  /SE {abs(distance) / error:6.1f}  "
                f"z {(distance - known) / error:+.2f}  bias/distance {abs(bias / known):.2%}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plain", action="store_true", help="also without variance reduction")
    parser.add_argument("--dtype", choices=("float64", "float32"), default="float64")
    arguments = parser.parse_args()
    settings = {"dtype": arguments.dtype}
    show("with variance reduction", SIZES, [100_000] * 4, **settings)
    if arguments.plain:
        show("without", SIZES[:2], [2_500_000, 20_000_000], variance_reduction=False, **settings)


if __name__ == "__main__":
    main()
