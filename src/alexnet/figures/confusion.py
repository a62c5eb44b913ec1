"""The confusion matrix, and the classes with the largest errors."""

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from alexnet.figures.style import shades, short

NAMED = 30  # up to this many classes, the axes show their names
COUNTED = 12  # up to this many classes, there is room for numbers
WORST = 20  # classes in `draw_worst`
POINTS = 400  # rows and columns that a picture has room for


def matrix(labels_N: np.ndarray, predictions_N: np.ndarray, classes: int) -> np.ndarray:
    """int64 [K, K]: how many images of each class (row) were taken for each class (column)."""
    pairs = np.int64(labels_N) * classes + predictions_N
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def class_errors(counts_KK: np.ndarray) -> np.ndarray:
    """The error of each class, a fraction; NaN for one without images."""
    images_K = counts_KK.sum(1)
    with np.errstate(invalid="ignore"):
        return 1 - np.diag(counts_KK) / images_K


def confusions(counts_KK: np.ndarray, most: int) -> list[tuple[int, int, int]]:
    """(class, what it was taken for, how often), the most frequent mistakes first."""
    wrong_KK = counts_KK - np.diag(np.diag(counts_KK))
    order = np.argsort(-wrong_KK, axis=None, kind="stable")[:most]
    pairs = zip(*np.unravel_index(order, wrong_KK.shape), strict=True)
    found = [(int(i), int(j), int(wrong_KK[i, j])) for i, j in pairs]
    return [entry for entry in found if entry[2]]


def block(classes: int) -> int:
    """How many rows and columns share a point in `draw`: the largest share is shown."""
    return -(-classes // POINTS)


def draw(figure: Figure, counts_KK: np.ndarray, classes: Sequence[str]) -> None:
    """Shares of each class's images; colours are stretched near 0 to make mistakes visible."""
    axes = figure.subplots()
    shares_KK = counts_KK / np.maximum(counts_KK.sum(1, keepdims=True), 1)
    side = block(len(classes))
    rest = -len(classes) % side
    blocks = np.pad(shares_KK, ((0, rest), (0, rest)))
    blocks = blocks.reshape(len(blocks) // side, side, -1, side).max((1, 3))
    axes.imshow(blocks, cmap=shades(), norm=PowerNorm(0.45, 0, 1), interpolation="nearest")
    axes.grid(False)
    axes.set(xlabel="taken for", ylabel="is")
    if len(classes) > NAMED:
        axes.tick_params(labelbottom=False, labelleft=False)  # numbers that nothing explains
    if len(classes) <= NAMED:
        size = 9 if len(classes) <= COUNTED else 7
        names = [short(name, 14) for name in classes]
        upright = max(map(len, names)) > 2
        axes.set_xticks(range(len(names)), names, fontsize=size, rotation=90 if upright else 0)
        axes.set_yticks(range(len(names)), names, fontsize=size)
    if len(classes) <= COUNTED:
        for (i, j), count in np.ndenumerate(counts_KK):
            if count:
                strong = shares_KK[i, j] > 0.3
                colour = axes.get_facecolor() if strong else axes.xaxis.label.get_color()
                axes.text(j, i, count, ha="center", va="center", fontsize=8, color=colour)


def draw_worst(figure: Figure, counts_KK: np.ndarray, classes: Sequence[str]) -> None:
    """A bar for each class's error, at most the 20 largest; a line at the mean of all classes."""
    axes = figure.subplots()
    errors_K, images_K = class_errors(counts_KK), counts_KK.sum(1)
    descending = np.argsort(-errors_K, kind="stable")
    order = [k for k in descending if not np.isnan(errors_K[k])][:WORST]
    axes.barh(range(len(order)), 100 * errors_K[order], 0.72, alpha=0.85)
    axes.axvline(100 * np.nanmean(errors_K), color="C1", linewidth=1.2)
    axes.set_yticks(
        range(len(order)), [f"{short(classes[k], 24)} ({images_K[k]:,})" for k in order], fontsize=9
    )
    axes.set_ylim(len(order) - 0.4, -0.6)
    axes.grid(False, axis="y")
    axes.set_xlim(left=0)
    axes.set_xlabel("top-1 error, %; the line is the mean over classes")


def worst_height(classes: int) -> float:
    """The height of `draw_worst`, in inches."""
    return 0.7 + 0.2 * min(classes, WORST)
