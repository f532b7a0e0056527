"""What a training gives: a network, what it was trained for, and samples."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import checks, resources
from ...run.where import progress_bar
from .. import objectives
from ..networks import build
from ..objectives import Objective
from ..plan import Plan
from ..sample import sample
from ..tensors import torch
from . import checkpoint
from .folder import checkpoint_of
from .inputs import device_of
from .log import Log

__all__ = ["Trained", "load", "losses"]

#: The method and the steps of samples unless somebody says otherwise.
_METHOD, _STEPS = "dpm++2m-sde", 20


@dataclass(eq=False)
class Trained:
    """A trained network; what `train`, `resume` and `load` return.

    Attributes
    ----------
    net : torch.nn.Module
        With the average of the weights on the way, which is what to use.
    raw : torch.nn.Module
        With the last weights.
    objective : Objective
        What it was trained for.
    config : dict
        Network, objective, settings and data in plain values.
    log : ndarray
        Structured, one record for each step: ``step``, from 1, ``loss``, ``learning_rate``, ``gradient_norm``.
    step : int
        How many steps were taken.
    shape : tuple of int
        That of one sample.
    classes : int or None
        How many classes the labels had; None without labels.

    Examples
    --------
    >>> import sdefast as sf
    >>> run = sf.diffusion.train("two-moons", labels=True, steps=3)
    >>> run.step, run.shape, run.classes
    (3, (2,), 2)
    """

    net: torch.nn.Module
    raw: torch.nn.Module
    objective: Objective
    config: dict[str, Any]
    _log: Log

    @property
    def log(self) -> np.ndarray:
        self._log.settle()
        return self._log.rows.copy()

    @property
    def step(self) -> int:
        return len(self.log)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.config["data"]["shape"][1:])

    @property
    def classes(self) -> int | None:
        found: int | None = self.config["data"]["classes"]
        return found

    def __repr__(self) -> str:
        rows = self.log
        said = f", loss {rows['loss'][-100:].mean():.4g}" if len(rows) else ""
        return f"Trained({self.objective.name!r}, {self.config['net']}, {len(rows)} steps{said})"

    def model(self, labels: Any = None, guidance: float = 1.0) -> Any:
        """What `sample` calls, ``model(x, t)``; labels and guidance are those of `Objective.model`.

        ValueError where samples without labels are asked for, as guidance does too, and none were trained on.
        """
        known = self.classes is None or self.config["training"]["label_drop"] > 0
        if not known and (labels is None or guidance != 1):
            raise ValueError(
                "the network knows no samples without labels, as it was trained with label_drop=0: give labels, and "
                f"leave guidance at 1, got {'no labels' if labels is None else f'guidance={guidance!r}'}"
            )
        return self.objective.model(self.net, labels, guidance)

    def plan(
        self, method: str = _METHOD, n_steps: int | None = _STEPS, clip: float | None = None, **options: Any
    ) -> Plan:
        """A plan for `model`, see `sdefast.diffusion.plan`.

        ``clip`` is 1 by default where the data are images within [-1, 1], else none.
        """
        if clip is None and len(self.shape) == 3 and self.config["data"]["bounded"]:
            clip = 1.0
        return self.objective.plan(method, n_steps, clip=clip, **options)

    def sample(
        self, n: int, method: str | Plan = _METHOD, n_steps: int | None = _STEPS, *, seed: int = 0, labels: Any = None,
        guidance: float = 1.0, first_sample: int = 0, batch: int = 256, clip: float | None = None,
        progress: bool = False, threads: int | None = None, **options: Any,
    ) -> np.ndarray:  # fmt: skip
        """Draw samples.

        Parameters
        ----------
        n : int
            How many.
        method, n_steps, clip, **options
            As of `plan`; or ``method`` is a plan itself, which says the rest.
        seed, first_sample : int
            Of the noise: a sample is a function of the seed and its number, whatever its batch.
        labels : int or array of int of shape (n,), optional
            Classes to draw; without them samples are of any.
        guidance : float
            As of `model`.
        batch : int
            How many at a time.
        progress : bool
            Show a bar.
        threads : int, optional
            Of the updates, at most.

        Returns
        -------
        ndarray of float32, of shape (n, ...)
        """
        n, batch = checks.count("n", n), checks.count("batch", batch)
        first_sample = checks.count("first_sample", first_sample, least=0)
        steps = method if isinstance(method, Plan) else self.plan(method, n_steps, clip, **options)
        resources.refuse_too_large(4 * n * int(np.prod(self.shape)), f"{n} samples", ["draw fewer, with first_sample"])
        labels = _labels(labels, n, self.classes)
        out = np.empty((n, *self.shape), np.float32)
        parts = range(0, n, batch)
        with progress_bar(checks.flag("progress", progress), steps.method, steps.n_calls * len(parts), "calls") as bar:
            for i in parts:
                size = min(batch, n - i)
                model = self.model(None if labels is None else labels[i : i + size], guidance)
                drawn = sample(
                    model, steps, shape=(size, *self.shape), seed=seed, first_sample=first_sample + i, threads=threads,
                    callback=None if bar is None else lambda told: bar.update(),
                )  # fmt: skip
                out[i : i + size] = drawn.cpu().numpy()
        return out


def _labels(labels: Any, n: int, classes: int | None) -> torch.Tensor | None:
    """One for each sample."""
    if labels is None:
        return None
    if classes is None:
        raise ValueError("labels must be None: the network was trained without any")
    given = np.asarray(checks.on_host("labels", labels))
    if given.dtype.kind not in "iu" or given.shape not in ((), (n,)):
        raise ValueError(f"labels must be an integer, or {n} of them, got {given.dtype} of shape {given.shape}")
    if given.min() < 0 or given.max() >= classes:
        raise ValueError(f"labels must be between 0 and {classes - 1}, got {given.min()} to {given.max()}")
    return torch.from_numpy(np.broadcast_to(given, (n,)).astype(np.int64))


def load(path: Any, *, net: torch.nn.Module | None = None, device: Any = "cpu") -> Trained:
    """Read a training from its folder, or its checkpoint's file.

    Parameters
    ----------
    path : str or path
        What ``out`` was, or the file in it.
    net : torch.nn.Module, optional
        For a network of one's own, which is not built from the checkpoint: one of the same shapes.
    device : str
        Where the network is to be, ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.

    Returns
    -------
    Trained

    Raises
    ------
    FileNotFoundError
        If there is no checkpoint.
    ValueError
        If the file is another, damaged, of another version, or of another network: it is named.

    Examples
    --------
    >>> import sdefast as sf, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = sf.diffusion.train("swiss-roll", steps=3, out=folder)
    ...     bool((load(folder).sample(2, seed=1) == run.sample(2, seed=1)).all())
    True
    """
    place = device_of(device)
    name = checkpoint_of(path)
    content = checkpoint.read(name, place)
    config = content["config"]
    raw, average = (network_of(config, net, name).to(place) for _ in range(2))
    with checkpoint.of_another_network(name):
        raw.load_state_dict(content["model"])
        average.load_state_dict(content["ema"])
    average.requires_grad_(False).eval()
    raw.eval()
    return Trained(average, raw, objectives.build(config["objective"]), config, Log.of(content["log"]))


def losses(path: Any) -> np.ndarray:
    """The log of a training, `Trained.log`, from its folder or its checkpoint's file.

    Raises FileNotFoundError or ValueError as `load` does.

    Examples
    --------
    >>> import sdefast as sf, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = sf.diffusion.train("swiss-roll", steps=3, out=folder)
    ...     losses(folder)["step"]
    array([1, 2, 3])
    """
    return Log.of(checkpoint.read(checkpoint_of(path))["log"]).rows


def network_of(config: dict[str, Any], net: torch.nn.Module | None, name: str) -> torch.nn.Module:
    """A network as the checkpoint's, a copy of the one that was given if there is one."""
    if net is not None:
        return copy.deepcopy(net)
    if config["net"] is None:
        raise ValueError(f"{name} is of a network of your own: pass it as net")
    return build(config["net"])
