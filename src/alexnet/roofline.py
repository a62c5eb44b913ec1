"""What a step costs, computed from the table: arithmetic, memory, exchange between devices, time.

Nothing is run and nothing here needs JAX: every figure is computed, not measured. docs/scaling.md
explains them.

    python -m alexnet.roofline alexnet --batch=128            prints all of it
    python -m alexnet.roofline --towers=1 --section=exchange  one section, another net
    python -m alexnet.roofline --devices=4 --tflops=100 --memory_gbs=1000 --link_gbs=50

The options are a net's, as in `alexnet.nets`, and the fields of `Options`. A batch counts the
images of all devices together. All arrays are float32. KB, MB, G and T are powers of ten; MiB is
2^20 bytes.
"""

import dataclasses
import itertools
import math
import sys
from collections.abc import Sequence
from typing import Literal

from alexnet import nets
from alexnet.errors import UserError, nearest, run
from alexnet.options import arguments, typed
from alexnet.table import Activation, Dense, Dropout, Layer, Net, Weighted, layers

FLOAT32 = 4  # bytes
MIB = 2**20

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
_GTX_580 = Machine("2 GTX 580 float32", 1.58, 192, devices=2, link_gbs=8)
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
MACHINES = (_GTX_580, *_H100)

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
    foreign = _foreign_inputs(net)
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


