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
USUAL = (*NHWC, "compile", "graphs", "channels_last")  # all that may be the fastest on a GPU
MODES = ("eager", "channels_last", "compile", "graphs", *NHWC)
DTYPES = ("float32", "tf32", "bfloat16")


class Row(NamedTuple):
    """A row of the table: the work of both contestants.

    Attributes:
        launch: "auto": on a GPU, our step is a CUDA graph if it can be; "steps": it is none, as by
            default when training.
    """

    net: str
    work: str
    batch: int
    dtype: str
    kernels: str = "auto"
    launch: str = "auto"


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

    A row of each kind comes first, against the modes that are PyTorch's fastest on GPUs, then
    against the others but eager; then all rows in the same way, our plain operations, and all other
    races.
    """
    large, small = max(batches), min(batches)
    nets = (*ALEXNETS, *ONE_TOWER)
    first = [
        Row("alexnet", "train", small, "bfloat16"),
        Row("80sec", "train", small, "tf32"),
        Row("alexnet", "train", large, "bfloat16"),
        Row("alexnet", "train", small, "tf32"),
        Row("alexnet", "forward", small, "bfloat16"),
        Row("18pct", "train", small, "tf32"),
        Row("conv-local-11pct", "train", small, "tf32"),
        Row("alexnet without LRN", "train", small, "bfloat16"),
        Row("alexnet, one tower", "train", small, "bfloat16"),
        Row("alexnet", "forward", large, "bfloat16"),
        Row("19pct", "train", small, "tf32"),
        Row("conv-local-13pct", "train", small, "tf32"),
        Row("alexnet", "train", small, "float32"),
        Row("alexnet", "train", large, "tf32"),
        Row("80sec", "train", small, "tf32", launch="steps"),
        Row("alexnet", "forward", small, "bfloat16", launch="steps"),
    ]
    others = [
        *(Row(*it) for it in itertools.product(nets, ("train",), (small, large), DTYPES[::-1])),
        *(Row(*it) for it in itertools.product(nets, ("forward",), (small, large), DTYPES[::-1])),
        *(Row(net, "train", small, dtype) for net in CIFARS for dtype in DTYPES[::-1]),
    ]
    races = []
    for part in (first, others):
        for modes_of_row in (NHWC, USUAL[2:]):
            for row in part:
                races += _best(row, modes_of_row)
    for row in first[:4]:
        races += _best(row._replace(kernels="plain"), ("channels_last",))
    races += full([*first, *others], MODES, gpu)
    return [race for race in dict.fromkeys(races) if race.mode in modes]


def _best(row: Row, modes: Sequence[str]) -> list[Race]:
    """Races against the fastest tuning only."""
    return [Race(row, tunings(row.net, gpu=True)[-1], mode) for mode in modes]
