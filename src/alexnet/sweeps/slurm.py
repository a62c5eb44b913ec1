"""Submits a sweep's runs as a SLURM job array, by submitit (`pip install submitit`).

A job that is preempted or runs out of time is requeued, and resumes from the last checkpoint of its
run. Request other resources with sbatch's environment variables: SBATCH_GPUS, SBATCH_ACCOUNT,
SBATCH_TIMELIMIT, ...
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alexnet.errors import UserError, one_line
from alexnet.files import write_json
from alexnet.sweeps import plan, workers
from alexnet.sweeps.plan import Item
from alexnet.sweeps.runner import training
from alexnet.sweeps.workers import Answer, Request, Worker

FOLDER, JOBS = "slurm", "jobs.json"
MINUTES = 24 * 60  # the time limit of a job
RESTARTS = 100  # how often a job is requeued when its time is up
ACTIVE = ("PENDING", "RUNNING", "REQUEUED", "SUSPENDED", "UNKNOWN")


class Task:
    """The work of a job: gives a worker one run, and lets it save when the job is preempted."""

    def __init__(self, request: Request, cores: int):
        self.request, self.cores = request, cores
        self._worker: Worker | None = None

    def __call__(self) -> Answer:
        self._worker = Worker(self.cores)
        self._worker.ask(self.request, self)
        answer = workers.answer_of(self._worker)
        asked = self._worker.stopped
        self._worker.stop()
        if "died" in answer and not asked:
            folder = Path(self.request["folder"])
            if not self._worker.interrupted:  # else its run can go on
                plan.note_failure(folder, answer["died"])
            raise UserError(f"{folder}: {answer['died']}")  # so that SLURM has it as failed
        return answer

    def checkpoint(self, *_: Any) -> Any:
        """What to requeue: the same task, as its run resumes from its checkpoint."""
        import submitit

        if self._worker:
            self._worker.stop()
            self._worker.process.wait()
        return submitit.helpers.DelayedSubmission(Task(self.request, self.cores))


def submit(
    items: Sequence[Item], workdir: Path, cores: int, partition: str = "", cluster: str = "slurm"
) -> list[Any]:
    """Submits the runs that are not queued yet; evaluations are left out.

    Args:
        cores: how many cores each run gets and uses.
        cluster: submitit's name for the scheduler; "local" runs the jobs here.

    Returns:
        submitit's jobs.

    Raises:
        UserError: without submitit or SLURM.
    """
    try:
        import submitit
    except ImportError:
        raise UserError("--slurm needs submitit: pip install submitit") from None
    folder = workdir / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    waiting = still_queued(folder, submitit)
    free = [item for item in items if item.trains and item.name not in waiting]
    try:
        executor = submitit.AutoExecutor(
            folder=folder / "%j", cluster=cluster, slurm_max_num_timeout=RESTARTS
        )
        executor.update_parameters(
            name=f"alexnet-{workdir.name}",
            timeout_min=MINUTES,
            cpus_per_task=cores,
            slurm_srun_args=[f"--cpus-per-task={cores}"],  # srun need not inherit it from sbatch
            **({"slurm_partition": partition} if partition else {}),
        )
        with executor.batch():
            jobs = [executor.submit(Task(training(item, workdir), cores)) for item in free]
    except (RuntimeError, FileNotFoundError) as error:
        raise UserError(f"--slurm: SLURM did not take the jobs: {one_line(error)}") from None
    submitted = {item.name: job.job_id for item, job in zip(free, jobs, strict=True)}
    write_json(_known(folder) | submitted, folder / JOBS)
    return jobs


def queued(workdir: Path) -> set[str]:
    """The runs of a sweep whose jobs have not ended; none without submitit."""
    folder = workdir / FOLDER
    if not _known(folder):
        return set()
    try:
        import submitit
    except ImportError:
        return set()
    return still_queued(folder, submitit)


def still_queued(folder: Path, submitit: Any) -> set[str]:
    """The runs whose jobs have not ended, as far as SLURM knows."""
    return {
        name
        for name, job in _known(folder).items()
        if submitit.SlurmJob(folder / "%j", job).state in ACTIVE
    }


def _known(folder: Path) -> dict[str, str]:
    path = folder / JOBS
    return json.loads(path.read_text()) if path.is_file() else {}