def _foreign_inputs(net: Net) -> dict[str, int]:
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
    """(data, tower) as `alexnet.mesh.make` chooses them; some devices may stay idle."""
    tower = net.towers if devices % net.towers == 0 else 1
    return max(n for n in range(1, devices // tower + 1) if batch % n == 0), tower


def tower_exchange(net: Net, images: float, tower: int) -> tuple[Collective, ...]:
    """The paper's scheme, section 3.2, for `images` on `tower` devices, each with its towers.

    Where a row reads all towers, its input is gathered; in the backward pass every device has a
    gradient for all of it, which are summed and scattered. Weights never travel.
    """
    if tower == 1:
        return ()
    foreign = _foreign_inputs(net)
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


def hybrid_exchange(net: Net, batch: int, devices: int) -> tuple[Collective, ...]:
    """Krizhevsky's "One weird trick" (2014): the batch is split below fc6, the neurons from there.

    Convolutional gradients are all-reduced: 2 (n - 1) / n x their bytes. The input of every
    fully-connected layer is gathered, for the whole batch: (n - 1) / n x batch x features x 4; its
    gradient is summed and scattered: as much again. The fc weights never travel. His schemes (a)
    to (c) exchange these same bytes and differ in how they overlap with computing.
    """
    traced = layers(net)
    convolutional = sum(layer.parameters for layer in traced if not isinstance(layer.row, Dense))
    inputs = [
        math.prod(before.output_shape) * net.towers * batch * FLOAT32
        for before, layer in itertools.pairwise(traced)
        if isinstance(layer.row, Dense)
    ]
    return (
        Collective("all-reduce", convolutional * FLOAT32, devices),
        *(Collective("all-gather", size, devices) for size in inputs),
        *(Collective("reduce-scatter", size, devices) for size in reversed(inputs)),
    )


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
    return _sent(inside) / (machine.link_gbs * 1e9) + _sent(between) / (share * 1e9)


def training_seconds(seconds: float, batch: int) -> float:
    """90 epochs of ILSVRC-2012 at `seconds` a step of `batch` images."""
    return EPOCHS * IMAGES / batch * seconds


def implied_utilisation(net: Net, machine: Machine, days: float) -> float:
    """The share of the peak arithmetic that 90 epochs in `days` need."""
    flop = sum(row.training for row in costs(net, 1)) * net.towers * EPOCHS * IMAGES
    return flop / (days * 86_400 * machine.devices * machine.tflops * 1e12)


# --- Printing -------------------------------------------------------------------------------------


def layers_section(net: Net, batch: int, machines: Sequence[Machine]) -> str:
    """FLOP, weights, activations and memory traffic, row by row."""
    rows = costs(net, batch)
    table = [
        ("", "forward", "training", "weights", "kept", "received", "traffic", "FLOP"),
        ("layer", "GFLOP", "GFLOP", "MiB", "MiB", "MiB", "MiB", "per byte"),
        *(_cost_line(row) for row in rows),
    ]
    one = _total("one tower", rows, 1)
    table.append(_cost_line(one))
    if net.towers > 1:
        table.append(_cost_line(_total("all towers", rows, net.towers)))
    image = net.image_size**2 * 3 * batch * FLOAT32
    memory = 3 * one.weights + one.kept + one.received + image
    footer = (
        "memory of a tower: 3 x weights (with momentum and gradients) + kept + received + "
        f"images {_mib(image)} = {_mib(memory)} MiB"
    )
    title = f"1. layers: one tower's share of a step of {batch} images"
    return "\n".join((title, *_aligned(table), footer))


def _cost_line(row: Cost) -> tuple[str, ...]:
    flop = [f"{n / 1e9:,.1f}" if n else "" for n in (row.forward, row.training)]
    sizes = (row.weights, row.kept, row.received, row.traffic)
    intensity = f"{row.training / row.traffic:,.1f}" if row.training else ""
    return (row.name, *flop, *(_mib(size) if size else "" for size in sizes), intensity)


def _total(name: str, rows: Sequence[Cost], towers: int) -> Cost:
    fields = [field.name for field in dataclasses.fields(Cost)[1:]]
    return Cost(name, *(towers * sum(getattr(row, field) for row in rows) for field in fields))


def exchange_section(net: Net, batch: int, machines: Sequence[Machine]) -> str:
    """Where towers meet, and the bytes of the three ways to use several devices."""
    lines = [f"2. exchange: MiB per device in a step of {batch} images"]
    if net.towers > 1:
        table = [("towers meet at", "reads", "gathered", "sent forward", "sent backward")]
        foreign = _foreign_inputs(net)
        meeting = [layer for layer in layers(net) if layer.row.name in foreign]
        exchange = tower_exchange(net, batch, net.towers)
        forward, backward = exchange[: len(meeting)], exchange[len(meeting) :]
        for layer, there, back in zip(meeting, forward, reversed(backward), strict=True):
            shape = "x".join(map(str, layer.input_shape))
            sizes = (there.result, there.sent, back.sent)
            table.append((layer.row.name, shape, *map(_mib, sizes)))
        sizes = (_results(forward), _sent(forward), _sent(backward))
        table.append(("total", "", *map(_mib, sizes)))
        lines += [*_aligned(table), ""]
    table = [("scheme", "devices", "data x tower", "sent", "collectives' results")]
    for devices in (2, 4, 8):
        data, tower = mesh(net, batch, devices)
        split = (
            *tower_exchange(net, batch / data, tower),
            *gradient_exchange(net, data, tower),
        )
        schemes = {"data parallel": (gradient_exchange(net, devices), f"{devices} x 1")}
        if tower > 1:
            schemes = {"towers": (split, f"{data} x {tower}"), **schemes}
        schemes["hybrid of 2014"] = (hybrid_exchange(net, batch, devices), "")
        for name, (exchange, shape) in schemes.items():
            sizes = (_mib(_sent(exchange)), _mib(_results(exchange)))
            table.append((name, str(devices), shape, *sizes))
    return "\n".join((*lines, *_aligned(table)))


def time_section(net: Net, batch: int, machines: Sequence[Machine]) -> str:
    """Seconds of a step and days of training on each machine."""
    table = [
        ("", "data x", "device", "link", "step", "images", f"{EPOCHS} epochs", f"{EPOCHS} epochs"),
        ("machine", "tower", "ms", "ms", "ms", "per s", "sum", "max"),
    ]
    for machine in machines:
        found = step(net, batch, machine)
        milliseconds = (found.device, found.link, found.apart)
        table.append(
            (
                machine.name,
                f"{found.data} x {found.tower}",
                *(f"{1e3 * seconds:,.2f}" for seconds in milliseconds),
                f"{batch / found.apart:,.0f}",
                *(
                    _duration(training_seconds(seconds, batch))
                    for seconds in (found.apart, found.overlapped)
                ),
            )
        )
    title = f"3. time of {batch} images: step = device + link (sum); max if they overlapped"
    lines = [title, *_aligned(table)]
    if _GTX_580 in machines:
        fast, slow = (implied_utilisation(net, _GTX_580, days) for days in PAPER_DAYS)
        lines.append(
            f"the paper's {PAPER_DAYS[0]} to {PAPER_DAYS[1]} days on {_GTX_580.name} would be "
            f"{fast:.0%} to {slow:.0%} of the peak arithmetic for this net"
        )
    return "\n".join(lines)


def input_section(net: Net, batch: int, machines: Sequence[Machine]) -> str:
    """The cores and the disk that must keep up with the devices."""
    table = [("machine", "images per s", "cores", "per host", "disk MB/s")]
    for machine in machines:
        rate = batch / step(net, batch, machine).apart
        cores = rate / JPEGS_PER_CORE
        table.append(
            (
                machine.name,
                f"{rate:,.0f}",
                f"{cores:,.1f}",
                f"{cores / machine.hosts:,.1f}",
                f"{rate * JPEG_BYTES / 1e6:,.0f}",
            )
        )
    title = (
        f"4. input: {JPEGS_PER_CORE:,} JPEGs of 256x256 decoded per s and core, "
        f"{JPEG_BYTES / 1e3:.0f} KB each"
    )
    return "\n".join((title, *_aligned(table)))


# All take (net, batch, machines), whether they need the machines or not.
SECTIONS = {
    "layers": layers_section,
    "exchange": exchange_section,
    "time": time_section,
    "input": input_section,
}


def _sent(exchange: Sequence[Collective]) -> float:
    return sum(collective.sent for collective in exchange)


def _results(exchange: Sequence[Collective]) -> float:
    return sum(collective.result for collective in exchange)


def _mib(size: float) -> str:
    return f"{size / MIB:,.1f}"


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("h", 3_600)):
        if seconds >= length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds / 60:,.1f} min"


