"""Prints what a step costs, as `alexnet.cost` computes it: work, memory, exchange, time.

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
import math
import sys
from collections.abc import Sequence

from alexnet import cost, nets
from alexnet.columns import aligned
from alexnet.errors import UserError, run
from alexnet.options import arguments, typed
from alexnet.table import Net, layers

MIB = 2**20


def layers_section(net: Net, batch: int, machines: Sequence[cost.Machine]) -> str:
    """FLOP, weights, activations and memory traffic, row by row."""
    rows = cost.costs(net, batch)
    table = [
        ("", "forward", "training", "weights", "kept", "received", "traffic", "FLOP"),
        ("layer", "GFLOP", "GFLOP", "MiB", "MiB", "MiB", "MiB", "per byte"),
        *(_cost_line(row) for row in rows),
    ]
    one = _total("one tower", rows, 1)
    table.append(_cost_line(one))
    if net.towers > 1:
        table.append(_cost_line(_total("all towers", rows, net.towers)))
    image = net.image_size**2 * 3 * batch * cost.FLOAT32
    memory = 3 * one.weights + one.kept + one.received + image
    footer = (
        "memory of a tower: 3 x weights (with momentum and gradients) + kept + received + "
        f"images {_mib(image)} = {_mib(memory)} MiB"
    )
    title = f"1. layers: one tower's share of a step of {batch} images"
    return "\n".join((title, *aligned(table), footer))


def _cost_line(row: cost.Cost) -> tuple[str, ...]:
    flop = [f"{n / 1e9:,.1f}" if n else "" for n in (row.forward, row.training)]
    sizes = (row.weights, row.kept, row.received, row.traffic)
    intensity = f"{row.training / row.traffic:,.1f}" if row.training else ""
    return (row.name, *flop, *(_mib(size) if size else "" for size in sizes), intensity)


def _total(name: str, rows: Sequence[cost.Cost], towers: int) -> cost.Cost:
    fields = [field.name for field in dataclasses.fields(cost.Cost)[1:]]
    return cost.Cost(name, *(towers * sum(getattr(row, field) for row in rows) for field in fields))


def exchange_section(net: Net, batch: int, machines: Sequence[cost.Machine]) -> str:
    """Where towers meet, and the bytes of the ways to use several devices."""
    lines = [f"2. exchange: MiB per device in a step of {batch} images"]
    if net.towers > 1:
        table = [("towers meet at", "reads", "gathered", "sent forward", "sent backward")]
        foreign = cost.foreign_inputs(net)
        meeting = [layer for layer in layers(net) if layer.row.name in foreign]
        exchange = cost.tower_exchange(net, batch, net.towers)
        forward, backward = exchange[: len(meeting)], exchange[len(meeting) :]
        for layer, there, back in zip(meeting, forward, reversed(backward), strict=True):
            shape = "x".join(map(str, layer.input_shape))
            sizes = (there.result, there.sent, back.sent)
            table.append((layer.row.name, shape, *map(_mib, sizes)))
        sizes = (cost.results(forward), cost.sent(forward), cost.sent(backward))
        table.append(("total", "", *map(_mib, sizes)))
        lines += [*aligned(table), ""]
    table = [("scheme", "devices", "data x tower", "sent", "collectives' results")]
    for devices in (2, 4, 8):
        data, tower = cost.mesh(net, batch, devices)
        split = (
            *cost.tower_exchange(net, batch / data, tower),
            *cost.gradient_exchange(net, data, tower),
        )
        schemes = {"data parallel": (cost.gradient_exchange(net, devices), f"{devices} x 1")}
        if tower > 1:
            schemes = {"towers": (split, f"{data} x {tower}"), **schemes}
        for name, (exchange, shape) in schemes.items():
            sizes = (_mib(cost.sent(exchange)), _mib(cost.results(exchange)))
            table.append((name, str(devices), shape, *sizes))
    return "\n".join((*lines, *aligned(table)))


def time_section(net: Net, batch: int, machines: Sequence[cost.Machine]) -> str:
    """Seconds of a step and days of training on each machine."""
    table = [
        (
            "",
            "data x",
            "device",
            "link",
            "step",
            "images",
            f"{cost.EPOCHS} epochs",
            f"{cost.EPOCHS} epochs",
        ),
        ("machine", "tower", "ms", "ms", "ms", "per s", "sum", "max"),
    ]
    for machine in machines:
        found = cost.step(net, batch, machine)
        milliseconds = (found.device, found.link, found.apart)
        table.append(
            (
                machine.name,
                f"{found.data} x {found.tower}",
                *(f"{1e3 * seconds:,.2f}" for seconds in milliseconds),
                f"{batch / found.apart:,.0f}",
                *(
                    _duration(cost.training_seconds(seconds, batch))
                    for seconds in (found.apart, found.overlapped)
                ),
            )
        )
    title = f"3. time of {batch} images: step = device + link (sum); max if they overlapped"
    lines = [title, *aligned(table)]
    if cost.GTX_580 in machines:
        fast, slow = (cost.implied_utilisation(net, cost.GTX_580, days) for days in cost.PAPER_DAYS)
        lines.append(
            f"the paper's {cost.PAPER_DAYS[0]} to {cost.PAPER_DAYS[1]} days on {cost.GTX_580.name} "
            f"would be {fast:.0%} to {slow:.0%} of the peak arithmetic for this net"
        )
    return "\n".join(lines)


def input_section(net: Net, batch: int, machines: Sequence[cost.Machine]) -> str:
    """The cores and the disk that must keep up with the devices."""
    table = [("machine", "images per s", "cores", "per host", "disk MB/s")]
    for machine in machines:
        rate = batch / cost.step(net, batch, machine).apart
        cores = rate / cost.JPEGS_PER_CORE
        table.append(
            (
                machine.name,
                f"{rate:,.0f}",
                f"{cores:,.1f}",
                f"{cores / machine.hosts:,.1f}",
                f"{rate * cost.JPEG_BYTES / 1e6:,.0f}",
            )
        )
    title = (
        f"4. input: {cost.JPEGS_PER_CORE:,} JPEGs of 256x256 decoded per s and core, "
        f"{cost.JPEG_BYTES / 1e3:.0f} KB each"
    )
    return "\n".join((title, *aligned(table)))


# All take (net, batch, machines), whether they need the machines or not.
SECTIONS = {
    "layers": layers_section,
    "exchange": exchange_section,
    "time": time_section,
    "input": input_section,
}


def _mib(size: float) -> str:
    return f"{size / MIB:,.1f}"


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("h", 3_600)):
        if seconds >= length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds / 60:,.1f} min"


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
    known = own | net_options
    given = {key: typed(key, text, known[key]) for key, text in arguments(flags, known).items()}
    options = Options(**{key: value for key, value in given.items() if key in own})
    machines = _machines(options, own.keys() & given)
    net_options |= {key: value for key, value in given.items() if key in net_options}
    net = nets.build(name, **net_options)
    print(report(net, options, machines))


def report(net: Net, options: Options, machines: Sequence[cost.Machine]) -> str:
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


def _machines(options: Options, given: set[str]) -> tuple[cost.Machine, ...]:
    """cost.MACHINES, or the one that the options describe."""
    described = given - {"batch", "section"}
    if not described:
        return cost.MACHINES
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
        cost.Machine(
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
