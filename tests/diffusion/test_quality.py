"""Frechet distances, classes, energy distances and reports, against closed forms, hand-computed values and others'."""

import importlib
import sys

import numpy as np
import pytest
from diffusion.mnist import FOLDER, SHARED, needs_mnist

from sdefast.diffusion import data, quality
from sdefast.diffusion.quality import points

RNG = np.random.default_rng(1)
ROTATION = np.linalg.qr(RNG.normal(size=(5, 5)))[0]


def rotated(*values):
    return ROTATION @ np.diag(values) @ ROTATION.T


def test_moments_by_hand():
    mean, C = quality.moments([[1.0, 0.0], [3.0, 0.0], [2.0, 3.0]])
    np.testing.assert_array_equal(mean, [2.0, 1.0])
    np.testing.assert_allclose(C, [[1.0, 0.0], [0.0, 3.0]], atol=1e-15)


def test_frechet_on_the_line():
    """(m1 - m2)^2 + (s1 - s2)^2."""
    assert quality.frechet_of_moments([1.0], [[4.0]], [3.0], [[9.0]]) == pytest.approx(5.0, rel=1e-14)


def test_frechet_where_covariances_commute():
    """|m1 - m2|^2 + sum of (sqrt(a) - sqrt(b))^2 over common directions."""
    a, b, m = np.array([4.0, 1.0, 0.25, 9.0, 0.0]), np.array([1.0, 16.0, 0.25, 0.0, 0.0]), np.arange(5.0)
    exact = (m**2).sum() + ((np.sqrt(a) - np.sqrt(b)) ** 2).sum()
    found = quality.frechet_of_moments(m, rotated(*a), 0 * m, rotated(*b))
    assert found == pytest.approx(exact, rel=1e-12)


def test_frechet_where_they_do_not():
    linalg = pytest.importorskip("scipy.linalg")
    A, B = (np.cov(RNG.normal(size=(6, 40)) * np.arange(1, 7)[:, None]) for _ in range(2))
    m = np.arange(6.0)
    exact = (m**2).sum() + np.trace(A + B - 2 * linalg.sqrtm(A @ B).real)
    assert quality.frechet_of_moments(m, A, 0 * m, B) == pytest.approx(exact, rel=1e-11)
    assert quality.frechet_of_moments(0 * m, B, m, A) == pytest.approx(exact, rel=1e-11)


@pytest.mark.parametrize("n", [2, 10, 500])
def test_frechet_of_equals_is_zero(n):
    """Also of fewer samples than features, whose covariances are singular."""
    m, C = quality.moments(1e3 * RNG.normal(size=(n, 64)))
    assert 0 <= quality.frechet_of_moments(m, C, m, C) < 1e-12 * np.trace(C)


def test_frechet_of_points_and_a_law():
    """From a law without spread: the mean square distance."""
    assert quality.frechet_of_moments([1, 2], np.zeros((2, 2)), [1, 0], np.diag([3.0, 5.0])) == pytest.approx(12.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: quality.moments(np.zeros((1, 3))), "at least 2 samples, got 1"),
        (lambda: quality.moments(np.zeros(3)), r"shape \(any, any\)"),
        (lambda: quality.moments([[0.0, np.inf], [0.0, 1.0]]), "features must be finite"),
        (lambda: quality.moments(np.zeros((3, 0))), "must not be empty"),
        (lambda: quality.frechet_of_moments([0, 0], np.eye(2), [0], np.eye(2)), r"m2 must have shape \(2,\)"),
        (lambda: quality.frechet_of_moments([0, 0], np.eye(2), [0, 0], np.eye(3)), r"C2 must have shape \(2, 2\)"),
        (lambda: quality.frechet_of_moments([0, 0], [[1, 1], [0, 1]], [0, 0], np.eye(2)), "C1 must be symmetric"),
        (lambda: quality.frechet_of_moments([0, 0], np.eye(2), [0, 0], np.diag([1, -1])), "C2 must have no negative"),
    ],
)
def test_refused_moments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


