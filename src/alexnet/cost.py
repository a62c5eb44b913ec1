"""What a training step costs, as arithmetic on the table: FLOP, memory, exchange, time.

Nothing is run and nothing here needs JAX. All arrays are float32; a batch counts the images of all
devices together. `alexnet.roofline` prints it.
"""

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Literal

from alexnet.errors import UserError
from alexnet.table import Activation, Dropout, Layer, Net, Weighted, layers

FLOAT32 = 4  # bytes

# --- Inputs: the only figures here that are not computed ------------------------------------------


@dataclasses.dataclass(frozen=True)
class Machine:
    """Devices and the links between them, at their peaks.

    `tflops` (10^12 FLOP/s) and `memory_gbs` (10^9 bytes/s) belong to one device. `link_gbs` is what
    one device can send to the others of its host, in one direction; `host_gbs` what the devices of
    one host together can send to other hosts. `utilisation` is the share of `tflops` reached.
    """

    name: str
    tflops: float
    memory_gbs: float
    devices: int = 1
    hosts: int = 1
    link_gbs: float = math.inf
    host_gbs: float = math.inf
    utilisation: float = 1.0


# GeForce GTX 580 specifications: 512 cores x 2 x 1.544 GHz; 384 bits x 4.008 Gbit/s = 192 GB/s;
# 16 lanes of PCIe 2.0 x 5 Gbit/s x 8/10 (PCI-SIG) = 8 GB/s in each direction.
GTX_580 = Machine("2 GTX 580 float32", 1.58, 192, devices=2, link_gbs=8)
# NVIDIA H100 data sheet, SXM column: FP32; TF32 and BF16 tensor cores, whose figures are "with
# sparsity" there and halved here; 3.35 TB/s; NVLink 900 GB/s, which counts both directions.
_H100_TFLOPS = {"float32": 67, "TF32": 494, "bf16": 989}
_H100_MEMORY_GBS, _H100_LINK_GBS = 3350, 450
# One 400 Gbit/s adapter for each host, a choice (a DGX H100 has eight).
_HOST_GBS = 400 / 8
_H100 = tuple(
    Machine(
        f"{f'{hosts} x ' if hosts > 1 else ''}{devices // hosts} H100 {product}",
        tflops,
        _H100_MEMORY_GBS,
        devices,
        hosts,
        _H100_LINK_GBS,
        _HOST_GBS,
    )
    for devices, hosts in ((1, 1), (2, 1), (8, 1), (32, 4))
    for product, tflops in _H100_TFLOPS.items()
)
MACHINES = (GTX_580, *_H100)

IMAGES, EPOCHS = 1_281_167, 90  # ILSVRC-2012's training set; "roughly 90 cycles" (section 5)
PAPER_DAYS = (5, 6)  # "five to six days on two NVIDIA GTX 580 3GB GPUs" (section 5)
# simplejpeg on stored 256x256 JPEGs, measured on this project's CPU: 1,800 (quality 95, 4:4:4,
# 42 KB) to 2,400 (quality 90, 4:2:0, 23 KB) images a second and core.
JPEGS_PER_CORE = 2_000
JPEG_BYTES = 42_000


# --- Arithmetic and memory ------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Cost:
    """One row of a net for `batch` images, in ONE tower: FLOP and bytes.

    Attributes:
        forward: 2 FLOP for each multiply-add; norms, pools and activations are not counted.
        training: forward, weight gradient and input gradient: three times `forward`, but twice for
            the layer that reads the image.
        weights: bytes of weights and biases.
        kept: bytes of the row's output, kept for the gradient. An activation or dropout overwrites
            its input.
        received: bytes that other towers computed and this one reads; kept, too.
        traffic: bytes to and from memory in a training step, see `_traffic`.
    """

    name: str
    forward: float
    training: float
    weights: float
    kept: float
    received: float
    traffic: float


def costs(net: Net, batch: float) -> tuple[Cost, ...]:
    """One tower's costs, row by row."""
    found = []
    foreign = foreign_inputs(net)
    reads_image = True
    for layer in layers(net):
        in_place = isinstance(layer.row, Activation | Dropout)
        first = reads_image and isinstance(layer.row, Weighted)
        reads_image = reads_image and not first
        forward = 2 * layer.multiply_adds / net.towers * batch
        found.append(
            Cost(
                name=layer.row.name,
                forward=forward,
                training=forward * (2 if first else 3),
                weights=layer.parameters / net.towers * FLOAT32,
                kept=0 if in_place else math.prod(layer.output_shape) * batch * FLOAT32,
                received=foreign.get(layer.row.name, 0) * batch * FLOAT32,
                traffic=_traffic(net, layer, batch, first) * FLOAT32,
            )
        )
    return tuple(found)


def _traffic(net: Net, layer: Layer, batch: float, first: bool) -> float:
    """Numbers that one tower's training step moves to and from memory for a row.

    With input x, output y, weights w and gradients dx, dy, dw: forward x, w -> y; weight gradient
    x, dy -> dw; input gradient dy, w -> dx (not for the first layer); momentum update w, v, dw ->
    w, v. Norm and pool: x -> y and x, dy -> dx. Activations and dropout are taken to be fused with
    their neighbours. Each pass moves its arrays once.
    """
    if isinstance(layer.row, Activation | Dropout):
        return 0
    x, y = (math.prod(shape) * batch for shape in (layer.input_shape, layer.output_shape))
    if not isinstance(layer.row, Weighted):
        return 3 * x + 2 * y
    weights = layer.parameters / net.towers
    return 2 * (x + y) + 7 * weights if first else 3 * (x + y) + 8 * weights


