"""Objectives: losses and models against plain formulas, optima and samples of Gaussian data, and what is refused."""

from statistics import NormalDist

import numpy as np
import pytest
from diffusion.gaussian import MEAN, VARIANCE, moments, posterior_mean
from diffusion.moments import of_data_and_noise

from sdefast import diffusion
from sdefast.diffusion.schedule import Schedule

torch = pytest.importorskip("torch")

from sdefast.diffusion import objectives  # noqa: E402
from sdefast.diffusion.objectives import OBJECTIVES, objective  # noqa: E402

BETAS = np.linspace(1e-4, 0.02, 1000)
ABAR = np.cumprod(1 - BETAS)
SIGMAS = np.geomspace(0.01, 50.0, 50)
SD = 0.5
U = np.array([0.0004, 0.1234, 0.5, 0.77, 1 - 2.0**-53])


def tensor(values):
    return torch.tensor(np.asarray(values), dtype=torch.float64)


def normal(u):
    return np.array([NormalDist().inv_cdf(float(p)) for p in u])


def net(x, c, y=None):
    """Nothing that anybody trained, of all that a network is told."""
    told = (c / 1000).reshape(-1, *(1,) * (x.ndim - 1))
    return 0.3 * x + told * x**2 - 0.1 + (0 if y is None else y.reshape(told.shape))


def plain_loss(name, x0, u, z, variance="beta", times="logit-normal"):
    """The loss of `net`, element by element, as papers write it."""
    k = np.floor(1000 * u).astype(int)
    at = lambda values: values[:, None]  # noqa: E731
    if name in ("eps", "eps-weighted", "v", "x0"):
        alpha, sigma = at(np.sqrt(ABAR[k])), at(np.sqrt(1 - ABAR[k]))
        said = net(alpha * x0 + sigma * z, k * 1.0)
        target = {"eps": z, "eps-weighted": z, "v": alpha * z - sigma * x0, "x0": x0}[name]
        weight = at(plain_weights(variance)[k]) if name == "eps-weighted" else 1.0
        return weight * (said - target) ** 2
    if name == "flow":
        t = at(u if times == "uniform" else 1 / (1 + np.exp(-normal(u))))
        return (net((1 - t) * x0 + t * z, 1000 * t[:, 0]) - (z - x0)) ** 2
    if name == "edm":
        sigma = at(np.exp(-1.2 + 1.2 * normal(u)))
        x, square = x0 + sigma * z, sigma**2 + SD**2
        c_out = sigma * SD / np.sqrt(square)
        D = SD**2 / square * x + c_out * net(x / np.sqrt(square), 250 * np.log(sigma[:, 0]))
        return (D - x0) ** 2 / c_out**2
    k = np.floor(50 * u).astype(int)
    sigma = at(SIGMAS[k])
    x, S = x0 + sigma * z, np.sqrt(sigma**2 + SD**2)
    score = -x / S**2 + SD / (sigma * S) * net(x / S, 20.0 * k)
    return sigma**2 * (score + z / sigma) ** 2


def plain_weights(variance):
    """Of the bound: beta^2 / (2 s^2 alpha (1 - abar)); of L_0 at the first step."""
    tilde = BETAS[1:] * (1 - ABAR[:-1]) / (1 - ABAR[1:])
    s = BETAS[1:] if variance == "beta" else tilde
    rest = BETAS[1:] ** 2 / (2 * s * (1 - BETAS[1:]) * (1 - ABAR[1:]))
    found = np.append(1 / (2 * (1 - BETAS[0])), rest)
    return found / found.mean()


EACH = [(name, {}) for name in OBJECTIVES] + [
    ("eps-weighted", {"variance": "beta_tilde"}),
    ("flow", {"times": "uniform"}),
]


