"""Points of named laws: by number, and where their laws say."""

import numpy as np
import pytest

from sdefast import noise
from sdefast.diffusion import data
from sdefast.diffusion.data import points

GENERATORS = [data.swiss_roll, data.two_moons, data.rings, data.mixture, data.checkerboard]


@pytest.mark.parametrize("generator", GENERATORS, ids=lambda g: g.__name__)
def test_a_point_is_a_function_of_seed_and_number(generator):
    some = generator(100, seed=3)
    assert (some.shape, some.dtype) == ((100, 2), np.float32)
    assert generator(37, seed=3).tobytes() == some[:37].tobytes()
    assert generator(20, seed=3, first_point=50).tobytes() == some[50:70].tobytes()
    assert not (generator(100, seed=4) == some).any()


@pytest.mark.parametrize("generator", GENERATORS, ids=lambda g: g.__name__)
def test_centred_and_of_order_one(generator):
    x = generator(20000, seed=1).astype(float)
    z = x.mean(axis=0) / (x.std(axis=0) / np.sqrt(len(x)))
    assert np.abs(z).max() < 4
    assert (x.std(axis=0) > 0.4).all()
    assert np.abs(x).max() < 3


@pytest.mark.parametrize("name", data.NAMES)
def test_points_for_judging_are_others(name):
    train, test = (data.load(name, split, n=500, seed=2)[0] for split in data.SPLITS)
    assert not {row.tobytes() for row in train} & {row.tobytes() for row in test} or name == "digits"
    assert train.shape[1:] == test.shape[1:]


def test_the_seed_of_data_is_not_that_of_noise():
    """What training and sampling with the same seed draw."""
    x = data.mixture(100, seed=5, means=[[0.0]], sd=1.0)[:, 0]
    assert not np.isin(x, noise.normals(5, 1, 100)[0].astype(np.float32)).any()
    assert abs(np.corrcoef(x, noise.normals(5, 1, 100)[0])[0, 1]) < 4 / np.sqrt(100)


def test_swiss_roll_is_the_spiral():
    x, y = data.swiss_roll(5000, sd=0).astype(float).T * np.pi * np.sqrt(9.75 / 2)
    x, y = x + 2, y + 2 / (3 * np.pi)
    t = np.hypot(x, y)
    assert 1.5 * np.pi - 1e-4 < t.min() < t.max() < 4.5 * np.pi + 1e-4
    np.testing.assert_allclose(np.cos(t), x / t, atol=2e-5)
    np.testing.assert_allclose(np.sin(t), y / t, atol=2e-5)
    z = (t.mean() - 3 * np.pi) / (3 * np.pi / np.sqrt(12 * 5000))
    assert abs(z) < 4


def test_noise_about_the_spiral():
    away = (data.swiss_roll(20000, sd=0.1) - data.swiss_roll(20000, sd=0)).astype(float)
    z = (away.var(axis=0) / 0.01 - 1) / np.sqrt(2 / 20000)
    assert np.abs(z).max() < 4


def test_moons_are_half_circles():
    x, label = points.labelled_moons(2000, sd=0)
    centres = np.array([[-0.5, -0.25], [0.5, 0.25]])[label]
    away = x - centres
    np.testing.assert_allclose(np.hypot(*away.T), 1, atol=1e-6)
    assert (away[:, 1] * (1 - 2 * label) >= -1e-6).all()
    assert abs(label.mean() - 0.5) < 4 * 0.5 / np.sqrt(2000)


def test_rings():
    x, label = points.labelled_rings(3000, radii=[0.5, 2.0], sd=0)
    np.testing.assert_allclose(np.hypot(*x.T), np.array([0.5, 2.0])[label], atol=1e-6)
    assert abs(label.mean() - 0.5) < 4 * 0.5 / np.sqrt(3000)


def test_mixture_has_its_weights_means_and_deviations():
    n, weights, means, sd = 30000, np.array([0.2, 0.5, 0.3]), np.array([[0, 5, 0], [5, 0, 0], [0, 0, 5.0]]), [1, 0.5, 2]
    x, label = points.labelled_mixture(n, 7, means=means, weights=weights, sd=sd)
    assert x.shape == (n, 3)
    z = [(np.bincount(label) / n - weights) / np.sqrt(weights * (1 - weights) / n)]
    for i, s in enumerate(sd):
        own = x[label == i].astype(float)
        z.append((own.mean(axis=0) - means[i]) / (s / np.sqrt(len(own))))
        z.append((own.var(axis=0) / s**2 - 1) / np.sqrt(2 / len(own)))
    assert np.abs(np.concatenate(z)).max() < 4


def test_mixture_without_a_component():
    _, label = points.labelled_mixture(1000, means=[[0.0], [1.0], [2.0]], weights=[0.5, 0, 0.5])
    assert set(label) == {0, 2}


def test_checkerboard_is_uniform_on_every_other_cell():
    n, cells = 20000, 6
    column, row = np.floor((data.checkerboard(n, cells=cells).T.astype(float) + 2) * cells / 4).astype(int)
    assert ((column + row) % 2 == 0).all()
    counts = np.zeros((cells, cells))
    np.add.at(counts, (column, row), 1)
    counts = counts[counts > 0]
    assert len(counts) == cells * cells / 2
    expected = n / len(counts)
    chi2, freedom = ((counts - expected) ** 2 / expected).sum(), len(counts) - 1
    assert abs(chi2 - freedom) < 4 * np.sqrt(2 * freedom)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: data.swiss_roll(0), "n must be between 1"),
        (lambda: data.swiss_roll(10, -1), "seed must be between 0"),
        (lambda: data.two_moons(10, sd=-0.1), r"sd must be within \[0"),
        (lambda: data.rings(10, radii=[]), "radii must be positive, and at least one"),
        (lambda: data.rings(10, radii=[1, -1]), "radii must be positive"),
        (lambda: data.mixture(10, means=[1.0, 2.0]), r"means must have shape \(any, any\)"),
        (lambda: data.mixture(10, means=[[0.0], [1.0]], weights=[0.5, 0.6]), "weights must not be negative and add up"),
        (lambda: data.mixture(10, means=[[0.0], [1.0]], weights=[1.5, -0.5]), "weights must not be negative"),
        (lambda: data.mixture(10, means=[[0.0], [1.0]], sd=[1.0, 1.0, 1.0]), "sd must be one number or 2"),
        (lambda: data.checkerboard(10, cells=3), "cells must be even, got 3"),
    ],
)
def test_refused_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
