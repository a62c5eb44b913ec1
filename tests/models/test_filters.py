"""Figure 3: filters drawn by hand, their picture and how much of them is colour."""

import numpy as np
import pytest

from alexnet.errors import UserError
from alexnet.models import filters
from alexnet.models.build import build
from alexnet.models.table import Activation, Conv, Dense, Net

EDGE = np.array([[1, 0, -1]] * 3, np.float32)  # [height, width]


def filter_of(red: float, green: float, blue: float) -> np.ndarray:
    """An edge in some colours, [height, width, 3]."""
    return EDGE[..., None] * np.array([red, green, blue], np.float32)


def kernel(*towers: list[np.ndarray]) -> np.ndarray:
    return np.stack([np.stack(tower, -1) for tower in towers])


@pytest.mark.parametrize(
    ("colours", "expected"),
    [
        ((1, 1, 1), 0),  # brightness
        ((-2, -2, -2), 0),
        ((1, -1, 0), 1),  # red against green
        ((1, 1, -2), 1),  # yellow against blue
        ((1, 0, 0), 2 / 3),  # red alone: a third of its energy lies along grey
        ((1, 1, 0), 1 - 2 / 3),  # (2/3)^2 * 3 of 2
        ((3, 2, 1), 1 - 3 * 2**2 / 14),
    ],
)
def test_colour_selectivity_of_one_filter(colours, expected):
    assert filters.colour_selectivity(kernel([filter_of(*colours)])) == pytest.approx([expected])


def test_towers_are_averaged_filter_by_filter_whatever_their_size():
    grey, colour = filter_of(1, 1, 1), filter_of(1, -1, 0)
    found = filters.colour_selectivity(kernel([grey, 100 * grey], [grey, 0.01 * colour]))
    assert found == pytest.approx([0, 0.5])


def test_dead_filters_do_not_count_and_a_dead_tower_has_no_number():
    dead, colour = filter_of(0, 0, 0), filter_of(1, -1, 0)
    first, second = filters.colour_selectivity(kernel([dead, colour], [dead, dead]))
    assert first == 1
    assert np.isnan(second)


def test_random_weights_score_two_thirds():
    weights = np.random.default_rng(0).normal(size=(2, 11, 11, 3, 48))
    assert filters.colour_selectivity(weights) == pytest.approx([2 / 3, 2 / 3], abs=0.02)


def test_filters_of_a_net_that_reads_bgr_are_shown_in_rgb():
    red = np.zeros((1, 3, 3, 3, 2))
    red[..., 2, :] = 1.0  # the third input of Caffe's nets
    shown = filters.as_rgb(red, build("caffenet", classes=10))
    assert (shown[..., 0, :] == 1).all()
    assert (shown[..., 1:, :] == 0).all()
    np.testing.assert_array_equal(filters.as_rgb(red, build("alexnet", classes=10)), red)


def test_the_grid_of_the_papers_net():
    weights = np.random.default_rng(0).normal(size=(2, 11, 11, 3, 48))
    picture = filters.grid(weights)
    assert picture.dtype == np.uint8
    assert picture.shape == (2 * (3 * 12) + 3 + 1, 16 * 12 + 1, 3)  # three lines of 16 a tower
    scale = np.abs(weights).max()
    # The second tower's filter 17 is the second of its second line.
    top = 3 * 12 + 3 + 12 + 1
    found = picture[top : top + 11, 13 : 13 + 11]
    np.testing.assert_array_equal(found, np.round(127.5 + 127.5 * weights[1, ..., 17] / scale))


def test_each_weight_is_a_square_of_pixels():
    picture = filters.grid(kernel([filter_of(1, 1, 1), filter_of(0.5, 0, 0)]), scale=2)
    assert picture.shape == (2 + 6, 2 * 7 + 1, 3)
    assert (picture[1:7, 1:3] == 255).all()
    assert (picture[1:7, 5:7] == 0).all()
    assert (picture[1:7, 8:10] == (191, 128, 128)).all()  # half of the way from grey to red
    assert (picture[[0, -1]] == 255).all()


def test_zero_weights_and_nan_are_grey():
    assert set(filters.grid(np.zeros((1, 3, 3, 3, 2))).ravel()) == {128, 255}
    assert set(filters.grid(np.full((1, 3, 3, 3, 2), np.nan)).ravel()) == {128, 255}


def test_the_layer_is_the_first_if_it_is_a_convolution():
    assert filters.first_convolution(build("alexnet")) == "conv1"
    net = Net("dense", 4, 2, 1, (Dense("fc1", 3), Activation("relu1"), Dense("fc2", 2)))
    with pytest.raises(UserError, match="net dense begins with fc1, not a convolution"):
        filters.first_convolution(net)
    convolutions = Net("ok", 4, 2, 1, (Conv("first", 3, 3), Dense("fc2", 2)))
    assert filters.first_convolution(convolutions) == "first"
