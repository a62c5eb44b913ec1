"""What a network is: a table with one row per layer, and the shapes that follow from it.

A net is data, a tuple of small rows. A row knows its output shape, its parameters, its
multiply-adds and its description. `alexnet`, `cuda_convnet` and `frameworks` define the networks,
`ops` has the operations and `network` runs the rows. Sizes count the whole net, over all towers: a
`Conv` of 256 kernels in two towers is 128 in each. Nothing here needs JAX.
"""

import dataclasses
import math
from typing import ClassVar, Literal, get_args, get_origin

from alexnet.errors import UserError, choice

Shape = tuple[int, ...]  # (H, W, C), or (features,) after a Dense or GlobalPool row

# Which towers a layer reads: its own tower only, or all of them (the paper's "take input from all
# kernel maps in layer 2", section 3.2). Every tower sees the image.
Reads = Literal["own", "all"]

Nonlinearity = Literal["relu", "tanh", "sigmoid", "none"]  # functions of `models.ops`


@dataclasses.dataclass(frozen=True)
class Row:
    """A layer. The defaults here suit rows without weights that keep their input's shape.

    Attributes:
        in_place: whether its output replaces its input in memory.
    """

    name: str

    needs_maps: ClassVar[bool] = False  # if so, it cannot follow a Dense or GlobalPool row
    in_place: ClassVar[bool] = False
    belongs_to_layer: ClassVar[bool] = False  # removed with the layer before it

    def __post_init__(self) -> None:
        """Raises UserError for an unknown word, such as kind="gelu"."""
        for field in dataclasses.fields(self):
            if get_origin(field.type) is Literal:
                word = getattr(self, field.name)
                try:
                    choice(f"{self.name}: {field.name}", word, get_args(field.type))
                except UserError as error:  # no argument, which `configs.call` would prefix
                    raise UserError(str(error)) from None

    @property
    def reads_all(self) -> bool:
        """Whether it reads all towers."""
        return getattr(self, "reads", "own") == "all"

    def output_shape(self, own: Shape, read: Shape, towers: int) -> Shape:
        """The output shape of one tower.

        Args:
            own: the tower's shape before this row.
            read: the shape that the row reads: `own`, or all towers side by side.

        Raises:
            UserError: if the row does not fit its input, saying why.
        """
        return own

    def parameters(self, read: Shape, output: Shape) -> int:
        """Weights and biases of one tower."""
        return 0

    def multiply_adds(self, read: Shape, output: Shape) -> int:
        """Multiply-adds of one tower in the forward pass of one image."""
        return 0

    def sentence(self, towers: int) -> str:
        """A description for the printed table."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Weighted(Row):
    """A layer with a kernel ~ N(0, std) and constant biases (section 5)."""

    @property
    def outputs(self) -> int:
        """Kernels or neurons, over all towers."""
        raise NotImplementedError

    def features(self, towers: int) -> int:
        """Outputs of one tower, rounded up: some are unused if classes do not divide evenly."""
        if self.outputs < 1:
            raise UserError(f"it has {self.outputs} outputs; it needs at least 1")
        return math.ceil(self.outputs / towers)

    def kernel_shape(self, read: Shape, output: Shape) -> Shape:
        """The shape of one tower's kernel: [..., inputs, outputs]."""
        raise NotImplementedError

    def bias_shape(self, output: Shape) -> Shape:
        """The shape of one tower's biases."""
        return output[-1:]

    def parameters(self, read: Shape, output: Shape) -> int:
        return math.prod(self.kernel_shape(read, output)) + math.prod(self.bias_shape(output))

    def multiply_adds(self, read: Shape, output: Shape) -> int:
        return math.prod(self.kernel_shape(read, output))


@dataclasses.dataclass(frozen=True)
class Conv(Weighted):
    """Convolution with `kernels` square filters; weights ~ N(0, std), biases constant."""

    kernels: int
    size: int
    stride: int = 1
    pad: int | tuple[int, int] = 0  # zeros (before, after), the same for height and width
    reads: Reads = "own"
    std: float = 0.01
    bias: float = 0.0

    needs_maps = True

    @property
    def outputs(self) -> int:
        return self.kernels

    @property
    def padding(self) -> tuple[int, int]:
        """Zeros (before, after), the same for height and width."""
        return self.pad if isinstance(self.pad, tuple) else (self.pad, self.pad)

    def output_shape(self, own: Shape, read: Shape, towers: int) -> Shape:
        side = (read[0] + sum(self.padding) - self.size) // self.stride + 1
        return (*_square(side, self.size), self.features(towers))

    def kernel_shape(self, read: Shape, output: Shape) -> Shape:
        return (self.size, self.size, read[-1], output[-1])

    def multiply_adds(self, read: Shape, output: Shape) -> int:
        return math.prod(self.kernel_shape(read, output)) * math.prod(output[:-1])

    def sentence(self, towers: int) -> str:
        before, after = self.padding
        pad = f" pad {before}" if before == after else f" pad {before}+{after}"
        stride = f" stride {self.stride}" if self.stride > 1 else ""
        pad = pad if before + after else ""
        return f"conv {self.size}x{self.size}{stride}{pad}{_split(self, towers)}"


