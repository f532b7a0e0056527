"""Networks: sizes, labels, what they begin as, that all of them learns, and what is refused."""

import numpy as np
import pytest
from conftest import python

from sdefast import noise

torch = pytest.importorskip("torch")

from sdefast.diffusion import networks  # noqa: E402
from sdefast.diffusion.networks import unet  # noqa: E402
from sdefast.diffusion.networks.base import sinusoids  # noqa: E402
from sdefast.diffusion.objectives import objective  # noqa: E402

CONFIGS = [
    {"name": "unet", "widths": [8, 16]},
    {"name": "unet", "widths": [8, 16, 8], "channels": 3, "blocks": 2, "attention": False, "classes": 10},
    {"name": "unet", "widths": [8], "classes": 2},
    {"name": "mlp", "dim": 2, "width": 16},
    {"name": "mlp", "dim": 3, "width": 8, "depth": 1, "activation": "silu", "classes": 4},
]


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def stirred(config):
    """A network as if it had been trained: nothing is 0."""
    net = networks.build(config)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return net


def inputs(config, n=4, size=(8, 8)):
    shape = (config["dim"],) if config["name"] == "mlp" else (config.get("channels", 1), *size)
    return torch.randn(n, *shape), 1000 * torch.rand(n)


@pytest.mark.parametrize("config", CONFIGS)
def test_configs_build_networks_that_take_their_weights(config):
    net = stirred(config)
    x, c = inputs(config)
    again = networks.build(net.config)
    again.load_state_dict(net.state_dict())
    assert again.config == net.config
    assert net.config.items() >= config.items()
    assert torch.equal(again(x, c), net(x, c))
    assert net(x, c).shape == x.shape


@pytest.mark.parametrize("config", CONFIGS)
def test_every_weight_learns_and_samples_are_alone(config):
    net = stirred(config)
    x, c = inputs(config)
    out = net(x, c)
    torch.testing.assert_close(net(x[[2, 0]], c[[2, 0]]), out[[2, 0]])
    labels = torch.arange(4) % net.classes if net.classes else None
    net(x, c, labels).square().sum().backward()
    still = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []


@pytest.mark.parametrize("size", [(28, 28), (8, 8), (7, 7), (5, 12), (1, 1)])
def test_images_of_any_size(size):
    config = {"name": "unet", "widths": [8, 16, 24]}
    x, c = inputs(config, n=2, size=size)
    assert stirred(config)(x, c).shape == x.shape


def test_small_unet_is_small_and_says_nothing_at_first():
    net = networks.UNet()
    assert 850_000 < sum(p.numel() for p in net.parameters()) < 950_000
    assert not net(torch.randn(2, 1, 28, 28), torch.tensor([3.0, 900.0])).any()


def test_attention_sees_the_whole_image():
    for attention, seen in ((True, True), (False, False)):
        net = stirred({"name": "unet", "widths": [8], "attention": attention}).double()
        for module in net.modules():  # which see the whole image, too
            if isinstance(module, torch.nn.GroupNorm):
                module.forward = lambda x: x
        x = torch.zeros(1, 1, 1, 40, dtype=torch.float64, requires_grad=True)
        net(x, torch.zeros(1, dtype=torch.float64))[0, 0, 0, 0].backward()
        assert bool(x.grad[..., -1].any()) is seen


def test_attention_is_the_textbook_formula():
    attention = unet._Attention(8, heads=2).double()
    torch.nn.init.normal_(attention.outward.weight)
    x = torch.randn(3, 8, 2, 5, dtype=torch.float64)
    pixels = attention.inward(attention.norm(x)).flatten(2)
    q, k, v = (pixels[:, 8 * i : 8 * i + 8].unflatten(1, (2, 4)) for i in range(3))  # (n, heads, 4, pixels)
    weights = torch.softmax(torch.einsum("nhdp,nhdq->nhpq", q, k) / 2, dim=-1)
    heads = torch.einsum("nhpq,nhdq->nhdp", weights, v).reshape(x.shape)
    torch.testing.assert_close(attention(x), x + attention.outward(heads))


def test_sinusoids():
    found = sinusoids(torch.tensor([0.0, 2.0]), 4)
    want = [[1.0, 1.0, 0.0, 0.0], [np.cos(2.0), np.cos(0.02), np.sin(2.0), np.sin(0.02)]]
    np.testing.assert_allclose(found, want, rtol=1e-6)


@pytest.mark.parametrize("config", [CONFIGS[1], CONFIGS[4]])
def test_labels(config):
    net = stirred(config)
    x, c = inputs(config)
    without = net(x, c)
    y = torch.tensor([0, networks.NO_LABEL, 3, networks.NO_LABEL])
    with_labels = net(x, c, y)
    torch.testing.assert_close(with_labels[1::2], without[1::2])
    assert (with_labels[::2] != without[::2]).any(dim=1).all()
    assert torch.equal(net(x, c, torch.full((4,), networks.NO_LABEL)), without)


def test_the_level_of_noise_is_told():
    for config in CONFIGS:
        net = stirred(config)
        x, _ = inputs(config, n=1)
        assert not torch.equal(net(x, torch.tensor([10.0])), net(x, torch.tensor([20.0])))


