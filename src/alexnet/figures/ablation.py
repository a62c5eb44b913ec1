"""Arms of an ablation side by side: every run's error, and the difference from the baseline."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alexnet.figures.style import short

VERDICTS = {"supported": "C2", "contradicted": "C1"}  # their colours; of the others, C6


class Arm(NamedTuple):
    """An arm's runs, and its difference from the first arm or a claimed error.

    Attributes:
        values: one for each run, at least one: errors in per cent, or epochs.
        difference, low, high: the difference and its interval, in points or, for epochs, as the
            logarithms of factors; None if unknown.
        claimed: the difference that is claimed, as `difference` measures it; None without any.
        verdict: on the claim; "" without any.
        pairs: how many pairs of runs, or runs with a claimed error, the difference is the mean of.
    """

    name: str
    values: Sequence[float]
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    claimed: float | None = None
    verdict: str = ""
    pairs: int = 0


def height(arms: Sequence[Arm]) -> float:
    """The height of each of the two figures, in inches."""
    return 0.6 + 0.5 * len(arms)


def draw_values(figure: Figure, arms: Sequence[Arm], epochs: bool = False) -> None:
    """A faint dot for each run, a strong line at the mean of each arm."""
    axes = figure.subplots()
    for place, arm in enumerate(arms):
        n = len(arm.values)
        step = min(0.09, 0.63 / max(n - 1, 1))  # many runs share the room of one arm
        apart = [place + step * (number - (n - 1) / 2) for number in range(n)]
        axes.plot(arm.values, apart, "o", markersize=5, color=f"C{place % 6}", alpha=0.6)
        axes.plot([sum(arm.values) / n] * 2, [place - 0.22, place + 0.22], "C6", linewidth=2)
    _names(axes, [f"{short(arm.name, 62)} (n = {len(arm.values)})" for arm in arms])
    axes.set_xlabel("epochs" if epochs else "top-1 error, %")


def draw_differences(figure: Figure, arms: Sequence[Arm], epochs: bool = False) -> None:
    """Each arm's mean difference and, if known, its interval and what is claimed."""
    differences(figure.subplots(), arms, epochs)


def differences(axes: Axes, arms: Sequence[Arm], epochs: bool = False) -> None:
    """The same on given axes; colours tell verdicts, if there are any."""
    shown = math.exp if epochs else float
    axes.axvline(shown(0), color="C6", linewidth=1)
    judged = any(arm.verdict for arm in arms)
    for place, arm in enumerate(arms):
        colour = VERDICTS.get(arm.verdict, "C6") if judged else f"C{place % 6}"
        if arm.difference is None:
            continue
        if arm.low is not None and arm.high is not None:
            interval = [shown(arm.low), shown(arm.high)]
            axes.plot(interval, [place] * 2, color=colour, linewidth=3, alpha=0.5)
        axes.plot(shown(arm.difference), place, "o", color=colour)
        if arm.claimed is not None:
            ink = axes.xaxis.label.get_color()
            axes.plot(shown(arm.claimed), place, "D", color=ink, markersize=7, fillstyle="none")
    names = [
        f"{short(arm.name, 62)} (n = {arm.pairs or len(arm.values)})"
        f"{arm.verdict and f': {arm.verdict}'}"
        for arm in arms
    ]
    _names(axes, names)
    drawn = (arm.claimed is not None and arm.difference is not None for arm in arms)
    claimed = "; ◇: claimed" if any(drawn) else ""
    axes.set_xlabel(("factor" if epochs else "difference, points") + claimed)


def _names(axes: Axes, names: Sequence[str]) -> None:
    """Writes the name of each arm above its line, where there is room for long names."""
    for place, name in enumerate(names):
        hide = {"facecolor": axes.get_facecolor(), "edgecolor": "none", "pad": 1}  # lines behind it
        beside = axes.get_yaxis_transform()
        y = place - 0.36
        axes.text(0, y, name, fontsize=8, bbox=hide, transform=beside, in_layout=False)
    axes.set_yticks([])
    axes.set_ylim(len(names) - 0.55, -0.8)
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.08)
