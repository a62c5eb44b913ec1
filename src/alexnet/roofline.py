"""Prints the cost of a training step (`alexnet.analysis.cost`), and its time on some machines.

    python -m alexnet.roofline alexnet --batch=128 --towers=2

Nothing is run and nothing here needs JAX: every figure is computed, not measured. docs/scaling.md
explains them. `alexnet.roofline NAME --help` lists the options, --batch and the net's own.
G is 10^9; MiB is 2^20 bytes.
"""

import sys
from collections.abc import Sequence
from typing import NamedTuple

from alexnet.analysis import cost
from alexnet.cli import (
    arguments,
    asks_help,
    command_help,
    count,
    described,
    listing,
    positional,
    run,
    typed,
)
from alexnet.devices.layout import layout
from alexnet.models.build import NETS, build, defaults
from alexnet.models.table import Net
from alexnet.text import aligned, counted

OPTIONS = {"batch": ("128", "images per step, on all devices together")}
MIB = 2**20
SMALLEST = 200  # pixels a side; nets of smaller images are not for ImageNet
IMAGES, EPOCHS = 1_281_167, 90  # ILSVRC-2012's training set; "roughly 90 cycles" (section 5)


class Machine(NamedTuple):
    """Peak rates of each device: 10^12 FLOP/s, 10^9 bytes/s of memory and of its link one way."""

    name: str
    devices: int
    tflops: float
    memory_gbs: float
    link_gbs: float


# From specifications. GeForce GTX 580: 512 cores x 2 x 1.544 GHz; 384 bits x 4.008 Gbit/s; 16 lanes
# of PCIe 2.0 x 5 Gbit/s x 8/10 (PCI-SIG). NVIDIA H100 data sheet, SXM column: FP32; TF32 and BF16
# tensor cores, quoted "with sparsity" there and halved here; 3.35 TB/s; NVLink 900 GB/s, which
# counts both directions.
MACHINES = (
    Machine("2 GTX 580 float32", 2, 1.58, 192, 8),
    *(
        Machine(f"{devices} H100 {product}", devices, tflops, 3350, 450)
        for devices in (1, 2, 8)
        for product, tflops in (("float32", 67), ("TF32", 494), ("bf16", 989))
    ),
)


def layouts(net: Net, batch: int, devices: int) -> list[tuple[int, int]]:
    """(data, tower) meshes of `devices`: the default of `config.mesh`, and data parallelism."""
    found = [layout(devices, net.towers, batch, tower=tower) for tower in (0, 1)]
    return list(dict.fromkeys(found))


def exchange(net: Net, batch: int, data: int, tower: int) -> tuple[cost.Collective, ...]:
    """The collectives of a step on a mesh."""
    towers = cost.tower_exchange(net, batch / data, tower)
    return towers + cost.gradient_exchange(net, data, tower)


def seconds(net: Net, batch: int, machine: Machine) -> tuple[float, float]:
    """Seconds of a step: (computing, link). A row takes max(FLOP / peak, bytes / bandwidth)."""
    data, tower = layouts(net, batch, machine.devices)[0]
    peak, bandwidth = machine.tflops * 1e12, machine.memory_gbs * 1e9
    device = cost.least_seconds(net, batch / data, peak, bandwidth)
    link = cost.sent(exchange(net, batch, data, tower)) / (machine.link_gbs * 1e9)
    return device / tower, link


def describe(net: Net, batch: int) -> str:
    """The three tables: one tower's layers, exchange, time."""
    rows = [row for row in cost.costs(net, batch) if row.traffic]
    _, *columns = zip(*rows, strict=True)
    one = cost.Cost("one tower", *map(sum, columns))
    layers: list[Sequence[str]] = [
        ("layer", "GFLOP forward", "training", "MiB weights", "kept", "received", "traffic")
    ]
    for name, *figures in (*rows, one):
        units = zip(figures, (1e9, 1e9, MIB, MIB, MIB, MIB), strict=True)
        layers.append((name, *(f"{size / unit:,.1f}" if size else "" for size, unit in units)))
    images = net.image_size**2 * 3 * batch * cost.FLOAT32
    memory = 3 * one.weights + one.kept + one.received + images
    footer = (
        "memory of a tower: 3 x weights (with momentum and gradients) + kept + received + "
        f"images {images / MIB:,.1f} = {memory / MIB:,.1f} MiB"
    )

    exchanged: list[Sequence[str]] = [("data x tower", "MiB sent", "collectives' results")]
    shapes = [shape for n in (2, 4, 8) for shape in layouts(net, batch, n)]
    for data, tower in dict.fromkeys(shapes):
        found = exchange(net, batch, data, tower)
        sizes = (cost.sent(found), cost.results(found))
        exchanged.append((f"{data} x {tower}", *(f"{size / MIB:,.1f}" for size in sizes)))

    epochs = f"{EPOCHS} ImageNet epochs, h"
    times: list[Sequence[str]] = [
        ("machine", "data x tower", "device ms", "link ms", "images/s", epochs)
    ]
    for machine in MACHINES:
        data, tower = layouts(net, batch, machine.devices)[0]
        device, link = seconds(net, batch, machine)
        rate = batch / (device + link)
        hours = EPOCHS * IMAGES / rate / 3600
        ms = (f"{1e3 * device:,.2f}", f"{1e3 * link:,.2f}")
        times.append((machine.name, f"{data} x {tower}", *ms, f"{rate:,.0f}", f"{hours:,.2f}"))

    towers = counted(net.towers, "tower")
    title = f"{net.name}, {towers}, {batch} images, float32 arrays: computed, not measured"
    if net.image_size < SMALLEST:
        times = [row[:-1] for row in times]
    tables = (*aligned(layers), footer, "", *aligned(exchanged), "", *aligned(times))
    return "\n".join((title, "", *tables))


def main(argv: Sequence[str]) -> None:
    """Prints the tables of a net."""
    name, flags = positional(argv)
    name = name or "alexnet"
    if asks_help(argv):
        settings = described(defaults(name), build, NETS[name])
        print(command_help(__doc__, OPTIONS), listing(settings), sep="\n")
        return
    arguments(flags)  # before the net's name, which may be the value of an option: --batch 64
    options = defaults(name)
    given = arguments(flags, {*OPTIONS, *options})
    batch = count("batch", given.pop("batch", OPTIONS["batch"][0]))
    options |= {key: typed(key, text, options[key]) for key, text in given.items()}
    print(describe(build(name, **options), batch))


if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
