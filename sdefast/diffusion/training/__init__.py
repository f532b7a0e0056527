"""Training of networks: `train`, `resume` and `load` give a `Trained`, which draws samples.

`settings` are what a training is told, `inputs` what it is given; `state` takes a step on one of `batches`, `ema`
averages the weights, `log` notes the loss; `loop` takes them all; a `folder` has the `checkpoint`.
"""

from .log import LOG
from .train import resume, train
from .trained import Trained, load, losses

__all__ = ["LOG", "Trained", "load", "losses", "resume", "train"]
