"""Carries out a plan: each job once, several at a time; a failure stops only jobs that need it."""

import contextlib
import dataclasses
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from alexnet import config as configs
from alexnet.devices.interruption import Interruption
from alexnet.errors import Interrupted, UserError
from alexnet.locks import lock
from alexnet.logs import metrics
from alexnet.sweeps import plan, workers
from alexnet.sweeps.plan import Item, State
from alexnet.sweeps.workers import Answer, Request, Worker

LOOK = 0.5  # seconds between looks at the runs
TAIL = 1 << 14  # bytes at the end of a log that are looked at


@dataclasses.dataclass
class Job:
    """An item and its progress.

    Attributes:
        state: new, begun, running, done, failed, or "left out" if it needs a run that
            failed, or is left to SLURM.
        epoch: how many epochs are done.
        error: top-1 error of its last validation, a fraction.
        train_error: top-1 training error in the last row of its log, a fraction.
        note: a remark, such as why it failed.
        steps: how many it has in all, once that is known.
        seconds: how long it took in this sweep.
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
        """The fraction of the job that is done."""
        if self.state == "done" or not self.item.trains:
            return float(self.state == "done")
        return min(1.0, self.epoch / self.item.config.epochs)


def jobs(items: Sequence[Item], workdir: Path, retry: bool = False) -> list[Job]:
    """The items with their states; with `retry`, failed ones will run again.

    Raises:
        UserError: if a folder holds another run.
    """
    found = []
    for item in items:
        job = Job(item, plan.state(item, workdir, retry))
        if job.state == "failed":
            job.note = plan.failure(workdir / item.name)
        look(job, workdir)
        found.append(job)
    return found


def look(job: Job, workdir: Path) -> None:
    """Updates a job from the files of its run."""
    folder = workdir / job.item.name
    if not job.item.trains:
        if job.state == "done":  # else what is there may be of earlier runs
            with contextlib.suppress(OSError, ValueError):
                job.error = json.loads((folder / plan.EVALUATION).read_text())["top1_error"]
        return
    for row in _tail(folder / metrics.FILE):
        job.epoch = row["epoch"]
        job.error = row.get("validation/top1_error", job.error)
        job.train_error = row.get("train/top1_error", job.train_error)


def _tail(file: Path) -> list[dict[str, Any]]:
    """The last whole rows of a log, which another process may be writing."""
    try:
        with file.open("rb") as rows:
            start = max(0, file.stat().st_size - TAIL)
            rows.seek(start)
            lines = rows.read().split(b"\n")
    except OSError:
        return []
    found = []
    for line in lines[start > 0 : -1]:
        with contextlib.suppress(ValueError):
            found.append(json.loads(line))
    return found


class Runner:
    """Runs jobs in up to `places` workers at a time; close it at the end.

    Args:
        hire: f(place) -> a new Worker for the place, 0 <= place < places.
    """

    def __init__(
        self, jobs: Sequence[Job], workdir: Path, places: int, hire: Callable[[int], Worker]
    ):
        self.jobs, self.workdir = jobs, workdir
        self.crew: list[Worker | None] = [None] * places
        self.interruption: Interruption | None = None
        self._hire = hire
        self._state = {job.item.name: job for job in jobs}

    def check(self, elsewhere: bool = False, dry: bool = False) -> list[str]:
        """Sets up each arm once, in a worker, just as training would, and counts its steps.

        Args:
            elsewhere: whether the runs will have other devices: then neither the mesh nor the
                memory is checked.
            dry: whether to prepare no dataset.

        Returns:
            with `dry`, the datasets that training would prepare first.

        Raises:
            UserError: for the first invalid config, naming its arm.
        """
        steps: dict[str, int] = {}
        prepares = []
        for job in self.jobs:
            if not job.item.trains or job.state not in ("new", "begun"):
                continue
            if job.item.arm not in steps:
                config = job.item.config.to_dict()
                if elsewhere:
                    config["mesh"] |= {"data": 0, "tower": 0}
                begins = job.state == "new" and not job.item.needs
                answer = self._ask_first(
                    {"check": config, "origin": begins, "elsewhere": elsewhere, "dry": dry}
                )
                if "steps" not in answer:
                    raise UserError(
                        f"arm {job.item.arm!r}: {answer.get('error', answer.get('died'))}"
                    )
                steps[job.item.arm] = answer["steps"]
                prepares += [answer["prepares"]] if "prepares" in answer else []
            job.steps = steps[job.item.arm]
        return list(dict.fromkeys(prepares))

    def _ask_first(self, request: Request) -> Answer:
        first = self.crew[0] = self.crew[0] or self._hire(0)
        first.ask(request, request)
        found = workers.answer_of(first)
        first.doing = None
        return found

    def close(self) -> None:
        """Ends the workers; a run in progress saves a checkpoint first."""
        for worker in filter(None, self.crew):
            worker.stop()
            worker.process.wait()

    def run(self, show: Callable[[Job | None], None]) -> None:
        """Works until no job can run; after each look, `show` gets each ended job, or None.

        Raises:
            Interrupted: after one of `interruption.SIGNALS`, once every run has saved a checkpoint.
        """
        with Interruption(second_ends=False) as interruption:
            self.interruption = interruption
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
                if not isinstance(error, Interrupted):  # a second signal
                    for worker in self._busy():
                        worker.kill()
                raise

    @property
    def stopping(self) -> bool:
        """Whether a signal has asked the sweep to stop."""
        return bool(self.interruption and self.interruption.signal)

    def _busy(self) -> list[Worker]:
        return [worker for worker in self.crew if worker and worker.doing]

    def _hand_out(self) -> bool:
        """Gives each idle worker a job; returns whether any worker is busy."""
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
        """The first job that can begin; marks jobs that never can as "left out"."""
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
        if item.trains:
            return training(item, self.workdir)
        data = configs.absolute(item.config).data
        return {
            "folder": str(self.workdir / item.name),
            "of": item.needs,
            "views": item.views,
            "name": data.name,
            "data_dir": data.data_dir,
        }

    def _listen(self, show: Callable[[Job | None], None]) -> None:
        ended = list(workers.wait(self._busy(), LOOK))
        for worker, answer in ended:
            job, worker.doing = worker.doing, None
            job.seconds = answer.get("seconds", 0.0)
            if "seconds" in answer:
                job.state = "done"
            elif "error" in answer:
                job.state, job.note = "failed", answer["error"]
                if answer.get("spent"):
                    self.crew[self.crew.index(worker)] = None
                    worker.kill()  # it is ending; the next one may need its memory
            else:
                self._bury(worker, job, answer["died"])
            look(job, self.workdir)
            show(job)
        for worker in self._busy():
            look(worker.doing, self.workdir)
        if not ended:
            show(None)

    def _bury(self, worker: Worker, job: Job, how: str) -> None:
        self.crew[self.crew.index(worker)] = None
        if worker.stopped or (self.stopping and worker.interrupted):  # both got the signal
            job.state = "begun"
            return
        job.state, job.note = "failed", how
        plan.note_failure(self.workdir / job.item.name, how)


def training(item: Item, workdir: Path) -> Request:
    """The request that makes a worker train an item."""
    return {"folder": str(workdir / item.name), "config": item.config.to_dict()}


@contextlib.contextmanager
def alone(workdir: Path) -> Iterator[int]:
    """Claims the workdir for this sweep; yields a file descriptor that workers must keep open.

    If a sweep was killed, its runs still save a checkpoint: this waits until they have.

    Raises:
        UserError: if another sweep runs there.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    with (workdir / ".sweep.lock").open("w") as own, (workdir / ".workers.lock").open("w") as all:
        if not lock(own, wait=False):
            raise UserError(
                f"another sweep is running in {workdir}: wait for it, or choose another workdir"
            )
        if not lock(all, wait=False):
            print("waiting for the runs of an earlier sweep to save and stop ...", flush=True)
            lock(all)
        yield all.fileno()