@dataclasses.dataclass(frozen=True)
class Local(Weighted):
    """Locally-connected layer: a convolution, stride 1, whose filters differ at each position."""

    kernels: int
    size: int
    pad: int = 0
    reads: Reads = "own"
    std: float = 0.04
    bias: float = 0.0

    needs_maps = True

    @property
    def outputs(self) -> int:
        return self.kernels

    def output_shape(self, own: Shape, read: Shape, towers: int) -> Shape:
        side = read[0] + 2 * self.pad - self.size + 1
        return (*_square(side, self.size), self.features(towers))

    def kernel_shape(self, read: Shape, output: Shape) -> Shape:
        return (*output[:-1], self.size**2, read[-1], output[-1])

    def bias_shape(self, output: Shape) -> Shape:
        return output

    def sentence(self, towers: int) -> str:
        return f"local {self.size}x{self.size} pad {self.pad}{_split(self, towers)}"


@dataclasses.dataclass(frozen=True)
class Dense(Weighted):
    """Fully-connected layer."""

    neurons: int
    reads: Reads = "all"
    std: float = 0.01
    bias: float = 0.0

    @property
    def outputs(self) -> int:
        return self.neurons

    def output_shape(self, own: Shape, read: Shape, towers: int) -> Shape:
        return (self.features(towers),)

    def kernel_shape(self, read: Shape, output: Shape) -> Shape:
        return (math.prod(read), output[-1])

    def sentence(self, towers: int) -> str:
        return f"fully connected{_reads(self, towers)}"


@dataclasses.dataclass(frozen=True)
class Activation(Row):
    """The nonlinearity (section 3.1)."""

    kind: Nonlinearity = "relu"

    in_place = True
    belongs_to_layer = True

    def sentence(self, towers: int) -> str:
        return self.kind


@dataclasses.dataclass(frozen=True)
class Norm(Row):
    """Response normalisation (section 3.3): b = a / (k + alpha * sum of a^2)^beta.

    With `over="maps"` the sum runs over `size` adjacent kernel maps of the tower or, if the row
    `reads` "all", of all towers as in Caffe. With `over="space"` it runs over size x size pixels of
    one map. A tower normalises its own maps, whatever it reads. The text multiplies the sum by
    alpha; the source divides alpha by the number of terms first (`alpha_divided`).
    """

    size: int = 5
    k: float = 2.0
    alpha: float = 1e-4
    beta: float = 0.75
    alpha_divided: bool = True
    over: Literal["maps", "space"] = "maps"
    reads: Reads = "own"

    needs_maps = True

    @property
    def scale(self) -> float:
        """What the sum of squares is multiplied by."""
        terms = self.size if self.over == "maps" else self.size**2
        return self.alpha / terms if self.alpha_divided else self.alpha

    def output_shape(self, own: Shape, read: Shape, towers: int) -> Shape:
        if self.size % 2 == 0:
            raise UserError(f"its window of {self.size} has no centre; its size must be odd")
        return own

    def sentence(self, towers: int) -> str:
        if self.over == "maps":
            return f"response norm over {self.size} maps{_reads(self, towers)}"
        return f"response norm over {self.size}x{self.size} pixels"


@dataclasses.dataclass(frozen=True)
class Pool(Row):
    """Pooling, window `size` (the paper's z), `stride` s; overlapping when s < z (section 3.4).

    Windows may hang over the right and lower edge (the output size is rounded up); an average
    there divides by the number of pixels inside the map, as in cuda-convnet.
    """

    size: int = 3
    stride: int = 2
    kind: Literal["max", "avg"] = "max"

    needs_maps = True

    def output_shape(self, own: Shape, read: Shape, towers: int) -> Shape:
        return (*[pooled_side(own[0], self.size, self.stride)] * 2, own[-1])

    def sentence(self, towers: int) -> str:
        return f"{self.kind} pool {self.size}x{self.size} stride {self.stride}"


@dataclasses.dataclass(frozen=True)
class GlobalPool(Row):
    """The mean of each map, so that images may have any size. Not in the paper.

    Later nets end with it in place of fully-connected layers ("Network in Network", 2014).
    """

    needs_maps = True

    def output_shape(self, own: Shape, read: Shape, towers: int) -> Shape:
        return own[-1:]

    def sentence(self, towers: int) -> str:
        return "global average pool"


