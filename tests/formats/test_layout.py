"""alexnet.formats.layout: where each number of a foreign array goes."""

import jax
import numpy as np
import pytest
from support import thin

from alexnet.formats import caffe, layout, torchvision
from alexnet.models import network

NAMES = {"caffenet": caffe.NAMES, "torchvision_alexnet": torchvision.NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_shapes_are_the_frameworks(name):
    net = thin.thin(name)(classes=7)
    expected = {array: weight.shape for array, weight in thin.weights(name).items()}
    assert layout.shapes(net, NAMES[name]) == expected


@pytest.mark.parametrize("name", NAMES)
def test_there_and_back_is_the_same(name):
    net, arrays = thin.thin(name)(classes=7), thin.weights(name)
    params = layout.ours(net, NAMES[name], arrays)
    shapes = jax.eval_shape(lambda: network.init(net, jax.random.key(0)))
    assert jax.tree.map(np.shape, params) == jax.tree.map(lambda leaf: leaf.shape, shapes)
    back = layout.theirs(net, NAMES[name], params)
    assert back.keys() == arrays.keys()
    for array, weight in arrays.items():
        np.testing.assert_array_equal(back[array], weight)


def test_where_a_weight_goes():
    """By hand: of caffenet's thin net, with 7 classes in two towers of 4."""
    net, arrays = thin.thin("caffenet")(classes=7), thin.weights("caffenet")
    params = layout.ours(net, caffe.NAMES, arrays)
    # output 8 of conv2's 12 is number 2 of the second tower; it reads channel 3 of its own 4
    assert params["conv2"]["kernel"][1, 0, 4, 3, 2] == arrays["conv2.weight"][8, 3, 0, 4]
    assert params["conv2"]["bias"][1, 2] == arrays["conv2.bias"][8]
    # fc6 reads 2x2 pixels of 8 maps: channel 5 at row 1, column 0
    assert params["fc6"]["kernel"][0, (1 * 2 + 0) * 8 + 5, 3] == arrays["fc6.weight"][3, 5 * 4 + 2]
    # class 6 is number 2 of the second tower; number 3 is none
    assert params["fc8"]["kernel"][1, 9, 2] == arrays["fc8.weight"][6, 9]
    assert (params["fc8"]["kernel"][1, :, 3] == 0).all()
