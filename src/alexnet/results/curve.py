"""A run's errors while it trained: the curve of Figure 1, and where it crosses a level."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from alexnet.results.result import Result

LEAST_WRONG = 0.4  # the error of a net that guesses, at least
WINDOW = 0.2  # epochs: 10,000 images of CIFAR-10, for which cuda-convnet printed one error


def epochs_to(result: Result, error: float) -> float | None:
    """Epochs until the training error is at most `error`; None if it never is."""
    return next((epoch for epoch, mean in training_errors(result) if mean <= error), None)


def training_errors(result: Result) -> list[tuple[float, float]]:
    """(epoch, top-1 training error) at the log's rows from epoch WINDOW on, as in Figure 1.

    Each error is the mean over the latest rows that cover at least WINDOW epochs.
    """
    train = result.curve.get("training", {})
    before, rows, means = 0.0, [], []
    for epoch, found in zip(train.get("epoch", ()), train.get("top1_error", ()), strict=True):
        rows.append((epoch - before, found))
        before = epoch
        size = total = 0.0
        for length, value in reversed(rows):
            diverged = value is None
            size, total = size + length, total + length * (math.inf if diverged else value)
            if size >= WINDOW - 1e-9:
                break
        if size >= WINDOW - 1e-9:
            means.append((epoch, total / size))
    return means


def guesses(result: Result) -> bool:
    """Whether a run has learnt nothing: it gives all validation images the same answer.

    Its error has then always been the same, and its loss is about that of equal probabilities, if
    there are about as many images of each class.
    """
    found = result.curve.get("validation", {})
    errors, losses = found.get("top1_error", []), found.get("loss", [])
    if len(errors) < 2 or len({*errors}) > 1 or losses[-1] is None:
        return False
    error = errors[0]
    if error is None or not LEAST_WRONG <= error < 1:
        return False
    return math.isclose(losses[-1], -math.log(1 - error), rel_tol=0.13)


def of_rows(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, list]]:
    """The columns of a log's training rows and of its validation rows, as in `Result.curve`."""
    found: dict[str, dict[str, list]] = {}
    for name, prefix in (("training", "train/"), ("validation", "validation/")):
        part = [row for row in rows if f"{prefix}loss" in row]
        found[name] = {key: [row[key] for row in part] for key in ("step", "epoch", "seconds")}
        for key in ("loss", "top1_error", "top5_error"):
            found[name][key] = [row[prefix + key] for row in part]
    return found
