"""A small convolutional classifier that is trained in a few seconds on the data at hand; it needs torch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from ... import checks
from ...run import archive
from ...run.where import progress_bar
from .. import data
from ..tensors import torch

__all__ = ["Classifier", "train_classifier"]

#: Width of the layer whose outputs are the features.
N_FEATURES = 64

_FORMAT, _VERSION = "sdefast classifier", 1

_WIDTHS = (16, 32, 64)


class Classifier(torch.nn.Module):
    """Three convolutions of stride 2 with batch normalisation, a layer of 64 features, and the classes.

    Made by `train_classifier`, or read from a file by `Classifier.load`.

    Parameters
    ----------
    channels, height, width : int
        Of the images.
    n_classes : int
        Labels are 0, ..., n_classes - 1.

    Examples
    --------
    >>> from sdefast.diffusion import quality
    >>> quality.Classifier(1, 8, 8, 10)
    Classifier(channels=1, height=8, width=8, n_classes=10)
    """

    def __init__(self, channels: int, height: int, width: int, n_classes: int) -> None:
        super().__init__()
        self.config = {
            "channels": checks.count("channels", channels),
            "height": checks.count("height", height),
            "width": checks.count("width", width),
            "n_classes": checks.count("n_classes", n_classes, least=2),
        }
        with torch.random.fork_rng(devices=[]):  # what torch draws by default is drawn again by `_draw`
            self.body, self.head = _body(channels, height, width), torch.nn.Linear(N_FEATURES, n_classes)

    def forward(self, x: Any) -> Any:
        """Logits (n, n_classes) of a tensor of images."""
        return self.head(self.body(x))

    def features(self, images: Any) -> np.ndarray:
        """The 64 features of images (n, channels, height, width), which are clipped to [-1, 1]; float32 (n, 64)."""
        return self._in_batches(self.body, images)

    def probabilities(self, images: Any) -> np.ndarray:
        """Probabilities of the classes for images, which are clipped to [-1, 1]; float32 (n, n_classes)."""
        return self._in_batches(lambda x: self(x).softmax(dim=1), images)

    def accuracy(self, images: Any, labels: Any) -> float:
        """Share of the images whose most probable class is their label."""
        found = self.probabilities(images).argmax(axis=1)
        return float((found == data.checked_labels("labels", labels, len(found))).mean())

    def _in_batches(self, function: Any, images: Any, size: int = 1000) -> np.ndarray:
        x = data.checked("images", images)
        shape = (self.config["channels"], self.config["height"], self.config["width"])
        if x.shape[1:] != shape:
            raise ValueError(f"images must have shape (n, {', '.join(map(str, shape))}) for {self!r}, got {x.shape}")
        device = next(self.parameters()).device
        with torch.inference_mode():
            parts = [
                function(torch.from_numpy(np.clip(x[i : i + size], -1, 1)).to(device)).cpu().numpy()
                for i in range(0, len(x), size)
            ]
        return np.concatenate(parts)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a file, whole or not at all: arrays of numpy in an npz, and a header."""
        header = {"format": _FORMAT, "version": _VERSION, "config": self.config}
        archive.write(os.fspath(path), header, {name: t.cpu().numpy() for name, t in self.state_dict().items()})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Classifier:
        """Read what `save` has written; nothing is unpickled.

        Raises
        ------
        ValueError
            If the file is damaged or another; the file is named.
        """
        path = os.fspath(path)
        try:
            return cls._from(archive.Archive(path))
        except (ValueError, TypeError, KeyError, RuntimeError) as error:
            raise ValueError(f"{path} is no classifier that was saved by this version: {error}") from None

    @classmethod
    def _from(cls, file: archive.Archive) -> Classifier:
        try:
            if (file.header.get("format"), file.header.get("version")) != (_FORMAT, _VERSION):
                raise ValueError(f"its header has the format {file.header.get('format')!r}")
            made = cls(**file.header["config"])
            made.load_state_dict({name: torch.from_numpy(file.array(name)) for name in file.arrays})
        finally:
            file.close()
        return made.eval().requires_grad_(False)

    def __repr__(self) -> str:
        return f"Classifier({', '.join(f'{name}={value}' for name, value in self.config.items())})"


