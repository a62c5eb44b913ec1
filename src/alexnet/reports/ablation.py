"""Several runs as arms of an ablation: what differs between them, and by how much they differ."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alexnet import config as configs
from alexnet.errors import UserError
from alexnet.figures import ablation as figures
from alexnet.figures.style import drawn
from alexnet.reports.part import Part, Shown, Table
from alexnet.sweeps.statistics import estimate
from alexnet.workdir import record
from alexnet.workdir.claim import MAY_CHANGE
from alexnet.workdir.log import read_history

LONGEST = 60  # letters of an arm's name
# Settings that make no other arm: the seed, and what leaves results as they are.
NOT_ARMS = ("seed", *(key for key in MAY_CHANGE if key not in ("epochs", "schedule.")))


def ablation_rows(dirs: Sequence[Path]) -> list[dict[str, Any]]:
    """A row for each arm, that of the first directory first.

    Returns:
        dicts of
        arm: what sets it apart from others, such as "net.norm=False".
        dirs: its runs.
        n: how many have been validated.
        errors: top-1 error of the last validation of each, a fraction.
        mean, std: of these; std None if n = 1.
        best: mean of the lowest error of each.
        difference: mean of the differences from the first arm over the seeds that both have; None
            if there are none, and for the first arm.
        low, high: its 95% interval, Student's t; None if fewer than two seeds are paired.
    """
    found = {}
    for workdir, (arm, seed) in zip(dirs, arms(dirs), strict=True):
        errors = [row["top1_error"] for row in read_history(workdir)]
        errors = [error for error in errors if error is not None]
        row = found.setdefault(arm, {"arm": arm, "dirs": [], "last": {}, "best": []})
        row["dirs"].append(workdir)
        if errors:
            row["last"].setdefault(seed, errors[-1])
            row["best"].append(min(errors))
    rows = [row for row in found.values() if row["last"]]
    return [_summary(row, rows[0]) for row in rows]


def arms(dirs: Sequence[Path]) -> list[tuple[str, int]]:
    """(arm, seed) of each run.

    An arm is named after the settings that differ between the runs, such as "net.norm=False", or
    after its first run where these are too many to read.
    """
    settings = [configs.flat(record.saved_config(workdir).to_dict()) for workdir in dirs]
    keys = [
        key
        for key in dict.fromkeys(key for setting in settings for key in setting)
        if not key.startswith(NOT_ARMS) and len({repr(s.get(key)) for s in settings}) > 1
    ]
    found = {}
    for workdir, setting in zip(dirs, settings, strict=True):
        text = ", ".join(f"{key}={setting[key]}" for key in keys if key in setting)
        name = workdir.name if len(text) > LONGEST else text or "all alike"
        setting["arm"] = found.setdefault(text, name)
    return [(setting["arm"], setting["seed"]) for setting in settings]


def check_same_data(dirs: Sequence[Path]) -> None:
    """Raises UserError for runs on different datasets, whose errors do not compare."""
    names = {record.saved_config(workdir).data.name for workdir in dirs}
    if len(names) > 1:
        raise UserError(f"the runs are on different datasets: {', '.join(sorted(names))}")


def _summary(row: dict[str, Any], first: dict[str, Any]) -> dict[str, Any]:
    errors = np.array(list(row["last"].values()))
    seeds = set() if row is first else row["last"].keys() & first["last"].keys()
    pairs = [row["last"][seed] - first["last"][seed] for seed in sorted(seeds)]
    against = estimate(pairs) if pairs else None
    return {
        "arm": row["arm"],
        "dirs": row["dirs"],
        "n": len(errors),
        "errors": errors.tolist(),
        "mean": errors.mean(),
        "std": errors.std(ddof=1) if len(errors) > 1 else None,
        "best": np.mean(row["best"]),
        "difference": against and against.mean,
        "low": against and against.low,
        "high": against and against.high,
    }


def part(dirs: Sequence[Path]) -> Part:
    """The table and its figures."""
    check_same_data(dirs)
    rows = ablation_rows(dirs)
    if not rows:
        raise UserError("no run has been validated yet")
    shown = [
        Shown("errors", "Errors of all runs, and their means", _drawn(figures.draw_errors, rows))
    ]
    if any(row["difference"] is not None for row in rows[1:]):
        title = "Differences from the first arm, and 95% intervals"
        shown.append(Shown("differences", title, _drawn(figures.draw_differences, rows)))
    text = (
        "Top-1 error of the last validation; differences are paired by seed, their 95% intervals "
        "Student's t. The best of several validations is lower by luck alone."
    )
    header = ("arm", "n", "last, %", "std", "best, %", "difference, points", "95% interval")
    return Part("Ablation", text, shown, [Table(header, [_cells(row) for row in rows])])


def _drawn(draw, rows):
    return drawn(lambda figure: draw(figure, rows), figures.height(rows))


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    def per_cent(value: float | None, sign: str = "") -> str:
        return "" if value is None else f"{100 * value:{sign}.2f}"

    interval = f"{per_cent(row['low'], '+')} to {per_cent(row['high'], '+')}"
    return (
        row["arm"],
        str(row["n"]),
        per_cent(row["mean"]),
        per_cent(row["std"]),
        per_cent(row["best"]),
        per_cent(row["difference"], "+"),
        "" if row["low"] is None else interval,
    )
