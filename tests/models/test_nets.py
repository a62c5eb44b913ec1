"""alexnet.nets and alexnet.models.table: the networks are the paper's, number by number."""

import subprocess
import sys

import pytest

from alexnet import config as configs
from alexnet import nets
from alexnet.errors import UserError
from alexnet.models import table
from alexnet.models.build import NETS, build
from alexnet.models.table import Activation, Conv, Dense, Dropout, Norm, Pool

CONVS = ["conv1", "conv2", "conv3", "conv4", "conv5"]
POOLS = ["pool1", "pool2", "pool5"]


def alexnet(**options) -> table.Net:
    return build("alexnet", classes=1000, **options)


def traced(net: table.Net) -> dict[str, table.Layer]:
    return {layer.row.name: layer for layer in net.layers}


def names(net: table.Net) -> list[str]:
    return [row.name for row in net.rows]


def row(net: table.Net, name: str) -> table.Row:
    return next(row for row in net.rows if row.name == name)


def total(net: table.Net, what: str) -> int:
    weighted = (layer for layer in net.layers if isinstance(layer.row, table.Weighted))
    return sum(getattr(layer, what) for layer in weighted)


def sides(net: table.Net, *layers: str) -> list[int]:
    return [traced(net)[name].output_shape[0] for name in layers]


# --- The paper's network --------------------------------------------------------------------------


@pytest.mark.parametrize("preset", ["paper", "original"])
def test_parameters_layer_by_layer(preset):
    expected = {
        "conv1": 11 * 11 * 3 * 96 + 96,
        "conv2": 5 * 5 * 48 * 256 + 256,
        "conv3": 3 * 3 * 256 * 384 + 384,
        "conv4": 3 * 3 * 192 * 384 + 384,
        "conv5": 3 * 3 * 192 * 256 + 256,
        "fc6": 6 * 6 * 256 * 4096 + 4096,
        "fc7": 4096 * 4096 + 4096,
        "fc8": 4096 * 1000 + 1000,
    }
    found = {name: layer.parameters for name, layer in traced(alexnet(preset=preset)).items()}
    assert {name: count for name, count in found.items() if count} == expected
    assert total(alexnet(preset=preset), "parameters") == 60_965_224


def test_neurons_are_290400_in_the_first_layer_not_figure_2s_253440():
    found = {name: traced(alexnet())[name].neurons for name in (*CONVS, "fc6", "fc7", "fc8")}
    assert list(found.values()) == [290_400, 186_624, 64_896, 64_896, 43_264, 4096, 4096, 1000]
    assert total(alexnet(), "neurons") == 659_272


def test_multiply_adds_by_hand():
    expected = {
        "conv1": 55 * 55 * (11 * 11 * 3) * 96,
        "conv2": 27 * 27 * (5 * 5 * 48) * 256,
        "conv3": 13 * 13 * (3 * 3 * 256) * 384,
        "conv4": 13 * 13 * (3 * 3 * 192) * 384,
        "conv5": 13 * 13 * (3 * 3 * 192) * 256,
        "fc6": 9216 * 4096,
        "fc7": 4096 * 4096,
        "fc8": 4096 * 1000,
    }
    found = {name: layer.multiply_adds for name, layer in traced(alexnet()).items()}
    assert {name: count for name, count in found.items() if count} == expected
    assert total(alexnet(), "multiply_adds") == 724_406_816


def test_conv3_and_conv4_hold_more_than_the_one_percent_of_the_text():
    layers = traced(alexnet())
    percent = {name: 100 * layers[name].parameters / 60_965_224 for name in CONVS}
    assert [name for name in CONVS if percent[name] > 1] == ["conv3", "conv4"]
    assert percent["conv3"] == pytest.approx(1.45, abs=0.005)
    assert percent["conv4"] == pytest.approx(1.09, abs=0.005)


def test_maps_have_55_27_13_and_6_pixels_a_side():
    assert sides(alexnet(), *CONVS) == [55, 27, 13, 13, 13]
    assert sides(alexnet(), *POOLS) == [27, 13, 6]


def test_the_towers_meet_before_conv3_fc6_fc7_and_fc8_only():
    layers = traced(alexnet())
    reads = [layers[name].input_shape[-1] for name in (*CONVS, "fc6", "fc7", "fc8")]
    assert reads == [3, 48, 256, 192, 192, 256, 4096, 4096]
    gives = [layers[name].output_shape[-1] for name in (*CONVS, "fc6", "fc7", "fc8")]
    assert gives == [48, 128, 192, 192, 128, 2048, 2048, 500]


