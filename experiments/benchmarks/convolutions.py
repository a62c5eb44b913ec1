"""Compares the convolutions of a net with matrix products of the same size.

    python experiments/benchmarks/convolutions.py
    python experiments/benchmarks/convolutions.py --net=80sec --images=128

A convolution is a product of patches and kernels. The gradient of its kernels is a product of
patches and the output's gradient; the gradient of its input is a product of the output's gradient
and kernels. This script times XLA's products of these sizes in turns with the form of the
convolution that `kernels=auto` chooses on this device; each is a separate program. The products
have an advantage: they read ready-made patches in the best order. The script prints medians in
GFLOP/s; zeros at the borders count as work for both. For a layer whose towers read only their own
maps, the figures are for one tower.
"""

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import work

from alexnet.cli import arguments, count, run
from alexnet.devices import mesh as meshes
from alexnet.devices import runtime
from alexnet.errors import UserError, nearest
from alexnet.kernels import choose, convolution
from alexnet.models import ops, table
from alexnet.text import aligned

OPTIONS = {"net": "alexnet", "images": "16", "rounds": "9"}
WORK = ("forward", "input's gradient", "kernel's gradient")
# {a form for all towers: the same for one array of maps}; the others are plain.
FORMS = {convolution.towers: convolution.conv, convolution.gpu_towers: convolution.in_blocks}

Program = tuple[Callable[..., jax.Array], tuple[Any, ...]]  # a function and its arguments


def programs(
    layer: table.Layer, kernels: int, images: int, convolve: Callable[..., jax.Array]
) -> tuple[dict[tuple[str, str], Program], int]:
    """A layer's programs by ("conv" or "product", one of WORK), and the FLOP that each has."""
    row, (height, width, channels) = layer.row, layer.input_shape
    rows, columns, _ = layer.output_shape
    keys = iter(jax.random.split(jax.random.key(0), 4))

    def random(*shape: int) -> jax.Array:
        return jax.random.normal(next(keys), shape)

    x_BHWC = random(images, height, width, channels)
    dy_BHWO = random(images, rows, columns, kernels)
    kernel_HWIO = random(row.size, row.size, channels, kernels)

    def conv(x_BHWC, kernel_HWIO):
        return convolve(x_BHWC, kernel_HWIO, row.stride, (row.padding,) * 2)

    def gradient(number: int) -> Callable[..., jax.Array]:
        return lambda x, kernel, dy: jax.vjp(conv, x, kernel)[1](dy)[number]

    patches_PI = random(images * rows * columns, row.size**2 * channels)
    patches_IP = jnp.array(patches_PI.T)
    kernel_IO, dy_PO = kernel_HWIO.reshape(-1, kernels), dy_BHWO.reshape(-1, kernels)
    inputs = x_BHWC, kernel_HWIO
    found = {
        ("conv", WORK[0]): (conv, inputs),
        ("product", WORK[0]): (jnp.matmul, (patches_PI, kernel_IO)),
        ("conv", WORK[1]): (gradient(0), (*inputs, dy_BHWO)),
        ("product", WORK[1]): (lambda dy, kernel: dy @ kernel.T, (dy_PO, kernel_IO)),
        ("conv", WORK[2]): (gradient(1), (*inputs, dy_BHWO)),
        ("product", WORK[2]): (jnp.matmul, (patches_IP, dy_PO)),
    }
    return found, 2 * patches_PI.size * kernels


def rates(net: table.Net, images: int, rounds: int) -> list[list[str]]:
    """A line for each convolution of the net."""
    mesh = meshes.make(towers=net.towers, batch_size=images, data=1, tower=1)
    chosen = choose.choose("auto", mesh, images, net.image_size)
    convolve = FORMS.get(chosen.conv, ops.conv)
    options = choose.compiler_options(mesh)
    lines = []
    for number, layer in enumerate(net.layers):
        if not isinstance(layer.row, table.Conv):
            continue
        shared = number == 0 or layer.row.reads == "all"  # all towers run as one convolution
        kernels = layer.output_shape[-1] * (net.towers if shared else 1)
        tasks, flop = programs(layer, kernels, images, convolve)
        if number == 0:  # images need no gradient
            tasks = {name: task for name, task in tasks.items() if name[1] != WORK[1]}
        compiled = {
            name: (jax.jit(f, compiler_options=options).lower(*inputs).compile(), inputs)
            for name, (f, inputs) in tasks.items()
        }
        seconds = {name: [] for name in compiled}
        for _ in range(1 + rounds):  # the first is to warm up
            for name, (f, inputs) in compiled.items():
                start = time.perf_counter()
                jax.block_until_ready(f(*inputs))
                seconds[name].append(time.perf_counter() - start)
        rate = {it: flop / statistics.median(times[1:]) / 1e9 for it, times in seconds.items()}
        cells = [
            f"{rate['conv', it]:.0f} / {rate['product', it]:.0f}" if ("conv", it) in rate else "-"
            for it in WORK
        ]
        lines.append([layer.row.name, f"{flop / 1e9:.1f}", *cells])
    return lines


def main(argv: list[str]) -> None:
    options = OPTIONS | arguments(argv, OPTIONS)
    if options["net"] not in work.NETS:
        raise UserError(f"--net: no net {options['net']!r}{nearest(options['net'], work.NETS)}")
    images, rounds = (count(name, options[name]) for name in ("images", "rounds"))
    lines = rates(work.net(options["net"]), images, rounds)
    print(f"{options['net']}, {images} images, GFLOP/s of the convolution / the product")
    print("\n".join(aligned([["layer", "GFLOP", *WORK], *lines])))


if __name__ == "__main__":
    runtime.restart_with_mimalloc()
    run(lambda: main(sys.argv[1:]))