def train_classifier(
    images: Any,
    labels: Any,
    *,
    seed: int = 0,
    steps: int = 700,
    batch_size: int = 64,
    learning_rate: float = 4e-3,
    progress: bool = False,
) -> Classifier:
    """A classifier trained on images, by default in about seven seconds of one core for MNIST, two for digits.

    AdamW with a one-cycle learning rate on cross entropy with label smoothing .05; no augmentation. On MNIST's test
    images 98.4 % are right, on held-out digits 99 %. Torch's global generator is left alone; with the same seed,
    version and number of torch's threads the weights are the same.

    Parameters
    ----------
    images : array or tensor of shape (n, channels, height, width)
        In [-1, 1], or uint8.
    labels : array_like of int, of shape (n,)
        Of at least two classes.
    seed : int
        Of weights and order.
    steps, batch_size : int
        Optimiser steps, and images in each.
    learning_rate : float
        The largest of the cycle.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    Classifier
        In evaluation mode, its parameters without gradients.

    Raises
    ------
    ValueError, TypeError
        If shapes or types do not fit.

    Examples
    --------
    >>> from sdefast.diffusion import data, quality
    >>> classifier = quality.train_classifier(*data.digits(), steps=100)
    >>> classifier.accuracy(*data.digits("test")) > 0.9
    True
    """
    x, y = _checked_training_data(images, labels)
    steps, batch_size = checks.count("steps", steps), checks.count("batch_size", batch_size, least=2)
    learning_rate = checks.real("learning_rate", learning_rate, positive=True)
    generator = torch.Generator().manual_seed(checks.seed("seed", seed) % 2**63)
    channels, height, width = x.shape[1:]
    net = Classifier(channels, height, width, int(y.max()) + 1)
    _draw(net, generator)
    optimiser = torch.optim.AdamW(net.parameters(), learning_rate, weight_decay=0.01)
    # (a cycle of one step has no way up)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, total_steps=max(steps, 4))
    with progress_bar(progress, "classifier", steps, "steps") as bar:
        for chosen in _batches(len(x), min(batch_size, len(x)), steps, generator):
            loss = torch.nn.functional.cross_entropy(net(x[chosen]), y[chosen], label_smoothing=0.05)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            rate.step()
            if bar is not None:
                bar.update()
    return net.eval().requires_grad_(False)


def _body(channels: int, height: int, width: int) -> Any:
    """From images to features."""
    layers: list[Any] = []
    for before, after in pairwise((channels, *_WIDTHS)):
        layers += [torch.nn.Conv2d(before, after, 3, 2, 1, bias=False), torch.nn.BatchNorm2d(after), torch.nn.ReLU()]
        height, width = (height + 1) // 2, (width + 1) // 2
    return torch.nn.Sequential(
        *layers, torch.nn.Flatten(), torch.nn.Linear(_WIDTHS[-1] * height * width, N_FEATURES), torch.nn.ReLU()
    )


def _checked_training_data(images: Any, labels: Any) -> tuple[Any, Any]:
    x = data.checked("images", images)
    if x.ndim != 4:
        raise ValueError(f"images must have shape (n, channels, height, width), got {x.shape}")
    y = data.checked_labels("labels", labels, len(x))
    if len(np.unique(y)) < 2:
        raise ValueError(f"labels must be of at least two classes, got {y[0]} alone")
    if y.max() >= 2**16:
        raise ValueError(f"labels must be smaller than {2**16}, got {y.max()}")
    return torch.from_numpy(x), torch.from_numpy(y)


def _draw(net: Classifier, generator: Any) -> None:
    """Weights of variance 2 / fan-in (He et al. 2015), biases 0; batch normalisation begins as the identity."""
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, (2 / parameter[0].numel()) ** 0.5, generator=generator)
        for module in net.modules():
            if isinstance(module, torch.nn.Linear):
                module.bias.zero_()


def _batches(n: int, size: int, steps: int, generator: Any) -> Iterator[Any]:
    """Indices of ``steps`` batches, from one permutation after another."""
    done = 0
    while done < steps:
        order = torch.randperm(n, generator=generator)
        for first in range(0, min(n // size, steps - done) * size, size):
            yield order[first : first + size]
            done += 1