@pytest.mark.parametrize(("name", "options"), EACH)
def test_losses_are_the_papers(name, options):
    generator = np.random.default_rng(0)
    x0, z = generator.normal(size=(2, len(U), 3))
    loss = objective(name, **options).loss(net, tensor(x0), U, tensor(z))
    np.testing.assert_allclose(loss, plain_loss(name, x0, U, z, **options).mean(axis=1), rtol=1e-10)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_losses_of_images_in_float32_with_labels(name):
    x0, z = torch.randn(2, 5, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    y, made = torch.tensor([0, 1, 2, -1, 1]), objective(name)
    loss = made.loss(net, x0, torch.tensor(U), z, y)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, made.loss(net, x0.double(), U, z.double(), y).float(), rtol=1e-4, atol=1e-5)
    assert not torch.equal(loss, made.loss(net, x0, U, z))


# What the objectives ask of a network, a x_0 + b eps, and a network that knows the law of the data.
def parts(name, alpha, sigma):
    S = (sigma**2 + SD**2) ** 0.5
    return {
        "flow": (-1.0, 1.0), "eps": (0.0, 1.0), "eps-weighted": (0.0, 1.0), "v": (-sigma, alpha), "x0": (1.0, 0.0),
        "edm": (sigma / (SD * S), -SD / S), "ve": (sigma / (SD * S), -SD / S),
    }[name]  # fmt: skip


def scales(made, c):
    """alpha and sigma where a network is told c."""
    if made.name == "edm":
        return np.ones_like(c), np.exp(c / 250)
    if made.name == "flow":
        return 1 - c / 1000, c / 1000
    n = made.schedule.n
    ratio = np.exp(np.interp(c * n / 1000, np.arange(n), np.log(made.schedule.ratio)))
    alpha = made.schedule.alpha_of(ratio)
    return alpha, alpha * ratio


def exact(made):
    """The mean of the target given what the network sees, of data N(MEAN, VARIANCE)."""

    def said(x, c, y=None):
        alpha, sigma = (tensor(value)[:, None] for value in scales(made, c.numpy()))
        x = x * torch.sqrt(sigma**2 + SD**2) if made.name in ("edm", "ve") else x
        D = posterior_mean(x, alpha, sigma)
        a, b = parts(made.name, alpha, sigma)
        return a * D + b * (x - alpha * D) / sigma

    return said


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("u", U[:-1])
def test_the_optimum_on_a_gaussian(name, u):
    made = objective(name)
    x0, z = map(tensor, of_data_and_noise(np.array([MEAN]), np.array([[VARIANCE]])))
    shift, slope = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    best = exact(made)
    loss = made.loss(lambda x, c, y: best(x, c) + shift + slope * x, x0, np.full(len(x0), u), z).mean()
    alpha, sigma = (float(value[0]) for value in scales(made, made.drawn(tensor([u])).c.numpy()))
    a, b = parts(name, alpha, sigma)
    left = VARIANCE * sigma**2 / (alpha**2 * VARIANCE + sigma**2)  # Var(x_0 | x_t)
    weight = made.weights[int(1000 * u)] if name == "eps-weighted" else 1.0
    weight = SD**2 / (SD**2 + sigma**2) if name == "ve" else weight
    assert loss.item() == pytest.approx(weight * (a - b * alpha / sigma) ** 2 * left, rel=1e-8)
    gradients = torch.autograd.grad(loss, (shift, slope))
    assert max(map(abs, gradients)) < 1e-9 * weight


