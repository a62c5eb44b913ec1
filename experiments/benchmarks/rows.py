"""The races, in order: rows of the table, each against several kinds of PyTorch."""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import work

from alexnet.models.table import Norm

ALEXNETS = ("alexnet", "alexnet without LRN")
ONE_TOWER = tuple(f"{name}, one tower" for name in ALEXNETS)
CIFARS = ("80sec", "19pct", "18pct", "conv-local-13pct", "conv-local-11pct")
TUNINGS = ("stock", "by hand", "our allocator")
# On CPUs, Inductor chooses NHWC itself; on GPUs not for nets with grouped or small convolutions.
NHWC = ("compile_channels_last", "graphs_channels_last")
MODES = ("eager", "channels_last", "compile", "graphs", *NHWC)
DTYPES = ("float32", "tf32", "bfloat16")


class Row(NamedTuple):
    """A row of the table: the work of both contestants."""

    net: str
    work: str
    batch: int
    dtype: str
    kernels: str = "auto"


class Race(NamedTuple):
    """A row against one kind of PyTorch."""

    row: Row
    tuning: str
    mode: str


def tunings(net: str, gpu: bool) -> list[str]:
    """The TUNINGS that differ for this net; only a norm over maps can be written by hand."""
    has_norm = any(isinstance(row, Norm) and row.over == "maps" for row in work.net(net).rows)
    found = ["stock", "by hand"] if has_norm else ["stock"]
    return found if gpu else [*found, "our allocator"]


def full(rows: Sequence[Row], modes: Sequence[str], gpu: bool) -> Iterator[Race]:
    """Races of every row against every kind of PyTorch."""
    for row in rows:
        for tuning, mode in itertools.product(tunings(row.net, gpu), modes):
            yield Race(row, tuning, mode)


def short(modes: Sequence[str], batches: Sequence[int], gpu: bool) -> list[Race]:
    """All races, the important ones first, for a device that is available only for minutes.

    First come the rows with speed goals (docs/gpu.md), against all modes but eager.
    Then come all rows against channels_last, which needs no compiling, then all other races.
    """
    large, small = max(batches), min(batches)
    goals = [
        Row("alexnet", "train", large, "bfloat16"),
        Row("alexnet", "train", large, "tf32"),
        Row("alexnet", "train", small, "tf32"),
        Row("alexnet without LRN", "train", large, "tf32"),
        Row("80sec", "train", small, "tf32"),
    ]
    ours = [row._replace(kernels="plain") for row in goals[:3]]
    nets = (*ALEXNETS, *ONE_TOWER)
    others = [
        *(Row(*it) for it in itertools.product(nets, ("train",), (large, small), ("tf32",))),
        *(Row(net, "train", small, "tf32") for net in CIFARS),
        *(Row(*it) for it in itertools.product(nets, ("train",), (large, small), DTYPES)),
        *(Row(*it) for it in itertools.product(nets, ("forward",), (large, small), DTYPES)),
        *(Row(net, "train", small, dtype) for net in CIFARS for dtype in DTYPES),
    ]
    races = [
        race for row in goals for race in _best(row, ("compile", "graphs", *NHWC, "channels_last"))
    ]
    for row in (*ours, *others):
        races += _best(row, ("channels_last",))
    races += (race for row in others for race in _best(row, ("compile", "graphs", *NHWC)))
    races += full([*goals, *others], ("eager", *MODES[1:]), gpu)
    return [race for race in dict.fromkeys(races) if race.mode in modes]


def _best(row: Row, modes: Sequence[str]) -> list[Race]:
    """Races against the fastest tuning only."""
    return [Race(row, tunings(row.net, gpu=True)[-1], mode) for mode in modes]
