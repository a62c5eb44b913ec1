"""The steps since the log's last row, whose means are the next one."""

from collections.abc import Sequence

import jax

from alexnet.training import evaluation
from alexnet.training.watch.divergence import check_loss

EMPTY = (0, 0.0, 0.0, 0.0)  # the sums over no steps


class Window:
    """Losses and errors since the log's last row; each step's are fetched while the next one runs.

    Args:
        opened: the unfinished window's `sums`, from the checkpoint that a run resumes from.
        waits: whether to fetch only when `sums` or `close` is called.
    """

    def __init__(self, opened: Sequence[float] = (), waits: bool = False):
        self._sums = tuple(opened) or EMPTY
        self._losses: list[float] = []
        self._running: list[tuple[int, evaluation.Sums]] = []
        self._waits = waits

    def add(self, step: int, *sums: evaluation.Sums) -> None:
        """Adds the `sums` of each dispatched step, the last of which is `step`.

        Raises:
            DivergedError: if the loss of an earlier step is NaN, or FAR_GONE or more.
        """
        if not self._waits:
            self._fetch()
        self._running += enumerate(sums, step - len(sums) + 1)

    def sums(self) -> tuple[float, ...]:
        """(steps, and their summed loss, top-1 and top-5 error). Raises as `add` does.

        Added up step by step, so that an interruption changes nothing in the result.
        """
        self._fetch()
        return self._sums

    def close(self) -> list[float]:
        """Begins a new window; returns the losses that this process added to the old one."""
        self._fetch()
        losses, self._losses, self._sums = self._losses, [], EMPTY
        return losses

    def _fetch(self) -> None:
        running, self._running = self._running, []
        for step, sums in jax.device_get(running):
            means = evaluation.means(sums)
            check_loss(step, means.loss)
            self._losses.append(means.loss)
            step_sums = 1, means.loss, means.top1_error, means.top5_error
            self._sums = tuple(a + b for a, b in zip(self._sums, step_sums, strict=True))


def averages(sums: Sequence[float]) -> tuple[float, float, float, int]:
    """Mean loss, top-1 and top-5 error over the steps of a window, and the number of steps."""
    steps, *totals = sums
    loss, top1, top5 = (total / steps for total in totals)
    return loss, top1, top5, int(steps)
