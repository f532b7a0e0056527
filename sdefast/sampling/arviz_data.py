"""Chains as ArviZ has them."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import numpy as np

#: Fewer draws of a chain say nothing of it: ArviZ' diagnostics ask for so many.
_FEWEST_DRAWS = 4


def converted(chains: Any) -> Any:
    """An InferenceData or a DataTree, whichever the ArviZ that is installed works with: see `Chains.to_arviz`."""
    if len(chains.iterations) < _FEWEST_DRAWS:
        raise ValueError(
            f"to_arviz needs {_FEWEST_DRAWS} saved iterations or more, got {len(chains.iterations)}: langevin with "
            "thin= or save_at='all' saves them"
        )
    from_dict = _arviz().from_dict
    first = chains.settings.first_chain
    groups, attributes = _groups(chains), chains.describe()
    named = {
        "coords": {
            "chain": np.arange(first, first + chains.n_chains), "draw": chains.iterations,
            "component": np.arange(chains.dim),
        },
        "dims": {"x": ["component"]},
    }  # fmt: skip
    with warnings.catch_warnings():
        # As there often are more chains than draws.
        warnings.filterwarnings("ignore", "More chains|Found chain dimension to be longer", UserWarning)
        if "posterior" in inspect.signature(from_dict).parameters:  # before 1.0
            return from_dict(**groups, **named, attrs=dict(attributes), posterior_attrs=dict(attributes))
        return from_dict(groups, **named, attrs={"/": dict(attributes), "posterior": dict(attributes)})


def _arviz() -> Any:
    """ArviZ, or the part of its version 1 that makes data."""
    try:
        import arviz

        return arviz
    except ImportError:
        pass
    try:
        import arviz_base

        return arviz_base
    except ImportError:
        raise ImportError("to_arviz needs ArviZ: pip install arviz") from None


def _groups(chains: Any) -> dict[str, dict[str, np.ndarray]]:
    """Arrays whose first axes are chain and draw, in ArviZ' groups."""
    x = np.asarray(chains.x).transpose(1, 0, 2)
    groups = {"posterior": {"x": x}}
    if chains.settings.how.accepts and chains._final is not None:
        rate = np.asarray(chains._final[chains.settings.stepping.counted])
        groups["sample_stats"] = {"acceptance_rate": np.broadcast_to(rate[:, None], x.shape[:2])}
    return groups
