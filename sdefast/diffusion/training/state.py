"""A network on its way: one step of the optimiser after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ..objectives import Objective
from ..seeds import DROPOUT, apart
from ..tensors import torch
from .batches import Batches
from .ema import Average
from .log import Log
from .settings import Settings

__all__ = ["State", "forked"]

#: Steps whose losses wait on a GPU until they are read.
_WAITING = 50


class State:
    """All that changes while a network is trained; what a step does is a function of it and the step's number alone."""

    def __init__(self, net: torch.nn.Module, objective: Objective, batches: Batches, settings: Settings) -> None:
        self.net, self.objective, self.batches, self.settings = net.train(), objective, batches, settings
        self.device = batches.data.device
        self.step = 0
        self.average = Average(net, settings.ema)
        self.log = Log(1 if self.device.type == "cpu" else _WAITING)
        self._parameters = [p for p in net.parameters() if p.requires_grad]
        self.optimizer = _adam(self._parameters, settings)
        self._called = mixed(net, self.device.type) if settings.amp else net

    def take(self) -> None:
        """One step; FloatingPointError if its loss or gradient is not finite, the weights as they were on a CPU."""
        batch, rate = self.batches.at(self.step), self.settings.rate(self.step)
        with forked(apart(self.settings.seed, DROPOUT, self.step), self.device):
            self.optimizer.zero_grad(set_to_none=True)
            loss = self.objective.loss(self._called, batch.x0, batch.u, batch.z, batch.y).mean()
            loss.backward()  # type: ignore[no-untyped-call]
        norm = self._clip()
        self.log.add(self.step + 1, rate, loss, norm)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.average.update()
        self.step += 1

    @torch.no_grad()
    def _clip(self) -> torch.Tensor:
        """The gradient's norm, as it was before it is cut to ``clip_norm``."""
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        norm: torch.Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        most = self.settings.clip_norm
        if most is not None and (self.device.type != "cpu" or norm > most):
            torch._foreach_mul_(gradients, (most / norm).clamp(max=1.0))
        return norm

    def size(self) -> int:
        """Bytes of a checkpoint, about: the weights, their average, and two moments."""
        return sum(4 * p.nbytes for p in self._parameters) + sum(2 * b.nbytes for b in self.net.buffers())

    def content(self) -> dict[str, Any]:
        """It all, as tensors and plain values."""
        return {
            "step": self.step,
            "model": self.net.state_dict(),
            "ema": self.average.net.state_dict(),
            "ema_counter": self.average.count,
            "optimizer": self.optimizer.state_dict(),
            "log": self.log.columns(),
        }

    def restore(self, content: Mapping[str, Any]) -> None:
        """Go on from `content`."""
        self.net.load_state_dict(content["model"])
        self.average.net.load_state_dict(content["ema"])
        self.average.count = content["ema_counter"]
        self.optimizer.load_state_dict(content["optimizer"])
        self.log = Log.of(content["log"], self.log.patience)
        self.step = content["step"]


def _adam(parameters: list[torch.nn.Parameter], settings: Settings) -> torch.optim.AdamW:
    """AdamW in one kernel for all weights, where torch has it for their device: more than four times as fast."""
    options: dict[str, Any] = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay}
    try:
        return torch.optim.AdamW(parameters, fused=True, **options)
    except RuntimeError:  # an older torch
        return torch.optim.AdamW(parameters, foreach=True, **options)


def mixed(net: torch.nn.Module, device: str) -> Callable[..., torch.Tensor]:
    """The network in bfloat16 where autocast says so; what it returns is float32, and so is the loss."""

    def called(x: torch.Tensor, c: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
        with torch.autocast(device, torch.bfloat16):
            out: torch.Tensor = net(x, c, y)
        return out.float()

    return called


@contextmanager
def forked(seed: int, device: torch.device) -> Iterator[None]:
    """Torch's own generators with this seed, for dropout and new weights; afterwards they are as they were."""
    generators = [torch.default_generator]
    if device.type == "cuda":
        generators.append(torch.cuda.default_generators[device.index or 0])
    states = [generator.get_state() for generator in generators]
    try:
        for generator in generators:
            generator.manual_seed(seed % 2**63)
        yield
    finally:
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)