class Quadrants:
    """A classifier of images (n, 1, 1, 2): the two pixels are the features, their signs the class of four."""

    def features(self, images):
        return np.asarray(images).reshape(len(images), 2)

    def probabilities(self, images):
        a, b = self.features(images).T
        return 0.1 + 0.6 * np.eye(4)[2 * (a > 0) + (b > 0)]


def pixels(n, seed, mean=0.0):
    return np.random.default_rng(seed).normal(mean, 0.5, size=(n, 1, 1, 2)).astype(np.float32)


def test_classes_by_hand():
    x = np.array([[-1, -1], [-1, 1], [1, 1], [1, 1]], float).reshape(4, 1, 1, 2)
    assert quality.class_histogram(x, Quadrants()).tolist() == [0.25, 0.25, 0, 0.5]
    assert quality.class_entropy(x, Quadrants()) == pytest.approx(1.5 * np.log(2))
    assert quality.class_entropy(x[2:], Quadrants()) == 0


def test_floor_is_the_distance_of_real_images():
    real, reference = pixels(1000, 0), pixels(5000, 1)
    floor = quality.frechet_floor(real, reference, Quadrants(), 100, repeats=10)
    assert (floor.n, floor.repeats) == (100, 10)
    # of a law with covariance v I in d dimensions: d v (1/n + 1/m) of the means, about d (d + 1) v / 8 (1/n + 1/m)
    # more of the covariances; 10 repeats
    expected = 2 * 0.25 * (1 / 100 + 1 / 5000) * (1 + 3 / 8)
    assert abs(floor.mean - expected) < 4 * floor.sd / np.sqrt(10)
    assert floor.mean > quality.frechet_floor(real, reference, Quadrants(), 1000).mean
    assert quality.frechet_floor(real, reference, Quadrants(), 2000)[2:] == (1000, 1)


@pytest.fixture
def one_thread():
    """Of torch."""
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def others(one_thread):
    """Another program's Frechet distance, with its classifier."""
    folder = SHARED / "mnist_fid"
    if not (folder / "mnist_cnn.pt").is_file() or not FOLDER.is_dir():
        pytest.skip("no fid.py in ../shared/mnist_fid")
    path = list(sys.path)
    sys.path.insert(0, str(folder))
    yield importlib.import_module("fid")
    sys.path[:] = path
    for name in ("fid", "mnistdata", "classifier"):
        sys.modules.pop(name, None)


class Judge:
    """Its classifier, as ours is called."""

    def __init__(self, scorer):
        self.scorer = scorer

    def features(self, images):
        return self.scorer.feats(images)[0]

    def probabilities(self, images):
        return self.scorer.feats(images)[1]


@pytest.mark.thorough
def test_frechet_is_that_of_another_program(others):
    """On the same features, and in its own figure of one digit alone."""
    judge = Judge(others.Scorer())
    images, labels = data.mnist(FOLDER)
    reference = quality.moments(judge.features(data.mnist(FOLDER, "test")[0]))
    features = judge.features(images[labels == 1])
    found = quality.frechet_of_moments(*quality.moments(features), *reference)
    # (its roots of eigenvalues near 0 are good to 1e-8)
    assert found == pytest.approx(others.frechet(*others.stats(features), *reference), rel=1e-8)
    assert found == pytest.approx(97.9705, abs=2e-4)
    few = features[:40]  # fewer than there are features
    theirs = others.frechet(*others.stats(few), *reference)
    assert quality.frechet_of_moments(*quality.moments(few), *reference) == pytest.approx(theirs, rel=1e-6)


def test_energy_distance_by_hand():
    assert quality.energy_distance([0.0, 1.0], [2.0, 4.0]) == 2 * 2.5 - 1 - 2
    assert quality.energy_distance([[0.0, 0.0], [3.0, 4.0]], [[0.0, 0.0], [3.0, 4.0]]) == 2 * 2.5 - 5 - 5