@dataclasses.dataclass(frozen=True)
class Dropout(Row):
    """Zeroes each output with probability `rate` in training (section 4.2).

    As in the paper, outputs are multiplied by 1 - rate at test time; `inverted` instead divides by
    1 - rate in training, as today's libraries do.
    """

    rate: float = 0.5
    inverted: bool = False

    in_place = True
    belongs_to_layer = True

    def sentence(self, towers: int) -> str:
        return f"dropout {self.rate}"


@dataclasses.dataclass(frozen=True)
class Pixels:
    """How a net takes its input: red, green, blue divided by `deviation`, then put in `order`."""

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

    @property
    def weighted(self) -> tuple[Weighted, ...]:
        """The rows that have weights."""
        return tuple(row for row in self.rows if isinstance(row, Weighted))

    @property
    def layers(self) -> tuple["Layer", ...]:
        """The rows in their places, with shapes and sizes.

        Raises:
            UserError: naming the row that does not fit its input.
        """
        own: Shape = (self.image_size, self.image_size, 3)
        reads_image = True  # which all towers have
        traced = []
        for row in self.rows:
            gathers = row.reads_all and self.towers > 1 and not reads_image
            read = (*own[:-1], own[-1] * self.towers) if gathers else own
            output = _output(self, row, own, read)
            neurons, parameters, multiply_adds = (
                self.towers * size
                for size in (
                    math.prod(output),
                    row.parameters(read, output),
                    row.multiply_adds(read, output),
                )
            )
            if row is self.rows[-1]:  # together, the towers may have more outputs than classes
                used = self.classes / neurons
                neurons, parameters = self.classes, round(parameters * used)
                multiply_adds = round(multiply_adds * used)
            traced.append(Layer(row, read, output, gathers, neurons, parameters, multiply_adds))
            reads_image = reads_image and not isinstance(row, Weighted)
            own = output
        return tuple(traced)

    def _repr_html_(self) -> str:
        """The table, for notebooks."""
        from alexnet.models.describe import describe_html

        return describe_html(self)


@dataclasses.dataclass(frozen=True)
class Layer:
    """A row in its place: shapes as one tower sees them, sizes summed over all towers."""

    row: Row
    input_shape: Shape  # what one tower reads
    output_shape: Shape  # what one tower outputs
    gathers: bool  # whether one tower also reads the others' maps
    neurons: int
    parameters: int
    multiply_adds: int  # forward, one image


def check(net: Net) -> None:
    """Raises UserError unless names differ and the net ends in an output for each class."""
    names = [row.name for row in net.rows]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"net {net.name}: two rows are called {name!r}")
    last = net.layers[-1].output_shape if net.rows else ()
    if last != (math.ceil(net.classes / net.towers),):  # together, towers may have more
        size = "x".join(map(str, last)) or "none"
        raise UserError(
            f"net {net.name} must end in {net.classes} outputs, one per class; its last row gives "
            f"{size}{' for each tower' * (net.towers > 1)}"
        )


def _output(net: Net, row: Row, own: Shape, read: Shape) -> Shape:
    """The row's output shape; errors name the net and the row."""
    try:
        if row.needs_maps and len(read) != 3:
            raise UserError("it needs maps, and a row before it has reduced them to features")
        output = row.output_shape(own, read, net.towers)
        if isinstance(row, Weighted) and row is not net.rows[-1] and row.outputs % net.towers:
            raise UserError(f"its {row.outputs} outputs do not divide over {net.towers} towers")
        return output
    except UserError as error:
        size = "x".join(map(str, read))
        raise UserError(f"net {net.name}: {row.name} cannot read {size}: {error}") from None


def pooled_side(side: int, size: int, stride: int) -> int:
    """The number of windows along a side, rounded up: the last may hang over the edge.

    Raises:
        UserError: if windows leave pixels out, or one is larger than the map.
    """
    if stride > size:
        raise UserError(f"the stride {stride} skips pixels between {size}x{size} windows")
    if side < size:
        raise UserError(
            f"a {size}x{size} window is larger than the map; keep fewer pooling layers, or feed a "
            "larger image"
        )
    return math.ceil((side - size) / stride) + 1


def _square(side: int, size: int) -> Shape:
    """The sides of a layer's maps."""
    if side < 1:
        raise UserError(
            f"its {size}x{size} kernels are larger than the padded map; "
            "remove a pooling layer before it, or feed a larger image"
        )
    return (side, side)


def _split(row: Weighted, towers: int) -> str:
    each = f", {towers} x {row.outputs // towers}" if towers > 1 else ""
    return f"{each}{_reads(row, towers)}"


def _reads(row: Row, towers: int) -> str:
    return ", reads all towers" if towers > 1 and row.reads_all else ""
