"""The work that the benchmarks give to every contestant: a net, a batch, and how it is timed.

A contestant is a process. It builds and compiles, prints a line of JSON, and then runs as many
iterations as each line of its standard input says, so that two of them can take turns. Nothing here
needs JAX or PyTorch.
"""

import dataclasses
import json
import resource
import sys
import time
from collections.abc import Callable

import numpy as np

from alexnet.models.build import build, defaults
from alexnet.models.table import Dropout, Net

NETS = {
    "alexnet": ("alexnet", {"preset": "paper"}),
    "alexnet without LRN": ("alexnet", {"preset": "paper", "norm": False}),
    "80sec": ("cifar_80sec", {}),
    "19pct": ("cifar_19pct", {}),
    "18pct": ("cifar_18pct", {}),
    "conv-local-13pct": ("cifar_conv_local_13pct", {}),
    "conv-local-11pct": ("cifar_conv_local_11pct", {}),
}
MEAN = 120  # subtracted from the pixels
RATE = 0.0001


def net(name: str) -> Net:
    """One of NETS; with inverted dropout, which PyTorch has and which costs the same."""
    function, options = NETS[name]
    classes = defaults(function)["classes"]
    table = build(function, classes=classes, **options)
    rows = [
        dataclasses.replace(row, inverted=True) if isinstance(row, Dropout) else row
        for row in table.rows
    ]
    return dataclasses.replace(table, rows=tuple(rows))


def batch(table: Net, size: int) -> tuple[np.ndarray, np.ndarray]:
    """uint8 images [B, S, S, 3] and int32 labels [B], the same everywhere."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (size, table.image_size, table.image_size, 3), np.uint8)
    return images, random.integers(0, table.classes, size, dtype=np.int32)


def inputs(images: np.ndarray) -> np.ndarray:
    """float32 pixels, what the nets read."""
    return images - np.float32(MEAN)


def serve(run: Callable[[], None] | None = None, **said: object) -> None:
    """Says what was found while building, then runs on demand; ends with the standard input."""
    print(json.dumps(said), flush=True)
    for line in sys.stdin:
        seconds = []
        for _ in range(int(line)):
            start = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - start)
        unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
        print(json.dumps({"seconds": seconds, "peak": peak}), flush=True)
