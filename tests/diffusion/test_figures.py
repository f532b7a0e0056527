"""Figures of diffusion models: the numbers that are drawn."""

import numpy as np
import pytest

from sdefast.diffusion import figures

LOG = np.dtype([("step", np.int64), ("loss", np.float64)])


def log(*losses):
    return np.array(list(enumerate(losses, 1)), LOG)


def test_loss_curve_is_the_mean_over_runs_of_averages_over_steps():
    steps, mean, deviation = figures.loss_curve([log(4, 2, 3, 1, 9), log(2, 0, 1, 3, 9)], every=2)
    assert steps.tolist() == [2, 4]
    assert mean.tolist() == [2.0, 2.0]  # of (3, 1) and (2, 2)
    assert deviation.tolist() == [2**0.5, 0.0]
    assert figures.loss_curve([log(4, 2)])[2].tolist() == [0.0, 0.0]


def test_losses_are_drawn_with_a_band_of_two_deviations():
    ax = figures.losses({"many": [log(3, 1), log(1, 1)], "one": [log(2, 2)]})
    many, one = ax.lines
    assert many.get_xydata().tolist() == [[1, 2], [2, 1]]
    assert one.get_ydata().tolist() == [2, 2]
    (band,) = ax.collections
    edges = band.get_paths()[0].vertices
    assert edges[:, 1].max() == pytest.approx(2 + 2 * 2**0.5)
    assert edges[:, 1].min() == pytest.approx(2 - 2 * 2**0.5)
    assert [text.get_text() for text in ax.get_legend().texts] == [
        "many: mean of 2 seeds",
        "± 2 std. deviations",
        "one",
    ]


@pytest.mark.parametrize(
    ("logs", "every", "words"),
    [
        ([], 1, "one run or more"),
        ([log(1, 2), log(1, 2, 3)], 1, "same steps, got 2, 3"),
        ([log(1, 2)], 3, "at most the number of steps, 2, got 3"),
        ([log(1, 2)], 0, "every must be between 1"),
    ],
)
def test_losses_that_do_not_fit_are_refused(logs, every, words):
    with pytest.raises(ValueError, match=words):
        figures.loss_curve(logs, every)


def test_grid_lays_images_row_by_row():
    images = np.arange(5)[:, None, None, None] / 5 * np.ones((1, 1, 2, 3))
    picture = np.asarray(figures.grid(images, n_columns=3).images[0].get_array())
    assert picture.shape == (2 * 2 + 1, 3 * 3 + 2)
    assert picture[:2, 4:7] == pytest.approx(0.2)  # the second image
    assert picture[3:, :3] == pytest.approx(0.6)  # the fourth
    assert picture[3:, 8:] == pytest.approx(-1)  # there is no sixth
    assert picture[2] == pytest.approx(1)  # between the rows


def test_grid_clips_and_shows_colours():
    images = np.full((1, 3, 2, 2), [[[[9.0]], [[-9.0]], [[np.nan]]]])
    assert figures.grid(images).images[0].get_array()[0, 0].tolist() == [1, 0, 0]


def test_strip_has_a_row_for_each_sample_and_a_column_for_each_time():
    states = np.array([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]])[:, :, None, None, None] * np.ones((1, 1, 1, 2, 2))
    ax = figures.strip(states, labels=[0, 10, 20])
    picture = np.asarray(ax.images[0].get_array())
    assert picture.shape == (5, 8)
    assert picture[0, ::3] == pytest.approx([0.1, 0.3, 0.5])
    assert picture[3, ::3] == pytest.approx([0.2, 0.4, 0.6])
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0", "10", "20"]


@pytest.mark.parametrize("shape", [(2, 2), (3, 2, 4, 4), (0, 1, 4, 4)])
def test_what_is_no_image_is_refused(shape):
    with pytest.raises(ValueError, match="images must have shape"):
        figures.grid(np.zeros(shape))


def test_bytes_are_pixels_and_other_integers_are_refused():
    images = np.array([0, 51, 255], np.uint8).reshape(1, 1, 1, 3)
    assert np.asarray(figures.grid(images).images[0].get_array())[0] == pytest.approx([-1, -0.6, 1])
    with pytest.raises(TypeError, match="images must be in floating point, or uint8 of 0 to 255, got int64"):
        figures.grid(images.astype(np.int64))


def test_strip_wants_a_label_for_each_time():
    with pytest.raises(ValueError, match="one for each of 2 times, got 3"):
        figures.strip(np.zeros((2, 1, 1, 2, 2)), labels=[1, 2, 3])


def test_trajectories_are_lines_over_arrows_of_unit_length():
    states = np.array([[[0.0, 0.0], [1.0, 1.0]], [[1.0, 2.0], [3.0, 4.0]]])
    ax = figures.trajectories(states, score=lambda x: -3 * x, data=[[0.5, 0.5]])
    ways = [line for line in ax.lines if line.get_linestyle() == "-"]
    assert ways[0].get_xydata().tolist() == [[0, 0], [1, 2]]
    assert ways[1].get_xydata().tolist() == [[1, 1], [3, 4]]
    (field,) = ax.collections
    assert np.hypot(field.U, field.V) == pytest.approx(1)
    away = np.hypot(*field.XY.T)
    assert np.abs(field.U + field.XY[:, 0] / away).max() < 1e-12  # towards the origin
    with pytest.raises(ValueError, match="states must have shape"):
        figures.trajectories(states[..., :1])


def test_levels_stand_beside_their_densities():
    values = np.linspace(0, 1, 1001)
    axes = figures.levels([values, 2 * values], ["a", "b"], [np.ones_like, np.zeros_like])
    for ax, level, exact in zip(axes, (1.0, 0.5), (1, 0), strict=True):
        heights, edges, _ = ax.patches[0].get_data()
        assert heights[3:-3] == pytest.approx(level, rel=0.1)  # the histogram is a density
        assert (heights * np.diff(edges)).sum() == pytest.approx(1, abs=0.01)
        assert (ax.lines[0].get_ydata() == exact).all()
    assert [ax.get_title() for ax in axes] == ["a", "b"]
    with pytest.raises(ValueError, match="equally many, got 1, 2 and 1"):
        figures.levels([values], ["a", "b"], [np.ones_like])
