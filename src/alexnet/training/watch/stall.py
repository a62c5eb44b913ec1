"""Says where a run waits if no step ends for a long time."""

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic

from alexnet.text import say

QUIET = 600.0  # seconds without a step or a batch before the first line
PACKAGE = Path(__file__).parents[2]


@contextlib.contextmanager
def watched(last: Callable[[], float], quiet: float = QUIET) -> Iterator[None]:
    """Prints a line after `quiet` seconds without a sign of life, then after twice as many, ...

    The run goes on waiting: what is slow today may answer tomorrow, and a lost process of several
    ends the others by itself.

    Args:
        last: when the last sign of life was, by `time.monotonic`.
    """
    ended, main = threading.Event(), threading.get_ident()

    def watch() -> None:
        due = quiet
        while not ended.wait(quiet / 10):
            idle = monotonic() - last()
            if idle < quiet:
                due = quiet
            elif idle >= due:
                due *= 2
                say(
                    f"no step has ended for {idle / 60:.0f} minutes{place(main)}: a disk, a device "
                    "or another process may not answer; compiling a large net takes long, too"
                )

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def place(thread: int) -> str:
    """Where a thread is in this program: " (in data/records.py, line 88)"; "" if nowhere."""
    frame = sys._current_frames().get(thread)
    while frame is not None:
        file = Path(frame.f_code.co_filename)
        if file.is_relative_to(PACKAGE):
            return f" (in {file.relative_to(PACKAGE)}, line {frame.f_lineno})"
        frame = frame.f_back
    return ""
