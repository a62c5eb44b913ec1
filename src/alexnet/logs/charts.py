"""TensorBoard's event files, written without tensorboardX's thread.

That thread dies when a disk is full, and a caller that hands it another event waits for ever.
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, time

import numpy as np
from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog

FLUSH_SECONDS = 10


class Charts:
    """The charts of one TensorBoard run, in a folder; they end if the file cannot be written.

    Args:
        purge: the first step of a resumed run: TensorBoard drops its older points from there on.
        number: the file's number, by which two files made in the same second differ.
        failed: called with the OSError, once.
    """

    def __init__(
        self, folder: Path, purge: int | None, number: int, failed: Callable[[OSError], None]
    ):
        self._failed, self._file, self._flushed = failed, None, monotonic()
        with self._best_effort():
            folder.mkdir(parents=True, exist_ok=True)
            self._file = EventsWriter(str(folder / "events"), f".{number:04}")
            if purge is not None:
                start = SessionLog(status=SessionLog.START)
                self._write(Event(step=purge, session_log=start))

    def scalar(self, tag: str, value: float, step: int) -> None:
        """A point of a curve."""
        self._write(Event(step=step, summary=summary.scalar(tag, value)))

    def picture(self, tag: str, pixels_HWC: np.ndarray, step: int) -> None:
        """An image, uint8 RGB."""
        shown = summary.image(tag, pixels_HWC, dataformats="HWC")
        self._write(Event(step=step, summary=shown))

    def text(self, tag: str, text: str, step: int) -> None:
        """Markdown."""
        self._write(Event(step=step, summary=summary.text(tag, text)))

    def flush(self, now: bool = False) -> None:
        """Writes what has been added, at most every few seconds unless `now`."""
        if self._file is not None and (now or monotonic() - self._flushed >= FLUSH_SECONDS):
            with self._best_effort():
                self._file.flush()
                self._flushed = monotonic()

    def close(self) -> None:
        """Writes what is left."""
        with self._best_effort():
            if self._file is not None:
                self._file.close()
        self._file = None

    def _write(self, event: Event) -> None:
        if self._file is None:
            return
        event.wall_time = time()
        with self._best_effort():
            self._file.write_event(event)

    @contextlib.contextmanager
    def _best_effort(self) -> Iterator[None]:
        """An error ends the file, as TensorBoard reads nothing after half a record."""
        try:
            yield
        except OSError as error:
            file, self._file = self._file, None
            with contextlib.suppress(OSError):
                if file is not None:
                    file.close()
            self._failed(error)
