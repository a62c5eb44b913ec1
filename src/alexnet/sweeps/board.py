"""Shows a sweep: as a live table on a terminal, elsewhere as a line for each event."""

import shutil
import sys
import time
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from alexnet.sweeps.runner import Job
from alexnet.text import columns

if TYPE_CHECKING:
    from rich.live import Live

EVERY = 60.0  # seconds between lines about the whole sweep, without a terminal


class Board:
    """Shows jobs while its context lasts; call `show` as often as you like."""

    def __init__(self, jobs: Sequence[Job]):
        self.jobs = jobs
        self._began = self._said = time.monotonic()
        self._before = _work(jobs)
        self._live: Live | None = None  # on a terminal
        self._drawn = ""

    def __enter__(self) -> "Board":
        if sys.stdout.isatty():
            from rich.console import Console
            from rich.live import Live

            console = Console()
            if not console.is_dumb_terminal:  # one without cursor: it gets lines, as a file does
                self._live = Live(console=console, auto_refresh=False, transient=False)
                self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._live:
            self._draw(self._live, room=10_000)
            self._live.stop()

    def show(self, ended: Job | None) -> None:
        """Redraws the table; without a terminal, prints a line for an ended job or each minute."""
        if self._live:
            self._draw(self._live, room=shutil.get_terminal_size((80, 24)).lines - 4)
        elif ended is not None:
            print(f"{ended.item.name}: {outcome(ended)}; {self.summary()}", flush=True)
            self._said = time.monotonic()
        elif time.monotonic() - self._said >= EVERY:
            running = [
                f"{job.item.name} at {job.share:.0%}" for job in self.jobs if job.state == "running"
            ]
            print(f"{', '.join(running)}; {self.summary()}", flush=True)
            self._said = time.monotonic()

    def _draw(self, live: "Live", room: int) -> None:
        from rich.text import Text  # plain: no markup, no coloured numbers

        shown = "\n".join([*self.table(room), self.summary()])
        if shown != self._drawn:
            live.update(Text(shown), refresh=True)
            self._drawn = shown

    def table(self, room: int) -> list[str]:
        """A line for each job; if room is short, for the running, failed and latest ones."""
        jobs = self.jobs
        order = ("running", "failed", "left out", "done", "begun", "new")
        if len(jobs) > room:
            latest = jobs[::-1]
            jobs = sorted(latest, key=lambda job: order.index(job.state))[:room]
        width = max([12, *(len(job.item.name) for job in jobs)])
        lines = [f"{'run':{width}}  {'state':8}  {'epochs':>13}  {'training':>8}  {'error':>7}"]
        for job in jobs:
            epochs = f"{job.epoch:.1f} of {job.item.config.epochs:g}" if job.item.trains else ""
            line = (
                f"{job.item.name:{width}}  {job.state:8}  {epochs:>13}  "
                f"{_percent(job.train_error):>8}  {_percent(job.error):>7}"
            )
            lines.append(f"{line}  {job.note}".rstrip()[: columns()])
        return lines

    def summary(self) -> str:
        """How many jobs are in which state, and how long the rest will take."""
        counts = Counter(job.state for job in self.jobs)
        said = [f"{counts['done']} of {len(self.jobs)} done"]
        said += [
            f"{counts[state]} {state}"
            for state in ("running", "failed", "left out")
            if counts[state]
        ]
        left = self.seconds_left()
        if left is not None:
            said.append(f"ETA {timedelta(seconds=int(left))}")
        return ", ".join(said)

    def seconds_left(self) -> float | None:
        """Seconds until all jobs are done, at the pace so far; None if that is unknown."""
        whole, done = _work(self.jobs, whole=True), _work(self.jobs)
        if done <= self._before or done >= whole:
            return None
        return (whole - done) * (time.monotonic() - self._began) / (done - self._before)


def outcome(job: Job) -> str:
    """How a job ended, in a few words."""
    if job.state == "done":
        took = f" ({timedelta(seconds=int(job.seconds))})" if job.seconds else ""
        return f"error {_percent(job.error)}{took}"
    state = "stopped" if job.state == "begun" else job.state
    return f"{state}: {job.note}" if job.note else state


def _work(jobs: Sequence[Job], whole: bool = False) -> float:
    """Steps done, or with `whole` all steps, but not of failed jobs; an evaluation is one step."""
    counted = [job for job in jobs if job.state not in ("failed", "left out")]
    return sum((job.steps or 1) * (1.0 if whole else job.share) for job in counted)


def _percent(error: float | None) -> str:
    return "-" if error is None else f"{error:.2%}"
