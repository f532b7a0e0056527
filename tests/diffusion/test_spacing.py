"""The timesteps that a sampler visits: always as many as asked for, all different, by integers alone."""

import numpy as np
import pytest

from sdefast.diffusion import linear_beta_schedule, plan, timesteps


def test_trailing_13_of_1000():
    expected = [999, 922, 845, 768, 691, 614, 537, 461, 384, 307, 230, 153, 76]
    assert timesteps(1000, 13, "trailing").tolist() == expected
    last = plan("ddpm", linear_beta_schedule(1000), 13, spacing="trailing").rows[-1]
    assert (last["t"], last["alpha"], last["sigma"], last["s"], last["b"]) == (76, 1, 0, 0, 1)


def test_linspace_10_of_1000():
    assert timesteps(1000, 10, "linspace").tolist() == [999, 888, 777, 666, 555, 444, 333, 222, 111, 0]


def test_leading_are_multiples():
    assert timesteps(1000, 7, "leading").tolist() == [852, 710, 568, 426, 284, 142, 0]


@pytest.mark.parametrize("n_train", [1, 2, 7, 200, 1000])
@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
def test_always_as_many_and_all_different(n_train, spacing):
    for n in range(1, n_train + 1):
        found = timesteps(n_train, n, spacing)
        assert found.dtype == np.int64
        assert found.shape == (n,)
        assert (np.diff(found) < 0).all()
        assert found[-1] >= 0
        assert found[0] < n_train
        if spacing != "leading":
            assert found[0] == n_train - 1


@pytest.mark.parametrize("n", [2, 3, 7, 10, 13, 50, 100, 999, 1000])
def test_they_are_those_of_diffusers(n):
    assert timesteps(1000, n, "linspace").tolist() == np.linspace(0, 999, n).round()[::-1].tolist()
    trailing = np.round(1000 - 1000 / n * np.arange(n)) - 1
    assert timesteps(1000, n, "trailing").tolist() == trailing.tolist()
    assert timesteps(1000, n, "leading").tolist() == (np.arange(n) * (1000 // n))[::-1].tolist()


def test_own_lists():
    assert timesteps(1000, spacing=[999, 500, 3]).tolist() == [999, 500, 3]
    assert timesteps(1000, 2, np.array([10.0, 0.0])).dtype == np.int64
    assert timesteps(5).tolist() == [4, 3, 2, 1, 0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1000, None, [1000, 3]), "between 0 and 999, got 1000"),
        ((1000, None, [3, -1]), "between 0 and 999, got -1"),
        ((1000, None, [3, 3]), "decrease strictly, noisiest first, got 3 before 3 at index 0"),
        ((1000, None, [3, 5]), "decrease strictly"),
        ((1000, None, [3.5]), "integers"),
        ((1000, None, []), "empty"),
        ((1000, 3, [5, 4]), "length of spacing, 2, got 3"),
        ((1000, 1001, "leading"), "n_steps must be between 1 and 1000, got 1001"),
        ((1000, 0, "leading"), "n_steps must be between 1 and 1000, got 0"),
        ((1000, 5, "trailling"), "did you mean 'trailing'"),
    ],
)
def test_bad_ones_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        timesteps(*arguments)
