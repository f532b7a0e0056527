"""What tests of training share: small data and networks, and whether two checkpoints are equal to the bit."""

import numpy as np
import pytest
import torch

import sdefast as sf
from sdefast.diffusion import networks

#: 50 points: 16 a step are an epoch in 3.1 steps
POINTS = sf.noise.normals(3, 50, 2, dtype="float32")

#: a small training
SMALL = {"steps": 24, "batch_size": 16, "warmup": 5, "seed": 4}


@pytest.fixture(autouse=True)
def one_thread():
    """Small networks are the faster for it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Own(torch.nn.Module):
    """A network of the user's: no config, chance in its layers, buffers, and weights that are not trained."""

    def __init__(self, width=8):
        super().__init__()
        self.inner = torch.nn.Linear(3, width)
        self.norm = torch.nn.BatchNorm1d(width)
        self.dropout = torch.nn.Dropout(0.25)
        self.last = torch.nn.Linear(width, 2)
        self.fixed = torch.nn.Parameter(torch.ones(1), requires_grad=False)
        torch.manual_seed(0)
        for p in self.parameters():
            if p.requires_grad:
                torch.nn.init.uniform_(p, -0.5, 0.5)

    def forward(self, x, c, y=None):
        h = self.inner(torch.cat([x, c[:, None] / 1000], 1))
        return self.last(self.dropout(self.norm(torch.relu(h)))) * self.fixed


def own():
    """The same every time, torch's generator left as it was."""
    with torch.random.fork_rng(devices=[]):
        return Own()


def small_net(width=16, **options):
    """A network of the library's, the same every time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return networks.ScoreMLP(2, width=width, depth=2, **options)


def equal(a, b):
    """Whether two values of checkpoints are, to the bit."""
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(equal(a[name], b[name]) for name in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(equal, a, b))
    return type(a) is type(b) and a == b


def read(folder):
    """A checkpoint, as torch reads it."""
    return torch.load(folder / "last.pt", weights_only=True)


def files(folder):
    """Names and contents."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def numbers(run):
    """All weights of a training as one array."""
    return np.concatenate([p.detach().numpy().ravel() for net in (run.net, run.raw) for p in net.parameters()])