def naive(x, y):
    """Every pair at once."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    between = np.linalg.norm(x[:, None] - y, axis=2).mean()
    own = [np.linalg.norm(z[:, None] - z, axis=2).sum() / (len(z) * (len(z) - 1)) for z in (x, y)]
    return 2 * between - sum(own)


@pytest.mark.parametrize("d", [1, 2, 7])
def test_energy_distance_of_many(d):
    """Of more than a block of points, of a number that no block divides, far from 0."""
    x, y = RNG.normal(size=(points._BLOCK * 2 + 17, d)) + 1000, RNG.normal(size=(points._BLOCK + 1, d)) + 1000.3
    assert quality.energy_distance(x, y) == pytest.approx(naive(x, y), abs=1e-11)
    assert quality.energy_distance(y, x) == pytest.approx(naive(x, y), abs=1e-11)


def test_energy_distance_on_a_line_in_the_plane():
    """What is sorted on the line is summed pair by pair in the plane."""
    x, y = RNG.normal(size=500), RNG.normal(1, 2, size=300)
    direction = np.array([[0.6, 0.8]])
    flat = quality.energy_distance(x, y)
    assert quality.energy_distance(x[:, None] * direction, y[:, None] * direction) == pytest.approx(flat, abs=1e-12)


def test_energy_distance_has_no_bias():
    """Of N(0.3, 1) and N(0, 4), with 20 and 30 points, 4000 times."""
    exact = quality.energy_distance_of_gaussians(0.3, 1.0, 0.0, 4.0)
    found = [quality.energy_distance(RNG.normal(0.3, 1, 20), RNG.normal(0, 2, 30)) for _ in range(4000)]
    assert abs(np.mean(found) - exact) < 4 * np.std(found) / np.sqrt(len(found))
    equal = [quality.energy_distance(RNG.normal(size=20), RNG.normal(size=30)) for _ in range(4000)]
    assert abs(np.mean(equal)) < 4 * np.std(equal) / np.sqrt(len(equal))


def test_energy_distance_of_gaussians_by_quadrature():
    z, step = np.linspace(-12, 12, 200001, retstep=True)
    weights = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) * step

    def mean_size(m, v):
        return (np.abs(m + np.sqrt(v) * z) * weights).sum()

    exact = 2 * mean_size(0.7, 1.25) - mean_size(0, 2) - mean_size(0, 0.5)
    assert quality.energy_distance_of_gaussians(0.7, 1.0, 0.0, 0.25) == pytest.approx(exact, abs=1e-8)
    assert quality.energy_distance_of_gaussians(1.0, 2.0, 1.0, 2.0) == 0


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([1.0], [1.0, 2.0], "x must have shape .* at least 2 points"),
        ([[1.0, 2.0]] * 2, [1.0, 2.0], "same number of coordinates, got 2 and 1"),
        ([1.0, np.nan], [1.0, 2.0], "x must be finite"),
        (np.zeros((2, 2, 2)), [1.0, 2.0], "x must have shape"),
    ],
)
def test_refused_points(x, y, message):
    with pytest.raises(ValueError, match=message):
        quality.energy_distance(x, y)


def test_mode_weights():
    found = quality.mode_weights([[-4, 0.1], [4, 0], [4.2, 0], [3, 0], [9, 9]], [[-4, 0], [4, 0]], radius=0.5)
    np.testing.assert_allclose(found.weights, [0.2, 0.4])
    np.testing.assert_allclose(found.standard_error, np.sqrt([0.2 * 0.8 / 5, 0.4 * 0.6 / 5]))
    assert found.outside == pytest.approx(0.4)
    assert quality.mode_weights([[-4, 0.1], [9, 9]], [[-4, 0], [4, 0]]).weights.tolist() == [0.5, 0.5]


def test_mode_weights_of_a_mixture():
    means, weights = [[-4.0], [4.0]], np.array([0.2, 0.8])
    found = quality.mode_weights(data.mixture(10000, means=means, weights=weights, sd=0.3), means)
    assert np.abs((found.weights - weights) / found.standard_error).max() < 4
    np.testing.assert_allclose(found.standard_error, np.sqrt(0.16 / 10000), rtol=0.05)
    assert found.outside == 0


def test_refused_modes():
    with pytest.raises(ValueError, match="as many coordinates, got 2 and 1"):
        quality.mode_weights([[0.0, 1.0]], [0.0])
    with pytest.raises(ValueError, match="radius must be positive"):
        quality.mode_weights([0.0], [0.0], radius=0)


def test_report_on_points():
    x = data.two_moons(800, seed=9)
    report = quality.evaluate(x, "two-moons", n=1000, seed=3, repeats=3)
    reference = data.load("two-moons", "test", n=1000, seed=3)[0]
    assert report.energy_distance == pytest.approx(quality.energy_distance(x, reference), abs=1e-12)
    assert (report.n, report.n_reference, report.floor.n, report.floor.repeats) == (800, 1000, 800, 3)
    assert abs(report.energy_distance) < 0.01
    assert report.energy_distance == pytest.approx(report.floor.mean, abs=0.01)
    far = quality.evaluate(x + 1, "two-moons", n=1000, seed=3, repeats=3)
    assert far.energy_distance > 0.5
    assert f"energy distance       {far.energy_distance:.5f}" in str(far)
    assert far.floor == report.floor


def test_report_on_arrays_of_images():
    x, real = pixels(300, 5), pixels(2000, 6)
    report = quality.evaluate(x, real, classifier=Quadrants())
    (train, _), (reference, _) = data.halves(real, None)
    assert report.frechet == quality.frechet(x, reference, Quadrants())
    assert report.floor == quality.frechet_floor(train, reference, Quadrants(), 300)
    assert report.entropy == quality.class_entropy(x, Quadrants())
    assert report.histogram.tolist() == quality.class_histogram(x, Quadrants()).tolist()
    assert report.confidence == pytest.approx(0.7)
    assert report.accuracy is None
    lines = str(report).splitlines()
    assert lines[1].split() == ["Frechet", "distance", f"{report.frechet:.3f}", *str(report.floor).split()]
    assert "300 samples against 1000 images" in lines[-2]
    labels = Quadrants().probabilities(real).argmax(axis=1)
    assert quality.evaluate(x, real, labels, Quadrants()).accuracy == 1


def test_report_on_files(tmp_path):
    np.save(tmp_path / "s.npy", pixels(50, 1))
    np.savez(tmp_path / "d.npz", x=pixels(100, 2), labels=np.arange(100) % 4)
    report = quality.evaluate(tmp_path / "s.npy", str(tmp_path / "d.npz"), classifier=Quadrants())
    assert report.frechet == quality.evaluate(pixels(50, 1), pixels(100, 2), classifier=Quadrants()).frechet
    assert report.accuracy is not None


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((pixels(50, 1), pixels(50, 2)), ValueError, "labels are needed to train a classifier"),
        ((pixels(50, 1), "digits"), ValueError, r"samples must have the shape of the data, \(n, \*\(1, 8, 8\)\), got"),
        ((pixels(1, 1), pixels(50, 2), None, Quadrants()), ValueError, "samples must be at least 2, got 1"),
        ((pixels(9, 1), pixels(3, 2), None, Quadrants()), ValueError, "data must hold at least 4 samples"),
        ((pixels(9, 1), pixels(9, 2), None, 7), TypeError, "classifier must be a path, or have a method features"),
        ((pixels(9, 1), "digits", [1, 2]), TypeError, "labels are those of an array"),
        ((pixels(9, 1), pixels(9, 2), [1, 2]), ValueError, r"labels must have shape \(9,\)"),
        (("nowhere.npy", "digits"), ValueError, "nowhere.npy is damaged, truncated or no such file"),
    ],
)
def test_refused_evaluations(arguments, error, message):
    with pytest.raises(error, match=message):
        quality.evaluate(*arguments)


@pytest.mark.thorough
@needs_mnist
def test_report_on_mnist(one_thread):
    """The classifier is as good as it is said to be, and real images, taken from everywhere, are at the floor."""
    images, _ = data.mnist(FOLDER)
    report = quality.evaluate(np.round((images[::117][:512] + 1) * 127.5).astype(np.uint8), FOLDER)
    assert report.accuracy > 0.975
    assert abs(report.frechet - report.floor.mean) < 5 * report.floor.sd
    assert report.entropy == pytest.approx(np.log(10), abs=0.05)
    assert "Frechet distance" in str(report)