def test_rows_of_the_text():
    assert " ".join(names(alexnet(preset="paper"))) == (
        "conv1 relu1 norm1 pool1 conv2 relu2 norm2"
        " pool2 conv3 relu3 conv4 relu4 conv5 relu5 pool5 fc6 relu6 drop6 fc7 relu7 drop7 fc8"
    )


def test_rows_of_the_source():
    assert " ".join(names(alexnet(preset="original"))) == (
        "conv1 norm1 pool1 relu1 conv2 relu2 norm2 cnorm2"
        " pool2 conv3 relu3 conv4 relu4 conv5 relu5 pool5 fc6 relu6 drop6 fc7 relu7 drop7 fc8"
    )


@pytest.mark.parametrize(("preset", "scale"), [("paper", 1e-4), ("original", 2e-5)])
def test_response_norm_of_the_presets(preset, scale):
    for name in ("norm1", "norm2"):
        norm = row(alexnet(preset=preset), name)
        assert (norm.size, norm.k, norm.beta, norm.over) == (5, 2, 0.75, "maps")
        assert norm.scale == pytest.approx(scale)


def test_the_same_map_norm_of_the_source_divides_by_25():
    norm = row(alexnet(preset="original"), "cnorm2")
    assert (norm.size, norm.k, norm.beta, norm.over) == (5, 1, 0.75, "space")
    assert norm.scale == pytest.approx(0.001 / 25)
    assert row(build("pocket", classes=10, preset="original"), "cnorm2") == norm


INITS = {  # (standard deviation, bias) of conv1..conv5, fc6..fc8
    "paper": [(0.01, bias) for bias in (0, 1, 0, 1, 1, 1, 1, 0)],
    "original": [
        *[(0.01, 0), (0.01, 1), (0.03, 0), (0.03, 1), (0.03, 1)],
        *[(0.01, 1), (0.01, 1), (0.01, 0)],
    ],
    "caffe": [
        *[(0.01, 0), (0.01, 0.1), (0.01, 0), (0.01, 0.1), (0.01, 0.1)],
        *[(0.005, 0.1), (0.005, 0.1), (0.01, 0)],
    ],
}


@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize("preset", ["paper", "original"])
def test_initial_deviations_and_biases(preset, init):
    net = alexnet(preset=preset, init=init)
    weighted = [row for row in net.rows if isinstance(row, table.Weighted)]
    assert [(row.std, row.bias) for row in weighted] == INITS[init]
    if preset == init:
        assert alexnet(preset=preset) == net


# --- Variants -------------------------------------------------------------------------------------


def test_the_one_gpu_net():
    """Half the kernels; the last convolution and the fully-connected layers are not halved."""
    net = alexnet(towers=1, kernels=(48, 128, 192, 192, 256))
    layers = traced(net)
    inputs = [layers[name].input_shape[-1] for name in (*CONVS, "fc6", "fc7", "fc8")]
    assert inputs == [3, 48, 128, 192, 192, 256, 4096, 4096]
    parameters = [
        *[11 * 11 * 3 * 48 + 48, 5 * 5 * 48 * 128 + 128, 3 * 3 * 128 * 192 + 192],
        *[3 * 3 * 192 * 192 + 192, 3 * 3 * 192 * 256 + 256],
        *[9216 * 4096 + 4096, 4096 * 4096 + 4096, 4096 * 1000 + 1000],
    ]
    assert [layers[name].parameters for name in (*CONVS, "fc6", "fc7", "fc8")] == parameters
    # "approximately the same number of parameters": within 3%
    assert total(net, "parameters") == pytest.approx(60_965_224, rel=0.03)


def test_one_tower_reads_everything():
    layers = traced(alexnet(towers=1))
    assert [layers[name].input_shape[-1] for name in CONVS] == [3, 96, 256, 384, 384]


def test_six_convolutions():
    net = alexnet(sixth_conv=256)
    layers = traced(net)
    at = names(net).index("conv6")
    assert names(net)[at - 1 : at + 4] == ["pool5", "conv6", "relu_conv6", "fc6", "relu6"]
    assert layers["conv6"].input_shape == (6, 6, 256)
    assert layers["conv6"].output_shape == (6, 6, 128)
    assert layers["fc6"].input_shape == (6, 6, 256)
    assert row(net, "conv6") == Conv("conv6", 256, 3, pad=1, reads="all", std=0.03, bias=1.0)
    assert total(net, "parameters") == 60_965_224 + 3 * 3 * 256 * 256 + 256