def test_weights_are_the_bounds():
    for variance in ("beta", "beta_tilde"):
        made = objective("eps-weighted", variance=variance)
        s, t = made.schedule, np.arange(1, 1000)
        _, c, tilde = diffusion.q_posterior(s, t)
        step = s.betas[1:] if variance == "beta" else tilde
        square = (c * s.sigma[1:] / s.alpha[1:]) ** 2  # of the step's mean, by a unit of eps
        terms = np.append((s.sigma[0] / s.alpha[0]) ** 2 / (2 * s.betas[0]), square / (2 * step))
        np.testing.assert_allclose(made.weights, terms / terms.mean(), rtol=1e-9)
        assert made.weights.mean() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_models_are_the_papers(name):
    x = np.random.default_rng(1).normal(size=(3, 2))
    model = objective(name).model(net)
    t = np.array([0, 20, 49])
    if name == "edm":
        sigma = np.array([0.01, 0.5, 30.0])
        S = np.sqrt(sigma**2 + SD**2)[:, None]
        want = (SD / S) ** 2 * x + SD * sigma[:, None] / S * net(x / S, 250 * np.log(sigma))
        np.testing.assert_allclose(model(tensor(x), tensor(sigma)), want, rtol=1e-10)
        return
    sigma = SIGMAS[t][:, None]
    S = np.sqrt(sigma**2 + SD**2)
    want = {
        "flow": lambda: net(x, t + 1.0),
        "ve": lambda: -x / S**2 + SD / (sigma * S) * net(x / S, 20.0 * t),
    }.get(name, lambda: net(x, 1.0 * t))()
    np.testing.assert_allclose(model(tensor(x), torch.tensor(t)), want, rtol=1e-10)
    np.testing.assert_allclose(model(tensor(x), tensor(t)), want, rtol=1e-10)


#: whose spacing can be that of Karras et al.
FLOW = Schedule(1 - np.arange(1, 1000) / 1000, np.arange(1, 1000) / 1000)

PLANS = [("ddim", 10, {}), ("heun", 6, {}), ("dpm++2m", 8, {}), ("dpm++2m", 8, {"spacing": "karras"})]


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize(("method", "n", "options"), PLANS)
def test_samples_of_an_exact_network_have_the_exact_law(name, method, n, options):
    made = objective(name, schedule=FLOW) if name == "flow" and options else objective(name)
    plan = made.plan(method, n, **({} if name == "edm" else options))
    x = diffusion.sample(made.model(exact(made)), plan, x=tensor([[0.0], [1.0]]))  # which is affine in x
    mean, variance = moments(plan)
    assert x[0].item() == pytest.approx(mean, rel=1e-6)
    assert ((x[1] - x[0]).item() * plan.prior_scale) ** 2 == pytest.approx(variance, rel=1e-6)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_samples_have_the_law_of_the_data(name):
    made, n = objective(name), 20_000
    plan = made.plan("dpm++2m-sde", 40, **({} if name in ("flow", "edm") else {"spacing": "karras"}))
    x = diffusion.sample(made.model(exact(made)), plan, shape=(n, 1), like=torch.empty(1).double(), seed=1)
    mean, variance = moments(plan)
    assert abs(mean - MEAN) < 0.002
    assert abs(variance - VARIANCE) < 0.02
    assert abs(x.mean().item() - mean) < 5 * np.sqrt(variance / n)  # z < 5
    assert abs(x.var().item() - variance) < 5 * variance * np.sqrt(2 / n)


def test_objectives_suit_their_data():
    images, points = np.full((2, 1, 4, 4), [[[[3.0]]], [[[-3.0]]]]), np.array([[1.0], [-1.0]])
    assert objectives.suited("flow", images) == objective("flow", schedule=diffusion.flow_schedule(1000, 3.0))
    assert objectives.suited("flow", points) == objective("flow")
    assert objectives.suited("flow", images, schedule=FLOW).schedule == FLOW
    assert objectives.suited("ve", images).sd == 3.0
    assert objectives.suited("edm", points, sd=2.0).sd == 2.0
    assert objectives.suited("v", images) == objective("v")


def test_flow_is_told_the_time_of_any_ratio():
    made = objective("flow")
    ratio = np.append(np.geomspace(made.schedule.ratio[0], made.schedule.ratio[-2], 77), made.schedule.ratio[[5, -1]])
    t = tensor(made.schedule.time_of(ratio))
    np.testing.assert_allclose(made.condition(t), 1000 * np.append(ratio[:-1] / (1 + ratio[:-1]), 1.0), rtol=1e-9)


