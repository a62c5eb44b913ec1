"""How other frameworks lay out parameters: outputs first, then channels, then pixels.

A Caffe group is a tower here: outputs are split over the towers in order, and a layer reads as
many channels as one tower sees. `names` says what the file calls each layer, which has `.weight`
(outputs, channels, height, width) or (outputs, channels x height x width) and `.bias` (outputs).
"""

from collections.abc import Iterator

import numpy as np

from alexnet.models.table import Conv, Layer, Net, Weighted

Arrays = dict[str, np.ndarray]
Params = dict[str, dict[str, np.ndarray]]


def shapes(net: Net, names: dict[str, str]) -> dict[str, tuple[int, ...]]:
    """The shapes of all arrays in a file of this net."""
    found: dict[str, tuple[int, ...]] = {}
    for layer, (height, width, channels), outputs in _weighted(net):
        convolution = isinstance(layer.row, Conv)
        shape = (channels, height, width) if convolution else (channels * height * width,)
        name = names[layer.row.name]
        found |= {f"{name}.weight": (outputs, *shape), f"{name}.bias": (outputs,)}
    return found


def ours(net: Net, names: dict[str, str], arrays: Arrays) -> Params:
    """The net's parameters from a file's arrays, whose shapes are `shapes(net, names)`."""
    params = {}
    for layer, (height, width, channels), outputs in _weighted(net):
        name, each = names[layer.row.name], layer.output_shape[-1]
        spare = net.towers * each - outputs  # the towers' outputs can exceed the classes
        weight = np.pad(
            arrays[f"{name}.weight"].reshape(outputs, channels, height, width),
            ((0, spare), (0, 0), (0, 0), (0, 0)),
        )
        kernel = weight.reshape(net.towers, each, channels, height, width).transpose(0, 3, 4, 2, 1)
        if not isinstance(layer.row, Conv):
            kernel = kernel.reshape(net.towers, -1, each)
        bias = np.pad(arrays[f"{name}.bias"], (0, spare)).reshape(net.towers, each)
        params[layer.row.name] = {"kernel": np.ascontiguousarray(kernel), "bias": bias}
    return params


def theirs(net: Net, names: dict[str, str], params: Params) -> Arrays:
    """The reverse of `ours`."""
    arrays: Arrays = {}
    expected = shapes(net, names)
    for layer, pixels, outputs in _weighted(net):
        name, kernel = names[layer.row.name], params[layer.row.name]["kernel"]
        kernel = kernel.reshape(net.towers, *pixels, -1).transpose(0, 4, 3, 1, 2)
        weight = kernel.reshape(-1, *pixels)[:outputs].reshape(expected[f"{name}.weight"])
        bias = params[layer.row.name]["bias"].reshape(-1)[:outputs]
        arrays |= {f"{name}.weight": np.ascontiguousarray(weight), f"{name}.bias": bias}
    return arrays


def _weighted(net: Net) -> Iterator[tuple[Layer, tuple[int, int, int], int]]:
    """For layers with weights: (layer, (height, width, channels) that an output reads, outputs)."""
    for layer in net.layers:
        row = layer.row
        if isinstance(row, Conv):
            yield layer, (row.size, row.size, layer.input_shape[-1]), row.outputs
        elif isinstance(row, Weighted):
            *space, channels = layer.input_shape
            yield layer, (*(space or (1, 1)), channels), row.outputs
