"""The classifier: how good it is, and that it is a function of its seed."""

import numpy as np
import pytest

from sdefast.diffusion import data, quality

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def trained():
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    torch.set_num_threads(1)
    made = quality.train_classifier(*data.digits())
    torch.set_num_threads(threads)
    assert torch.equal(torch.get_rng_state(), state)
    return made


@pytest.mark.thorough
def test_digits_are_told_apart(trained):
    assert trained.accuracy(*data.digits("test")) > 0.97
    assert not trained.training
    assert not any(parameter.requires_grad for parameter in trained.parameters())


def test_features_and_probabilities(trained):
    images, _ = data.digits("test")
    features, probabilities = trained.features(images), trained.probabilities(images)
    assert (features.shape, features.dtype, probabilities.shape) == ((359, 64), np.float32, (359, 10))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    with torch.no_grad():
        logits = trained.head(torch.from_numpy(features))
        np.testing.assert_allclose(logits, trained(torch.from_numpy(images)), atol=1e-4)
    # in batches, and clipped
    np.testing.assert_allclose(trained.features(np.tile(images, (3, 1, 1, 1)))[-359:], features, atol=1e-4)
    np.testing.assert_array_equal(trained.features(np.where(images == 1, 3, images)), features)
    np.testing.assert_array_equal(trained.features(torch.from_numpy(images)), features)


def test_frechet_sees_what_is_wrong(trained):
    (images, labels), (reference, _) = data.digits(), data.digits("test")
    floor = quality.frechet_floor(images, reference, trained, 300)
    noisy = images[:300] + 0.5 * np.random.default_rng(0).normal(size=(300, 1, 8, 8))
    ordered = [
        quality.frechet(x, reference, trained)
        for x in (images[:300], images[labels != 3][:300], noisy, images[labels == 3])
    ]
    assert abs(ordered[0] - floor.mean) < 5 * floor.sd
    assert 2 * ordered[0] < ordered[1] < ordered[2] < ordered[3]
    assert quality.class_entropy(images[labels == 3], trained) < 0.2
    assert quality.class_entropy(images, trained) == pytest.approx(np.log(10), abs=0.01)


def weights(classifier):
    return b"".join(value.numpy().tobytes() for value in classifier.state_dict().values())


def test_a_function_of_the_seed():
    images, labels = data.digits()
    state = torch.get_rng_state()
    one, same, other = (quality.train_classifier(images, labels, seed=seed, steps=3) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(5)
    assert weights(one) == weights(same) == weights(quality.train_classifier(images, labels, seed=1, steps=3))
    torch.set_rng_state(state)
    assert weights(one) != weights(other)


def test_other_shapes_and_few_images():
    x = np.random.default_rng(0).normal(size=(5, 3, 5, 9))
    made = quality.train_classifier(x, [0, 1, 2, 2, 1], steps=2)
    assert made.config == {"channels": 3, "height": 5, "width": 9, "n_classes": 3}
    assert made.features(x).shape == (5, 64)


def test_saved_and_read(trained, tmp_path):
    images, _ = data.digits("test")
    trained.save(tmp_path / "c.npz")
    read = quality.Classifier.load(tmp_path / "c.npz")
    assert weights(read) == weights(trained)
    np.testing.assert_array_equal(read.features(images), trained.features(images))
    found = quality.evaluate(data.digits()[0][:200], "digits", classifier=tmp_path / "c.npz")
    assert found.frechet == quality.frechet(data.digits()[0][:200], images, trained)
    assert [path.name for path in tmp_path.iterdir()] == ["c.npz"]


@pytest.mark.parametrize("how", ["cut", "text", "another", "weights of another shape"])
def test_damaged_files_are_named(trained, tmp_path, how):
    path = tmp_path / "c.npz"
    trained.save(path)
    if how == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif how == "text":
        path.write_text("words")
    elif how == "another":
        np.savez(path, x=np.zeros(3))
    else:
        trained.config["n_classes"] = 11
        trained.save(path)
        trained.config["n_classes"] = 10
    with pytest.raises(ValueError, match=r"c.npz is no classifier"):
        quality.Classifier.load(path)


@pytest.mark.parametrize(
    ("images", "labels", "error", "message"),
    [
        (np.zeros((4, 2)), [0, 1, 0, 1], ValueError, r"images must have shape \(n, channels, height, width\)"),
        (np.zeros((4, 1, 8, 8)), [0, 1, 0], ValueError, r"labels must have shape \(4,\)"),
        (np.zeros((4, 1, 8, 8)), [1] * 4, ValueError, "at least two classes, got 1 alone"),
        (np.zeros((2, 1, 8, 8)), [0, 2**20], ValueError, "labels must be smaller than"),
        (np.zeros((4, 1, 8, 8), int), [0, 1, 0, 1], TypeError, "images must be in floating point"),
    ],
)
def test_refused_training(images, labels, error, message):
    with pytest.raises(error, match=message):
        quality.train_classifier(images, labels)


def test_images_of_another_shape(trained):
    with pytest.raises(ValueError, match=r"images must have shape \(n, 1, 8, 8\) for Classifier"):
        trained.features(np.zeros((2, 1, 28, 28)))
