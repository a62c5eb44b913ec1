"""Predictions as a CSV file: for every image of a split, or for photos."""

import csv
import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from alexnet import files
from alexnet.data.recipe import FOLDER
from alexnet.data.store import Store
from alexnet.text import printable, say

MOST = 5  # classes of an image, as in the paper


def write(
    path: Path, store: Store, split: str, log_probs_NK: np.ndarray, labels_N: np.ndarray
) -> None:
    """Writes a line for each image, in the order of the split; replaces the file.

    The columns are image (its number in the split), file ("" if the dataset is no folder), label,
    label_p (its probability), and the most probable classes: top1, top1_p, top2, top2_p, up to
    five.
    """
    names, classes = store.files(split), store.classes
    if store.name.startswith(FOLDER) and not names:
        say(f"{store.path}, of an earlier version, names no files: delete it to get names")
    count = min(MOST, len(classes))
    header = ["image", "file", "label", "label_p", *_places(count)]
    # Among equal probabilities, the lower class counts as the more likely, as in `sums`.
    order_NK = np.argsort(-log_probs_NK, axis=1, kind="stable")[:, :count]
    with files.whole(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(header)
        for number, (label, order_K) in enumerate(zip(labels_N, order_NK, strict=True)):
            row = [number, names[number] if names else ""]
            for k in (label, *order_K):
                row += [classes[k], f"{np.exp(log_probs_NK[number, k]):.6f}"]
            rows.writerow(row)


def write_photos(
    path: Path, found: Iterable[tuple[str, Sequence[tuple[str, float]]]], count: int
) -> None:
    """Writes a line for each photo; replaces the file.

    The columns are file, top1, top1_p, top2, top2_p, and so on.

    Args:
        found: (photo, its most probable (class, probability)).
        count: how many there are for each.
    """
    with files.whole(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["file", *_places(count)])
        for photo, classes in found:
            pairs = ((name, f"{probability:.6f}") for name, probability in classes)
            rows.writerow([printable(photo), *itertools.chain.from_iterable(pairs)])


def _places(count: int) -> list[str]:
    """The headings for `count` classes: top1, top1_p, top2, ..."""
    return [f"top{place}{kind}" for place in range(1, count + 1) for kind in ("", "_p")]
