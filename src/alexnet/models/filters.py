"""Figure 3: the first layer's filters as one picture, and their colour selectivity."""

import math

import numpy as np

from alexnet.errors import UserError
from alexnet.models.table import Conv, Net

COLUMNS = 16  # filters side by side, as in the paper


def first_convolution(net: Net) -> str:
    """The name of the layer whose filters are pictures: a convolution of the image's three colours.

    Raises:
        UserError: if the net's first layer with weights is not such a convolution.
    """
    first = next(layer for layer in net.layers if layer.row in net.weighted)
    if not isinstance(first.row, Conv) or first.input_shape[-1] != 3:
        raise UserError(
            f"net {net.name} begins with {first.row.name}, not a convolution: there are no filters"
        )
    return first.row.name


def as_rgb(kernel_THWCO: np.ndarray, net: Net) -> np.ndarray:
    """The kernels of the net's first layer, with their inputs in the order red, green, blue."""
    return kernel_THWCO[..., ::-1, :] if net.pixels.order == "BGR" else kernel_THWCO


def grid(kernel_THWCO: np.ndarray, scale: int = 1, line: int = 255) -> np.ndarray:
    """All filters in rows of up to 16, tower above tower: uint8 RGB [height, width, 3].

    Grey is a weight of 0. The weight that is largest in magnitude is black or white, so that
    filters and towers can be compared. Thin lines separate filters, and thicker lines towers. NaN
    and infinities are grey.

    Args:
        kernel_THWCO: a first layer's kernels, [towers, size, size, 3, kernels].
        scale: side of the square that shows a weight, in pixels.
        line: the shade of the lines, 0 to 255.
    """
    kernel = np.nan_to_num(np.asarray(kernel_THWCO, np.float32), posinf=0.0, neginf=0.0)
    shades = np.round(127.5 + 127.5 * kernel / (np.abs(kernel).max() or 1.0)).astype(np.uint8)
    towers, side, _, _, kernels = shades.shape
    columns = min(COLUMNS, kernels)
    lines, cell = math.ceil(kernels / columns), side * scale + 1
    tower_height, gap = lines * cell, 3
    picture = np.full((towers * (tower_height + gap) - gap + 1, columns * cell + 1, 3), line)
    for tower in range(towers):
        for number in range(kernels):
            row, column = divmod(number, columns)
            top = tower * (tower_height + gap) + row * cell + 1
            left = column * cell + 1
            pixels = shades[tower, ..., number].repeat(scale, 0).repeat(scale, 1)
            picture[top : top + cell - 1, left : left + cell - 1] = pixels
    return picture.astype(np.uint8)


def colour_selectivity(kernel_THWCO: np.ndarray) -> np.ndarray:
    """How much each tower's filters respond to colour: 0 for brightness alone; float64 [towers].

    A filter's energy is the sum of its squared weights. Replacing each pixel's three weights by
    their mean removes the share of the energy that is not grey; the score is this share, averaged
    over the tower's filters that have any energy. Random weights score 2/3, and so does a filter of
    a single colour; a filter that sets one colour against another scores 1. A tower of zeros is
    NaN. The measure is ours: the paper calls filters "color-agnostic" and "color-specific" by eye.
    """
    kernel = np.asarray(kernel_THWCO, np.float64)
    energy_TO = (kernel**2).sum((1, 2, 3))
    grey_TO = 3 * (kernel.mean(3) ** 2).sum((1, 2))
    means = []
    for energy_O, grey_O in zip(energy_TO, grey_TO, strict=True):
        seen = energy_O > 0
        means.append(np.mean(1 - grey_O[seen] / energy_O[seen]) if seen.any() else np.nan)
    return np.array(means)
