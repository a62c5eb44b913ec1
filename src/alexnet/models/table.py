"""What a network is: a table with one row per layer, and the shapes that follow from it.

A net is data, a tuple of small rows. The files beside this one write networks down, `ops` has the
operations and `network` interprets the rows. Sizes count the whole net, over all towers: a `Conv`
of 256 kernels in two towers is 128 in each. Nothing here needs JAX.
"""

import dataclasses
import math
from typing import Literal, get_args

from alexnet.errors import UserError

# Which towers a layer reads: its own tower only, or all of them (the paper's "takes input from all
# kernel maps in layer 2"). The image is seen by every tower.
Reads = Literal["own", "all"]


@dataclasses.dataclass(frozen=True)
class Conv:
    """Convolution of `kernels` square filters; weights ~ N(0, std), biases constant."""

    name: str
    kernels: int
    size: int
    stride: int = 1
    pad: int | tuple[int, int] = 0  # pixels of zeros (before, after), the same in both directions
    reads: Reads = "own"
    std: float = 0.01
    bias: float = 0.0


@dataclasses.dataclass(frozen=True)
class Local:
    """Locally-connected layer: a convolution, stride 1, whose filters differ at each position."""

    name: str
    kernels: int
    size: int
    pad: int = 0
    reads: Reads = "own"
    std: float = 0.04
    bias: float = 0.0


@dataclasses.dataclass(frozen=True)
class Dense:
    """Fully-connected layer."""

    name: str
    neurons: int
    reads: Reads = "all"
    std: float = 0.01
    bias: float = 0.0


Nonlinearity = Literal["relu", "tanh", "sigmoid", "none"]  # functions of `models.ops`
ACTIVATIONS: tuple[Nonlinearity, ...] = get_args(Nonlinearity)


@dataclasses.dataclass(frozen=True)
class Activation:
    """The nonlinearity (section 3.1)."""

    name: str
    kind: Nonlinearity = "relu"


@dataclasses.dataclass(frozen=True)
class Norm:
    """Response normalisation (section 3.3): b = a / (k + alpha * sum of a^2 over size)^beta.

    The sum runs over `size` adjacent kernel maps (`over="maps"`), of the same tower or, where it
    `reads` "all", across towers as in Caffe; or over a size x size neighbourhood within each map
    (`over="space"`). The text multiplies the sum by alpha; the source divides alpha by the number
    of terms first (`alpha_divided`).
    """

    name: str
    size: int = 5
    k: float = 2.0
    alpha: float = 1e-4
    beta: float = 0.75
    alpha_divided: bool = True
    over: Literal["maps", "space"] = "maps"
    reads: Reads = "own"

    @property
    def scale(self) -> float:
        """What the sum of squares is multiplied by."""
        terms = self.size if self.over == "maps" else self.size**2
        return self.alpha / terms if self.alpha_divided else self.alpha


@dataclasses.dataclass(frozen=True)
class Pool:
    """Pooling, window `size` (the paper's z), `stride` s; overlapping when s < z (section 3.4).

    Windows may hang over the right and lower edge (the output size is rounded up); an average
    there divides by what lies inside the map, as in cuda-convnet.
    """

    name: str
    size: int = 3
    stride: int = 2
    kind: Literal["max", "avg"] = "max"


@dataclasses.dataclass(frozen=True)
class Dropout:
    """Zeroes each output with probability `rate` in training (section 4.2).

    As in the paper, outputs are multiplied by 1 - rate at test time; `inverted` divides by it in
    training instead, as today's libraries do.
    """

    name: str
    rate: float = 0.5
    inverted: bool = False


Row = Conv | Local | Dense | Activation | Norm | Pool | Dropout
Weighted = Conv | Local | Dense


@dataclasses.dataclass(frozen=True)
class Pixels:
    """How a net takes its input: colours divided by `deviation`, those of RGB, then in `order`."""

    order: Literal["RGB", "BGR"] = "RGB"
    deviation: tuple[float, float, float] = (1.0, 1.0, 1.0)


@dataclasses.dataclass(frozen=True)
class Net:
    """A table: `rows` applied to images of image_size x image_size x 3, split over `towers`."""

    name: str
    image_size: int
    classes: int
    towers: int
    rows: tuple[Row, ...]
    pixels: Pixels = Pixels()


