"""Where the numbers of a run go: metrics.jsonl, TensorBoard event files, the terminal."""

import json
import math
import os
import shutil
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from time import monotonic

from tensorboardX import SummaryWriter
from tqdm import tqdm

from alexnet.errors import UserError


class Log:
    """The log of one run in `<workdir>/metrics.jsonl` and `<workdir>/tensorboard`.

    A run resumed at `resume_step` continues both as if it had never been interrupted: rows of
    later steps are dropped. None starts afresh and deletes what an earlier run left there. On a
    terminal a live line shows the progress, elsewhere a plain one at most every `interval`
    seconds. Only one process is to be `enabled`; in the others every method does nothing. Errors
    are fractions, 0 to 1. Every row has the seconds since this log was opened, whatever they were
    spent on; they begin at 0 again where a run was resumed.
    """

    def __init__(
        self,
        workdir: str | Path,
        total_steps: int,
        images_per_step: int,
        *,
        resume_step: int | None = None,
        enabled: bool = True,
        interval: float = 10.0,
    ):
        self.enabled = enabled
        self.total_steps = total_steps
        self.images_per_step = images_per_step
        self.interval = interval
        self._opened = monotonic()
        self._paused = 0.0  # seconds
        self._recent = deque(maxlen=20)  # (step, seconds spent training) of the latest rows
        self._printed = -math.inf
        self._bar = None
        if not enabled:
            return
        workdir = Path(workdir)
        workdir.mkdir(parents=True, exist_ok=True)
        if resume_step is None:
            (workdir / "metrics.jsonl").unlink(missing_ok=True)
            shutil.rmtree(workdir / "tensorboard", ignore_errors=True)
        else:
            _drop_rows_after(workdir, resume_step)
        self._rows = (workdir / "metrics.jsonl").open("a", buffering=1)
        self._tensorboard = SummaryWriter(
            str(workdir / "tensorboard"),
            purge_step=None if resume_step is None else resume_step + 1,
            flush_secs=10,
        )
        if sys.stdout.isatty():
            self._bar = tqdm(
                total=total_steps,
                initial=resume_step or 0,
                file=sys.stdout,
                bar_format="{percentage:3.0f}% {bar:12} {desc}",
                dynamic_ncols=True,
            )

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def train(
        self,
        step: int,
        epoch: float,
        loss: float,
        top1_error: float,
        top5_error: float,
        rate: float,
    ) -> None:
        """The numbers of a training step; `rate` is the learning rate."""
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
                "train/rate": rate,
                "train/images_per_second": speed,
            },
        )
        line = (
            f"step {step}/{self.total_steps}  epoch {epoch:.2f}  "
            f"{_numbers(loss, top1_error, top5_error)}  {self._pace(step, speed)}"
        )
        if self._bar is not None:
            self._bar.n = step
            self._bar.set_description_str(line)
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
        """The numbers of a whole validation set of `count` images."""
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
        self.message(
            f"validation  step {step}/{self.total_steps}  epoch {epoch:.2f}  "
            f"{_numbers(loss, top1_error, top5_error)}  {count} images"
        )

    def message(self, text: str) -> None:
        """Print a line, above the live one if there is one."""
        if not self.enabled:
            return
        if self._bar is not None:
            self._bar.write(text, file=sys.stdout)
        else:
            print(text, flush=True)

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Around validation and checkpoints: their time does not count in images per second."""
        start = monotonic()
        try:
            yield
        finally:
            self._paused += monotonic() - start

    def close(self) -> None:
        """Close the files and leave the live line standing."""
        if not self.enabled:
            return
        self._rows.close()
        self._tensorboard.close()
        if self._bar is not None:
            self._bar.close()

    def _write(self, step: int, epoch: float, values: dict[str, float | None]) -> None:
        seconds = round(monotonic() - self._opened, 3)
        row = {"step": int(step), "epoch": _plain(epoch), "seconds": seconds}
        row |= {name: _plain(value) for name, value in values.items()}
        self._rows.write(json.dumps(row, allow_nan=False) + "\n")
        for name in values:
            if row[name] is not None:
                self._tensorboard.add_scalar(name, row[name], int(step))

    def _images_per_second(self, step: int) -> float | None:
        """Over the recent rows, pauses excluded; None on the first."""
        self._recent.append((step, monotonic() - self._paused))
        (first_step, start), (last_step, end) = self._recent[0], self._recent[-1]
        if end <= start:
            return None
        return (last_step - first_step) * self.images_per_step / (end - start)

    def _pace(self, step: int, speed: float | None) -> str:
        if not speed:
            return "- images/s  ETA -"
        seconds = (self.total_steps - step) * self.images_per_step / speed
        return (
            f"{speed:.{0 if speed >= 10 else 2}f} images/s  ETA {timedelta(seconds=int(seconds))}"
        )


def read_log(workdir: str | Path) -> list[dict]:
    """The rows of a run, oldest first; a line torn by a kill is left out, NaN reads as None.

    Raises UserError if there is no metrics.jsonl or a line before the last is not JSON.
    """
    path = Path(workdir) / "metrics.jsonl"
    if not path.is_file():
        raise UserError(f"there is no {path}: is {workdir} the workdir of a run?")
    rows = []
    lines = path.read_text(errors="replace").split("\n")
    for number, line in enumerate(lines[:-1], 1):
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise UserError(f"{path}, line {number} is not JSON ({error}): remove it") from None
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


def _drop_rows_after(workdir: Path, step: int) -> None:
    """Rewrite metrics.jsonl without the rows of later steps and without a torn line."""
    path = workdir / "metrics.jsonl"
    if not path.exists():
        return
    rows = [row for row in read_log(workdir) if row["step"] <= step]
    rewritten = path.with_suffix(".tmp")
    rewritten.write_text("".join(json.dumps(row) + "\n" for row in rows))
    os.replace(rewritten, path)


def _plain(value: float | None) -> float | int | None:
    """A JSON number, or None for what JSON has no number for: NaN and the infinities."""
    if value is None or not math.isfinite(value):
        return None
    return value if isinstance(value, int) else float(value)


def _numbers(loss: float, top1_error: float, top5_error: float) -> str:
    return f"loss {loss:.4f}  top-1 {100 * top1_error:.2f}%  top-5 {100 * top5_error:.2f}%"
