"""How iterations pick the rows of data, and the recursion that has the exact law of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ... import checks
from .epochs import MOST_SETS, Epochs, independent_samples
from .moments import EmpiricalMoments, Moments
from .one_hot import MOST_ROWS, OneHotEpochs, is_one_hot, steps_are_constant_in_epochs

SAMPLINGS = ("replacement", "shuffle")


def checked(moments: Moments, batch_size: Any, sampling: Any) -> tuple[float, Epochs | None]:
    """The samples of a batch that the recursions with replacement count, or shuffled epochs where they do not hold.

    Raises
    ------
    ValueError
        If ``sampling`` is unknown, or "shuffle" for a stream or for batches larger than the data.
    """
    batch = checks.count("batch_size", batch_size)
    if checks.choice("sampling", sampling, SAMPLINGS) == "replacement":
        return batch, None
    if not isinstance(moments, EmpiricalMoments):
        raise ValueError("sampling='shuffle' needs LeastSquares(data=(X, y)): a stream has no epochs")
    n = len(moments.X)
    if batch > n:
        raise ValueError(f"batch_size must be at most the {n} rows of data with sampling='shuffle', got {batch}")
    if n // batch == 1:
        return independent_samples(n, batch), None
    return batch, Epochs(moments.X, moments.residuals, batch)


def with_sets(epochs: Epochs) -> Epochs:
    """The recursion over sets of rows, or ValueError if there are too many."""
    if epochs.n_sets > MOST_SETS:
        raise ValueError(
            "sampling='shuffle' has an exact law for data of up to 14 different rows (of more if several occur more "
            f"than once: up to {MOST_SETS} sets of rows) and for batches of more than half the data; here "
            f"{epochs.n_different} of {len(epochs.X)} rows are different and batch_size={epochs.batch_size}. Errors, "
            f"losses and means have one also if each row has at most one entry that is not zero, up to {MOST_ROWS} "
            "of them in each column, with batch_size=1, step sizes that stay the same in an epoch and no averaging"
        )
    return epochs


def solvable(epochs: Epochs, steps: np.ndarray, averaged: bool = False) -> Epochs | OneHotEpochs:
    """The recursion for errors, losses and means: that over sets of rows, or for rows with a single entry."""
    one_hot = OneHotEpochs(epochs.X, epochs.residuals)
    is_simple = epochs.batch_size == 1 and not averaged and is_one_hot(epochs.X)
    if is_simple and one_hot.most_rows <= MOST_ROWS and steps_are_constant_in_epochs(steps, len(epochs.X)):
        return one_hot
    return with_sets(replace(epochs, averaged=averaged))
