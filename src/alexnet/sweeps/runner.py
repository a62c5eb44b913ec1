"""Works off a plan: each run once, several at a time, whatever becomes of the others."""

import contextlib
import dataclasses
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from alexnet.devices.processes import Interruption
from alexnet.errors import Interrupted, UserError
from alexnet.locks import lock
from alexnet.sweeps import plan, workers
from alexnet.sweeps.plan import Item, State
from alexnet.sweeps.workers import Answer, Request, Worker

LOOK = 0.5  # seconds between two looks at the runs


@dataclasses.dataclass
class Job:
    """An item and how it goes.

    Attributes:
        state: new, begun, running, done, failed, or waits for ever ("left out").
        epoch: how many are done.
        error: top-1 error of its last validation, a fraction.
        train_error: of its last row of the log.
        note: what to say of it, such as why it failed.
        steps: how many it has in all, once that is known.
        seconds: what it took here.
    """

    item: Item
    state: State
    epoch: float = 0.0
    error: float | None = None
    train_error: float | None = None
    note: str = ""
    steps: int = 0
    seconds: float = 0.0

    @property
    def share(self) -> float:
        """The part of its steps that is done."""
        if self.state == "done" or not self.item.trains:
            return float(self.state == "done")
        return min(1.0, self.epoch / self.item.config.epochs)


def jobs(items: Sequence[Item], workdir: Path, retry: bool = False) -> list[Job]:
    """The items with their states; `retry` makes those that failed wait for another go.

    Raises:
        UserError: if a folder is another run's.
    """
    found = []
    for item in items:
        state, failure = plan.state(item, workdir), workdir / item.name / plan.FAILURE
        job = Job(item, state)
        if state == "failed":
            job.note = failure.read_text().strip()
            if retry:
                job.state = "begun" if (workdir / item.name / "config.json").exists() else "new"
        look(job, workdir)
        found.append(job)
    return found


def look(job: Job, workdir: Path) -> None:
    """Reads how far it is, from what it wrote."""
    folder = workdir / job.item.name
    if not job.item.trains:
        with contextlib.suppress(OSError, ValueError):
            job.error = json.loads((folder / plan.EVALUATION).read_text())["top1_error"]
        return
    for row in _tail(folder / "metrics.jsonl"):
        job.epoch = row["epoch"]
        job.error = row.get("validation/top1_error", job.error)
        job.train_error = row.get("train/top1_error", job.train_error)


def _tail(file: Path, size: int = 1 << 14) -> list[dict[str, Any]]:
    """The last whole rows of a log, which another process may be writing."""
    try:
        with file.open("rb") as rows:
            rows.seek(max(0, file.stat().st_size - size))
            lines = rows.read().split(b"\n")
    except OSError:
        return []
    whole = lines[:-1] if len(lines) > 1 and len(b"\n".join(lines)) < size else lines[1:-1]
    found = []
    for line in whole:
        with contextlib.suppress(ValueError):
            found.append(json.loads(line))
    return found


