"""What a run shows while it trains: a live line on a terminal, plain lines elsewhere."""

import math
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import monotonic

from tqdm import tqdm

from alexnet.text import columns

WIDTH = 80  # columns in a line


class Terminal:
    """Standard output. Training goes on if it is closed.

    Args:
        total, done: all steps of the run, and those before this command.
        interval: seconds between two lines on progress, where there is no terminal.
    """

    def __init__(self, total: int, done: int, interval: float):
        self._total, self._interval = total, interval
        self._printed = -math.inf
        self._bar = None
        if sys.stdout is not None and sys.stdout.isatty():
            # tqdm shows nothing on a terminal that reports 0 columns and rows, so it gets a size.
            self._bar = tqdm(
                total=total,
                initial=done,
                file=sys.stdout,
                bar_format="{desc}",
                ncols=columns(),
                nrows=24,
            )

    def progress(self, step: int, line: str, optional: Sequence[str]) -> None:
        """Shows a line, without `optional` parts of it if it is too long.

        On a terminal it is the live line. Elsewhere it is printed if `interval` seconds have passed
        since the last one, or at the last step.
        """
        if self._bar is not None:
            self._live(self._bar, step, _fitted(line, optional, columns()))
        elif monotonic() - self._printed >= self._interval or step == self._total:
            self._printed = monotonic()
            self.message(line, optional)

    def status(self, text: str) -> None:
        """Shows a text on the live line; elsewhere prints it."""
        if self._bar is not None:
            with _heard():
                self._bar.set_description_str(text)
        else:
            self.message(text)

    def message(self, text: str, optional: Sequence[str] = ()) -> None:
        """Prints a line, above the live one if there is one; `optional` parts as in `progress`."""
        text = _fitted(text, optional, WIDTH)
        with _heard():
            if self._bar is not None:
                self._bar.write(text, file=sys.stdout)
            else:
                print(text, flush=True)

    def close(self) -> None:
        """Leaves the live line where it is."""
        if self._bar is not None:
            with _heard():
                self._bar.close()

    def _live(self, bar: tqdm, step: int, line: str) -> None:
        """Shows the live line, after a bar of 18 columns if there is room for one."""
        bar.n, bar.ncols = step, columns()
        room = len(line) + 18 <= bar.ncols
        bar.bar_format = f"{'{percentage:3.0f}% {bar:12} ' if room else ''}{{desc}}"
        with _heard():
            bar.set_description_str(line)


@contextmanager
def _heard() -> Iterator[None]:
    """Sends standard output to the null device once it can no longer be written."""
    try:
        yield
    except OSError:  # a pipe without a reader, a terminal that is gone, a full disk
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.close(null)
        sys.stdout = os.fdopen(1, "w", closefd=False)


def _fitted(line: str, optional: Sequence[str], columns: int) -> str:
    """The line, with `optional` parts removed one by one until it fits."""
    for part in optional:
        if len(line) > columns:
            line = line.replace(part, "", 1)
    return line
