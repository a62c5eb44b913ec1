"""The cost of a training step, computed from the net's table: FLOP, memory, exchange.

Nothing is run, and nothing here needs JAX. Arrays are float32 unless `number` says otherwise.
`alexnet.roofline` prints the costs.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

from alexnet.models.table import Layer, Net

FLOAT32 = 4  # bytes


class Cost(NamedTuple):
    """A row's cost for `batch` images in one tower: the first two in FLOP, the others in bytes."""

    name: str
    forward: float  # 2 FLOP for each multiply-add; norms, pools and activations are not counted
    training: float  # with two gradients: 3 x forward; 2 x for the layer that reads the image
    weights: float  # of weights and biases
    kept: float  # of the output, for the gradient; activations and dropout overwrite their input
    received: float  # the outputs of other towers that this one reads; kept as well
    traffic: float  # to and from memory in a training step, see `_traffic`


def costs(net: Net, batch: float) -> tuple[Cost, ...]:
    """One tower's costs, row by row."""
    found = []
    for layer in net.layers:
        row = layer.row
        forward = 2 * layer.multiply_adds / net.towers * batch
        training = forward * (2 if row is net.weighted[0] else 3)
        weights = layer.parameters / net.towers
        kept = 0 if row.in_place else math.prod(layer.output_shape) * batch
        read = math.prod(layer.input_shape) if layer.gathers else 0
        received = read * (net.towers - 1) / net.towers * batch
        numbers = (weights, kept, received, sum(_traffic(net, layer, batch)))
        found.append(Cost(row.name, forward, training, *(FLOAT32 * n for n in numbers)))
    return tuple(found)


def least_seconds(
    net: Net,
    batch: float,
    product: float,
    copy: float = math.inf,
    training: bool = True,
    number: int = FLOAT32,
) -> float:
    """The roofline in seconds: a row takes the time of its FLOP or its bytes, whichever is longer.

    All towers are on one device, and each moves its own copy of what several of them read.

    Args:
        product: FLOP per second.
        copy: bytes per second, to and from memory together.
        training: whether to take a training step, or only a forward pass.
        number: bytes per number in the maps; weights have four.
    """
    seconds = 0.0
    for layer, row in zip(net.layers, costs(net, batch), strict=True):
        maps, weights = _traffic(net, layer, batch, training)
        work = row.training if training else row.forward
        seconds += max(work / product, (number * maps + FLOAT32 * weights) / copy)
    return seconds * net.towers


def _traffic(net: Net, layer: Layer, batch: float, training: bool = True) -> tuple[float, float]:
    """How many numbers, of maps and of weights, one tower moves to and from memory for a row.

    With input x, output y, weights w and gradients dx, dy, dw: forward x, w -> y; weight gradient
    x, dy -> dw; input gradient dy, w -> dx (not for the first layer); momentum update w, v, dw ->
    w, v. Norm and pool: x -> y and x, dy -> dx. Activations and dropout are assumed to be fused
    with their neighbours. Each pass moves its arrays once.
    """
    if layer.row.in_place:
        return 0, 0
    x, y = (math.prod(shape) * batch for shape in (layer.input_shape, layer.output_shape))
    weights = layer.parameters / net.towers
    if not training:
        return x + y, weights
    if not weights:
        return 3 * x + 2 * y, 0
    reads_images = layer.row is net.weighted[0]
    return (2 * (x + y), 7 * weights) if reads_images else (3 * (x + y), 8 * weights)


class Collective(NamedTuple):
    """An array of `size` bytes, gathered, reduced or both among `devices`, around a ring."""

    kind: str  # all-gather, reduce-scatter or all-reduce
    size: float
    devices: int

    @property
    def sent(self) -> float:
        """Bytes that each device sends, and receives."""
        passes = 2 if self.kind == "all-reduce" else 1
        return passes * (self.devices - 1) / self.devices * self.size

    @property
    def result(self) -> float:
        """Bytes of its result on each device: what compiled HLO shows."""
        return self.size / self.devices if self.kind == "reduce-scatter" else self.size


def tower_exchange(net: Net, images: float, tower: int) -> tuple[Collective, ...]:
    """The paper's scheme (section 3.2), for `images`, with the towers split over `tower` devices.

    Where a row reads all towers, its input is gathered. In the backward pass every device has a
    gradient for the whole input; these gradients are summed and scattered. Weights never travel.
    """
    if tower == 1:
        return ()
    read = [math.prod(layer.input_shape) for layer in net.layers if layer.gathers]
    sizes = [numbers * images * FLOAT32 for numbers in read]
    return (
        *(Collective("all-gather", size, tower) for size in sizes),
        *(Collective("reduce-scatter", size, tower) for size in reversed(sizes)),
    )


def gradient_exchange(net: Net, data: int, tower: int = 1) -> tuple[Collective, ...]:
    """Data parallelism: each device's gradients are averaged over the `data` parts of the batch."""
    size = sum(layer.parameters for layer in net.layers) / tower * FLOAT32
    return (Collective("all-reduce", size, data),) if data > 1 else ()


def sent(exchange: Iterable[Collective]) -> float:
    """Bytes that a device sends in all of them."""
    return sum(collective.sent for collective in exchange)


def results(exchange: Iterable[Collective]) -> float:
    """Bytes that a device has afterwards, of all of them."""
    return sum(collective.result for collective in exchange)
