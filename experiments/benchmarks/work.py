"""The work of every contestant in the benchmarks: a net, a batch, and the timing.

A contestant is a process. It first describes itself, then carries out the orders on its standard
input, one a line, and answers each; all lines are JSON. So two contestants can take turns:

    {"task": {"net": "alexnet", "work": "train", "batch": 32, "dtype": "float32"}}   builds it
    {"run": 8, "ahead": 4}      runs 8 iterations and waits for the results of every fourth

Nothing here needs JAX or PyTorch.
"""

import dataclasses
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import checkout  # noqa: F401  before the package
import numpy as np

from alexnet.models.build import build, defaults
from alexnet.models.table import Dropout, Net

NETS = {
    "alexnet": ("alexnet", {"preset": "paper"}),
    "alexnet without LRN": ("alexnet", {"preset": "paper", "norm": False}),
    "alexnet, one tower": ("alexnet", {"preset": "paper", "towers": 1}),
    "alexnet without LRN, one tower": (
        "alexnet",
        {"preset": "paper", "norm": False, "towers": 1},
    ),
    "80sec": ("cifar_80sec", {}),
    "19pct": ("cifar_19pct", {}),
    "18pct": ("cifar_18pct", {}),
    "conv-local-13pct": ("cifar_conv_local_13pct", {}),
    "conv-local-11pct": ("cifar_conv_local_11pct", {}),
}
MEAN = 120  # subtracted from the pixels
RATE = 0.0001


def net(name: str) -> Net:
    """One of NETS, with inverted dropout, as in PyTorch; both kinds of dropout cost the same."""
    function, options = NETS[name]
    classes = defaults(function)["classes"]
    table = build(function, classes=classes, **options)
    rows = [
        dataclasses.replace(row, inverted=True) if isinstance(row, Dropout) else row
        for row in table.rows
    ]
    return dataclasses.replace(table, rows=tuple(rows))


def batch(table: Net, size: int) -> tuple[np.ndarray, np.ndarray]:
    """uint8 images [B, S, S, 3] and int32 labels [B], the same for all contestants."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (size, table.image_size, table.image_size, 3), np.uint8)
    return images, random.integers(0, table.classes, size, dtype=np.int32)


def inputs(images: np.ndarray) -> np.ndarray:
    """The input of the nets: float32 pixels minus MEAN."""
    return images - np.float32(MEAN)


def weights(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Weights, by "layer.kernel" and "layer.bias", with which every layer of a net matters.

    Initial weights give logits near 0, and a loss near ln(classes), whatever the layers do.
    """
    random, found = np.random.default_rng(0), {}
    for name, shape in shapes.items():  # kernels end in inputs and outputs; convolutions are 5-D
        inputs = {3: shape[-2:-1], 5: shape[-4:-1], 6: shape[-3:-1]}
        spread = (2 / np.prod(inputs[len(shape)])) ** 0.5 if name.endswith("kernel") else 0.1
        found[name] = (random.standard_normal(shape) * spread).astype(np.float32)
    return found


class Ready(NamedTuple):
    """A task that was built: facts from the build, and functions that run it."""

    said: dict[str, Any]
    start: Callable[[], None] = lambda: None  # starts an iteration, may return before it ends
    wait: Callable[[], None] = lambda: None  # waits for all iterations
    peak: Callable[[], int] | None = None  # bytes; None: the memory of the process


def serve(about: dict[str, Any], build: Callable[[dict], Ready]) -> None:
    """Describes this contestant, then builds and runs on request until its input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # keeps the output of libraries out of the answers
    print(json.dumps(about), file=answers)
    ready = None
    for line in sys.stdin:
        order = json.loads(line)
        try:
            if "task" in order:
                ready = None  # frees its memory for the next task
                ready = build(order["task"])
                answer = ready.said
            else:
                answer = {"seconds": timed(ready, order["run"], order["ahead"])}
                answer["peak"] = ready.peak() if ready.peak else peak_memory()
        except Exception as error:  # of any framework; the other rows must still run
            lines = str(error).strip().splitlines() or [""]
            answer = {"error": f"{type(error).__name__}: {lines[0]}"}
        print(json.dumps(answer), file=answers)


def timed(ready: Ready, times: int, ahead: int) -> list[float]:
    """Seconds per iteration, for groups of `ahead` iterations that start without waiting."""
    seconds = []
    for _ in range(max(1, times // ahead)):
        begin = time.perf_counter()
        for _ in range(ahead):
            ready.start()
        ready.wait()
        seconds.append((time.perf_counter() - begin) / ahead)
    return seconds


def peak_memory() -> int:
    """The peak memory of this process so far, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