def test_plans():
    assert objective("flow").plan("heun", 4, 1.0) == diffusion.plan(
        "heun", diffusion.flow_schedule(1000), 4, prediction="flow", clip=1.0
    )
    sigmas = [*diffusion.karras_sigmas(5, 0.01, 40.0, 6.0), 0.0]
    made = objective("edm", sigma_min=0.01, sigma_max=40.0, rho=6.0)
    assert made.plan("euler", 5, s_churn=2.0) == diffusion.plan_of_sigmas("euler", sigmas, s_churn=2.0)
    assert made.plan("heun").n_calls == 35
    assert objective("ve").plan("annealed-langevin", steps_per_level=2).n_calls == 101


def test_guidance():
    x, t = torch.zeros(2, 1), torch.tensor([3, 3])

    def said(x, c, y):
        return x + (1.0 if y is None else y[:, None] * 10.0)

    made = objective("eps")
    assert made.model(said)(x, t).tolist() == [[1.0], [1.0]]
    assert made.model(said, y=torch.tensor([2, 4]))(x, t).tolist() == [[20.0], [40.0]]
    assert made.model(said, y=3)(x, t).tolist() == [[30.0], [30.0]]
    assert made.model(said, y=torch.tensor([2, 4]), guidance=3.0)(x, t).tolist() == [[58.0], [118.0]]
    assert made.model(said, y=2, guidance=0.0)(x, t).tolist() == [[1.0], [1.0]]


def test_networks_see_their_own_type_and_samples_lie_beside_them():
    layer = torch.nn.Linear(2, 2)
    model = objective("v").model(lambda x, c, y: layer(x))
    assert model(torch.zeros(3, 2), torch.zeros(3, dtype=torch.int64)).dtype == torch.float32

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, x, c, y=None):
            assert x.dtype == c.dtype == torch.float32
            return self.layer(x)

    made = objective("v")
    x = diffusion.sample(made.model(Net()), made.plan("ddim", 2), shape=(3, 2), seed=0)
    assert isinstance(x, torch.Tensor)
    assert diffusion.sample(made.model(Net()), made.plan("ddim", 2), x=x.double()).dtype == torch.float64


OPTIONS = {
    "flow": {"schedule": diffusion.flow_schedule(50, 3.0), "times": "uniform", "mean": 0.5, "spread": 2.0},
    "eps": {"schedule": diffusion.cosine_schedule(20)},
    "eps-weighted": {"schedule": diffusion.linear_beta_schedule(200), "variance": "beta_tilde"},
    "v": {"schedule": diffusion.linear_beta_schedule(1000).zero_terminal_snr()},
    "x0": {"schedule": diffusion.sigmoid_schedule(30)},
    "edm": {"sd": 0.6, "mean": -1.0, "spread": 1.0, "sigma_min": 0.01, "sigma_max": 50.0, "rho": 5.0},
    "ve": {"sigmas": [10.0, 1.0, 0.1], "sd": 0.3},
}


def is_plain(value):
    if isinstance(value, (list, dict)):
        return all(map(is_plain, value.values() if isinstance(value, dict) else value))
    return type(value) in (int, float, str)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_configs_build_them_again(name):
    made = objective(name, **OPTIONS[name])
    assert made != objective(name)
    assert is_plain(made.config)
    assert made.config.keys() == {"name", *OPTIONS[name]}
    again = objectives.build(made.config)
    assert again == made
    assert hash(again) == hash(made)
    assert objective(made) is made


def test_scales_of_noise_come_in_either_order():
    up, down = objective("ve", sigmas=[0.1, 1.0, 10.0]), objective("ve", sigmas=np.array([10.0, 1.0, 0.1]))
    assert up == down
    assert up.schedule == Schedule.from_sigmas([0.1, 1.0, 10.0])