def test_nonoverlapping_pooling_keeps_the_sizes():
    net = alexnet(overlapping_pool=False)
    assert all(row(net, name) == Pool(name, 2, 2) for name in POOLS)
    found = sides(net, "conv1", "pool1", "conv2", "pool2", "conv3", "conv4", "conv5", "pool5")
    assert found == [55, 28, 26, 13, 13, 13, 11, 6]
    assert total(net, "parameters") == 60_965_224


def test_towers_that_do_not_communicate():
    """Run 150: conv2 of 160 kernels per tower; fc8 still reads both."""
    net = alexnet(communicate=False, kernels=(96, 320, 384, 384, 256), hidden=(8192, 4096))
    layers = traced(net)
    reads = [layers[name].input_shape[-1] for name in (*CONVS, "fc6", "fc7", "fc8")]
    assert reads == [3, 48, 160, 192, 192, 128, 4096, 4096]
    assert layers["conv3"].parameters == 2 * (3 * 3 * 160 * 192 + 192)
    assert layers["fc6"].parameters == 2 * (6 * 6 * 128 * 4096 + 4096)
    assert layers["fc7"].parameters == 2 * (4096 * 2048 + 2048)


def test_the_net_of_cuda_convnet2():
    """torchvision's `alexnet` has the same layers, and 61,100,840 parameters."""
    net = build("cc2", classes=1000)
    layers = traced(net)
    assert net.image_size == 224
    assert " ".join(names(net)) == (
        "conv1 norm1 pool1 relu1 conv2 relu2 norm2 pool2 conv3 relu3 conv4 relu4 conv5 pool5 relu5"
        " fc6 relu6 drop6 fc7 relu7 drop7 fc8"
    )
    assert [layers[name].output_shape[-1] for name in CONVS] == [64, 192, 384, 256, 256]
    assert sides(net, *CONVS, *POOLS) == [55, 27, 13, 13, 13, 27, 13, 6]
    assert total(net, "parameters") == 61_100_840
    weighted = [row for row in net.rows if isinstance(row, table.Weighted)]
    assert [(row.std, row.bias) for row in weighted] == [
        *[(0.01, 0), (0.01, 1), (0.03, 0), (0.03, 1), (0.03, 1), (0.01, 1), (0.01, 1), (0.01, -7)]
    ]
    for norm in (row(net, "norm1"), row(net, "norm2")):
        assert (norm.size, norm.k, norm.beta) == (5, 2, 0.75)
        assert norm.scale == pytest.approx(1e-4 / 5)
    convs = [row for row in net.rows if isinstance(row, Conv)]
    assert [(conv.size, conv.stride, conv.padding) for conv in convs] == [
        *((11, 4, (0, 3)), (5, 1, (2, 2))),
        *[(3, 1, (1, 1))] * 3,
    ]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cifar_80sec", 145_578),
        ("cifar_19pct", 2432 + 25_632 + 51_264 + (4 * 4 * 64 * 10 + 10)),
        ("cifar_18pct", 2432 + 25_632 + 51_264 + (4 * 4 * 64 * 10 + 10)),
        (
            "cifar_conv_local_13pct",
            (75 * 64 + 64)
            + (25 * 64 * 64 + 64)
            + 36 * (9 * 64 * 32 + 32)
            + 36 * (9 * 32 * 32 + 32)
            + (36 * 32 * 10 + 10),
        ),
        (
            "cifar_conv_local_11pct",
            (75 * 64 + 64)
            + (25 * 64 * 64 + 64)
            + 36 * (9 * 64 * 64 + 64)
            + 36 * (9 * 64 * 32 + 32)
            + (36 * 32 * 10 + 10),
        ),
    ],
)
def test_parameters_of_the_cifar_nets(name, expected):
    assert total(build(name, classes=10), "parameters") == expected


@pytest.mark.parametrize("name", ["cifar_80sec", "cifar_19pct", "cifar_18pct"])
def test_maps_of_the_cifar_nets(name):
    net = build(name, classes=10)
    assert sides(net, "conv1", "pool1", "conv2", "pool2", "conv3", "pool3") == [32, 16, 16, 8, 8, 4]


