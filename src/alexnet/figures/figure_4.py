"""Figure 4: images with their most probable labels, and the training images nearest to them."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from alexnet.figures.style import WIDTH, bare, short

# Each figure has a single axes, whose unit is an image: dozens would take seconds to lay out.
COLUMNS = 2  # of predictions
BARS = 1.35  # the length of a bar of probability 1
SPACE = 0.12  # between an image and its bars, and twice that between columns
GAP = 1.3  # from an image to its neighbours
HEAD, EDGE = 0.32, 0.045  # room for words above, and between images
RIGHT, WRONG = "C0", "C6"  # the colours of a bar: the image's own class, and others


class Example(NamedTuple):
    """An image and its most probable classes.

    Attributes:
        image: uint8 [S, S, 3].
        label: its class.
        best: (class, probability), the most probable first.
    """

    image: np.ndarray
    label: str
    best: Sequence[tuple[str, float]]


class Row(NamedTuple):
    """An image, and those near to it as (image, class), the nearest first."""

    image: np.ndarray
    label: str
    near: Sequence[tuple[np.ndarray, str]]


def predictions_height(count: int) -> float:
    """The height of `draw_predictions`, in inches."""
    return math.ceil(count / COLUMNS) * (1 + HEAD) * WIDTH / (COLUMNS * _STEP)


def draw_predictions(figure: Figure, examples: Sequence[Example]) -> None:
    """Each image under its label, beside bars of its most probable labels; its own is bold.

    As in the paper, a bar's length is the probability of its class.
    """
    lines = math.ceil(len(examples) / COLUMNS)
    axes = _axes(figure)
    for number, example in enumerate(examples):
        line, column = divmod(number, COLUMNS)
        left, top = column * _STEP, line * (1 + HEAD) + HEAD
        _show(axes, example.image, left, top)
        axes.text(left + EDGE, top - 0.05, short(example.label, 26), fontsize=9)
        left, height = left + 1 + SPACE, 1 / max(len(example.best), 1)
        for place, (name, probability) in enumerate(example.best):
            own, middle = name == example.label, top + (place + 0.5) * height
            colour = RIGHT if own else WRONG
            axes.barh(middle, BARS * probability, 0.84 * height, left=left, color=colour, alpha=0.5)
            weight = "bold" if own else "normal"
            where = left + 0.04, middle
            axes.text(*where, short(name, 18), va="center", fontsize=8.5, fontweight=weight)
    axes.set_xlim(0, COLUMNS * _STEP)
    axes.set_ylim(lines * (1 + HEAD), 0)


def neighbours_height(rows: Sequence[Row]) -> float:
    """The height of `draw_neighbours`, in inches."""
    columns = GAP + max(len(row.near) for row in rows)
    return (len(rows) + HEAD) * WIDTH / columns


def draw_neighbours(figure: Figure, rows: Sequence[Row]) -> None:
    """A row for each image: the image, a gap, its neighbours, framed if of another class."""
    axes = _axes(figure)
    axes.text(EDGE, HEAD - 0.08, "image", fontsize=9)
    axes.text(GAP + EDGE, HEAD - 0.08, "nearest training images", fontsize=9)
    for line, row in enumerate(rows):
        _show(axes, row.image, 0, HEAD + line)
        for place, (image, label) in enumerate(row.near):
            _show(axes, image, GAP + place, HEAD + line, frame=label != row.label)
    axes.set_xlim(0, GAP + max(len(row.near) for row in rows))
    axes.set_ylim(HEAD + len(rows), 0)


_STEP = 1 + BARS + 3 * SPACE  # from one column of predictions to the next


def _axes(figure: Figure) -> Axes:
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))
    bare(axes)
    return axes


def _show(axes: Axes, image: np.ndarray, left: float, top: float, frame: bool = False) -> None:
    left, top, side = left + EDGE, top + EDGE, 1 - 2 * EDGE
    box = (left, left + side, top + side, top)
    axes.imshow(image, interpolation="nearest", extent=box, aspect="auto")
    if frame:
        axes.add_patch(Rectangle((left, top), side, side, fill=False, edgecolor="C1", lw=2))
