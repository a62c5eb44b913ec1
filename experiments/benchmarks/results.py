"""The results of `bench.py`: a table and a JSON file, rewritten after every race."""

import json
import math
import statistics
from operator import itemgetter
from pathlib import Path
from typing import Any

import work
from rows import TUNINGS, USUAL, Row

from alexnet import files
from alexnet.analysis import cost

HEADER = (
    f"| net | work | batch | images/s | of the floor | / {' | / '.join(TUNINGS)} | peak MiB "
    "| PyTorch's | compiling s |"
)
KEY = Row._fields


class Results:
    """The results so far; `races` and `starts` are as in the JSON file.

    Args:
        known: the JSON file of an earlier run, whose races are not repeated.
    """

    def __init__(self, out: Path, title: str, known: Path | None = None):
        self.out, self.title = out, title
        found = json.loads(known.read_text()) if known else {}
        self.about: dict[str, Any] = found.get("about", {})
        self.races: list[dict] = found.get("races", [])
        for row in self.races:  # what failed is tried again
            row["them"] = [race for race in row["them"] if "ratio" in race]
        self.starts: list[tuple] = found.get("starts", [])
        self.programs: dict[str, str] = found.get("programs", {})

    def row(self, row: Row) -> dict:
        """The entry of a row, created if missing."""
        for found in self.races:
            if tuple(found.get(name, "auto") for name in KEY) == row:
                return found
        self.races.append(row._asdict() | {"seconds": [], "them": []})
        return self.races[-1]

    def store(self) -> None:
        """Writes both files atomically: a reader sees the old file or the new one."""
        kept = ("about", "races", "starts", "programs")
        found = json.dumps({name: getattr(self, name) for name in kept}, indent=1)
        for name, text in (("bench.json", found), ("bench.md", self.table())):
            with files.whole(self.out / name) as partial:
                partial.write_text(text + "\n")

    def table(self) -> str:
        """All results as text."""
        text = [self.title, *(f"{name}: {value}" for name, value in self.about.items())]
        measured = [row for row in self.races if row["seconds"]]
        if measured:
            columns = HEADER.count("|") - 1
            text += ["", HEADER, "|" + "---|" * columns, *map(line, measured)]
            text += ["", *ceilings(measured)]
        if missing := [line for row in self.races for line in failures(row)]:
            text += ["", *missing]
        if self.starts:
            text += ["", "| AlexNet, batch 32 | time to first step, s | of which compiling, s |"]
            text += ["|---|---|---|"]
            text += [f"| {what} | {start:.1f} | {took:.1f} |" for what, start, took in self.starts]
        for name, said in self.programs.items():
            text += ["", f"{name}: {said}"]
        return "\n".join(text)


def line(row: dict) -> str:
    """A row of the table, as in HEADER."""
    seconds = statistics.median(row["seconds"])
    name = f"{row['net']}, kernels {row['kernels']}" if row["kernels"] != "auto" else row["net"]
    name += f", {row['dtype']}" if row["dtype"] != "float32" else ""
    name += ", no CUDA graph" if "copy" in row and row.get("cuda_graphs") is False else ""
    ran = [found for found in row["them"] if "ratio" in found]
    tried = {found["mode"] for found in ran}
    if "copy" in row and not tried.issuperset(USUAL):  # on a GPU
        name += ", not against all modes"
    cells = [name, row["work"], str(row["batch"])]
    cells += [f"{row['batch'] / seconds:,.1f}", f"{share(row):.0%}"]
    for tuning in TUNINGS:
        best = min((x for x in ran if x["tuning"] == tuning), key=itemgetter("ratio"), default=None)
        cells.append(f"{best['ratio']:.2f} ({best['mode']})" if best else "")
    usual = [found for found in ran if found["tuning"] != TUNINGS[-1]] or ran
    best = min(usual, key=itemgetter("ratio"))  # our allocator keeps more memory than PyTorch's own
    cells.append(f"{row['peak'] / 2**20:,.0f}")
    cells.append(f"{best['peak'] / 2**20:,.0f} ({best['mode']})")
    cells.append(f"{row['compile']:.0f}")
    return f"| {' | '.join(cells)} |"


def share(row: dict) -> float:
    """The least time divided by the measured one; it includes copies if they were measured."""
    least = cost.least_seconds(
        work.net(row["net"]),
        row["batch"],
        row["floor"],
        row.get("copy", math.inf),
        training=row["work"] == "train",
        number=2 if row["dtype"] == "bfloat16" else 4,
    )
    return least / statistics.median(row["seconds"])


def ceilings(rows: list[dict]) -> list[str]:
    """The measured rates behind the floor, a line each."""
    found = []
    # On CPUs the rate is that of float32 for every row, and copies are not measured.
    dtypes = [row["dtype"] if "copy" in row else "float32" for row in rows]
    for dtype in dict.fromkeys(dtypes):
        rates = sorted(
            row["floor"] / 1e9 for row, own in zip(rows, dtypes, strict=True) if own == dtype
        )
        found.append(f"matrix product, {dtype}: {rates[0]:,.0f} to {rates[-1]:,.0f} GFLOP/s")
    if copies := sorted(row["copy"] / 1e9 for row in rows if "copy" in row):
        found.append(f"copy, read and written: {copies[0]:,.0f} to {copies[-1]:,.0f} GB/s")
    return found


def failures(row: dict) -> list[str]:
    """A line for each race that failed."""
    which = f"{row['net']}, {row['work']}, batch {row['batch']}, {row['dtype']}"
    which += f", kernels {row['kernels']}" if row["kernels"] != "auto" else ""
    which += ", no CUDA graph" if row.get("launch", "auto") != "auto" else ""
    return [
        f"not run: {which}, {found['tuning']}, {found['mode']}: {found['error']}"
        for found in row["them"]
        if "error" in found
    ]
