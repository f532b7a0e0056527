"""The loop over steps: checkpoints, Ctrl-C, the bar, the callback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ...noise import STREAM_VERSION
from ...run import compare
from ...run.where import progress_bar
from . import checkpoint
from .folder import CHECKPOINT, Folder
from .interrupts import between_steps
from .state import State
from .trained import Trained

__all__ = ["run"]

#: Steps over which the loss that the bar shows is averaged.
_SHOWN = 50

Callback = Callable[[int, Trained], object]


def run(state: State, folder: Folder, config: dict[str, Any], progress: bool, callback: Callback | None) -> Trained:
    """Take all steps that ``config`` asks for; at the end, and whatever ends it too soon, a checkpoint stands."""
    _begin(state, folder, config)
    told = Trained(state.average.net, state.net, state.objective, config, state.log)
    with between_steps() as interrupts, progress_bar(progress, "train", config["steps"], "steps", state.step) as bar:
        while state.step < config["steps"]:
            _step(state, folder, told, config, callback)
            if bar is not None:
                _show(bar, state)
            if interrupts.came:
                _save(state, folder, config)
                raise KeyboardInterrupt
            if state.step % config["save_every"] == 0 or state.step == config["steps"]:
                _save(state, folder, config)
    state.net.eval()
    return told


def _show(bar: Any, state: State) -> None:
    """A step more, and the loss of the last ones that are known."""
    losses = state.log.rows["loss"][-_SHOWN:]
    if len(losses):
        bar.set_postfix(loss=f"{losses.mean():.4g}", refresh=False)
    bar.update()


def _begin(state: State, folder: Folder, config: dict[str, Any]) -> None:
    """Go on from the folder's checkpoint, or write the first one: what cannot be written is known at once."""
    found = folder.read(state.device)
    if found is None:
        folder.save(state, config)
        return
    name = folder.file(CHECKPOINT)
    other = compare.differences(_compared(found["config"]), _compared(config))
    if other:
        raise ValueError(f"{name} is of another training: {other}. Name another folder to begin anew")
    if found["stream_version"] != STREAM_VERSION:
        raise ValueError(f"{name} was trained on noise of version {found['stream_version']}, this is {STREAM_VERSION}")
    if found["step"] > config["steps"]:
        raise ValueError(f"steps must be at least {found['step']}, those of {name}, got {config['steps']}")
    with checkpoint.of_another_network(name):
        state.restore(found)
    folder.saved = state.step


def _compared(config: dict[str, Any]) -> dict[str, Any]:
    """What must be equal where a training goes on: not where data lie, nor how long it is to be."""
    data = {name: value for name, value in config["data"].items() if name != "source"}
    return compare.flat({name: config[name] for name in ("net", "objective", "training")} | {"data": data})


def _step(state: State, folder: Folder, told: Trained, config: dict[str, Any], callback: Callback | None) -> None:
    """One step, and who wants to know of it."""
    with _naming(folder):
        state.take()
    if callback is None:
        return
    try:
        callback(state.step, told)
    except KeyboardInterrupt:
        _save(state, folder, config)
        raise


def _save(state: State, folder: Folder, config: dict[str, Any]) -> None:
    with _naming(folder):
        folder.save(state, config)


@contextmanager
def _naming(folder: Folder) -> Iterator[None]:
    """What is not finite is told with what is left."""
    try:
        yield
    except FloatingPointError as error:
        raise FloatingPointError(f"{error}{folder.kept()}") from None