@pytest.mark.parametrize(
    ("name", "initW"),
    [
        ("cifar_80sec", [1e-4, 0.01, 0.01, 0.1, 0.1]),
        ("cifar_19pct", [1e-4, 0.01, 0.01, 0.01]),
        ("cifar_18pct", [1e-4, 0.01, 0.01, 0.01]),
        ("cifar_conv_local_13pct", [1e-4, 0.01, 0.04, 0.04, 0.01]),
        ("cifar_conv_local_11pct", [1e-4, 0.01, 0.04, 0.04, 0.01]),
    ],
)
def test_first_weights_of_the_cifar_nets(name, initW):
    rows = [row for row in build(name, classes=10).rows if isinstance(row, table.Weighted)]
    assert [(row.std, row.bias) for row in rows] == [(std, 0) for std in initW]


@pytest.mark.parametrize("name", ["cifar_conv_local_13pct", "cifar_conv_local_11pct"])
def test_maps_of_the_conv_local_nets(name):
    net = build(name, classes=10)
    found = sides(net, "conv1", "pool1", "conv2", "pool2", "local3", "local4")
    assert found == [24, 12, 12, 6, 6, 6]
    for layer in ("local3", "local4"):  # initW=0.04, initB=0
        assert (row(net, layer).std, row(net, layer).bias) == (0.04, 0)


def test_response_norms_of_the_cifar_nets():
    for norm, size, scale, over in (
        (row(build("cifar_18pct", classes=10), "norm1"), 3, 5e-5 / 9, "space"),
        (row(build("cifar_conv_local_11pct", classes=10), "norm2"), 9, 1e-3 / 9, "maps"),
    ):
        assert (norm.size, norm.k, norm.beta, norm.over) == (size, 1, 0.75, over)
        assert norm.scale == pytest.approx(scale)


def test_classes_that_do_not_divide_over_the_towers_count_once():
    layers = traced(build("alexnet", classes=7))
    assert layers["fc8"].output_shape == (4,)
    assert layers["fc8"].neurons == 7
    assert layers["fc8"].parameters == 4096 * 7 + 7
    assert layers["fc8"].multiply_adds == 4096 * 7


# --- Ablations ------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", ["paper", "original"])
@pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
def test_removing_a_convolution_takes_its_relu_along_and_nothing_else(preset, number):
    net = alexnet(preset=preset)
    gone = {f"conv{number}", f"relu{number}"}
    found = build("alexnet", classes=1000, preset=preset, remove=f"conv{number}")
    assert names(found) == [name for name in names(net) if name not in gone]


def test_removing_a_fully_connected_layer_takes_its_dropout_along():
    gone = {"fc7", "relu7", "drop7"}
    assert names(alexnet(remove="fc7")) == [name for name in names(alexnet()) if name not in gone]
    assert traced(alexnet(remove="fc7"))["fc8"].input_shape == (4096,)


def test_removing_several_rows():
    gone = {"conv3", "relu3", "conv4", "relu4", "norm2"}
    found = alexnet(remove="conv3, conv4,norm2")
    assert names(found) == [name for name in names(alexnet()) if name not in gone]
    assert traced(found)["conv5"].input_shape == (13, 13, 128)  # its own tower's conv2


@pytest.mark.parametrize("kind", ["tanh", "sigmoid", "none"])
def test_an_activation_replaces_every_relu_and_its_name(kind):
    net = alexnet(sixth_conv=256, activation=kind)
    assert all(row.kind == kind for row in net.rows if isinstance(row, Activation))
    assert names(net) == [name.replace("relu", kind) for name in names(alexnet(sixth_conv=256))]
    assert total(net, "parameters") == total(alexnet(sixth_conv=256), "parameters")


@pytest.mark.parametrize("kind", ["relu", "tanh", "none"])
def test_a_nonlinearity_is_removed_by_either_name(kind):
    expected = [name.replace("relu", kind) for name in names(alexnet()) if name != "relu3"]
    for name in (f"{kind}3", "relu3"):
        assert names(alexnet(activation=kind, remove=name)) == expected


