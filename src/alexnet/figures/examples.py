"""Figure 4: images with their most probable labels, and the training images nearest to them."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from alexnet.figures.style import bare, short

COLUMNS = 2
RIGHT, WRONG = "C0", "C6"  # the colours of a bar: the image's own class, and others


class Example(NamedTuple):
    """An image and what the net says of it.

    Attributes:
        image: uint8 [S, S, 3].
        label: its class.
        best: (class, probability), the most probable first.
    """

    image: np.ndarray
    label: str
    best: Sequence[tuple[str, float]]


class Row(NamedTuple):
    """An image, and others that are near to it: (image, class), the nearest first."""

    image: np.ndarray
    label: str
    near: Sequence[tuple[np.ndarray, str]]


def predictions_height(count: int) -> float:
    """Of `draw_predictions`, in inches."""
    return 1.36 * math.ceil(count / COLUMNS)


def draw_predictions(figure: Figure, examples: Sequence[Example]) -> None:
    """Each image under its label, beside bars of its most probable ones; the right one stands out.

    As in the paper, a bar is as long as its class is probable.
    """
    lines = math.ceil(len(examples) / COLUMNS)
    cells = figure.subplots(lines, 2 * COLUMNS, squeeze=False, width_ratios=[1, 1.25] * COLUMNS)
    for cell in cells.flat:
        bare(cell)
    for number, example in enumerate(examples):
        line, column = divmod(number, COLUMNS)
        left, right = cells[line, 2 * column : 2 * column + 2]
        left.imshow(example.image, interpolation="nearest")
        left.set_title(short(example.label, 15), fontsize=9, pad=3)
        right.set_xlim(0, 1)
        right.set_ylim(len(example.best) - 0.3, -0.7)
        for place, (name, probability) in enumerate(example.best):
            own = name == example.label
            right.barh(place, probability, 0.82, color=RIGHT if own else WRONG, alpha=0.65)
            weight = "bold" if own else "normal"
            right.text(0.02, place, short(name, 17), va="center", fontsize=8.5, fontweight=weight)


def neighbours_height(rows: Sequence[Row]) -> float:
    """Of `draw_neighbours`, in inches."""
    return 0.2 + 0.66 * len(rows)


def draw_neighbours(figure: Figure, rows: Sequence[Row]) -> None:
    """A row for each image: itself, a gap, its neighbours; those of another class have a frame."""
    columns = max(len(row.near) for row in rows)
    widths = [1, 0.25, *[1] * columns]
    cells = figure.subplots(len(rows), len(widths), squeeze=False, width_ratios=widths)
    for cell in cells.flat:
        bare(cell)
    cells[0, 0].set_title("image", fontsize=9, pad=3)
    cells[0, 2].set_title("nearest training images", fontsize=9, pad=3, loc="left")
    for line, row in zip(cells, rows, strict=True):
        line[0].imshow(row.image, interpolation="nearest")
        for cell, (image, label) in zip(line[2:], row.near, strict=False):
            cell.imshow(image, interpolation="nearest")
            if label != row.label:
                cell.spines[:].set(visible=True, color="C1", linewidth=2)
