"""Figure 3: the first layer's filters, tower above tower."""

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from alexnet.figures.style import WIDTH, bare
from alexnet.models.filters import colour_selectivity, grid

LEFT = 0.6  # inches, for the names of the towers
RIGHT, BOTTOM, TOP = 0.995, 0.01, 0.99  # edges of the picture, fractions of the figure


def height(kernel_THWCO: np.ndarray) -> float:
    """The height of the figure that makes pixels square, in inches."""
    rows, columns, _ = _picture(kernel_THWCO).shape
    return rows * (RIGHT * WIDTH - LEFT) / columns / (TOP - BOTTOM)


def draw(figure: Figure, kernel_THWCO: np.ndarray) -> None:
    """A first layer's filters, beside the colour selectivity of each tower.

    See `alexnet.models.filters`.

    Args:
        kernel_THWCO: [towers, size, size, 3, kernels].
    """
    line = round(255 * to_rgb(figure.get_facecolor())[0])
    figure.set_layout_engine("none")
    share = LEFT / figure.get_figwidth()
    axes = figure.add_axes((share, BOTTOM, RIGHT - share, TOP - BOTTOM))
    axes.imshow(_picture(kernel_THWCO, line), interpolation="nearest", aspect="auto")
    bare(axes)
    towers = len(kernel_THWCO)
    for tower, colour in enumerate(colour_selectivity(kernel_THWCO)):
        name = f"tower {tower + 1}" if towers > 1 else "filters"
        place = 1 - (tower + 0.5) / towers
        text = f"{name}\n{colour:.2f}"
        axes.text(
            *(-0.012, place, text),
            transform=axes.transAxes,
            ha="right",
            va="center",
            fontsize=8,
            linespacing=1.1,
        )


def _picture(kernel_THWCO: np.ndarray, line: int = 0) -> np.ndarray:
    """The filters with enlarged pixels, and lines of this brightness between them."""
    return grid(kernel_THWCO, scale=max(1, 44 // kernel_THWCO.shape[1]), line=line)