def test_a_word_that_a_row_does_not_know_is_refused_where_it_is_written(monkeypatch):
    with pytest.raises(UserError, match="relu1: kind='gelu': choose one of relu, tanh"):
        Activation("relu1", "gelu")
    with pytest.raises(UserError, match="pool1: kind='mex': choose one of max, avg; did you mean"):
        Pool("pool1", kind="mex")
    monkeypatch.setitem(NETS, "mine", lambda *, classes=10, image_size=8: Activation("a", "gelu"))
    with pytest.raises(UserError, match=r"^a: kind='gelu': choose one of"):
        configs.call(build, "net", {"name": "mine"}, classes=10)
    monkeypatch.setitem(NETS, "mine", lambda *, classes=10, image_size=8: [Conv("conv1", 4, 3)])
    with pytest.raises(UserError, match=r"NETS.'mine'. returned list, not a Net"):
        build("mine", classes=10)


@pytest.mark.parametrize("written", ["leaky_relu1", "relu1"])
def test_a_nonlinearity_whose_name_contains_relu_is_removed_as_the_table_shows_it(
    written, monkeypatch
):
    def mine(*, classes: int = 10, image_size: int = 8) -> table.Net:
        rows = (Conv("conv1", 4, 3), Activation("relu1"), Dense("fc2", classes))
        return table.Net("mine", image_size, classes, 1, rows)

    monkeypatch.setitem(NETS, "mine", mine)
    monkeypatch.setattr("alexnet.models.build.configs.check_types", lambda *_: None)
    monkeypatch.setattr("alexnet.models.table.choice", lambda *_: None)
    found = build("mine", classes=10, activation="leaky_relu", remove=written)
    assert names(found) == ["conv1", "fc2"]


def test_a_net_keeps_its_own_nonlinearities_and_rates(monkeypatch):
    """`activation` takes the place of ReLUs, `dropout` that of the usual rate."""

    def mine(*, classes: int = 10, image_size: int = 8) -> table.Net:
        first = Conv("conv1", 4, 3), Activation("tanh1", "tanh")
        rows = (*first, Dense("fc2", 4), Activation("relu2"), Dropout("drop2", 0.2))
        return table.Net("mine", image_size, classes, 1, (*rows, Dense("fc3", classes)))

    monkeypatch.setitem(NETS, "mine", mine)
    found = {row.name: row for row in build("mine", classes=10).rows}
    assert (found["tanh1"].kind, found["relu2"].kind, found["drop2"].rate) == ("tanh", "relu", 0.2)
    changed = build("mine", classes=10, activation="sigmoid", dropout=0.3)
    found = {row.name: row for row in changed.rows}
    kinds = found["tanh1"].kind, found["sigmoid2"].kind
    assert (*kinds, found["drop2"].rate) == ("tanh", "sigmoid", 0.3)
    assert "drop2" not in names(build("mine", classes=10, dropout=0))


def test_a_dropout_before_fc6_is_no_convolutions():
    found = names(build("torchvision_alexnet", classes=10, remove="conv5"))
    assert found[found.index("pool5") :][:3] == ["pool5", "drop5", "fc6"]
    assert "relu5" not in found


def test_without_norm():
    net = alexnet(norm=False)
    assert names(net) == [row.name for row in alexnet().rows if not isinstance(row, Norm)]


def test_dropout_rates():
    drops = [row for row in alexnet(dropout=0.25).rows if isinstance(row, Dropout)]
    assert drops == [Dropout("drop6", 0.25), Dropout("drop7", 0.25)]
    assert names(alexnet(dropout=0)) == [n for n in names(alexnet()) if not n.startswith("drop")]


def test_a_layer_may_have_a_single_kernel():
    net = alexnet(towers=1, kernels=(1, 1, 1, 1, 1))
    assert traced(net)["conv5"].output_shape == (13, 13, 1)


@pytest.mark.parametrize("name", NETS)
def test_layer_names_are_unique(name):
    found = names(build(name, classes=10))
    assert len(found) == len(set(found))


