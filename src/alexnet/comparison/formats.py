"""Formats the tables of a comparison: as text in 80 columns, Markdown, CSV or JSON."""

import csv
import io
import json
import math
import os
import textwrap
from collections.abc import Sequence
from typing import Any, Literal

from alexnet.comparison import comparison, statistics
from alexnet.comparison.table import Row, Table
from alexnet.errors import choice, local_path
from alexnet.results import folders
from alexnet.sweeps.experiment import ERROR, TOP5, Claim
from alexnet.text import aligned, said

WIDTH = 80
WHAT = {ERROR: "top-1", TOP5: "top-5"}
ABOUT = {
    False: "error: {what} in per cent, of the {metric} checkpoint; mean ± std over seeds. "
    "difference: from the first arm, paired by seed (an average of nets: from the mean of its "
    "members in the first arm), or from a claimed error such as 26%, in points, with its "
    "95% interval (Student's t). detectable: the smallest true difference that a test at the 5% "
    "level would find in 80% of experiments with as many pairs or runs and this spread.",
    True: "epochs: {what}; mean ± std over seeds. factor: relative to the first arm, paired by "
    "seed, with its 95% interval (Student's t on logarithms). detectable: the true factor nearest "
    "to 1 that a test at the 5% level would find in 80% of experiments with as many pairs and this "
    "spread.",
}


def compare_results(
    directory: str | os.PathLike,
    experiments: str | Sequence[str] = (),
    metric: Literal["last", "best"] = "last",
    baseline: str = "",
    error: Literal["top1", "top5"] = "top1",
) -> list[dict[str, Any]]:
    """A row for each arm that has runs, as `alexnet compare` prints them: plain values.

    `pandas.DataFrame(compare_results("runs/lrn"))` has the columns experiment, scale, dataset,
    metric, checkpoint (an evaluation's is the last), arm, differs (the arm's overrides), n, known
    (how many of the n have a value), failed (how many runs failed, which are not among the n),
    mean, std (errors in per cent or epochs, of the known), pairs (runs if there is a target),
    difference (from the target, else the baseline, in points; for epochs, the logarithm of the
    factor), low, high (its 95% interval), smallest (the smallest effect that the pairs could show),
    claimed (a difference, measured as that of the runs), direction (1 if a higher error is claimed,
    -1 if a lower one, without a size), target (a claimed error), claim (in words), caveat, paper,
    log, verdict and notes (on the whole table).
    Unknown values are None.

    Args:
        directory: a folder of sweeps, runs or results.
        experiments: files and scales that the runs may belong to, such as
            "experiments/lrn.py:small", or a folder of them; by default those recorded by the sweeps
            in the directory.
        metric: the errors of the last checkpoint, or of the best.
        baseline: the arm to compare with; "" is the experiment's first, and with any other, only
            claimed errors get verdicts.
        error: "top5" compares top-5 errors, and judges the claims about them.

    Raises:
        UserError: if there is no finished run, no such experiment, or as `comparison.tables` does.
    """
    choice("metric", metric, ("last", "best"))
    choice("error", error, ("top1", "top5"))
    paths = [local_path("directory", os.fspath(directory))]
    found = folders.read(paths)
    planned = folders.planned(experiments, paths)
    return rows(comparison.tables(found.every, planned, metric, baseline, error), metric)


def text(tables: Sequence[Table], metric: str) -> str:
    """What the command prints."""
    parts = []
    for table in tables:
        lines = [line for part in _titled(table) for line in _wrapped(part)]
        lines += aligned(cells(table), names=1)
        remarks = [
            f"  {row.arm}: {said(row.overrides)}{_quoted(row)}"
            for row in table.rows
            if said(row.overrides)
        ]
        remarks += [f"  note: {note}" for note in table.notes]
        lines += [line for remark in remarks for line in _wrapped(remark)]
        parts.append("\n".join(lines))
    legend = [line for line in (*legends(tables, metric), chance(tables)) if line]
    return "\n\n".join([*parts, *("\n".join(_wrapped(line)) for line in legend)])


def markdown(tables: Sequence[Table], metric: str) -> str:
    """The same as Markdown tables, without overrides and what the paper and the log say."""
    parts = []
    for table in tables:
        title, *more = _titled(table)
        head, *rows = cells(table)
        lines = [f"**{title}**", *more, "", _line(head), _line(["---"] * len(head))]
        parts.append(
            "\n".join([*lines, *map(_line, rows), *(f"\nNote: {n}." for n in table.notes)])
        )
    return "\n\n".join([*parts, *legends(tables, metric), chance(tables)]).strip()


def rows(tables: Sequence[Table], metric: str) -> list[dict[str, Any]]:
    """A dict of plain values for each arm, as in CSV and JSON."""
    found = []
    for table in tables:
        for row in table.rows:
            against = row.against or statistics.Estimate(0, math.nan)
            claim = row.claim or Claim("")
            found.append(
                {
                    "experiment": table.experiment.name,
                    "scale": table.experiment.scale,
                    "dataset": table.dataset_of(row),
                    "metric": table.experiment.metric,
                    "checkpoint": "last" if table.experiment.arms[row.arm].of else metric,
                    "arm": row.arm,
                    "differs": said(row.overrides),
                    "n": len(row.values),
                    "known": len(row.known),
                    "failed": row.failed,
                    "mean": row.mean,
                    "std": row.std,
                    "pairs": against.n,
                    "difference": None if row.against is None else against.mean,
                    "low": against.low,
                    "high": against.high,
                    "smallest": against.smallest,
                    "claimed": table.effect(row),
                    "direction": claim.direction,
                    "target": claim.target,
                    "claim": claim.claim,
                    "caveat": claim.caveat,
                    "paper": claim.paper,
                    "log": claim.log,
                    "verdict": row.verdict,
                    "notes": "; ".join(table.notes),
                }
            )
    return found


