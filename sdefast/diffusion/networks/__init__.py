"""Networks ``net(x, c, y=None)``: samples, the noise condition on a scale of about 0 to 1000, labels if there are any.

Labels y are int64 (n,), 0, 1, ... and -1 (`NO_LABEL`) for samples that have none, as some do in training; where no
sample has one y is None.

A network says its ``config``, plain values from which `build` makes it again (with other weights).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ... import checks
from .base import NO_LABEL, Network
from .mlp import ScoreMLP
from .unet import UNet

__all__ = ["NETWORKS", "NO_LABEL", "Network", "ScoreMLP", "UNet", "build"]

#: All of them, by name.
NETWORKS: dict[str, type[Network]] = {network.name: network for network in (UNet, ScoreMLP)}


def build(config: Mapping[str, Any]) -> Network:
    """The network of a ``config``: its name and its options.

    Raises
    ------
    TypeError, ValueError
        If the name or an option is unknown, or an option is not what its network allows.

    Examples
    --------
    >>> from sdefast.diffusion import networks
    >>> networks.build({"name": "mlp", "dim": 2, "width": 16}).config["depth"]
    3
    """
    if not isinstance(config, Mapping) or "name" not in config:
        raise TypeError(f"config must be a mapping with a 'name', one of {', '.join(NETWORKS)}, got {config!r}")
    options = {name: value for name, value in config.items() if name != "name"}
    return NETWORKS[checks.choice("name", config["name"], NETWORKS)].of(options)
