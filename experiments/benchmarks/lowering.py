"""Counts the operations of a training step in the program that JAX gives XLA for CUDA.

    python experiments/benchmarks/lowering.py [--kernels=plain,gpu] [--batch=128]

No GPU is needed and nothing is run: JAX lowers the step for CUDA, and this script counts the
operations in the StableHLO. The counts do not predict times, because XLA then fuses, folds and
reorders the operations. Most transposes and all reverses of kernels should become part of calls of
cuDNN and cuBLAS. --kernels does not take `auto`, which depends on the device (`gpu` on a GPU).
"""

import collections
import re
import sys

import jax
import work
from jax_contestant import Task

from alexnet.cli import count, run, values
from alexnet.errors import choice
from alexnet.kernels.choose import KERNELS
from alexnet.text import aligned

OPTIONS = {
    "nets": ("alexnet;alexnet, one tower", "names in work.NETS, separated by semicolons"),
    "kernels": ("plain,gpu", "as config.kernels, except auto"),
    "dtype": ("float32", "or tf32, bfloat16"),
    "batch": ("128", "images"),
}
COLUMNS = {
    "convolutions": ("convolution",),
    "products": ("dot_general",),
    "transposes": ("transpose",),
    "reverses": ("reverse",),
    "barriers": ("optimization_barrier",),
    "windows": ("reduce_window",),
    "scatters": ("select_and_scatter", "scatter"),
    "loops": ("while",),
    "host": ("infeed", "outfeed", "send", "recv", "custom_call"),
}
OPERATION = re.compile(r'(?<!#)stablehlo\.(\w+)"?[ (]')


def lowered(net: str, kernels: str, dtype: str = "float32", batch: int = 128) -> str:
    """The StableHLO of a net's training step for CUDA."""
    task = {"net": net, "work": "train", "batch": batch, "dtype": dtype, "kernels": kernels}
    made = Task(task)
    shapes = jax.eval_shape(made.arguments)
    return made.traced(shapes).lower(lowering_platforms=("cuda",)).as_text()


def counted(text: str) -> dict[str, int]:
    """The number of operations per column; custom calls other than shardings count as host."""
    text = re.sub(r"custom_call @(Sharding|SPMD\w+)", "", text)
    found = collections.Counter(OPERATION.findall(text))
    return {column: sum(found[name] for name in names) for column, names in COLUMNS.items()}


def main(argv: list[str]) -> None:
    options = values(argv, OPTIONS)
    batch = count("batch", options["batch"])
    lines = [("net", "kernels", *COLUMNS)]
    for net in options["nets"].split(";"):
        choice("--nets", net, tuple(work.NETS))
        for kernels in options["kernels"].split(","):
            choice("--kernels", kernels, tuple(word for word in KERNELS if word != "auto"))
            found = counted(lowered(net, kernels, options["dtype"], batch))
            lines.append((net, kernels, *map(str, found.values())))
    print("\n".join(aligned(lines, names=2)))


if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
