"""alexnet.formats.weights: a file of our own holds the net that it says, or is refused."""

from pathlib import Path

import numpy as np
import pytest
from safetensors import numpy as library
from support import thin

from alexnet.errors import UserError
from alexnet.formats import safetensors, weights
from alexnet.models import table

CLASSES = 3
CONVS = ("conv1", "conv2", "conv3", "conv4", "conv5")
PARAMS = {
    "conv1": {"kernel": np.ones((1, 2, 2, 3, 4), "f"), "bias": np.zeros((1, 4), "f")},
    "fc2": {"kernel": np.full((1, 16, CLASSES), 2, "f"), "bias": np.arange(3.0, dtype="f")[None]},
}


def net(classes: int = CLASSES, kernels: int = 4) -> table.Net:
    rows = (table.Conv("conv1", kernels, 2, std=0.1), table.Dense("fc2", classes, std=0.1))
    return table.Net("small", 3, classes, 1, rows)


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "net.safetensors"
    described = {"config": {"seed": 1}, "class_names": ["a", "b", "c"]}
    kept = {"mean_HWC": np.full((3, 3, 3), 7, "f")}
    path.write_bytes(weights.content("own", net(), PARAMS, described, kept))
    return path


def read(path: Path, make_net=net):
    return weights.read_weights(path, "small", make_net, lambda config: None)


def test_what_is_written_comes_back(file):
    found, params, kept = read(file)
    assert found == net()
    assert {layer: set(parts) for layer, parts in params.items()} == {
        layer: set(parts) for layer, parts in PARAMS.items()
    }
    for layer, parts in PARAMS.items():
        for part, array in parts.items():
            np.testing.assert_array_equal(params[layer][part], array)
    assert weights.about(file)["class_names"] == ["a", "b", "c"]
    assert kept.keys() == {"mean_HWC"}
    np.testing.assert_array_equal(kept["mean_HWC"], np.full((3, 3, 3), 7))
    assert weights.about(Path("alexnet.caffemodel")) == {}


@pytest.mark.parametrize("name", ["conv1.kernel", "fc2.bias", "statistics.mean_HWC"])
def test_a_file_with_one_other_number_is_damaged(file, name):
    arrays, metadata = safetensors.read_safetensors(file)
    arrays[name] = arrays[name].copy()
    arrays[name].flat[0] += 1
    file.write_bytes(library.save(arrays, metadata))
    with pytest.raises(UserError, match=r"net.safetensors is damaged .its digest differs.: export"):
        read(file)
    del metadata["sha256"]  # earlier versions wrote none
    file.write_bytes(library.save(arrays, metadata))
    read(file)


def test_a_file_with_the_same_numbers_in_another_shape_is_damaged(file):
    arrays, metadata = safetensors.read_safetensors(file)
    arrays["statistics.mean_HWC"] = arrays["statistics.mean_HWC"].reshape(9, 3)
    file.write_bytes(library.save(arrays, metadata))
    with pytest.raises(UserError, match=r"net.safetensors is damaged .its digest differs.: export"):
        read(file)


def test_a_file_without_a_last_bias_is_taken_to_be_imagenets(file):
    """Only the bias is reported: all else fits the 1000 classes."""
    name = "torchvision_alexnet"
    arrays = thin.weights(name, classes=1000)
    del arrays["classifier.6.bias"]
    file.write_bytes(library.save(arrays))
    with pytest.raises(UserError, match=r"^classifier.6.bias is missing in .* and \(1000,\) in"):
        weights.read_weights(file, name, lambda n: thin.thin(name)(classes=n), pytest.fail)


def test_weights_of_another_net_are_named(file):
    with pytest.raises(UserError, match=r"^conv1.bias is .1, 4. in .*net.safetensors and .1, 5. "):
        read(file, lambda classes: net(classes, kernels=5))


@pytest.mark.parametrize("name", ["torchvision_alexnet", "caffe_alexnet", "caffenet"])
def test_a_frameworks_file_is_read_by_its_names(tmp_path, name):
    arrays = thin.weights(name, classes=7)
    if name == "torchvision_alexnet":
        path, last = tmp_path / "net.safetensors", "classifier.6"
        path.write_bytes(library.save(arrays))
    else:
        path, last = tmp_path / "net.caffemodel", "fc8"
        path.write_bytes(thin.caffemodel(arrays, thin.ORDER[name]))
    found, params, kept = weights.read_weights(
        path, name, lambda classes: thin.thin(name)(classes=classes), pytest.fail
    )
    assert (found, set(params)) == (thin.thin(name)(classes=7), {*CONVS, "fc6", "fc7", "fc8"})
    assert kept == {}
    kernel = np.concatenate(params["fc8"]["kernel"], -1)[:, :7]  # [inputs, outputs]
    np.testing.assert_array_equal(kernel, arrays[f"{last}.weight"].T)


def test_a_file_of_caffes_other_net_is_refused(tmp_path):
    """Their weights have the same shapes."""
    path = tmp_path / "net.caffemodel"
    path.write_bytes(thin.caffemodel(thin.weights("caffenet"), thin.ORDER["caffenet"]))
    make_net = thin.thin("caffe_alexnet")
    with pytest.raises(UserError, match=r"net.caffemodel has pool1 before norm1, but net"):
        weights.read_weights(path, "caffe_alexnet", lambda n: make_net(classes=n), pytest.fail)


def test_torchvisions_names_are_only_for_a_safetensors_file_of_its_net():
    theirs = {"name": "torchvision_alexnet", "activation": "relu", "remove": ""}
    theirs |= {"image_size": 224}
    for target, net, words in (
        ("a.stablehlo", theirs, "only possible for a .safetensors of net torchvision_alexnet"),
        ("a.safetensors", theirs | {"name": "pocket"}, "only possible for a .safetensors of net"),
        ("a.safetensors", theirs | {"activation": "tanh"}, "torchvision's AlexNet has ReLUs, this"),
        ("a.safetensors", theirs | {"image_size": 128}, "torchvision's AlexNet reads 224 pixels"),
        ("a.safetensors", theirs | {"remove": "relu3"}, "torchvision's AlexNet has all its layers"),
    ):
        weights.check_names(Path(target), "own", net)
        with pytest.raises(UserError, match=f"^names='torchvision': {words}"):
            weights.check_names(Path(target), "torchvision", net)
    weights.check_names(Path("a.safetensors"), "torchvision", theirs)