def shares(jobs: int, cores: int) -> list[list[int]]:
    """A list of CPUs for each worker, disjoint; [], which means all CPUs, if there are too few.

    All CPUs as well for a single worker, or if each share could have one more: another sweep on
    this machine would choose the same ones.
    """
    if jobs == 1 or not hasattr(os, "sched_getaffinity"):
        return [[]] * jobs
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) // jobs != cores:
        return [[]] * jobs
    return [cpus[place * cores : (place + 1) * cores] for place in range(jobs)]


def gpu_shares(
    jobs: int, installed: Path = Path("/proc/driver/nvidia/gpus")
) -> list[dict[str, str]]:
    """Each worker's environment: its own GPUs; if there are too few, one that it shares."""
    every = ",".join(str(n) for n, _ in enumerate(installed.glob("*")))
    listed = os.environ.get(workers.GPUS, every)  # "" hides all
    gpus = listed.split(",") if listed else []
    if each := len(gpus) // jobs:
        places = range(0, jobs * each, each)
        return [{workers.GPUS: ",".join(gpus[place : place + each])} for place in places]
    # JAX would reserve three quarters of a GPU's memory for the first process that sees it.
    shared = {workers.RESERVE: os.environ.get(workers.RESERVE, "false")}
    if gpus:
        return [shared | {workers.GPUS: gpus[place % len(gpus)]} for place in range(jobs)]
    return [shared if jobs > 1 else {}] * jobs
