"""Arms of an ablation side by side: every run's error, and the difference from the baseline."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alexnet.figures.style import short

Rows = Sequence[Mapping[str, Any]]  # see `alexnet.reports.ablation.ablation_rows`


def height(rows: Rows) -> float:
    """Of both figures, in inches."""
    return 0.6 + 0.5 * len(rows)


def draw_errors(figure: Figure, rows: Rows) -> None:
    """A faint dot for each run, a strong line at the mean of each arm."""
    axes = figure.subplots()
    for place, row in enumerate(rows):
        errors = [100 * error for error in row["errors"]]
        apart = [place + 0.09 * (i - (len(errors) - 1) / 2) for i in range(len(errors))]
        axes.plot(errors, apart, "o", markersize=5, color=_colour(place), alpha=0.6)
        axes.plot([100 * row["mean"]] * 2, [place - 0.22, place + 0.22], "C6", linewidth=2)
    _arms(axes, rows)
    axes.set_xlabel("top-1 error, %")


def draw_differences(figure: Figure, rows: Rows) -> None:
    """The mean difference from the first arm and its interval, where one can be told."""
    axes = figure.subplots()
    axes.axvline(0, color="C6", linewidth=1)
    for place, row in enumerate(rows):
        if row["difference"] is None:
            continue
        if row["low"] is not None:
            interval = [100 * row["low"], 100 * row["high"]]
            axes.plot(interval, [place] * 2, color=_colour(place), linewidth=3, alpha=0.5)
        axes.plot(100 * row["difference"], place, "o", color=_colour(place))
    _arms(axes, rows)
    axes.set_xlabel("difference, points")


def _arms(axes: Axes, rows: Rows) -> None:
    """Names each arm above its line, where there is room for long names."""
    for place, row in enumerate(rows):
        name = f"{short(row['arm'], 60)} (n = {row['n']})"
        over = {"facecolor": axes.get_facecolor(), "edgecolor": "none", "pad": 1}  # the lines
        where = {"transform": axes.get_yaxis_transform(), "in_layout": False}
        axes.text(0, place - 0.36, name, fontsize=8, bbox=over, **where)
    axes.set_yticks([])
    axes.set_ylim(len(rows) - 0.55, -0.8)
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.08)


def _colour(place: int) -> str:
    return f"C{place % 6}"