def as_csv(tables: Sequence[Table], metric: str) -> str:
    """One line for each arm."""
    found, file = rows(tables, metric), io.StringIO()
    writer = csv.DictWriter(file, list(found[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)
    return file.getvalue().rstrip()


def as_json(tables: Sequence[Table], metric: str) -> str:
    """A list with an object for each arm; for epochs, differences are logarithms of factors."""
    return json.dumps(rows(tables, metric), indent=2)


def legends(tables: Sequence[Table], metric: str) -> list[str]:
    """What the columns mean, once for each metric of the tables."""
    kinds = {table.experiment.metric: table.ratio for table in tables}
    return [
        ABOUT[ratio].format(metric=metric, what=WHAT.get(one, one.removeprefix("epochs ")))
        for one, ratio in kinds.items()
    ]


def chance(tables: Sequence[Table]) -> str:
    """How many claims would look supported if no arm differed; "" without a verdict."""
    judged = [(table, row) for table in tables for row in table.judged()]
    if not judged:
        return ""
    supported = [one for one in judged if one[1].verdict == statistics.SUPPORTED]
    sized = [table.missed(row) for table, row in supported if table.effect(row)]
    missed = f" ({sum(map(bool, sized))} of the {len(sized)} with a size exclude that size)"
    look = f"look supported{missed if any(sized) else ''}"
    return (
        f"{len(supported)} of the {len(judged)} claims that these trainings can test, with "
        f"{statistics.LEAST} pairs or more, {look}. If no arm differed from its baseline, "
        f"chance alone would make at most about {statistics.by_chance(len(judged)):.2f} look so."
    )


def _quoted(row: Row) -> str:
    """What the paper and the log say about an arm."""
    if row.claim is None:
        return ""
    quoted = {"paper": row.claim.paper, "log": row.claim.log}
    return "".join(f"; {name}: {words}" for name, words in quoted.items() if words not in ("", "-"))


def _titled(table: Table) -> list[str]:
    experiment = table.experiment
    where = ", ".join(part for part in (experiment.source, table.dataset) if part)
    title = f"{where}: {experiment.title}"
    return [title] if experiment.judges else [title, "(a demonstration: no verdicts)"]


def cells(table: Table) -> list[list[str]]:
    """The headings, and a line of cells for each arm."""
    error = "top-5 error" if table.experiment.metric == TOP5 else "error"
    value = "epochs" if table.ratio else error
    head = ["arm", "n", value, "factor" if table.ratio else "difference", "detectable"]
    claims = any(row.claim for row in table.rows)
    head += ["claim", "verdict"] if claims else []
    lines = [head]
    for row in table.rows:
        line = [row.arm, count_of(row), value_of(row), difference_of(row, table.ratio)]
        line.append(smallest_of(row, table.ratio))
        if claims:
            line += [claim_of(row, table.ratio), row.verdict]
        lines.append(line)
    return lines


def count_of(row: Row) -> str:
    """How many runs; "3 of 5" if only 3 have a value."""
    known, every = len(row.known), len(row.values)
    return str(every) if known == every else f"{known} of {every}"


def value_of(row: Row) -> str:
    """Mean ± std."""
    if row.mean is None:
        return "-"
    return f"{row.mean:.2f}" if row.std is None else f"{row.mean:.2f} ± {row.std:.2f}"


def difference_of(row: Row, ratio: bool) -> str:
    """The difference from the target or the baseline, with its interval."""
    if row.against is None:
        return ""
    shown = (lambda x: f"{math.exp(x):.2f}") if ratio else (lambda x: f"{x:+.2f}")
    mean, low, high = row.against.mean, row.against.low, row.against.high
    if low is None or high is None:
        return shown(mean)
    return f"{shown(mean)} [{shown(low)} {shown(high)}]"


def smallest_of(row: Row, ratio: bool) -> str:
    """The smallest effect that could be shown; a factor is on the claim's side of 1."""
    if row.against is None or row.against.smallest is None:
        return ""
    if not ratio:
        return f"{row.against.smallest:.2f}"
    effect = row.claim and row.claim.effect
    side = math.log(effect) if effect else row.against.mean
    return f"{math.exp(math.copysign(row.against.smallest, side)):.2f}"


def claim_of(row: Row, ratio: bool) -> str:
    """The claimed number."""
    if row.claim is None:
        return ""
    if row.claim.target is not None:
        return f"{row.claim.target:g}%"
    if row.claim.effect is None:
        return {0: "-", 1: "above", -1: "below"}[row.claim.direction]
    return f"x{row.claim.effect:g}" if ratio else f"{row.claim.effect:+g}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _wrapped(line: str) -> list[str]:
    indent = " " * (len(line) - len(line.lstrip()))
    return textwrap.wrap(
        line, WIDTH, initial_indent=indent, subsequent_indent=indent + "  " * bool(indent)
    ) or [""]
