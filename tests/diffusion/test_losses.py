"""Losses of score matching: by hand, at their optimum on a Gaussian, and equal where the sources say so."""

import numpy as np
import pytest
from diffusion.moments import of_data_and_noise, of_noise

torch = pytest.importorskip("torch")

from sdefast.diffusion import losses  # noqa: E402

MEAN = np.array([0.7, -0.2])
COVARIANCE = np.array([[0.5, 0.2], [0.2, 0.3]])
SIGMA = 0.6
NOISED = COVARIANCE + SIGMA**2 * np.eye(2)


def tensor(values, **options):
    return torch.tensor(np.asarray(values), dtype=torch.float64, **options)


X, Z = map(tensor, of_data_and_noise(MEAN, COVARIANCE))
DIRECTIONS = tensor(np.sqrt(2) * np.eye(2))[:, None].expand(2, len(X), 2)  # whose mean of v v' is 1


def linear(precision, mean):
    """The score of a Gaussian."""
    precision, mean = tensor(precision), tensor(mean)
    return lambda x: -(x - mean) @ precision.T


def true_score(covariance=COVARIANCE):
    return linear(np.linalg.inv(covariance), MEAN)


#: name -> (the loss of a score, the covariance of the density whose score is its optimum)
LOSSES = {
    "explicit": (lambda s: losses.explicit_score_matching(s, X, true_score()), COVARIANCE),
    "implicit": (lambda s: losses.implicit_score_matching(s, X), COVARIANCE),
    "sliced": (lambda s: losses.sliced_score_matching(s, X, DIRECTIONS), COVARIANCE),
    "sliced, reduced": (lambda s: losses.sliced_score_matching(s, X, DIRECTIONS, reduced=True), COVARIANCE),
    "denoising": (lambda s: losses.denoising_score_matching(s, X, SIGMA, Z), NOISED),
    "noise-conditional": (lambda s: losses.noise_conditional(lambda x, sigma: s(x), X, SIGMA, Z), NOISED),
}

#: matrices and means of scores that are no optimum
OTHERS = [([[1.0, 0.0], [0.0, 1.0]], [0.0, 0.0]), ([[2.0, -1.0], [0.5, 3.0]], [1.0, -1.0])]


def quadratic(x):
    """(x0 x1, x0^2), whose Jacobian has the trace x1."""
    return torch.stack([x[:, 0] * x[:, 1], x[:, 0] ** 2], 1)


POINTS = tensor([[1.0, 2.0], [3.0, -1.0]])  # scores (2, 1) and (-3, 9), traces 2 and -1


def test_by_hand():
    assert losses.explicit_score_matching(quadratic, POINTS, lambda x: 0 * x + 1) == ((1 + 0) + (16 + 64)) / 4
    assert losses.implicit_score_matching(quadratic, POINTS) == (2 + 5 / 2 - 1 + 90 / 2) / 2
    # v = (1, -1): v' J v = x1 - x0 - 2 x0, v' s = x0 x1 - x0^2
    v = tensor([[1.0, -1.0], [1.0, -1.0]])
    assert losses.sliced_score_matching(quadratic, POINTS, v) == ((-1 + 1 / 2) + (-10 + 144 / 2)) / 2
    assert losses.sliced_score_matching(quadratic, POINTS, v, reduced=True) == ((-1 + 5 / 2) + (-10 + 90 / 2)) / 2
    assert losses.sliced_score_matching(quadratic, POINTS, torch.stack([v, 0 * v])) == (-0.5 + 62) / 4
    # x~ = (2, 2) and (3, 1): scores (4, 4) and (3, 9); z / sigma = (2, 0) and (0, 1)
    z, sigma = tensor([[1.0, 0.0], [0.0, 2.0]]), tensor([0.5, 2.0])
    noisy = POINTS + sigma[:, None] * z
    assert noisy.tolist() == [[1.5, 2.0], [3.0, 3.0]]
    said = quadratic(noisy) + z / sigma[:, None]
    assert said.tolist() == [[5.0, 2.25], [9.0, 10.0]]
    squares = [5.0**2 + 2.25**2, 9.0**2 + 10.0**2]
    assert losses.denoising_score_matching(quadratic, POINTS, sigma, z) == sum(squares) / 4
    told = []

    def score(x, s):
        told.append(s)
        return quadratic(x)

    value = losses.noise_conditional(score, POINTS, sigma, z)
    assert value == (0.25 * squares[0] + 4.0 * squares[1]) / 4
    assert torch.equal(told[0], sigma)