X0 = torch.zeros(2, 3)
HALF = torch.full((2,), 0.5)
BAD = {
    "objective must be one of .* did you mean 'flow'": lambda: objective("flows"),
    "'v' has no option 'times': it takes 'schedule'": lambda: objective("v", times="uniform"),
    "options are for a name": lambda: objective(objective("v"), schedule=FLOW),
    "config must be a mapping with a 'name'": lambda: objectives.build({"schedule": 3}),
    "schedule must be a Schedule, .* got list": lambda: objective("eps", schedule=[0.1]),
    "the schedule of 'eps' must preserve the variance": lambda: objective("eps", schedule=FLOW),
    "the schedule of 'flow' must have alpha = 1 - sigma": lambda: objective(
        "flow", schedule=diffusion.cosine_schedule(10)
    ),
    "'eps-weighted' cannot have a schedule that ends with alpha = 0": lambda: objective(
        "eps-weighted", schedule=diffusion.cosine_schedule(10).zero_terminal_snr()
    ),
    "betas must be larger than 0 and smaller than 1, got 1.2": lambda: objective(
        "eps", schedule=Schedule.from_betas([0.1, 1.2])
    ),
    "variance must be one of": lambda: objective("eps-weighted", variance="gamma"),
    "times must be one of": lambda: objective("flow", times="normal"),
    "spread must be positive": lambda: objective("flow", spread=0.0),
    "sd must be positive": lambda: objective("edm", sd=-1.0),
    "sigma_min must be smaller than sigma_max": lambda: objective("edm", sigma_min=3.0, sigma_max=2.0),
    "sigmas must not be empty": lambda: objective("ve", sigmas=[]),
    "noise must grow with the timestep": lambda: objective("ve", sigmas=[1.0, 3.0, 2.0, 4.0]),
    "x0 must be a tensor of torch, got ndarray": lambda: objective("v").loss(net, np.zeros((2, 3)), HALF, X0),
    "x0 must be float32 or float64, got torch.float16": lambda: objective("v").loss(net, X0.half(), HALF, X0),
    r"z must have the shape of x0, \(2, 3\), got \(2, 2\)": lambda: objective("v").loss(net, X0, HALF, X0[:, :2]),
    "z must be torch.float32 on cpu, as x0 is, got torch.float64": lambda: objective("v").loss(
        net, X0, HALF, X0.double()
    ),
    r"u must have shape \(2,\), one number per sample, got \(3,\)": lambda: objective("v").loss(
        net, X0, torch.full((3,), 0.5), X0
    ),
    "u must be larger than 0 and smaller than 1, got 1": lambda: objective("edm").loss(
        net, X0, torch.tensor([0.5, 1.0]), X0
    ),
    "u must be larger than 0 and smaller than 1, got nan": lambda: objective("flow").loss(
        net, X0, torch.tensor([float("nan"), 0.5]), X0
    ),
    "the network must return a tensor, got tuple": lambda: objective("v").loss(lambda x, c, y: (x,), X0, HALF, X0),
    r"the network's output must have the shape of x0, \(2, 3\), got \(2, 1\)": lambda: objective("v").loss(
        lambda x, c, y: x[:, :1], X0, HALF, X0
    ),
    "timesteps must be between 0 and 999, got 1000": lambda: objective("flow").model(net)(X0, torch.tensor([3, 1000])),
    "timesteps must be between 0 and 49, got -1": lambda: objective("ve").model(net)(X0, torch.tensor([-1, 0])),
    "timesteps must be between 0 and 999, got 999.5": lambda: objective("v").model(net)(X0, torch.tensor([1, 999.5])),
    "sigma must be positive, got 0": lambda: objective("edm").model(net)(X0, torch.tensor([0.0, 1.0])),
    r"t must have shape \(2,\)": lambda: objective("v").model(net)(X0, torch.tensor(3)),
    "x must be a tensor of torch, got ndarray": lambda: objective("v").model(net)(np.zeros((2, 3)), HALF),
    "guidance needs labels": lambda: objective("v").model(net, guidance=2.0),
    "y must be an integer or int64": lambda: objective("v").model(net, y=0.5),
    "y must be one label, or one for each of the 2 samples, got 3": lambda: objective("v").model(
        net, y=torch.tensor([0, 1, 2])
    )(X0, torch.tensor([1, 1])),
    "n_steps must be between 1": lambda: objective("edm").plan("heun", 0),
    "method must be one of": lambda: objective("flow").plan("ddpn", 5),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input(message):
    with pytest.raises((TypeError, ValueError), match=f"^{message}"):
        BAD[message]()