class Runner:
    """Runs jobs in so many workers at a time; to be closed at the end.

    Args:
        hire: f(place) -> a Worker for that place of `places`.
    """

    def __init__(
        self, jobs: Sequence[Job], workdir: Path, places: int, hire: Callable[[int], Worker]
    ):
        self.jobs, self.workdir = jobs, workdir
        self.crew: list[Worker | None] = [None] * places
        self._hire = hire
        self._state = {job.item.name: job for job in jobs}

    def check(self) -> None:
        """Sets up each arm once, in a process like those that will train, and counts its steps.

        Raises:
            UserError: for the first that cannot be, naming its arm.
        """
        steps: dict[str, int] = {}
        for job in self.jobs:
            if not job.item.trains or job.state not in ("new", "begun"):
                continue
            if job.item.arm not in steps:
                answer = self._ask_first({"check": job.item.config.to_dict()})
                if "steps" not in answer:
                    raise UserError(
                        f"arm {job.item.arm!r}: {answer.get('error', answer.get('died'))}"
                    )
                steps[job.item.arm] = answer["steps"]
            job.steps = steps[job.item.arm]

    def _ask_first(self, request: Request) -> Answer:
        first = self.crew[0] = self.crew[0] or self._hire(0)
        first.ask(request, request)
        while not (ended := list(workers.wait([first], 60.0))):
            pass
        first.doing = None
        return ended[0].answer

    def close(self) -> None:
        """Ends the workers; a run under way saves first."""
        for worker in filter(None, self.crew):
            worker.stop()
            worker.process.wait()

    def run(self, show: Callable[[Job | None], None]) -> None:
        """Until all is done that can be; `show(event)` is called with what ended, or None.

        Raises:
            Interrupted: after Ctrl-C or SIGTERM, once every run has saved a checkpoint.
        """
        with Interruption(second_ends=False) as interruption:
            try:
                while not interruption.signal and self._hand_out():
                    self._listen(show)
                if interruption.signal:
                    for worker in self._busy():
                        worker.stop()
                    while self._busy():
                        self._listen(show)
                    raise Interrupted(interruption.signal)
            except KeyboardInterrupt as error:
                if not isinstance(error, Interrupted):  # asked twice
                    for worker in self._busy():
                        worker.kill()
                raise

    def _busy(self) -> list[Worker]:
        return [worker for worker in self.crew if worker and worker.doing]

    def _hand_out(self) -> bool:
        """Gives every idle worker something to do; whether any has."""
        for place, worker in enumerate(self.crew):
            if (worker and worker.doing) or (job := self._next()) is None:
                continue
            if worker is None:
                self.crew[place] = worker = self._hire(place)
            job.state = "running"
            (self.workdir / job.item.name / plan.FAILURE).unlink(missing_ok=True)
            worker.ask(self._request(job.item), job)
        return bool(self._busy())

    def _next(self) -> Job | None:
        """The first job that can begin; those that never can are left out."""
        for job in self.jobs:
            if job.state not in ("new", "begun"):
                continue
            needed = [self._state[name] for name in job.item.needs]
            if lost := [other for other in needed if other.state in ("failed", "left out")]:
                job.state, job.note = "left out", f"needs {lost[0].item.name}"
            elif all(other.state == "done" for other in needed):
                return job
        return None

    def _request(self, item: Item) -> Request:
        folder = str(self.workdir / item.name)
        if item.trains:
            return {"folder": folder, "config": item.config.to_dict()}
        return {"folder": folder, "of": item.needs, "views": item.views}

    def _listen(self, show: Callable[[Job | None], None]) -> None:
        ended = list(workers.wait(self._busy(), LOOK))
        for worker, answer in ended:
            job, worker.doing = worker.doing, None
            look(job, self.workdir)
            job.seconds = answer.get("seconds", 0.0)
            if "seconds" in answer:
                job.state = "done"
            elif "error" in answer:
                job.state, job.note = "failed", answer["error"]
            else:
                self._bury(worker, job, answer["died"])
            show(job)
        for worker in self._busy():
            look(worker.doing, self.workdir)
        if not ended:
            show(None)

    def _bury(self, worker: Worker, job: Job, how: str) -> None:
        self.crew[self.crew.index(worker)] = None
        if worker.stopped:  # as it was asked to
            job.state = "begun"
            return
        job.state, job.note = "failed", how
        folder = self.workdir / job.item.name
        folder.mkdir(exist_ok=True)
        (folder / plan.FAILURE).write_text(how + "\n")


@contextlib.contextmanager
def alone(workdir: Path) -> Iterator[int]:
    """Makes the workdir this sweep's; gives a descriptor that its workers are to keep open.

    The runs of a sweep that was killed save a checkpoint before they end: they are waited for.

    Raises:
        UserError: if another sweep runs there.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    with (workdir / ".sweep.lock").open("w") as own, (workdir / ".workers.lock").open("w") as all:
        if not lock(own, wait=False):
            raise UserError(
                f"another sweep is running in {workdir}: let it end, or choose another workdir"
            )
        if not lock(all, wait=False):
            print("waiting for the runs of an earlier sweep to save and stop ...", flush=True)
            lock(all)
        yield all.fileno()


def shares(jobs: int, cores: int) -> list[list[int]]:
    """The CPUs of each of some workers, none in two; [] each if there are too few for that."""
    if not hasattr(os, "sched_getaffinity"):
        return [[]] * jobs
    cpus = sorted(os.sched_getaffinity(0))
    if jobs * cores > len(cpus):
        return [[]] * jobs
    return [cpus[place * cores : (place + 1) * cores] for place in range(jobs)]


def gpu_shares(jobs: int, installed: Path = Path("/proc/driver/nvidia/gpus")) -> list[str]:
    """The GPUs of each of some workers, as CUDA_VISIBLE_DEVICES; "" if there are not enough."""
    listed = os.environ.get(workers.GPUS)
    gpus = listed.split(",") if listed else [str(n) for n, _ in enumerate(installed.glob("*"))]
    each = len(gpus) // jobs
    return [",".join(gpus[place * each : (place + 1) * each]) for place in range(jobs)]


def cpu_count() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
