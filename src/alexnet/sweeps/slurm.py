"""A sweep's runs as an array job of SLURM, through submitit (`pip install "alexnet[slurm]"`).

A job that is preempted or runs out of time is put into the queue again, and goes on from the last
checkpoint of its run. What else SLURM shall give a job is asked for where sbatch looks for it, in
the environment: SBATCH_GPUS, SBATCH_ACCOUNT, SBATCH_TIMELIMIT, ...
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alexnet.errors import UserError, one_line
from alexnet.files import write_json
from alexnet.sweeps import workers
from alexnet.sweeps.plan import Item
from alexnet.sweeps.workers import Answer, Request, Worker

FOLDER = "slurm"
MINUTES = 24 * 60  # that a job asks for
RESTARTS = 100  # how often it may run out of them
ACTIVE = ("PENDING", "RUNNING", "REQUEUED", "SUSPENDED", "UNKNOWN")


class Task:
    """What a job does: it gives a worker one run, and lets it save when the job is preempted."""

    def __init__(self, request: Request, cores: int):
        self.request, self.cores = request, cores
        self._worker: Worker | None = None

    def __call__(self) -> Answer:
        self._worker = Worker(self.cores)
        self._worker.ask(self.request, self)
        while not (ended := list(workers.wait([self._worker], 60.0))):
            pass
        self._worker.stop()
        return ended[0].answer

    def checkpoint(self, *_: Any) -> Any:
        """What is put into the queue again: the same, for a run resumes."""
        import submitit

        if self._worker:
            self._worker.stop()
            self._worker.process.wait()
        return submitit.helpers.DelayedSubmission(Task(self.request, self.cores))


def submit(
    items: Sequence[Item], workdir: Path, cores: int, partition: str = "", cluster: str = "slurm"
) -> list[Any]:
    """Submits those of the runs that need no other one and are not in the queue already.

    Args:
        cores: that each computes with, and gets.
        cluster: submitit's word for what takes the jobs; "local" runs them here.

    Returns:
        the jobs of submitit.

    Raises:
        UserError: without submitit or SLURM.
    """
    try:
        import submitit
    except ImportError:
        raise UserError('--slurm needs submitit: pip install "alexnet[slurm]"') from None
    folder = workdir / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    queued = still_queued(folder, submitit)
    free = [item for item in items if item.trains and not item.needs and item.name not in queued]
    try:
        executor = submitit.AutoExecutor(
            folder=folder / "%j", cluster=cluster, slurm_max_num_timeout=RESTARTS
        )
        executor.update_parameters(
            name=f"alexnet-{workdir.name}",
            timeout_min=MINUTES,
            cpus_per_task=cores,
            **({"slurm_partition": partition} if partition else {}),
        )
        with executor.batch():
            jobs = [executor.submit(Task(request(item, workdir), cores)) for item in free]
    except (RuntimeError, FileNotFoundError) as error:
        raise UserError(f"--slurm: SLURM did not take the jobs: {one_line(error)}") from None
    submitted = {item.name: job.job_id for item, job in zip(free, jobs, strict=True)}
    write_json(_known(folder) | submitted, folder / "jobs.json")
    return jobs


def still_queued(folder: Path, submitit: Any) -> set[str]:
    """The runs whose jobs wait or run."""
    return {
        name
        for name, job in _known(folder).items()
        if submitit.SlurmJob(folder / "%j", job).state in ACTIVE
    }


def _known(folder: Path) -> dict[str, str]:
    path = folder / "jobs.json"
    return json.loads(path.read_text()) if path.is_file() else {}


def request(item: Item, workdir: Path) -> Request:
    """What a worker is asked for."""
    return {"folder": str(workdir / item.name), "config": item.config.to_dict()}
