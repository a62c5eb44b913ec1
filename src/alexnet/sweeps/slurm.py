"""Submits a sweep's runs as a SLURM job array, by submitit (`pip install submitit`).

A job that is preempted or runs out of time is requeued, and resumes from the last checkpoint of its
run. Request other resources with sbatch's environment variables: SBATCH_GPUS, SBATCH_ACCOUNT,
SBATCH_TIMELIMIT, ...
"""

import json
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alexnet.errors import UserError, one_line
from alexnet.files import write_json
from alexnet.sweeps import plan, workers
from alexnet.sweeps.plan import Item
from alexnet.sweeps.runner import Job, training
from alexnet.sweeps.workers import Answer, Request, Worker
from alexnet.text import counted

FOLDER, JOBS = plan.QUEUE, "jobs.json"
MINUTES = 24 * 60  # the time limit of a job
RESTARTS = 100  # how often a job is requeued when its time is up
ACTIVE = ("PENDING", "RUNNING", "REQUEUED", "SUSPENDED", "UNKNOWN")


class Task:
    """The work of a job: gives a worker one run, and lets it save when the job is preempted."""

    def __init__(self, request: Request, cores: int):
        self.request, self.cores = request, cores
        self._worker: Worker | None = None

    def __call__(self) -> Answer:
        folder = Path(self.request["folder"])
        (folder / plan.FAILURE).unlink(missing_ok=True)  # of an earlier try
        self._worker = Worker(self.cores)
        self._worker.ask(self.request, self)
        answer = workers.answer_of(self._worker)
        asked = self._worker.stopped
        self._worker.stop()
        if "died" in answer and not asked:
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


def check() -> None:
    """Raises UserError without submitit, or without SLURM's commands."""
    try:
        import submitit  # noqa: F401
    except ImportError:
        raise UserError("--slurm needs submitit: pip install submitit") from None
    if not shutil.which("sbatch"):
        raise UserError("--slurm: this machine has no sbatch: run it where SLURM takes jobs")


def submit(
    items: Sequence[Item],
    workdir: Path,
    cores: int,
    partition: str = "",
    at_once: int = 0,
    cluster: str = "slurm",
) -> list[Any]:
    """Submits runs.

    Args:
        cores: how many cores each run gets and uses.
        at_once: how many runs may run at a time; 0 for all.
        cluster: submitit's name for the scheduler; "local" runs the jobs here.

    Returns:
        submitit's jobs.

    Raises:
        UserError: if SLURM does not take them.
    """
    import submitit

    folder = workdir / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    try:
        executor = submitit.AutoExecutor(
            folder=folder / "%j", cluster=cluster, slurm_max_num_timeout=RESTARTS
        )
        executor.update_parameters(
            name=f"alexnet-{workdir.name}",
            timeout_min=MINUTES,
            cpus_per_task=cores,
            slurm_srun_args=[f"--cpus-per-task={cores}"],  # srun need not inherit it from sbatch
            slurm_array_parallelism=at_once or max(1, len(items)),
            **({"slurm_partition": partition} if partition else {}),
        )
        with executor.batch():
            jobs = [executor.submit(Task(training(item, workdir), cores)) for item in items]
    except (RuntimeError, FileNotFoundError) as error:
        raise UserError(f"--slurm: SLURM did not take the jobs: {one_line(error)}") from None
    sent = {item.name: job.job_id for item, job in zip(items, jobs, strict=True)}
    write_json(submitted(workdir) | sent, folder / JOBS)
    return jobs


def queued(workdir: Path) -> set[str]:
    """The runs of a sweep whose jobs have not ended, as far as SLURM knows."""
    import submitit

    # All jobs are made before the first is looked at: one call of sacct then serves them all.
    jobs = [
        (name, submitit.SlurmJob(workdir / FOLDER / "%j", job))
        for name, job in submitted(workdir).items()
    ]
    return {name for name, job in jobs if job.state in ACTIVE}


def submitted(workdir: Path) -> dict[str, str]:
    """The last job of each run of a sweep that was ever submitted."""
    path = workdir / FOLDER / JOBS
    return json.loads(path.read_text()) if path.is_file() else {}


def leave_submitted(jobs: Sequence[Job], workdir: Path) -> None:
    """Leaves to SLURM what was submitted once, and what starts from that.

    This machine may be no place to train.
    """
    known, file = submitted(workdir), workdir / FOLDER / JOBS
    for job in jobs:
        if job.state not in ("new", "begun"):
            continue
        if job.item.name in known:
            job.state = "left out"
            job.note = (
                "submitted to SLURM: --slurm submits it again if it has stopped; to train it "
                f"here, delete {file}"
            )
        elif job.item.trains and known.keys() & {*job.item.needs}:
            job.state = "left out"
            job.note = (
                f"starts from {job.item.needs[0]}, which was submitted to SLURM: --slurm submits "
                f"it once that is done; to train it here, delete {file}"
            )


def hand_over(
    jobs: Sequence[Job], workdir: Path, cores: int, partition: str, at_once: int = 0
) -> None:
    """Submits the runs to SLURM, and says what is left for later."""
    todo = [job for job in jobs if job.state in ("new", "begun")]
    done = {job.item.name for job in jobs if job.state == "done"}
    items = [job.item for job in todo if done.issuperset(job.item.needs)]
    later = len(todo) - len(items) or any(not item.trains for item in items)
    waiting = queued(workdir) & {item.name for item in items}
    free = [item for item in items if item.trains and item.name not in waiting]
    if free:
        submit(free, workdir, cores, "" if partition == "true" else partition, at_once)
    where = shlex.quote(str(workdir))
    print(f"{counted(len(free), 'run')} submitted; see squeue, and alexnet compare {where}")
    if waiting:
        print(
            f"{counted(len(waiting), 'run')} submitted earlier: as far as is known, SLURM still "
            f"has them; if not, delete {workdir / FOLDER / JOBS}"
        )
    if later:
        print(
            "once they are done, the same command submits runs that start from them, and without "
            "--slurm evaluates them here"
        )