# --- What cannot be -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("alexnett", {}, "^name='alexnett': choose one of alexnet, cc2, pocket"),
        ("alexnet", {"remove": "tanh9", "activation": "tanh"}, "'tanh9'; did you mean 'tanh7'"),
        ("alexnet", {"kernel": 3}, "^kernel: .* did you mean 'kernels'"),
        ("cifar_80sec", {"towers": 2}, "^towers: net cifar_80sec has no such option"),
        ("alexnet", {"preset": "papper"}, "^preset='papper': choose one of paper, orig"),
        ("alexnet", {"init": "he"}, "^init='he': choose one of paper, original, caffe"),
        ("alexnet", {"activation": "gelu"}, "^activation='gelu': choose one of relu"),
        ("alexnet", {"dropout": 1.0}, "^dropout=1.0: a probability"),
        ("alexnet", {"dropout": -0.1}, "^dropout=-0.1: a probability"),
        ("alexnet", {"towers": "two"}, "^towers='two': expected a whole number"),
        ("alexnet", {"towers": 0}, "^towers=0: must be at least 1"),
        ("alexnet", {"image_size": 0}, "^image_size=0: must be at least 1"),
        ("alexnet", {"kernels": (96, 256)}, "kernels=.96, 256.: expected 5 whole numbers, for con"),
        ("alexnet", {"kernels": (1, 2, "3", 4, 5)}, "kernels=.1, 2, '3', 4, 5.: expected 5 whole"),
        ("alexnet", {"kernels": (96, 256, 384, 384, 256.0)}, "256.0.: expected 5 whole numbers"),
        ("alexnet", {"hidden": (1, 2, 3)}, "hidden=.1, 2, 3.: expected 2 whole numbers, for fc6, "),
        ("alexnet", {"hidden": (None, 2)}, "hidden=.None, 2.: expected 2 whole numbers"),
        ("alexnet", {"remove": "conv7"}, "no layer 'conv7'; did you mean 'conv"),
        ("alexnet", {"remove": "norm"}, "no layer 'norm'; did you mean 'norm"),
        ("alexnet", {"remove": ["conv4"]}, r"remove=\['conv4'\]: expected text"),
        ("alexnet", {"dropout": "a"}, "dropout='a': expected a number"),
        ("alexnet", {"remove": "fc8"}, "must end in a layer with 1000 outputs"),
        ("alexnet", {"image_size": 30}, "pool5 cannot read 1x1x128: a 3x3 window is larger"),
        ("alexnet", {"image_size": 7}, "conv1 cannot read 7x7x3: its 11x11 kernels are larger"),
        ("alexnet", {"image_size": 17}, "pool2 cannot read 1x1x128: a 3x3 window is larger"),
        ("alexnet", {"kernels": (96, 255, 384, 384, 256)}, "conv2 .* its 255 outputs do not div"),
        ("alexnet", {"hidden": (4096, 5)}, "fc7 .* its 5 outputs do not divide over 2 towers"),
        ("alexnet", {"kernels": (0, 256, 384, 384, 256)}, "conv1 .* has 0 outputs"),
    ],
)
def test_impossible_values_are_clear_errors(name, options, message):
    with pytest.raises(UserError, match=message):
        build(name, classes=1000, **options)


def test_maps_too_small_for_a_convolution_blame_the_pooling_before_it():
    with pytest.raises(UserError, match=r"conv5 cannot read .* remove a pooling layer before it"):
        alexnet(overlapping_pool=False, image_size=40)


def test_rows_that_a_layer_takes_along_may_be_named_as_well():
    assert alexnet(remove="fc6,drop6") == alexnet(remove="drop6,fc6") == alexnet(remove="fc6")


def test_maps_after_a_fully_connected_layer_are_an_error():
    net = table.Net("upside down", 8, 10, 1, (Dense("fc1", 10), Conv("conv2", 4, 3)))
    with pytest.raises(UserError, match="conv2 cannot read 10: it needs maps"):
        _ = net.layers


# --- The command ----------------------------------------------------------------------------------


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "alexnet.nets", *arguments]
    return subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)


def test_the_command_prints_the_table():
    done = command("alexnet", "--preset=paper")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "2 towers, input 224x224x3 (150,528 numbers), 1000 classes" in lines[0]
    assert lines[-1].split() == ["total", "659,272", "60,965,224", "724,406,816"]
    [conv1] = [line for line in lines if line.startswith("conv1")]
    assert conv1.split()[-4:] == ["55x55x96", "290,400", "34,944", "105,415,200"]