def _aligned(table: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in table
    ]


# --- The command ----------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Options:
    """The command's own options. A machine of one's own has a `tflops` and replaces the others.

    `section` is one of SECTIONS; "" prints all.
    """

    batch: int = 128
    section: str = ""
    devices: int = 1
    tflops: float = 0.0
    memory_gbs: float = 0.0
    link_gbs: float = 0.0
    utilisation: float = 1.0


def main(argv: Sequence[str]) -> None:
    """Prints the report of a net."""
    name, flags = (argv[0], argv[1:]) if argv and not argv[0].startswith("-") else ("alexnet", argv)
    own = {field.name: field.default for field in dataclasses.fields(Options)}
    net_options = nets.defaults(name)
    known, given = own | net_options, {}
    for key, text in arguments(flags).items():
        if key not in known:
            raise UserError(f"--{key}: no such option{nearest(key, known)}")
        given[key] = typed(key, text, known[key])
    options = Options(**{key: value for key, value in given.items() if key in own})
    machines = _machines(options, own.keys() & given)
    net_options |= {key: value for key, value in given.items() if key in net_options}
    net = nets.build(name, **net_options)
    print(report(net, options, machines))


def report(net: Net, options: Options, machines: Sequence[Machine]) -> str:
    """The sections asked for, under a title that says what they are."""
    if options.section and options.section not in SECTIONS:
        raise UserError(f"--section={options.section}: choose one of {', '.join(SECTIONS)}")
    if options.batch < 1:
        raise UserError(f"--batch={options.batch}: must be at least 1")
    names = [options.section] if options.section else list(SECTIONS)
    towers = f"{net.towers} towers" if net.towers > 1 else "1 tower"
    title = f"{net.name}, {towers}, float32 arrays: computed, not measured"
    sections = (SECTIONS[name](net, options.batch, machines) for name in names)
    return "\n\n".join((title, *sections))


def _machines(options: Options, given: set[str]) -> tuple[Machine, ...]:
    """MACHINES, or the one that the options describe."""
    described = given - {"batch", "section"}
    if not described:
        return MACHINES
    needed = ["tflops", "memory_gbs", *(["link_gbs"] if options.devices > 1 else [])]
    for name in needed:
        if name not in described:
            raise UserError(f"--{name} is missing: a machine of your own needs it")
    for name in sorted(described):
        if getattr(options, name) <= 0:
            raise UserError(f"--{name}={getattr(options, name):g}: must be more than 0")
    if options.utilisation > 1:
        raise UserError(f"--utilisation={options.utilisation:g}: a share of the peak, at most 1")
    return (
        Machine(
            f"{options.devices} x {options.tflops:g} TFLOP/s at {options.utilisation:.0%}",
            options.tflops,
            options.memory_gbs,
            options.devices,
            link_gbs=options.link_gbs or math.inf,
            utilisation=options.utilisation,
        ),
    )


if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