@pytest.mark.parametrize("name", LOSSES)
def test_the_optimum_is_the_score(name):
    loss, covariance = LOSSES[name]

    def gradient(precision, mean):
        A, b = tensor(precision, requires_grad=True), tensor(mean, requires_grad=True)
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss(lambda x: -(x - b) @ A.T), (A, b))])

    precision = np.linalg.inv(covariance)
    assert gradient(precision, MEAN).abs().max() < 1e-13
    assert gradient(precision + 0.1, MEAN).abs().max() > 1e-3
    assert gradient(precision, MEAN + 0.1).abs().max() > 1e-3
    best = loss(linear(precision, MEAN))
    assert all(loss(linear(*other)) > best + 0.1 for other in OTHERS)


@pytest.mark.parametrize("other", OTHERS)
def test_equalities_of_the_sources(other):
    score = linear(*other)
    value = {name: loss(score).item() for name, (loss, _) in LOSSES.items()}
    assert value["explicit"] - value["implicit"] == pytest.approx(np.trace(np.linalg.inv(COVARIANCE)) / 2, abs=1e-12)
    assert value["sliced"] == pytest.approx(value["implicit"], abs=1e-12)
    assert value["sliced, reduced"] == pytest.approx(value["implicit"], abs=1e-12)
    noised = tensor(MEAN + of_noise(2) @ np.linalg.cholesky(NOISED).T)
    explicit = losses.explicit_score_matching(score, noised, true_score(NOISED)).item()
    constant = (2 / SIGMA**2 - np.trace(np.linalg.inv(NOISED))) / 2
    assert value["denoising"] - explicit == pytest.approx(constant, abs=1e-12)
    assert value["noise-conditional"] == pytest.approx(SIGMA**2 * value["denoising"], abs=1e-12)


def test_equality_for_scores_that_are_not_linear():
    n = 20_000
    x = torch.special.ndtri((torch.arange(n, dtype=torch.float64) + 0.5) / n)[:, None]  # N(0, 1) at its quantiles
    for score in (torch.tanh, lambda x: torch.sin(3 * x) - 1):
        gap = losses.explicit_score_matching(score, x, lambda x: -x) - losses.implicit_score_matching(score, x)
        assert gap.item() == pytest.approx(0.5, abs=2e-4)


def test_values_have_gradients_where_they_are_asked_for():
    with torch.no_grad():
        values = [loss(torch.nn.Linear(2, 2).double()) for loss, _ in LOSSES.values()]
    assert not any(value.requires_grad for value in values)


def test_images_and_scores_that_do_not_depend_on_x():
    x = torch.arange(8.0).reshape(2, 1, 2, 2)
    assert losses.implicit_score_matching(lambda x: -3 * x, x) == -12 + 9 * 140 / 4
    assert losses.implicit_score_matching(torch.ones_like, x) == 2
    assert losses.sliced_score_matching(torch.ones_like, x, torch.ones_like(x)) == 8


BAD = {
    "x must be a tensor of torch, got ndarray": lambda: losses.implicit_score_matching(lambda x: x, np.ones((2, 2))),
    r"x must be float32 or float64, got torch.int64": lambda: losses.implicit_score_matching(
        lambda x: x, torch.ones(2, 2, dtype=torch.int64)
    ),
    r"x must have shape \(n, ...\), .* got \(2,\)": lambda: losses.implicit_score_matching(lambda x: x, torch.ones(2)),
    r"score\(x\) must have the shape of x, \(8, 2\), got \(8, 1\)": lambda: losses.implicit_score_matching(
        lambda x: x[:, :1], X
    ),
    r"true_score\(x\) must be torch.float64 on cpu, as x is, got torch.float32": (
        lambda: losses.explicit_score_matching(lambda x: x, X, lambda x: x.float())
    ),
    r"z must have the shape of x, \(8, 2\), got \(7, 2\)": lambda: losses.denoising_score_matching(
        lambda x: x, X, 1.0, Z[1:]
    ),
    r"sigma must be positive, got 0.0": lambda: losses.denoising_score_matching(lambda x: x, X, 0.0, Z),
    r"sigma must be positive, got nan": lambda: losses.noise_conditional(lambda x, s: x, X, float("nan"), Z),
    r"sigma must be one number, or have shape \(8,\), got shape \(3,\)": lambda: losses.noise_conditional(
        lambda x, s: x, X, torch.ones(3), Z
    ),
    r"directions must be a tensor of torch, got list": lambda: losses.sliced_score_matching(lambda x: x, X, [1.0]),
    r"directions\[0\] must have the shape of x, \(8, 2\), got \(7, 2\)": lambda: losses.sliced_score_matching(
        lambda x: x, X, torch.ones(3, 7, 2)
    ),
    r"directions must hold at least one for each sample, got \(0, 8, 2\)": lambda: losses.sliced_score_matching(
        lambda x: x, X, torch.ones(0, 8, 2)
    ),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input(message):
    with pytest.raises((TypeError, ValueError), match=f"^{message}"):
        BAD[message]()