def test_the_command_takes_the_nets_options(capsys):
    nets.main(["alexnet", "--towers=1", "--kernels=48,128,192,192,256", "--norm=false"])
    found = capsys.readouterr().out
    assert "1 tower," in found
    assert "55x55x48" in found
    assert "response norm" not in found
    nets.main(["cifar_80sec"])
    assert "145,578" in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["alexnett"], "^no net is called 'alexnett': choose one of .*; did you mean 'alexnet'"),
        (
            ["alexnet", "--tower=1"],
            "--tower: net alexnet has no such option; did you mean 'towers'",
        ),
        (["alexnet", "--towers=two"], "--towers=two: expected a whole number"),
        (["alexnet", "--norm=maybe"], "--norm=maybe: expected true or false"),
        (["alexnet", "--norm"], "--norm: write --norm=value"),
        (["alexnet", "towers=1"], "stray argument 'towers=1'"),
        (["alexnet", "--name=pocket"], "--name"),
    ],
)
def test_a_mistaken_command_is_a_clear_error(arguments, message):
    with pytest.raises(UserError, match=message):
        nets.main(arguments)


def test_a_mistaken_command_ends_with_one_line():
    done = command("alexnet", "--remove=fc8")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: --remove='fc8': net alexnet (original) must end in")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"norm": False}, "^norm=False: net cifar_80sec has no response norm"),
        ({"dropout": 0.3}, "^dropout=0.3: net cifar_80sec has no dropout"),
    ],
)
def test_what_a_net_does_not_have_cannot_be_changed(options, message):
    with pytest.raises(UserError, match=message):
        build("cifar_80sec", classes=10, **options)
    assert build("cifar_80sec", classes=10, dropout=0) == build("cifar_80sec", classes=10)


# --- The pocket net has the paper's ablations -----------------------------------------------------


def rows_of(**options) -> dict[str, table.Row]:
    return {row.name: row for row in build("pocket", classes=10, **options).rows}


def test_the_pocket_nets_sizes_do_not_change_without_overlap():
    for overlapping in (True, False):
        net = build("pocket", classes=10, overlapping_pool=overlapping)
        assert sides(net, *POOLS) == [14, 7, 3]


def test_the_pocket_nets_towers_that_do_not_communicate_meet_in_fc8():
    assert {n for n, row in rows_of().items() if row.reads_all} == {"conv3", "fc6", "fc7", "fc8"}
    assert {n for n, row in rows_of(communicate=False).items() if row.reads_all} == {"fc8"}


@pytest.mark.parametrize("preset", ["paper", "original"])
def test_the_pocket_nets_presets_are_the_papers_rows(preset):
    def order(name: str) -> list[str]:
        return [row.name for row in build(name, classes=10, preset=preset).rows]

    assert order("pocket") == order("alexnet")
    norms = [row for row in rows_of(preset=preset).values() if isinstance(row, table.Norm)]
    assert {row.alpha_divided for row in norms} == {preset == "original"}


@pytest.mark.parametrize("init", ["paper", "original", "caffe"])
def test_the_pocket_nets_first_weights_are_the_papers(init):
    ours, papers = rows_of(init=init), build("alexnet", classes=10, init=init)
    for row in papers.weighted:
        assert (ours[row.name].std, ours[row.name].bias) == (row.std, row.bias), row.name


def test_the_pocket_nets_own_first_weights_stay_those_of_earlier_runs():
    rows = rows_of(init="", sixth_conv=24)
    found = {name: (row.std, row.bias) for name, row in rows.items() if hasattr(row, "std")}
    others = {f"conv{n}": (0.05, 0.1) for n in (2, 4, 5, 6)} | {
        f"fc{n}": (0.05, 0.1) for n in (6, 7)
    }
    assert found == others | {"conv1": (0.01, 0.0), "conv3": (0.05, 0.0), "fc8": (0.05, 0.0)}


def test_the_pocket_net_takes_kernels_neurons_and_a_sixth_convolution():
    rows = rows_of(towers=1, kernels=(16, 32, 48, 48, 64), hidden=(128, 64), sixth_conv=24)
    assert [rows[f"conv{n}"].kernels for n in range(1, 7)] == [16, 32, 48, 48, 64, 24]
    assert [rows[f"fc{n}"].neurons for n in (6, 7)] == [128, 64]
    with pytest.raises(UserError, match=r"^kernels=\(1, 2\): expected 5 whole numbers"):
        rows_of(kernels=(1, 2))
    with pytest.raises(UserError, match=r"^preset='papr': .* did you mean 'paper'"):
        rows_of(preset="papr")


def test_a_net_knows_its_layers_and_is_a_table_in_a_notebook():
    net = alexnet(remove="conv4")
    assert [layer.row for layer in net.layers] == list(net.rows)
    html = net._repr_html_()
    assert "60,301,288" in html
    assert html.count("<tr>") == len(net.rows) + 2
