"""alexnet.models.frameworks: the tables are torchvision's and Caffe's."""

import pytest

from alexnet.models import table
from alexnet.models.build import build
from alexnet.models.table import Norm

CAFFE = {
    "conv1": 96 * 3 * 11 * 11 + 96,
    "conv2": 256 * 48 * 5 * 5 + 256,
    "conv3": 384 * 256 * 3 * 3 + 384,
    "conv4": 384 * 192 * 3 * 3 + 384,
    "conv5": 256 * 192 * 3 * 3 + 256,
    "fc6": 4096 * 9216 + 4096,
    "fc7": 4096 * 4096 + 4096,
    "fc8": 1000 * 4096 + 1000,
}
TORCHVISION = CAFFE | {
    "conv1": 64 * 3 * 11 * 11 + 64,
    "conv2": 192 * 64 * 5 * 5 + 192,
    "conv3": 384 * 192 * 3 * 3 + 384,
    "conv4": 256 * 384 * 3 * 3 + 256,
    "conv5": 256 * 256 * 3 * 3 + 256,
}
ALL = {
    "torchvision_alexnet": (TORCHVISION, 61_100_840),
    "caffe_alexnet": (CAFFE, 60_965_224),
    "caffenet": (CAFFE, 60_965_224),
}


@pytest.mark.parametrize("name", ALL)
def test_parameters_layer_by_layer(name):
    expected, total = ALL[name]
    layers = build(name, classes=1000).layers
    assert {layer.row.name: layer.parameters for layer in layers if layer.parameters} == expected
    assert sum(expected.values()) == total


@pytest.mark.parametrize(
    ("name", "first", "second", "fc6", "fc7"),
    [
        ("torchvision_alexnet", "relu1 pool1", "relu2 pool2", "drop5 fc6", "drop6 fc7 relu7"),
        ("caffe_alexnet", "relu1 norm1 pool1", "relu2 norm2 pool2", "fc6", "drop6 fc7 relu7 drop7"),
        ("caffenet", "relu1 pool1 norm1", "relu2 pool2 norm2", "fc6", "drop6 fc7 relu7 drop7"),
    ],
)
def test_rows_come_in_the_frameworks_order(name, first, second, fc6, fc7):
    middle = "conv3 relu3 conv4 relu4 conv5 relu5 pool5"
    expected = f"conv1 {first} conv2 {second} {middle} {fc6} relu6 {fc7} fc8"
    assert " ".join(row.name for row in build(name, classes=1000).rows) == expected


FEATURES = {  # kernel, stride, pad in torchvision's alexnet.py and Caffe's train_val.prototxt
    "torchvision_alexnet": [(11, 4, 2), (5, 1, 2), *[(3, 1, 1)] * 3],
    "caffe_alexnet": [(11, 4, 0), (5, 1, 2), *[(3, 1, 1)] * 3],
    "caffenet": [(11, 4, 0), (5, 1, 2), *[(3, 1, 1)] * 3],
}


@pytest.mark.parametrize("name", FEATURES)
def test_convolutions_have_the_frameworks_sizes_strides_and_pads(name):
    rows = [row for row in build(name, classes=9).rows if isinstance(row, table.Conv)]
    assert [(row.size, row.stride, row.pad) for row in rows] == FEATURES[name]


def test_torchvisions_pixels_have_the_deviations_of_its_transform():
    pixels = build("torchvision_alexnet", classes=9).pixels
    assert [deviation / 255 for deviation in pixels.deviation] == [0.229, 0.224, 0.225]
    assert pixels.order == "RGB"
    for name in ("caffe_alexnet", "caffenet"):
        assert build(name, classes=9).pixels == table.Pixels(order="BGR")


@pytest.mark.parametrize("name", ["caffe_alexnet", "caffenet"])
def test_caffes_norm_reads_all_towers_and_divides_alpha(name):
    layers = {layer.row.name: layer for layer in build(name, classes=1000).layers}
    for norm, maps in (("norm1", 96), ("norm2", 256)):
        row = layers[norm].row
        assert (row.size, row.k, row.beta, row.scale) == (5, 1, 0.75, pytest.approx(2e-5))
        assert layers[norm].input_shape[-1] == maps
        assert layers[norm].output_shape[-1] == maps / 2
    assert not any(isinstance(row, Norm) for row in build(name, classes=9, norm=False).rows)


@pytest.mark.parametrize(("name", "one", "last"), [("caffe_alexnet", 0.1, 0), ("caffenet", 1, 0)])
def test_caffes_fillers(name, one, last):
    rows = [row for row in build(name, classes=9).rows if isinstance(row, table.Weighted)]
    assert [row.bias for row in rows] == [0, one, 0, one, one, one, one, last]
    assert [row.std for row in rows] == [0.01] * 5 + [0.005, 0.005, 0.01]


def test_torchvisions_deviations_are_pytorchs():
    """nn.Conv2d and nn.Linear draw from +-1/sqrt(inputs), whose deviation is 1/sqrt(3 inputs)."""
    layers = build("torchvision_alexnet", classes=9).layers
    for layer in layers:
        if isinstance(layer.row, table.Weighted):
            inputs = layer.parameters / layer.output_shape[-1] - 1
            if isinstance(layer.row, table.Conv):
                assert inputs == layer.row.size**2 * layer.input_shape[-1]
            assert layer.row.std == pytest.approx((3 * inputs) ** -0.5)


def test_removing_fc6_takes_its_dropout_along():
    rows = build("torchvision_alexnet", classes=9, remove="fc6").rows
    assert [row.name for row in rows][-6:] == ["relu5", "pool5", "drop5", "fc7", "relu7", "fc8"]
