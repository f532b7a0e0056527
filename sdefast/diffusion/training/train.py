"""Training: a network, an objective and data, step by step."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from ... import checks
from .. import objectives
from ..objectives import Objective
from ..tensors import torch
from . import checkpoint, inputs, loop
from .batches import Batches
from .folder import Folder, checkpoint_of
from .settings import Settings
from .state import State
from .trained import Trained, network_of

__all__ = ["resume", "train"]

#: Steps between checkpoints unless somebody says otherwise.
SAVE_EVERY = 500


def train(
    data: Any, labels: Any = None, net: torch.nn.Module | None = None, objective: str | Objective = "flow", *,
    steps: int = 2000, batch_size: int = 64, learning_rate: float = 1e-3, warmup: int = 100, decay: int | None = None,
    weight_decay: float = 0.01, clip_norm: float | None = 1.0, ema: float = 0.1, seed: int = 0, out: Any = None,
    save_every: int | None = None, resume: bool = False, device: str = "cpu", amp: bool = False,
    label_drop: float = 0.1, progress: bool = False, callback: Callable[[int, Trained], object] | None = None,
) -> Trained:  # fmt: skip
    """Train a network on data, by AdamW, with an average of the weights on the way.

    What happens at step k is a function of (seed, k) alone, and of the weights: the order of the data, levels of noise
    and noise are keyed as everywhere in this library, and torch's own generators are left alone. So a training that is
    stopped and resumed is equal to one that is not, on a CPU to the last bit.

    Parameters
    ----------
    data : array, tensor, str or path
        Images (n, channels, height, width) in [-1, 1] or points (n, d) of about unit size, in floating point; or what
        `data.load` takes.
    labels : array of int of shape (n,), True or None
        Classes, for a network that is told them; True are those that `data.load` finds.
    net : torch.nn.Module, optional
        ``net(x, c, y=None)``, see `networks`: it is trained in place, and with labels some of y are -1, see
        ``label_drop``. By default a `UNet` for images, a `ScoreMLP` for points, with first weights of this seed.
    objective : str or Objective
        What to train for, see `objectives`; named ones that have a standard deviation take that of the data.
    steps : int
        How many steps in all, those of a training that is resumed included.
    batch_size : int
        Samples of a step.
    learning_rate : float
        The highest.
    warmup : int
        Steps in which it rises to that linearly.
    decay : int, optional
        Step at which it has fallen to 0, linearly. By default it falls from step 1000 on as the inverse square root of
        the step, and does not depend on how many there will be (as in EDM2, Karras et al. 2024).
    weight_decay : float
        That of AdamW.
    clip_norm : float or None
        What the gradient's norm is cut to.
    ema : float
        Width of the average of the weights, as a part of the steps so far, up to 0.289 (all steps alike); 0 for none.
    seed : int
        Of all noise, of the order of the data, and of the first weights.
    out : str or path, optional
        Folder for ``last.pt``, the checkpoint; ``last.pt.sha``, a digest of its content; and ``loss.csv``. Each is
        written whole or not at all.
    save_every : int, optional
        Steps between checkpoints: what a run that is killed loses at most; 500 by default. There is one before the
        first step and one after the last, and Ctrl-C leaves one.
    resume : bool
        Go on with the checkpoint in ``out``, if there is one; all else must be what it was.
    device : {"cpu", "cuda", "cuda:N"}
        Where. On a GPU noise needs numba-cuda.
    amp : bool
        Whether the network runs in bfloat16 where torch's autocast has it, on a GPU.
    label_drop : float
        Part of the labels that are left out, so that the network knows samples without one: what guidance needs.
    progress : bool
        Show a bar with the loss.
    callback : callable, optional
        ``callback(step, run)`` after every step, from 1, with the `Trained` so far.

    Returns
    -------
    Trained

    Raises
    ------
    TypeError, ValueError
        If an argument is none of these, ``out`` holds another training, or its checkpoint is damaged.

    Warns
    -----
    RuntimeWarning
        If images lie in [0, 1], or data are larger than an objective that has no ``sd`` takes them to be.
    FloatingPointError
        If a loss or gradient is not finite: it names the step, and the checkpoint before stays.
    OSError
        If a checkpoint cannot be written: the one before stays.

    Examples
    --------
    >>> import sdefast as sf
    >>> run = sf.diffusion.train(sf.diffusion.data.swiss_roll(1000), steps=20, batch_size=32)
    >>> run.sample(4, n_steps=5).shape
    (4, 2)
    """
    settings = Settings.of({
        "batch_size": batch_size, "learning_rate": learning_rate, "warmup": warmup, "decay": decay,
        "weight_decay": weight_decay, "clip_norm": clip_norm, "ema": ema, "seed": seed, "amp": amp,
        "label_drop": label_drop,
    })  # fmt: skip
    steps, place = settings.check_steps(steps), inputs.device_of(device)
    every = SAVE_EVERY if save_every is None else checks.count("save_every", save_every)
    if settings.amp and place.type == "cpu":
        raise ValueError("amp must be False on a CPU: mixed precision is for device='cuda'")
    if callback is not None and not callable(callback):
        raise TypeError(f"callback must be callable as callback(step, run), got {callback!r}")
    if checks.flag("resume", resume) and out is None:
        raise ValueError("resume=True goes on with the checkpoint in out: give out")
    given = inputs.Data.of(data, labels)
    net = inputs.network(net, given, settings.seed).to(place)
    found = inputs.objective(objective, given)
    given.warn_of_scale(found)
    config = {
        "net": inputs.config_of(net), "objective": found.config, "training": settings.config(),
        "data": given.config(), "steps": steps, "save_every": every,
    }  # fmt: skip
    state = State(net, found, Batches(*given.on(place), settings), settings)
    with Folder(out, resume, state.size()) as folder:
        return loop.run(state, folder, config, checks.flag("progress", progress), callback)


def resume(
    folder: Any, steps: int | None = None, *, data: Any = None, labels: Any = None, net: torch.nn.Module | None = None,
    save_every: int | None = None, device: str = "cpu", progress: bool = False,
    callback: Callable[[int, Trained], object] | None = None,
) -> Trained:  # fmt: skip
    """Go on with a training from its folder: everything that is not said is as it was.

    Parameters
    ----------
    folder : str or path
        What ``out`` was.
    steps : int, optional
        How many steps in all; by default as many as there were to be.
    data, labels : optional
        The same data again, if they were an array and not a name or a path.
    net : torch.nn.Module, optional
        One of the same shapes, if it was of one's own.
    save_every, device, progress, callback
        As of `train`.

    Returns
    -------
    Trained

    Raises
    ------
    FileNotFoundError, ValueError
        If the folder has no checkpoint, a damaged one, or one of other data or another network.

    Examples
    --------
    >>> import sdefast as sf, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = sf.diffusion.train("swiss-roll", steps=5, out=folder)
    ...     sf.diffusion.training.resume(folder, 10).step
    10
    """
    file = checkpoint_of(folder)
    config = checkpoint.read(file)["config"]
    source = config["data"]["source"]
    if data is None and source is None:
        raise ValueError(f"{file} is of an array, which it does not hold: pass it as data")
    if data is None and config["data"]["classes"] is not None:
        labels = True
    return train(
        source if data is None else data, labels, network_of(config, net, file),
        objectives.build(config["objective"]), steps=config["steps"] if steps is None else steps,
        out=os.path.dirname(file), save_every=config["save_every"] if save_every is None else save_every, resume=True,
        device=device, progress=progress, callback=callback, **config["training"],
    )  # fmt: skip
