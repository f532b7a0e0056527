"""What a training is given, checked: data, a network, an objective, a device."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import data as sources
from .. import networks, objectives
from ..objectives import Objective
from ..tensors import torch
from .state import forked

__all__ = ["Data", "config_of", "device_of", "network", "objective"]

#: Standard deviation of data beyond which noise of the usual schedules leaves some of them at its largest.
_LARGE = 10.0


@dataclass(frozen=True, eq=False)
class Data:
    """Samples (n, ...) of float32, labels (n,) of int64 or None, and where they are from: a name, a path or None."""

    x: np.ndarray
    labels: np.ndarray | None
    source: str | None

    @classmethod
    def of(cls, data: Any, labels: Any) -> Data:
        """What `train` is given."""
        if isinstance(data, (str, os.PathLike)):
            x, found = sources.load(data)
            if labels is not None and labels is not True:
                raise TypeError("labels must be True, those of the data, or None where data are a name or a path")
            if labels and found is None:
                raise ValueError(f"labels must be None: {os.fspath(data)} has none")
            name = os.fspath(data)
            return cls(x, found if labels else None, name if name in sources.NAMES else os.path.abspath(name))
        if labels is True:
            raise TypeError("labels must be an array where data are one: True is for a name or a path")
        x = np.ascontiguousarray(sources.checked("data", data))
        return cls(x, None if labels is None else sources.checked_labels("labels", labels, len(x)), None)

    @property
    def classes(self) -> int | None:
        """How many classes the labels have."""
        return None if self.labels is None else int(self.labels.max()) + 1

    @property
    def deviation(self) -> float:
        """The standard deviation of all elements."""
        return float(self.x.std(dtype=np.float64))

    def warn_of_scale(self, objective: Objective) -> None:
        """RuntimeWarning if pixels or points are not of the size that levels of noise are made for."""
        low, high = float(self.x.min()), float(self.x.max())
        if self.x.ndim == 4 and low >= 0 and low < high <= 1:
            said = (
                f"images lie in [{low:g}, {high:g}], and [-1, 1] is what is meant by black and white: train on 2 x - 1"
            )
        elif self.deviation > _LARGE and not hasattr(objective, "sd"):
            said = (
                f"data have the standard deviation {self.deviation:.3g}, and should be of about unit size: scale them"
            )
        else:
            return
        warnings.warn(said, RuntimeWarning, stacklevel=3)

    def config(self) -> dict[str, Any]:
        """What a checkpoint says of them; ``bounded``: whether they lie within [-1, 1]."""
        digest = hashlib.blake2b(self.x.data, digest_size=16)
        if self.labels is not None:
            digest.update(self.labels.data)
        return {
            "source": self.source, "shape": list(self.x.shape), "classes": self.classes,
            "bounded": bool(np.abs(self.x).max() <= 1), "digest": digest.hexdigest(),
        }  # fmt: skip

    def on(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Samples and labels on a device."""
        labels = None if self.labels is None else torch.from_numpy(self.labels).to(device)
        return torch.from_numpy(self.x).to(device), labels


def network(net: Any, data: Data, seed: int) -> torch.nn.Module:
    """The network that was given, or one for such data."""
    if net is None:
        options: dict[str, Any] = {"name": "mlp", "dim": data.x.shape[1]}
        if data.x.ndim > 2:
            options = {"name": "unet", "channels": data.x.shape[1]}
        with forked(seed, torch.device("cpu")):
            return networks.build(options | {"classes": data.classes})
    if not isinstance(net, torch.nn.Module):
        raise TypeError(f"net must be a torch.nn.Module, called as net(x, c, y=None), got {net!r}")
    others = {p.dtype for p in net.parameters()} - {torch.float32}
    if others or not any(p.requires_grad for p in net.parameters()):
        raise ValueError(f"net must have float32 parameters that are trained, got {others or 'none'}")
    known: Any = net.classes if isinstance(net, networks.Network) else data.classes
    if data.classes is not None and (known or 0) < data.classes:
        raise ValueError(f"labels have {data.classes} classes, and net takes {known or 'none'}")
    return net


def config_of(net: torch.nn.Module) -> Mapping[str, Any] | None:
    """What a network of the library is built again from; None for one of the user's, whatever it calls its config."""
    if isinstance(net, networks.Network) and type(net) in networks.NETWORKS.values():
        return net.config
    return None


def objective(given: Any, data: Data) -> Objective:
    """The objective that was given, or that of a name, suited to the data."""
    if isinstance(given, Objective):
        if objectives.OBJECTIVES.get(given.name) is not type(given):
            raise ValueError(
                f"objective {given.name!r} must be of a class in objectives.OBJECTIVES, of which checkpoints make it "
                f"again, got {type(given).__name__}: add the class there, by a name of its own"
            )
        return given
    if not isinstance(given, str):
        raise TypeError(f"objective must be a name or an Objective, got {given!r}")
    return objectives.suited(given, data.x)


def device_of(device: Any) -> torch.device:
    """The device of that name, if it is there."""
    if not isinstance(device, str) or device.partition(":")[0] not in ("cpu", "cuda"):
        raise ValueError(f"device must be 'cpu', 'cuda' or 'cuda:N', got {device!r}")
    place = torch.device(device)
    if place.type == "cpu":
        return place
    number = place.index or 0
    if number >= torch.cuda.device_count():
        raise ValueError(f"device={device!r} is not there: torch finds {torch.cuda.device_count()} GPUs")
    return torch.device("cuda", number)
