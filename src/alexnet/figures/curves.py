"""Errors and losses of runs over their epochs, as in Figure 1."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from alexnet.figures.style import short

FAR = 4  # the axis is logarithmic if the largest loss is more than this times the smallest
SEVERAL = 4  # runs of a name, logged at the same epochs: they become one line
MOST = 7  # names in a legend at most, and colours
LABELS = {"top1_error": "top-1 error, %", "loss": "loss, nats"}


class Curve(NamedTuple):
    """A run's rows.

    Attributes:
        name: of the run, or one that several runs share, such as their arm's.
        rows: of its metrics.jsonl, as `alexnet.read_log` gives them.
    """

    name: str
    rows: Sequence[Mapping[str, Any]]


def draw(figure: Figure, curves: Sequence[Curve], what: str) -> None:
    """Validation as strong lines with dots, training as thin lines; a colour for each name.

    Where a name has four or more runs, all logged at the same epochs, the lines are their means,
    with a band from the lowest to the highest validation.

    Args:
        what: "top1_error" or "loss"; the loss gets a logarithmic axis if it falls far.
    """
    axes, seen = figure.subplots(), []
    named: dict[str, list[Curve]] = {}
    for curve in curves:
        named.setdefault(curve.name, []).append(curve)
    names = list(named)
    many = sum(1 if len(own) >= SEVERAL else len(own) for own in named.values()) > 3
    for split, style in (
        ("train", {"linewidth": 0.9, "alpha": 0.4 if many else 0.6}),
        ("validation", {"linewidth": 1.2 if many else 1.7, "marker": "o", "markersize": 2}),
    ):
        for place, own in enumerate(named.values()):
            colour = f"C{min(place, MOST - 1)}"  # the last is that of "and 3 more"
            lines = [line for one in own if (line := points_of(one.rows, f"{split}/{what}"))]
            seen += [value for line in lines for _, value in line]
            same = len({tuple(epoch for epoch, _ in line) for line in lines}) == 1
            if len(lines) >= SEVERAL and same:
                points = np.array(lines)  # [runs, epochs, 2]
                lines = [points.mean(0).tolist()]
                if split == "validation":
                    epochs, band = points[0, :, 0], (points[..., 1].min(0), points[..., 1].max(0))
                    axes.fill_between(epochs, *band, color=colour, alpha=0.2, linewidth=0)
            for line in lines:
                axes.plot(*zip(*line, strict=True), color=colour, **style)
    axes.set_xlabel("epoch")
    axes.set_ylabel(LABELS[what])
    axes.set_xlim(left=0)
    if what == "loss" and 0 < FAR * min(seen, default=0) < max(seen):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    elif what != "loss":
        axes.set_ylim(bottom=0)
    if len(names) > 1:
        keys = [Line2D([], [], color=f"C{place}") for place in range(min(len(names), MOST))]
        shown = [short(name, 60) for name in names[:MOST]]
        if len(names) > MOST:
            shown[-1] += f" and {len(names) - MOST} more"
        figure.legend(keys, shown, loc="outside lower left", handlelength=1.2)


def points_of(rows: Sequence[Mapping[str, Any]], name: str) -> list[tuple[float, float]]:
    """(epoch, value) of each row with a value (None is the log's NaN); errors in per cent."""
    scale = 100 if name.endswith("error") else 1
    return [(row["epoch"], scale * row[name]) for row in rows if row.get(name) is not None]
