"""Where a run's numbers go: metrics.jsonl, TensorBoard event files, the terminal, a tracker."""

import json
import math
import os
import shutil
import sys
import textwrap
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from time import monotonic

import numpy as np
from tqdm import tqdm

from alexnet import files
from alexnet.errors import UserError
from alexnet.text import say
from alexnet.workdir.charts import Charts
from alexnet.workdir.tracker import Tracker

ROW = {"step": int, "epoch": float}  # what a row of any version has
WIDTH = 80  # columns in a line


class Log:
    """The log of one run in `<workdir>/metrics.jsonl` and `<workdir>/tensorboard`.

    A run resumed at `resume_step` continues both as if it had never been interrupted: rows of
    later steps are dropped. If `resume_step` is None, both are deleted and begun anew. On a
    terminal, a live line shows the progress; elsewhere, a plain line is printed at most every
    `interval` seconds, and for the last step. Only one process should be `enabled`; in the others,
    every method does nothing. Errors are fractions, 0 to 1; lines leave out the top-5 error unless
    `top5`. Every row has the seconds since the run began, pauses included; a resumed run counts on
    from its last row. TensorBoard shows train and validation as two of its "runs", in the same
    charts, and `<workdir>/config.json` as text. A `tracker` gets every row; a new one also gets
    earlier rows.

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
        self.interval = interval
        self.top5 = top5
        self._opened = monotonic()
        self._paused = 0.0  # seconds
        # (step, seconds spent training) of the latest rows
        self._recent: deque[tuple[int, float]] = deque(maxlen=20)
        self._printed = -math.inf
        self._bar = None
        self._charts_ended = False
        self._tracker = tracker
        if not enabled:
            return
        workdir = Path(workdir)
        workdir.mkdir(parents=True, exist_ok=True)
        kept = []
        if resume_step is None:
            (workdir / "metrics.jsonl").unlink(missing_ok=True)
            shutil.rmtree(workdir / "tensorboard", ignore_errors=True)
        else:
            kept = _drop_rows_after(workdir, resume_step, due)
        if kept:
            self._opened -= kept[-1].get("seconds", 0.0)
        self._rows = _Rows(workdir / "metrics.jsonl")
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
        if sys.stdout is not None and sys.stdout.isatty():
            # tqdm shows nothing on a terminal that reports 0 columns and rows, so it gets a size.
            self._bar = tqdm(
                total=total_steps,
                initial=resume_step or 0,
                file=sys.stdout,
                bar_format="{desc}",
                ncols=_columns(),
                nrows=24,
            )
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
        self._write(
            step,
            epoch,
            {
                "train/loss": loss,
                "train/top1_error": top1_error,
                "train/top5_error": top5_error,
                "train/steps": steps,
                "train/rate": rate,
                "train/images_per_second": speed,
            },
        )
        numbers, optional = self._numbers(epoch, loss, top1_error, top5_error, digits=1)
        line = f"step {step}/{self.total_steps}{numbers}  {self._pace(step, speed)}"
        line = _fitted(line, optional, WIDTH if self._bar is None else _columns())
        if self._bar is not None:
            self._live(self._bar, step, line)
        elif monotonic() - self._printed >= self.interval or step == self.total_steps:
            self._printed = monotonic()
            self.message(line)

    def validation(
        self,
        step: int,
        epoch: float,
        loss: float,
        top1_error: float,
        top5_error: float,
        count: int,
    ) -> None:
        """Logs the results on a whole validation set of `count` images."""
        if not self.enabled:
            return
        self._write(
            step,
            epoch,
            {
                "validation/loss": loss,
                "validation/top1_error": top1_error,
                "validation/top5_error": top5_error,
                "validation/count": count,
            },
        )
        numbers, optional = self._numbers(epoch, loss, top1_error, top5_error, digits=2)
        line = f"validation  step {step}/{self.total_steps}{numbers}"
        self.message(_fitted(line, optional, WIDTH))

    def picture(self, tag: str, step: int, pixels_HWC: np.ndarray) -> None:
        """An image for TensorBoard, uint8 RGB."""
        if self.enabled:
            self._tensorboard["train"].picture(tag, pixels_HWC, step)

    def status(self, text: str) -> None:
        """Shows what the run is doing before its first step: on the live line if there is one."""
        if self._bar is not None:
            with _heard():
                self._bar.set_description_str(text)
        else:
            self.message(text)

    def message(self, text: str) -> None:
        """Prints a line, above the live one if there is one."""
        if not self.enabled:
            return
        with _heard():
            if self._bar is not None:
                self._bar.write(text, file=sys.stdout)
            else:
                print(text, flush=True)

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
        if self._bar is not None:
            with _heard():
                self._bar.close()
        if self._tracker is not None:
            self._tracker.close(failed)

    def _write(self, step: int, epoch: float, values: dict[str, float | None]) -> None:
        seconds = round(monotonic() - self._opened, 3)
        row = {"step": int(step), "epoch": _plain(epoch), "seconds": seconds}
        row |= {name: _plain(value) for name, value in values.items()}
        self._rows.write(json.dumps(files.sealed(row), allow_nan=False))
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

    def _live(self, bar: tqdm, step: int, line: str) -> None:
        """Shows the live line, after a bar of 18 columns if there is room for one."""
        bar.n, bar.ncols = step, _columns()
        room = len(line) + 18 <= bar.ncols
        bar.bar_format = f"{'{percentage:3.0f}% {bar:12} ' if room else ''}{{desc}}"
        with _heard():
            bar.set_description_str(line)

    def _no_charts(self, error: OSError) -> None:
        """Says once that no more charts are written."""
        if not self._charts_ended:
            self._charts_ended = True
            why = error.strerror
            say(f"warning: TensorBoard's charts are no longer written ({why}); training goes on")

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

    def _pace(self, step: int, speed: float | None) -> str:
        if not speed:
            return "- images/s  ETA -"
        seconds = int((self.total_steps - step) * self.images_per_step / speed)
        days, rest = divmod(seconds, 24 * 3600)
        left = f"{days}d {rest // 3600}h" if days else timedelta(seconds=rest)
        return f"{speed:.{0 if speed >= 10 else 2}f} images/s  ETA {left}"


class _Rows:
    """Appends lines to a file.

    Lines that cannot be written wait for the next write; a single warning says so.
    """

    def __init__(self, path: Path):
        self._path, self._file = path, path.open("ab", buffering=0)
        self._waiting, self._warned = b"", False

    def write(self, line: str) -> None:
        self._waiting += line.encode() + b"\n"
        self._try()

    def close(self) -> None:
        if self._waiting:
            self._try()
        if self._waiting:
            rows = self._waiting.count(b"\n")
            say(f"warning: {self._path} lacks its last {rows:,} rows")
        self._file.close()

    def _try(self) -> None:
        try:
            while self._waiting:
                self._waiting = self._waiting[self._file.write(self._waiting) :]
        except OSError as error:
            if not self._warned:
                self._warned = True
                say(
                    f"warning: {self._path} cannot be written ({error.strerror}): its rows wait in "
                    "memory; training goes on"
                )


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


def read_log(workdir: str | Path) -> list[dict]:
    """The rows of a run, oldest first; a last line that a kill cut short is left out.

    NaN reads as None.

    Raises UserError if there is no metrics.jsonl, or another line is damaged.
    """
    path = Path(workdir).expanduser() / "metrics.jsonl"
    if not path.is_file():
        raise UserError(f"there is no {path}: is {workdir} the workdir of a run?")
    rows = []
    lines = path.read_text(errors="replace").split("\n")
    for number, line in enumerate(lines[:-1], 1):
        try:
            found = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"{path}, line {number} is not JSON ({error}): remove it") from None
        where = f"{path}, line {number},"
        row = files.unsealed(found if isinstance(found, dict) else {}, where, "remove it")
        numbers = {name: float for name, value in row.items() if value is not None}
        files.check_types(row, {**numbers, **ROW}, where, "remove it")
        rows.append(row)
    return rows


def read_history(workdir: str | Path) -> list[dict]:
    """A row for each validation of a run: step, epoch, loss, top1_error, top5_error, count."""
    rows = []
    for row in read_log(workdir):
        found = {
            name.removeprefix("validation/"): value
            for name, value in row.items()
            if name.startswith("validation/")
        }
        if found:
            rows.append({"step": row["step"], "epoch": row["epoch"]} | found)
    return rows


def _drop_rows_after(workdir: Path, step: int, due: bool) -> list[dict]:
    """Drops later steps' rows and a truncated line from metrics.jsonl; returns the rows kept.

    Also the step's own validation if that is `due`, as it was cut before it was recorded.
    """
    path = workdir / "metrics.jsonl"
    if not path.exists():
        return []

    def last(row: dict) -> int:
        return step - (due and any(key.startswith("validation/") for key in row))

    rows = [row for row in read_log(workdir) if row["step"] <= last(row)]
    with files.whole(path) as partial:
        partial.write_text("".join(json.dumps(files.sealed(row)) + "\n" for row in rows))
    return rows


def _plain(value: float | None) -> float | int | None:
    """A JSON number; None for NaN and the infinities, which JSON lacks."""
    if value is None or not math.isfinite(value):
        return None
    return value if isinstance(value, int) else float(value)


def _columns() -> int:
    """The live line's width in columns: one less than the terminal's, or 79 if that is unknown."""
    return shutil.get_terminal_size((WIDTH, 24)).columns - 1


def _fitted(line: str, optional: Sequence[str], columns: int) -> str:
    """The line, with `optional` parts removed one by one until it fits."""
    for part in optional:
        if len(line) > columns:
            line = line.replace(part, "", 1)
    return line
