"""Dynamic thresholding: what the data that a model means are clipped to is a quantile of each sample's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ... import checks

__all__ = ["check_threshold", "thresholded"]


def check_threshold(config: Any) -> None:
    """Refuse what is no quantile, and what is no bound, where they are used."""
    if not config.thresholding:
        return
    checks.real("dynamic_thresholding_ratio", config.dynamic_thresholding_ratio, least=0.0, most=1.0)
    checks.real("sample_max_value", config.sample_max_value, positive=True)


def thresholded(row: np.ndarray, x: torch.Tensor, output: torch.Tensor, config: Any) -> tuple[np.ndarray, torch.Tensor]:
    """Rows that clip each sample's D to +-s and take D / s for it, and s, in the shape of a factor of samples.

    s is the quantile ``dynamic_thresholding_ratio`` of the sample's own |D|, between 1 and ``sample_max_value``
    (Saharia et al. 2022, section 2.3). It is found sample by sample, so that a sample does not depend on its batch.
    """
    ratio, most = config.dynamic_thresholding_ratio, config.sample_max_value
    p, q = row[:2].tolist()
    s = x.new_empty(len(x))
    for i, (one, said) in enumerate(zip(x, output, strict=True)):
        data = said.to(x.dtype).mul(q).add_(one, alpha=p)
        s[i] = torch.quantile(data.abs_().flatten(), ratio)
    s.clamp_(1, most)
    found = s.double().cpu().numpy()
    rows = np.tile(row, (len(x), 1))
    rows[:, 2] = found
    rows[:, 4] /= found
    return rows, s.reshape(-1, *[1] * (x.ndim - 1))