@dataclasses.dataclass(frozen=True)
class Layer:
    """A row in its place: shapes as one tower sees them, sizes summed over all towers."""

    row: Row
    input_shape: tuple[int, ...]  # (H, W, C) or (features,), what ONE tower reads
    output_shape: tuple[int, ...]  # what one tower gives
    neurons: int
    parameters: int
    multiply_adds: int  # forward, one image


def layers(net: Net) -> tuple[Layer, ...]:
    """Follows the shapes through the table.

    Raises:
        UserError: naming the row that does not fit its input.
    """
    shape, reads_image = (net.image_size, net.image_size, 3), True
    traced = []
    for row in net.rows:
        own = source = shape
        if isinstance(row, Weighted | Norm) and row.reads == "all" and not reads_image:
            source = (*shape[:-1], shape[-1] * net.towers)
        shape = _output_shape(net, row, source)
        if isinstance(row, Norm):
            shape = own  # a tower norms its own maps, whatever it reads
        weights = biases = positions = 0
        if isinstance(row, Weighted):
            reads_image = False
            positions = math.prod(shape[:-1])
            fan_in = math.prod(source)
            if not isinstance(row, Dense):
                fan_in = row.size**2 * source[-1]
            weights, biases = fan_in * shape[-1], shape[-1]
            if isinstance(row, Local):
                weights, biases = weights * positions, biases * positions
        count = math.prod(shape) * net.towers
        multiply_adds = net.towers * (weights if isinstance(row, Local) else weights * positions)
        parameters = net.towers * (weights + biases)
        if row is net.rows[-1]:  # towers share the classes; an odd one out is no real neuron
            used = net.classes / count
            count, parameters = net.classes, round(parameters * used)
            multiply_adds = round(multiply_adds * used)
        traced.append(Layer(row, source, shape, count, parameters, multiply_adds))
    return tuple(traced)


def _output_shape(net: Net, row: Row, shape: tuple[int, ...]) -> tuple[int, ...]:
    def misfit(reason: str) -> UserError:
        size = "x".join(map(str, shape))
        return UserError(f"net {net.name}: {row.name} cannot read {size}: {reason}")

    if isinstance(row, Conv | Local | Pool | Norm) and len(shape) != 3:
        raise misfit("it needs maps, and a fully-connected layer comes before it")
    if isinstance(row, Weighted):
        out = row.neurons if isinstance(row, Dense) else row.kernels
        if out < 1:
            raise misfit(f"it has {out} outputs; it needs at least 1")
        if row is not net.rows[-1] and out % net.towers:
            raise misfit(f"its {out} outputs do not divide over {net.towers} towers")
        features = math.ceil(out / net.towers)
    if isinstance(row, Dense):
        return (features,)
    if isinstance(row, Conv | Local):
        pad = sum(padding(row))
        side = (shape[0] + pad - row.size) // getattr(row, "stride", 1) + 1
        if side < 1:
            raise misfit(
                f"its {row.size}x{row.size} kernels are larger than the padded map; "
                "remove a pooling layer before it, or feed a larger image"
            )
        return (side, side, features)
    if isinstance(row, Norm) and row.size % 2 == 0:
        raise misfit(f"its window of {row.size} has no centre; its size must be odd")
    if isinstance(row, Pool):
        if row.stride > row.size:
            raise misfit(f"its stride {row.stride} would skip over what its {row.size} cannot see")
        if shape[0] < row.size:
            raise misfit(
                f"its {row.size}x{row.size} window is larger than the map; "
                "keep fewer pooling layers, or feed a larger image"
            )
        side = pooled_side(shape[0], row.size, row.stride)
        return (side, side, shape[-1])
    return shape


def pooled_side(side: int, size: int, stride: int) -> int:
    """Windows may hang over the lower and right edge: the number of windows is rounded up."""
    return math.ceil((side - size) / stride) + 1


def padding(row: Conv | Local) -> tuple[int, int]:
    """Pixels of zeros (before, after) each spatial direction."""
    return row.pad if isinstance(row.pad, tuple) else (row.pad, row.pad)