def trained(net, made, x0, steps, learning_rate=3e-3):
    """Losses of a short training, the last ones of which are those of a network that has learned."""
    optimizer, losses = torch.optim.Adam(net.parameters(), lr=learning_rate), []
    generator = torch.Generator().manual_seed(1)
    for k in range(steps):
        z = torch.randn(x0.shape, generator=generator)
        optimizer.zero_grad()
        loss = made.loss(net, x0, noise.uniforms(k, 1, len(x0))[0], z).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_points_are_learned():
    """At u uniform the least loss for data N(0, 1) is the mean of 1 / (t^2 + (1 - t)^2), pi / 2."""
    x0 = torch.randn(512, 2)
    x0 = (x0 - x0.mean(0)) / x0.std(0)
    losses = trained(networks.ScoreMLP(2, width=64), objective("flow", times="uniform"), x0, 200)
    assert np.mean(losses[-100:]) == pytest.approx(np.pi / 2, rel=0.02)


def test_images_are_learned():
    x0 = torch.sign(torch.randn(2, 1, 8, 8))[torch.arange(32) % 2]
    losses = trained(networks.UNet(widths=(16, 32)), objective("flow"), x0, 60)
    assert np.mean(losses[-10:]) < 0.3 * losses[0]


def test_dropout_is_for_training_only():
    config = {"name": "unet", "widths": [8], "dropout": 0.5}
    net, (x, c) = stirred(config), inputs(config)
    assert not torch.equal(net(x, c), net(x, c))
    assert torch.equal(net.eval()(x, c), net(x, c))


def test_second_derivatives_of_a_score():
    net = stirred({"name": "mlp", "dim": 2, "activation": "silu", "width": 16})
    x, c = inputs(net.config)
    jacobian = torch.autograd.functional.jacobian(lambda x: net(x, c).sum(0), x, create_graph=True)
    assert jacobian.shape == (2, 4, 2)
    assert torch.autograd.grad(jacobian.square().sum(), list(net.parameters())[-4])[0].any()


NET = networks.build(CONFIGS[1])
X, C = torch.zeros(2, 3, 8, 8), torch.zeros(2)
BAD = {
    "name must be one of 'mlp', 'unet', got 'unett'; did you mean 'unet'": lambda: networks.build({"name": "unett"}),
    "'mlp' has no option 'widths': it takes 'dim', 'width'": lambda: networks.build({"name": "mlp", "widths": [8]}),
    "config must be a mapping with a 'name', one of unet, mlp, got": lambda: networks.build({"dim": 2}),
    "'mlp' needs the option 'dim'": lambda: networks.build({"name": "mlp"}),
    r"widths must be multiples of 8, at least one, got \(12,\)": lambda: networks.UNet(widths=(12,)),
    r"widths must be multiples of 8, at least one, got \(\)": lambda: networks.UNet(widths=()),
    "widths must be a sequence of integers, got 32": lambda: networks.UNet(widths=32),
    r"widths\[1\] must be an integer, got 16.5": lambda: networks.UNet(widths=(8, 16.5)),
    "channels must be between 1": lambda: networks.UNet(channels=0),
    "attention must be True or False": lambda: networks.UNet(attention="no"),
    r"dropout must be within \[0, 0.9\]": lambda: networks.UNet(dropout=1.0),
    "classes must be between 1": lambda: networks.UNet(classes=0),
    "activation must be one of 'relu', 'silu'": lambda: networks.ScoreMLP(2, activation="tanh"),
    r"x must have shape \(n, 3, height, width\), got \(2, 1, 8, 8\)": lambda: NET(X[:, :1], C),
    r"x must have shape \(n, 2\), got \(2, 3\)": lambda: networks.ScoreMLP(2)(X[:, :, 0, 0], C),
    r"c must have shape \(2,\), got \(3,\)": lambda: NET(X, torch.zeros(3)),
    "y must be None: this network was built without classes": lambda: networks.UNet(widths=(8,))(
        X[:, :1], C, torch.zeros(2, dtype=torch.int64)
    ),
    r"y must be int64 of shape \(2,\), got torch.float32": lambda: NET(X, C, C),
    "labels must be between 0 and 9, or -1 for none, got 10": lambda: NET(X, C, torch.tensor([3, 10])),
    "labels must be between 0 and 9, or -1 for none, got -2": lambda: NET(X, C, torch.tensor([-2, 0])),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input(message):
    with pytest.raises((TypeError, ValueError), match=f"^{message}"):
        BAD[message]()


def test_half_precision_under_autocast():
    for config in CONFIGS:
        net = stirred(config)
        x, c = inputs(config)
        with torch.autocast("cpu", torch.bfloat16):
            said = net(x, c).float()
        assert (said - net(x, c)).abs().max() < 0.05 * net(x, c).abs().max()


LAZY = """
import sys
import sdefast as sf
assert "torch" not in sys.modules and "matplotlib" not in sys.modules
sys.modules["torch"] = None  # as if it were missing
for name in ("networks", "objectives", "losses"):
    try:
        getattr(sf.diffusion, name)
    except ImportError as error:
        print(str(error).split(" (")[0])
"""


def test_torch_is_imported_when_networks_are_used_and_said_to_be_missing():
    message = "networks and their training need torch, which is missing or broken: pip install 'sdefast[diffusion]'"
    assert python(LAZY).splitlines() == [message] * 3
