"""The log of a run: hands its numbers to metrics.jsonl, TensorBoard, the terminal, a tracker."""

import shutil
import textwrap
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from time import monotonic

import numpy as np

from alexnet.logs import metrics
from alexnet.logs.charts import Charts
from alexnet.logs.metrics import plain
from alexnet.logs.terminal import Terminal
from alexnet.logs.tracker import Tracker
from alexnet.text import say


class Log:
    """The log of one run in `<workdir>/metrics.jsonl` and `<workdir>/tensorboard`.

    A run resumed at `resume_step` continues both as if it had never been interrupted: rows of later
    steps are dropped and, if that step's validation is still `due`, the row of that. If
    `resume_step` is None, both are deleted and begun anew. On a terminal, a live line shows the
    progress; elsewhere, a plain line is printed at most every `interval` seconds, and for the last
    step. Only one process should be `enabled`; in the others, every method does nothing. Errors are
    fractions, 0 to 1; lines leave out the top-5 error unless `top5`. Every row has the seconds
    since the run began, pauses included; a resumed run counts on from its last row. TensorBoard
    shows train and validation as two of its "runs", in the same charts, and `<workdir>/config.json`
    as text. A `tracker` gets every row; a new one also gets earlier rows.

    If the disk is full, training goes on: rows wait until they can be written, and charts end, with
    a warning for each. Training also goes on if standard output is closed.
    """

    def __init__(
        self,
        workdir: str | Path,
        total_steps: int,
        images_per_step: int,
        *,
        resume_step: int | None = None,
        due: bool = False,
        enabled: bool = True,
        interval: float = 10.0,
        top5: bool = True,
        tracker: Tracker | None = None,
    ):
        self.enabled = enabled
        self.total_steps = total_steps
        self.images_per_step = images_per_step
        self.top5 = top5
        self._began = self._opened = monotonic()  # a resumed run was opened earlier
        self._paused = 0.0  # seconds
        # (step, seconds spent training) of the latest rows
        self._recent: deque[tuple[int, float]] = deque(maxlen=20)
        self._charts_ended = False
        self._tracker = tracker
        if not enabled:
            return
        workdir = Path(workdir)
        workdir.mkdir(parents=True, exist_ok=True)
        kept = []
        if resume_step is None:
            (workdir / metrics.FILE).unlink(missing_ok=True)
            shutil.rmtree(workdir / "tensorboard", ignore_errors=True)
        else:
            kept = metrics.drop_after(workdir, resume_step, due)
        if kept:
            self._opened -= kept[-1].get("seconds", 0.0)
        self._rows = metrics.Rows(workdir / metrics.FILE)
        charts = workdir / "tensorboard"
        before = len(list(charts.glob("train/*")))
        self._tensorboard = {
            name: Charts(
                charts / name,
                purge=None if resume_step is None else resume_step + 1,
                number=before,
                failed=self._no_charts,
            )
            for name in ("train", "validation")
        }
        for row in [] if before else kept:  # earlier versions put charts elsewhere
            self._chart(row)
        if tracker is not None and tracker.new:
            for number, row in enumerate(kept):
                tracker.row(number, row)
        self._row = len(kept)  # the next row's number
        if (workdir / "config.json").exists():
            text = textwrap.indent((workdir / "config.json").read_text(), "    ")  # Markdown code
            self._tensorboard["train"].text("config", text, resume_step or 0)
        self._terminal = Terminal(total_steps, resume_step or 0, interval)
        if tracker is not None:
            self.message(f"followed on Weights & Biases: {tracker.where}")

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, error: type | None, *more) -> None:
        self.close(failed=error is not None)

    def train(
        self,
        step: int,
        epoch: float,
        loss: float,
        top1_error: float,
        top5_error: float,
        steps: int,
        rate: float,
    ) -> None:
        """Logs the means over the last `steps` steps; `rate` is the learning rate."""
        if not self.enabled:
            return
        speed = self._images_per_second(step)
        errors = {"loss": loss, "top1_error": top1_error, "top5_error": top5_error}
        more = {"steps": steps, "rate": rate, "images_per_second": speed}
        self._write("train", step, epoch, errors | more)
        numbers, optional = self._numbers(epoch, loss, top1_error, top5_error, digits=1)
        pace, left = self._pace(step, speed)
        line = f"step {step}/{self.total_steps}{numbers}{pace}{left}"
        self._terminal.progress(step, line, [*optional, pace])

    def validation(
        self, step: int, epoch: float, loss: float, top1_error: float, top5_error: float, count: int
    ) -> None:
        """Logs the results on a whole validation set of `count` images."""
        if not self.enabled:
            return
        errors = {"loss": loss, "top1_error": top1_error, "top5_error": top5_error}
        self._write("validation", step, epoch, errors | {"count": count})
        numbers, optional = self._numbers(epoch, loss, top1_error, top5_error, digits=2)
        self._terminal.message(f"validation  step {step}/{self.total_steps}{numbers}", optional)

    def picture(self, tag: str, step: int, pixels_HWC: np.ndarray) -> None:
        """An image for TensorBoard, uint8 RGB."""
        if self.enabled:
            self._tensorboard["train"].picture(tag, pixels_HWC, step)

    def status(self, text: str) -> None:
        """Shows what the run is doing before its first step: on the live line if there is one."""
        if self.enabled:
            self._terminal.status(text)

    def message(self, text: str) -> None:
        """Prints a line, above the live one if there is one."""
        if self.enabled:
            self._terminal.message(text)

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Wraps validation and checkpoints: their time does not count in images per second.

        At its end, all charts are on disk: a run that is killed resumes from the checkpoint, and
        writes the later ones again.
        """
        start = monotonic()
        try:
            yield
        finally:
            self._flush(now=True)
            self._paused += monotonic() - start

    def _flush(self, now: bool = False) -> None:
        for charts in self._tensorboard.values() if self.enabled else ():
            charts.flush(now)

    def close(self, failed: bool = False) -> None:
        """Closes the files; the live line stays on the terminal."""
        if not self.enabled:
            return
        self._rows.close()
        for writer in self._tensorboard.values():
            writer.close()
        self._terminal.close()
        if self._tracker is not None:
            self._tracker.close(failed)

    def _write(self, run: str, step: int, epoch: float, values: Mapping[str, float | None]) -> None:
        seconds = round(monotonic() - self._opened, 3)
        row = {"step": int(step), "epoch": plain(epoch), "seconds": seconds}
        row |= {f"{run}/{name}": plain(value) for name, value in values.items()}
        self._rows.write(row)
        self._chart(row)
        if self._tracker is not None:
            self._tracker.row(self._row, row)
        self._row += 1

    def _chart(self, row: dict) -> None:
        """A row's numbers for TensorBoard: "train/loss" is "loss" of the run "train"."""
        for name, value in row.items():
            run, _, tag = name.partition("/")
            if tag not in ("", "count", "steps") and value is not None:  # counts need no curve
                self._tensorboard[run].scalar(tag, value, row["step"])
        self._flush()

    def _no_charts(self, error: OSError) -> None:
        """Says once that no more charts are written."""
        if not self._charts_ended:
            self._charts_ended = True
            why = error.strerror
            say(
                f"warning: TensorBoard's charts are no longer written ({why}) until the run is "
                "started again; training goes on, and metrics.jsonl gets all rows"
            )

    def _numbers(
        self, epoch: float, loss: float, top1_error: float, top5_error: float, digits: int
    ) -> tuple[str, list[str]]:
        """The middle of a line, and the parts to leave out if the line is too long."""
        when = f"  epoch {epoch:.{digits}f}"
        top5 = f" (top-5 {100 * top5_error:.{digits}f}%)" if self.top5 else ""
        numbers = f"{when}  loss {loss:.{2 * digits}f}  error {100 * top1_error:.{digits}f}%{top5}"
        return numbers, [when, top5]

    def _images_per_second(self, step: int) -> float | None:
        """The speed over the latest rows, pauses excluded; None at the first row."""
        self._recent.append((step, monotonic() - self._paused))
        (first_step, start), (last_step, end) = self._recent[0], self._recent[-1]
        if end <= start:
            return None
        return (last_step - first_step) * self.images_per_step / (end - start)

    def _pace(self, step: int, speed: float | None) -> tuple[str, str]:
        """The end of a line: the speed and the time left, "" if they are not known yet."""
        if not speed:
            return "", ""
        training = (self.total_steps - step) * self.images_per_step / speed
        ran = monotonic() - self._began
        # As much again for validations and checkpoints as they have taken so far
        seconds = int(training * ran / max(ran - self._paused, 1e-9))
        days, rest = divmod(seconds, 24 * 3600)
        left = f"{days}d {rest // 3600}h" if days else timedelta(seconds=rest)
        return f"  {speed:.{0 if speed >= 10 else 2}f} images/s", f"  ETA {left}"
