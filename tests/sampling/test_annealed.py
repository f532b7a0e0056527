"""Annealed chains against exact laws, against plain numpy on the same noise, and what is refused."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from conftest import thorough_but

import sdefast as sf
from sdefast.sampling import levels
from sdefast.sampling.levels import AnnealedChain, BuiltInAnnealedChain
from sdefast.sampling.smoothed import Smoothed
from sdefast.sampling.targets.base import FIRST_START_DRAW

#: standard errors by which a value may be off, under these seeds
MOST_Z = 5.0

NORMAL = sf.targets.Gaussian(1.5, 0.04)

#: THEORY's: ten scales, 100 steps at each, eps_0 = 2e-3 of the convention with eps/2
TEN = {"sigmas": sf.geometric_sigmas(10.0, 0.1, 10), "step_size": 2e-3, "convention": "eps/2", "steps_per_level": 100}

GRID = np.array([(a, b) for a in range(-4, 5, 2) for b in range(-4, 5, 2)], float)
MODES = sf.targets.GaussianMixture(np.linspace(1.0, 2.0, 25), GRID, 0.01)

SKEW = sf.targets.GaussianMixture(
    [0.3, 0.5, 0.2], [[0.0, 0.0], [3.0, 1.0], [-2.0, 2.0]],
    [[[1.0, 0.3], [0.3, 0.5]], [[0.2, 0.0], [0.0, 0.4]], [[0.6, -0.2], [-0.2, 0.3]]],
)  # fmt: skip

SHORT = {"sigmas": [4.0, 1.0, 0.25], "step_size": 5e-3, "steps_per_level": 15, "n_chains": 300, "seed": 4}


def recursion(sigmas, h_last, steps, variance, mean, start_mean, start_variance):
    """Mean and variance of annealed chains on N(mean, variance), and after the step without noise."""
    m, v = start_mean, start_variance
    for sigma in sigmas:
        h = h_last * sigma**2 / sigmas[-1] ** 2
        a = 1 - h / (variance + sigma**2)
        for _ in range(steps):
            m, v = mean + a * (m - mean), a * a * v + 2 * h
    a = 1 - sigmas[-1] ** 2 / (variance + sigmas[-1] ** 2)
    return (m, v), (mean + a * (m - mean), a * a * v)


@pytest.mark.parametrize("dtype", thorough_but(["float32"], ["float64", "float32"]))
def test_a_gaussian_has_its_exact_law_and_that_of_the_literature(dtype):
    """A million chains from N(0, 100); THEORY has mean 1.5, variances .0508349 and, denoised, .0325343."""
    start = 10 * sf.noise.normals(99, 1, 1_000_000).T
    run = sf.annealed_langevin(
        NORMAL, **TEN, n_chains=1_000_000, x0=start, seed=1, dtype=dtype, save_at="levels", moments=4, paths=False
    )
    noisy, clean = recursion(TEN["sigmas"], 1e-3, 100, 0.04, 1.5, 0.0, 100.0)
    assert [noisy[1], clean[1]] == pytest.approx([0.0508349, 0.0325343], abs=5e-8)
    assert [noisy[0], clean[0]] == pytest.approx([1.5, 1.5], abs=1e-6)
    assert run.iterations.tolist() == [*range(100, 1001, 100), 1001]
    for at, (mean, variance) in ((-2, noisy), (-1, clean)):
        assert abs(run.mean[at, 0] - mean) < MOST_Z * run.standard_error[at, 0]
        assert abs(run.variance[at, 0] - variance) < MOST_Z * run.variance_standard_error[at, 0]


def test_the_exact_law_is_that_of_the_recursion():
    run = sf.annealed_langevin(NORMAL, **TEN, n_chains=1, seed=1, save_at="levels")
    noisy, clean = recursion(TEN["sigmas"], 1e-3, 100, 0.04, 1.5, 1.5, 100.0)
    assert run.exact_variance[-2:, 0] == pytest.approx([noisy[1], clean[1]], rel=1e-12)
    assert run.exact_mean[-2:, 0] == pytest.approx([noisy[0], clean[0]], rel=1e-12)
    assert run.sigmas.tolist() == [*TEN["sigmas"], TEN["sigmas"][-1]]


def test_conventions_differ_by_a_factor_of_two():
    how = {name: value for name, value in TEN.items() if name not in ("convention", "step_size")}
    a = sf.annealed_langevin(NORMAL, **how, step_size=2e-3, convention="eps/2", n_chains=10, seed=1)
    b = sf.annealed_langevin(NORMAL, **how, step_size=1e-3, convention="sde", n_chains=10, seed=1)
    assert np.array_equal(a.x, b.x)
    assert a.settings.step_sizes[0] == pytest.approx(1e-3 * 100**2)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_largest_first_finds_the_weights_of_far_modes(dtype):
    """THEORY: weight .788 of the right mode at 20,000 chains, of which one standard error is .0029."""
    target = sf.targets.GaussianMixture([0.2, 0.8], [-4.0, 4.0], 0.3**2)
    start = 16 * sf.noise.uniforms(99, 1, 20_000)[0] - 8
    sigmas = sf.geometric_sigmas(10.0, 0.1, 12)
    run = sf.annealed_langevin(target, **TEN | {"sigmas": sigmas}, n_chains=20_000, x0=start, seed=2, dtype=dtype)
    right = (run.x[-1, :, 0] > 0).mean()
    assert abs(right - 0.788) < MOST_Z * 0.0029 * np.sqrt(2)  # THEORY's own is as uncertain
    assert np.abs(np.abs(run.x[-1]) - 4).max() < 2
    with pytest.raises(ValueError, match=r"largest first, got 0\.1 before"):
        sf.annealed_langevin(target, **TEN | {"sigmas": sigmas[::-1]}, n_chains=1)


# Against plain numpy --------------------------------------------------------------------------------------------------


def components(target):
    """Weights, means (k, dim) and covariances (k, dim, dim)."""
    if isinstance(target, sf.targets.Gaussian):
        return np.ones(1), target.mean[None], target.covariance[None]
    given = target.covariances
    return target.weights, target.means, given if given.ndim == 3 else given[:, None, None] * np.eye(target.dim)


def plain_score(target, x, sigma):
    """The score of the smoothed target, term by term."""
    logs, pulls = [], []
    for weight, mean, covariance in zip(*components(target), strict=True):
        smoothed = covariance + sigma**2 * np.eye(target.dim)
        pull = -np.linalg.solve(smoothed, (x - mean).T).T
        logs.append(np.log(weight) - np.linalg.slogdet(smoothed)[1] / 2 + ((x - mean) * pull).sum(1) / 2)
        pulls.append(pull)
    weights = np.exp(np.array(logs) - np.max(logs, axis=0))
    return np.einsum("kn,knd->nd", weights / weights.sum(0), np.array(pulls))


def replay(target, sigmas, step_size, steps_per_level, n_chains, seed, denoise=True):
    """The run in numpy, on the same noise."""
    dim, mean = target.dim, components(target)[0] @ components(target)[1]
    x = mean + sigmas[0] * sf.noise.normals(seed, dim, n_chains, first_draw=FIRST_START_DRAW).T
    k = 0
    for sigma in sigmas:
        h = step_size * sigma**2 / sigmas[-1] ** 2
        for _ in range(steps_per_level):
            z = sf.noise.normals(seed, dim, n_chains, first_draw=k * dim).T
            x = x + h * plain_score(target, x, sigma) + np.sqrt(2 * h) * z
            k += 1
    return x + sigmas[-1] ** 2 * plain_score(target, x, sigmas[-1]) if denoise else x


def dense(dim):
    root = np.tril(np.cos(np.arange(dim * dim)).reshape(dim, dim) / dim) + np.eye(dim)
    return root @ root.T


REPLAYED = {
    "one": NORMAL,
    "modes": MODES,
    "skew": SKEW,
    "other widths": sf.targets.GaussianMixture([0.5, 0.3, 0.2], [-2.0, 0.0, 3.0], [0.3, 0.2, 0.3]),
    "diagonal": sf.targets.Gaussian([1.0, 2.0, 3.0], [0.5, 1.0, 1.0]),
    "dense": sf.targets.Gaussian([1.0, 2.0, 3.0], dense(3)),
    "turned": sf.targets.Gaussian(np.arange(8.0), dense(8)),
    "turned mixture": sf.targets.GaussianMixture(
        [0.5, 0.5], np.arange(14.0).reshape(2, 7) / 5, [dense(7), np.eye(7) + dense(7)]
    ),
    "in a loop": sf.targets.Gaussian(np.arange(20.0) / 5, dense(20)),
}


@pytest.mark.parametrize("name", thorough_but(["skew", "diagonal", "turned", "in a loop"], REPLAYED))
def test_kernels_do_what_plain_numpy_does_on_the_same_noise(name):
    target = REPLAYED[name]
    run = sf.annealed_langevin(target, **SHORT)
    assert np.abs(run.x[-1] - replay(target, **SHORT)).max() < 1e-11
    rough = sf.annealed_langevin(target, **SHORT, denoise=False, save_at="levels")
    assert np.abs(rough.x[-1] - replay(target, **SHORT, denoise=False)).max() < 1e-11
    assert rough.iterations.tolist() == [15, 30, 45]


@pytest.mark.parametrize("name", ["modes", "in a loop"])
def test_levels_without_end_are_smoothed_by_traces(name, monkeypatch):
    """Tables of all levels would take too much memory then."""
    target = REPLAYED[name]
    tabulated = sf.annealed_langevin(target, **SHORT)
    assert isinstance(tabulated.settings.stepping, BuiltInAnnealedChain)
    monkeypatch.setattr(levels, "_MOST_NUMBERS", 0)
    monkeypatch.setattr(levels, "_chain", levels._chain.__wrapped__)  # without what it remembers
    traced = sf.annealed_langevin(target, **SHORT)
    assert not isinstance(traced.settings.stepping, BuiltInAnnealedChain)
    assert 0 < np.abs(traced.x - tabulated.x).max() < 1e-11


NARROW = {
    "mixture": sf.targets.GaussianMixture(np.ones(8), GRID[:8], np.stack([np.diag([1e-16, 4e-16])] * 8)),
    "gaussian": sf.targets.Gaussian(np.arange(8.0), 1e-16 * dense(8)),
    "other widths": sf.targets.Gaussian(np.arange(16.0), np.diag(np.append(np.ones(15), 1e-18))),
}


@pytest.mark.parametrize("name", NARROW)
def test_covariances_whose_shape_noise_changes(name):
    """Of so little variance beside the noise that rounding leaves another shape of matrix."""
    run = sf.annealed_langevin(NARROW[name], **SHORT)
    assert np.abs(run.x[-1] - replay(NARROW[name], **SHORT)).max() < 1e-11


def test_more_dimensions_than_a_kernel_has():
    target = Smoothed(sf.targets.Gaussian(np.zeros(2049), 0.5))
    assert type(levels._chain(target, (3.0, 1.0))) is AnnealedChain


@pytest.mark.parametrize("name", ["modes", "skew", "other widths", "turned"])
def test_smoothed_scores_are_those_of_the_convolved_target(name):
    target, sigma = REPLAYED[name], 0.7
    x = np.linspace(-3, 3, 5 * target.dim).reshape(5, target.dim)
    assert plain_score(target, x, sigma) == pytest.approx(target.convolved(sigma).score(x), abs=1e-12)


def test_targets_of_one_structure_share_a_kernel():
    other = sf.targets.GaussianMixture(MODES.weights[::-1], GRID + 0.3, 0.02)
    sources = {AnnealedChain(Smoothed(target), "ula").source for target in (MODES, other)}
    assert len(sources) == 1


# Scores of many samples -----------------------------------------------------------------------------------------------


def modes_score(x, sigma):
    """Sample by sample the same operations, whatever the number of samples."""
    variance = x.dtype.type(0.01 + sigma**2)
    aways = [x - mean for mean in GRID.astype(x.dtype)]
    logs = [np.log(w) - (a * a).sum(axis=1, keepdims=True) / (2 * variance)
            for w, a in zip(MODES.weights.astype(x.dtype), aways, strict=True)]  # fmt: skip
    largest, top, bottom = np.max(logs, axis=0), np.zeros_like(x), np.zeros((len(x), 1), x.dtype)
    for log, away in zip(logs, aways, strict=True):
        w = np.exp(log - largest)
        top -= w * away
        bottom += w
    return top / (variance * bottom)


@pytest.mark.parametrize(("dtype", "near"), [("float64", 1e-11), ("float32", 2e-2)])
def test_a_score_on_arrays_gives_what_kernels_give_to_rounding(dtype, near):
    kernel = sf.annealed_langevin(MODES, **SHORT, x0=[0.5, 0.25], dtype=dtype, save_at="levels")
    arrays = sf.annealed_langevin(modes_score, **SHORT, x0=[0.5, 0.25], dtype=dtype, save_at="levels")
    assert arrays.x.dtype == dtype
    assert np.abs(arrays.x - kernel.x).max() < near
    assert arrays.mean == pytest.approx(kernel.mean, abs=near)
    assert arrays.variance == pytest.approx(kernel.variance, abs=near)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_chunks_threads_and_shards_change_no_bit(dtype):
    n = 4096 + 700
    how = SHORT | {"n_chains": n, "steps_per_level": 4} | {"dtype": dtype, "save_at": [0, 3, 12, 13], "dim": 2}
    whole = sf.annealed_langevin(modes_score, **how)
    for chunk, threads in ((100, 1), (1 << 20, 1), (2048, 3)):
        other = sf.annealed_langevin(modes_score, **how, chunk=chunk, threads=threads)
        assert np.array_equal(whole.x, other.x)
        assert np.array_equal(whole.mean, other.mean)
    shards = [
        sf.annealed_langevin(modes_score, **how | {"n_chains": k, "first_chain": first})
        for first, k in ((0, 4096), (4096, 700))
    ]
    merged = sf.merge(*shards)
    assert np.array_equal(merged.x, whole.x)
    assert np.array_equal(merged.variance, whole.variance)


def test_kernels_give_the_same_bits_in_shards_and_on_threads():
    how = SHORT | {"n_chains": 4096 + 700, "save_at": "levels"}
    whole = sf.annealed_langevin(MODES, **how, threads=1)
    with ThreadPoolExecutor(2) as pool:
        assert np.array_equal(sf.annealed_langevin(MODES, **how, executor=pool).x, whole.x)
    shards = [
        sf.annealed_langevin(MODES, **how | {"n_chains": k, "first_chain": first})
        for first, k in ((0, 4096), (4096, 700))
    ]
    merged = sf.merge(*shards)
    assert np.array_equal(merged.x, whole.x)
    assert np.array_equal(merged.mean, whole.mean)


def test_a_torch_network_gives_what_the_same_network_in_numpy_gives():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    layers = torch.nn.Linear(3, 32), torch.nn.Linear(32, 2)

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = layers

        def forward(self, x, sigma):
            inputs = torch.cat([x, torch.full((len(x), 1), sigma).log()], dim=1)
            return self.last(torch.tanh(self.first(inputs))) / sigma

    (a, b), (c, d) = (
        (layer.weight.detach().numpy().T.copy(), layer.bias.detach().numpy().copy()) for layer in layers
    )  # fmt: skip

    def same(x, sigma):
        inputs = np.concatenate([x, np.full((len(x), 1), np.log(np.float32(sigma)))], axis=1, dtype=np.float32)
        return (np.tanh(inputs @ a + b) @ c + d) / np.float32(sigma)

    tensors = sf.annealed_langevin(Network(), **SHORT, dim=2, dtype="float32")
    arrays = sf.annealed_langevin(same, **SHORT, dim=2, dtype="float32")
    assert isinstance(tensors.x, torch.Tensor)
    assert isinstance(arrays.x, np.ndarray)
    assert np.abs(tensors.x.numpy() - arrays.x).max() < 1e-4 * np.abs(arrays.x).max()


def test_sigma_may_come_as_a_vector():
    seen = []

    def score(x, sigma):
        seen.append(sigma)
        return -x / (sigma[:, None] ** 2)

    target = sf.targets.BatchTarget(score, dim=2, sigma_as="vector")
    run = sf.annealed_langevin(target, **SHORT)
    number = sf.annealed_langevin(lambda x, sigma: -x / sigma**2, **SHORT, dim=2)
    assert np.array_equal(run.x, number.x)
    assert seen[0].tolist() == [4.0] * 300
    assert seen[-1].tolist() == [0.25] * 300


# Going on, files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [MODES, modes_score], ids=["kernels", "arrays"])
def test_a_resumed_run_goes_on_through_further_levels_with_the_same_bits(target):
    """Scales are powers of two: step sizes are exact."""
    own = {} if target is MODES else {"dim": 2}
    how = {"steps_per_level": 15, "n_chains": 300, "seed": 4} | own
    whole = sf.annealed_langevin(target, **how, sigmas=[4.0, 1.0, 0.25], step_size=2.0**-8, save_at="levels")
    first = sf.annealed_langevin(target, **how, sigmas=[4.0, 1.0], step_size=2.0**-4, denoise=False)
    rest = sf.annealed_langevin(target, sigmas=[0.25], steps_per_level=15, resume=first, save_at="levels", **own)
    assert rest.iterations.tolist() == [45, 46]
    assert np.array_equal(rest.x, whole.x[2:])
    assert np.array_equal(rest.mean, whole.mean[2:])
    with pytest.raises(ValueError, match="denoise=False"):
        sf.annealed_langevin(target, sigmas=[0.125], steps_per_level=15, resume=whole, **own)
    with pytest.raises(ValueError, match="go on from the run's last, 1, got 2"):
        sf.annealed_langevin(target, sigmas=[2.0], steps_per_level=15, resume=first, **own)
    with pytest.raises(TypeError, match="leave out step_size"):
        sf.annealed_langevin(target, sigmas=[0.5], steps_per_level=15, step_size=1.0, resume=first, **own)


def test_checkpoint_and_file_give_the_same_again(tmp_path):
    run = sf.annealed_langevin(SKEW, **SHORT, save_at="levels", checkpoint=tmp_path / "begun")
    again = sf.annealed_langevin(SKEW, **SHORT, save_at="levels", checkpoint=tmp_path / "begun")
    assert again.cost.found == 1
    run.save(tmp_path / "run.npz")
    loaded = sf.load(tmp_path / "run.npz")
    for other in (again, loaded):
        assert np.array_equal(other.x, run.x)
        assert np.array_equal(other.sigmas, run.sigmas)
        assert other.describe() == run.describe()
    with pytest.raises(ValueError, match="of another call"):
        sf.annealed_langevin(SKEW, **SHORT | {"sigmas": [3.0, 1.0, 0.25]}, checkpoint=tmp_path / "begun")


# What is refused, and what warns --------------------------------------------------------------------------------------

REFUSED = [
    ({"sigmas": [1.0, 1.0]}, ValueError, "largest first, got 1 before 1"),
    ({"sigmas": [1.0, -1.0]}, ValueError, "positive"),
    ({"sigmas": []}, ValueError, "positive"),
    ({"sigmas": None}, TypeError, "needs sigmas"),
    ({"step_size": None}, TypeError, "needs step_size"),
    ({"step_size": -1.0}, ValueError, "step_size"),
    ({"convention": "eps"}, ValueError, "convention must be one of 'eps/2', 'sde'"),
    ({"save_at": "level"}, ValueError, "did you mean 'levels'"),
    ({"dim": 1}, TypeError, "dim and chunk are for a callable"),
    ({"x0": [1.0, 2.0]}, ValueError, "x0 must be"),
    ({"n_chains": 0}, ValueError, "n_chains"),
]


@pytest.mark.parametrize(("change", "error", "message"), REFUSED)
def test_wrong_arguments_are_refused(change, error, message):
    with pytest.raises(error, match=message):
        sf.annealed_langevin(NORMAL, **SHORT | change)


def test_laws_in_many_dimensions_are_exact():
    """Of 20 dense dimensions, which are sums over eigenvectors: those of the recursion in numpy."""
    covariance = 0.5 * np.eye(20) + 0.05
    target = sf.targets.Gaussian(np.arange(20.0), covariance)
    how = {"sigmas": [2.0, 1.0], "step_size": 0.02, "steps_per_level": 3, "n_chains": 2, "seed": 1}
    run = sf.annealed_langevin(target, **how, denoise=False)
    have = 4 * np.eye(20)  # of the start, the mean with noise of scale 2
    for sigma in (2.0, 1.0):
        h, kept = 0.02 * sigma**2, np.eye(20) - 0.02 * sigma**2 * np.linalg.inv(covariance + sigma**2 * np.eye(20))
        for _ in range(3):
            have = kept @ have @ kept.T + 2 * h * np.eye(20)
    np.testing.assert_allclose(run.exact_variance[-1], np.diagonal(have), rtol=1e-12)


def test_targets_that_cannot_be_smoothed_are_refused():
    with pytest.raises(TypeError, match="noise can be added to"):
        sf.annealed_langevin(sf.targets.Target(lambda x: -(x[0] ** 4)), **SHORT)
    with pytest.raises(TypeError, match="noise can be added to"):
        sf.annealed_langevin(sf.targets.DisjointMixture([0.5, 0.5], [-1.0, 1.0], 1.0), **SHORT)
    with pytest.raises(TypeError, match="needs dim="):
        sf.annealed_langevin(modes_score, **SHORT)
    with pytest.raises(ValueError, match="largest first"):
        sf.geometric_sigmas(0.1, 10.0, 5)


def test_a_step_that_is_unstable_warns():
    """On N(0, .04), with scales from 10 to .1, h at 10 is bounded by 2 (100.04): step_size by .020008."""
    how = {"sigmas": [10.0, 0.1], "steps_per_level": 1, "n_chains": 1, "seed": 1}
    with pytest.warns(RuntimeWarning, match="at sigma = 10 is unstable"):
        sf.annealed_langevin(NORMAL, **how, step_size=0.02001)
    sf.annealed_langevin(NORMAL, **how, step_size=0.02)
    with pytest.warns(RuntimeWarning, match="may be unstable"):
        sf.annealed_langevin(lambda x, sigma: -x / sigma**2, dim=1, **how, step_size=0.02001)


def test_import_does_not_import_torch():
    code = "import sys, sdefast as sf; sf.annealed_langevin; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