def foreign_inputs(net: Net) -> dict[str, int]:
    """Rows that read all towers, and the numbers per image that each tower receives for them."""
    traced = layers(net)
    return {
        layer.row.name: math.prod(layer.input_shape) - math.prod(before.output_shape)
        for before, layer in itertools.pairwise(traced)
        if layer.input_shape[-1] > before.output_shape[-1]
    }


# --- Exchange between devices ---------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Collective:
    """`size` bytes, the whole array, gathered, reduced or both among `devices`, around a ring."""

    kind: Literal["all-gather", "reduce-scatter", "all-reduce"]
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


def mesh(net: Net, batch: int, devices: int) -> tuple[int, int]:
    """(data, tower) that use the most devices, split by tower only where the devices divide so.

    `alexnet.mesh.make` chooses the same for such numbers of devices.
    """
    tower = net.towers if devices % net.towers == 0 else 1
    return max(n for n in range(1, devices // tower + 1) if batch % n == 0), tower


def tower_exchange(net: Net, images: float, tower: int) -> tuple[Collective, ...]:
    """The paper's scheme, section 3.2, for `images` on `tower` devices, each with its towers.

    Where a row reads all towers, its input is gathered; in the backward pass every device has a
    gradient for all of it, which are summed and scattered. Weights never travel.
    """
    if tower == 1:
        return ()
    foreign = foreign_inputs(net)
    sizes = [
        math.prod(layer.input_shape) * images * FLOAT32
        for layer in layers(net)
        if layer.row.name in foreign
    ]
    return (
        *(Collective("all-gather", size, tower) for size in sizes),
        *(Collective("reduce-scatter", size, tower) for size in reversed(sizes)),
    )


def gradient_exchange(net: Net, data: int, tower: int = 1) -> tuple[Collective, ...]:
    """Data parallelism: each device's gradients are averaged over the `data` parts of the batch."""
    size = sum(layer.parameters for layer in layers(net)) / tower * FLOAT32
    return (Collective("all-reduce", size, data),) if data > 1 else ()


def sent(exchange: Sequence[Collective]) -> float:
    return sum(collective.sent for collective in exchange)


def results(exchange: Sequence[Collective]) -> float:
    return sum(collective.result for collective in exchange)


# --- Time -----------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Step:
    """Seconds of a training step on `data` x `tower` devices, computing and exchanging."""

    data: int
    tower: int
    device: float
    link: float

    @property
    def apart(self) -> float:
        """Computing, then exchanging: as the paper's scheme, whose layers wait for their input."""
        return self.device + self.link

    @property
    def overlapped(self) -> float:
        """All of the exchange hidden behind computing, or the reverse: a lower bound."""
        return max(self.device, self.link)


def step(net: Net, batch: int, machine: Machine) -> Step:
    """The roofline of a step: sum over rows of max(FLOP / peak, bytes / bandwidth), and links."""
    data, tower = mesh(net, batch, machine.devices)
    peak = machine.tflops * 1e12 * machine.utilisation
    bandwidth = machine.memory_gbs * 1e9
    device = sum(
        max(row.training / peak, row.traffic / bandwidth) for row in costs(net, batch / data)
    )
    return Step(data, tower, device * net.towers / tower, _link_seconds(net, batch, machine))


def _link_seconds(net: Net, batch: int, machine: Machine) -> float:
    """Towers are neighbours in a host. Gradients are summed in the host, then between hosts.

    After the sum in its host each device holds its share of the gradients and all-reduces that
    with the same device of the other hosts, all devices of a host at once.
    """
    data, tower = mesh(net, batch, machine.devices)
    per_host = machine.devices // machine.hosts
    if tower > per_host:
        raise UserError(
            f"{machine.name}: {tower} towers do not fit on the {per_host} devices of a host; "
            "describe a machine with --devices, --tflops, --memory_gbs and --link_gbs"
        )
    replicas = min(data, per_host // tower)
    hosts = math.ceil(data / replicas)
    inside = (
        *tower_exchange(net, batch / data, tower),
        *gradient_exchange(net, replicas, tower),
    )
    between = gradient_exchange(net, hosts, tower * replicas)
    share = machine.host_gbs / (tower * replicas)
    return sent(inside) / (machine.link_gbs * 1e9) + sent(between) / (share * 1e9)


def training_seconds(seconds: float, batch: int) -> float:
    """90 epochs of ILSVRC-2012 at `seconds` a step of `batch` images."""
    return EPOCHS * IMAGES / batch * seconds


def implied_utilisation(net: Net, machine: Machine, days: float) -> float:
    """The share of the peak arithmetic that 90 epochs in `days` need."""
    flop = sum(row.training for row in costs(net, 1)) * net.towers * EPOCHS * IMAGES
    return flop / (days * 86_400 * machine.devices * machine.tflops * 1e12)
