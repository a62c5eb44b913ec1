"""alexnet.formats.caffe: .caffemodel files, whole and not."""

import numpy as np
import pytest
from support import reference, thin

from alexnet.errors import UserError
from alexnet.formats import caffe, layout
from alexnet.models import network
from alexnet.text import difference

ORDER = thin.ORDER["caffenet"]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.caffemodel"


@pytest.mark.parametrize("old", [False, True])
def test_arrays_names_and_order_are_those_of_the_file(path, old):
    arrays = thin.weights("caffenet")
    path.write_bytes(thin.caffemodel(arrays, ORDER, old))
    found, order = caffe.read_caffemodel(path)
    assert order == list(ORDER)
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], array)


def test_a_file_cut_anywhere_is_one_line(path):
    """A file cut within a message is damaged; cut between two, it lacks arrays of the net."""
    arrays = thin.weights("caffenet")
    whole = thin.caffemodel(arrays, ORDER)
    between = len(thin.caffemodel(arrays, ORDER[: ORDER.index("fc7")]))
    net = thin.thin("caffenet")(classes=7)
    lines = []

    def read_and_check():
        found = {name: array.shape for name, array in caffe.read_caffemodel(path)[0].items()}
        if line := difference(found, str(path), layout.shapes(net, caffe.NAMES), "the net"):
            raise UserError(line)

    for end in (between, *range(0, len(whole), len(whole) // 40)):
        path.write_bytes(whole[:end])
        with pytest.raises(UserError, match=str(path)) as caught:
            read_and_check()
        lines.append(str(caught.value))
    assert "fc7.weight is missing in" in lines[0]
    assert sum("damaged" in line for line in lines) > 30
    assert not any("\n" in line for line in lines)


@pytest.mark.parametrize(
    "content", [b"", b"name: 'CaffeNet'\n", b"\x89HDF\r\n\x1a\n" + bytes(100), bytes(1000)]
)
def test_other_files_are_refused(path, content):
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"net.caffemodel is (damaged, or )?not a .caffemodel"):
        caffe.read_caffemodel(path)


def test_a_blob_with_too_few_numbers_is_damaged(path):
    whole = thin.caffemodel({"conv1.weight": np.ones((2, 3), np.float32)}, ["conv1"])
    path.write_bytes(whole.replace(b"\x02\x03", b"\x02\x04"))  # its shape
    with pytest.raises(UserError, match=r"conv1.weight is damaged: 6 numbers for shape \(2, 4\)"):
        caffe.read_caffemodel(path)


# --- Against another reader -----------------------------------------------------------------------

CONV = """layer {{ name: "{0}" type: "Convolution" bottom: "{1}" top: "{0}" convolution_param {{
  num_output: {2} kernel_size: {3} stride: {4} pad: {5} group: {6} }} }}
layer {{ name: "relu{7}" type: "ReLU" bottom: "{0}" top: "{0}" }}"""
NORM = """layer {{ name: "{0}" type: "LRN" bottom: "{1}" top: "{0}"
  lrn_param {{ local_size: 5 alpha: 0.0001 beta: 0.75 }} }}"""
POOL = """layer {{ name: "{0}" type: "Pooling" bottom: "{1}" top: "{0}"
  pooling_param {{ pool: MAX kernel_size: 3 stride: 2 }} }}"""
FC = """layer {{ name: "{0}" type: "InnerProduct" bottom: "{1}" top: "{0}"
  inner_product_param {{ num_output: {2} }} }}"""
RELU = 'layer {{ name: "relu{0}" type: "ReLU" bottom: "fc{0}" top: "fc{0}" }}'


def prototxt(pool_first: bool) -> str:
    """Caffe's description of the thin net."""
    lines, bottom = ['input: "data" input_dim: 1 input_dim: 3 input_dim: 99 input_dim: 99'], "data"
    for n, (kernels, size, stride, pad, group) in enumerate(
        [(8, 11, 4, 0, 1), (12, 5, 1, 2, 2), (16, 3, 1, 1, 1), (12, 3, 1, 1, 2), (8, 3, 1, 1, 2)], 1
    ):
        lines.append(CONV.format(f"conv{n}", bottom, kernels, size, stride, pad, group, n))
        bottom = f"conv{n}"
        ends = [(NORM, f"norm{n}"), (POOL, f"pool{n}")] if n < 3 else []
        ends = [(POOL, "pool5")] if n == 5 else ends[::-1] if pool_first else ends
        for line, name in ends:
            lines.append(line.format(name, bottom))
            bottom = name
    for n, neurons in ((6, 12), (7, 10), (8, 7)):
        lines.append(FC.format(f"fc{n}", bottom, neurons))
        lines += [RELU.format(n)] if n < 8 else []
        bottom = f"fc{n}"
    return "\n".join(lines)


@pytest.mark.slow
@pytest.mark.parametrize("name", caffe.NETS)
def test_logits_are_those_of_opencvs_caffe_reader(path, tmp_path, name):
    cv2 = pytest.importorskip("cv2")
    path.write_bytes(thin.caffemodel(thin.weights(name), thin.ORDER[name]))
    (tmp_path / "deploy.prototxt").write_text(prototxt(name == "caffenet"))
    images = thin.images(name)
    theirs = cv2.dnn.readNetFromCaffe(str(tmp_path / "deploy.prototxt"), str(path))
    bgr = images[..., ::-1] - np.float32([104.007, 116.669, 122.679])
    found = []
    for image in bgr:
        theirs.setInput(np.ascontiguousarray(image.transpose(2, 0, 1)[None], np.float32))
        found.append(theirs.forward()[0].copy())

    net = thin.thin(name)(classes=7)
    params = layout.ours(net, caffe.NAMES, caffe.read_caffemodel(path)[0])
    rgb = images - np.float32([122.679, 116.669, 104.007])
    logits, _ = network.apply(net, params, rgb)
    wanted = reference.caffe(thin.weights(name), images, pool_first=name == "caffenet")
    for other in (found, logits):
        np.testing.assert_allclose(other, wanted, rtol=0, atol=2e-5 * np.abs(wanted).max())
