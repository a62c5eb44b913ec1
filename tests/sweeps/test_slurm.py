"""Runs as jobs, by submitit's executor for this machine."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from support.runs import DIGITS
from support.tiny import tiny_config

from alexnet.errors import UserError
from alexnet.logs import metrics
from alexnet.sweeps import plan, slurm
from alexnet.sweeps.plan import Item
from alexnet.sweeps.workers import Ended
from alexnet.training.loop import train_and_evaluate
from alexnet.training.settings import load_config


def item(name: str, config, needs: tuple[str, ...] = ()) -> Item:
    return Item(name, name.partition("-")[0], config, needs=needs)


def test_without_submitit_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(UserError, match=r"--slurm needs submitit: pip install submitit"):
        slurm.check()


def test_without_slurm_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))  # nothing is sent, where SLURM is installed
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "submitit", Cluster({}))
        with pytest.raises(UserError, match="--slurm: this machine has no sbatch"):
            slurm.check()
    pytest.importorskip("submitit")
    with pytest.raises(UserError, match="--slurm: SLURM did not take the jobs"):
        slurm.submit([item("a-0", load_config(DIGITS))], tmp_path, 1)


class Looked:
    """A job of a cluster, which answers once all jobs have been made, as one call of sacct does."""

    def __init__(self, cluster: "Cluster", job: str):
        self.cluster, self.job = cluster, job

    @property
    def state(self) -> str:
        assert self.cluster.made == list(self.cluster.states)
        return self.cluster.states[self.job]


class Cluster:
    """What stands in for submitit: it notes what it is asked for, and runs nothing."""

    def __init__(self, states: dict[str, str]):
        self.states, self.options, self.tasks, self.made = states, {}, [], []
        self.helpers = SimpleNamespace(DelayedSubmission=lambda task: ("requeue", task))

    def AutoExecutor(self, **options):
        self.options |= options
        return self

    def SlurmJob(self, folder, job):
        self.made.append(job)
        return Looked(self, job)

    def update_parameters(self, **options):
        self.options |= options

    def batch(self):
        return contextlib.nullcontext()

    def submit(self, task):
        self.tasks.append(task)
        return SimpleNamespace(job_id=f"{99 + len(self.tasks)}")


def test_jobs_are_known_by_their_runs_and_asked_for_at_once(tmp_path, monkeypatch):
    cluster = Cluster({"1": "RUNNING", "2": "FAILED", "3": "UNKNOWN"})
    monkeypatch.setitem(sys.modules, "submitit", cluster)
    (tmp_path / "slurm").mkdir()
    jobs = tmp_path / "slurm/jobs.json"
    jobs.write_text(json.dumps({"a-0": "1", "a-1": "2", "b-0": "3"}))
    assert slurm.queued(tmp_path) == {"a-0", "b-0"}
    assert slurm.submitted(tmp_path) == {"a-0": "1", "a-1": "2", "b-0": "3"}
    assert slurm.queued(tmp_path / "another") == set()
    config = load_config(DIGITS)
    [job] = slurm.submit([item("a-1", config)], tmp_path, 3, partition="gpu", at_once=2)
    [task] = cluster.tasks
    assert task.request == {"folder": str(tmp_path / "a-1"), "config": config.to_dict()}
    assert slurm.submitted(tmp_path) == {"a-0": "1", "a-1": job.job_id, "b-0": "3"}
    assert cluster.options["slurm_array_parallelism"] == 2
    found = {key: cluster.options[key] for key in ("cpus_per_task", "slurm_partition", "cluster")}
    assert found == {"cpus_per_task": 3, "slurm_partition": "gpu", "cluster": "slurm"}
    assert cluster.options["slurm_srun_args"] == ["--cpus-per-task=3"]
    assert cluster.options["timeout_min"] == 24 * 60  # a day
    assert cluster.options["slurm_max_num_timeout"] == 100  # and again, as often as that
    slurm.submit([item(f"c-{seed}", config) for seed in range(300)], tmp_path, 3)
    assert cluster.options["slurm_array_parallelism"] == 300  # all: submitit's own limit is 256


def test_jobs_that_slurm_still_has_are_queued(tmp_path, monkeypatch):
    active = ("PENDING", "RUNNING", "REQUEUED", "SUSPENDED", "UNKNOWN")
    ended = ("COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY")
    states = {f"{number}": state for number, state in enumerate((*active, *ended))}
    monkeypatch.setitem(sys.modules, "submitit", Cluster(states))
    (tmp_path / "slurm").mkdir()
    jobs = {state: number for number, state in states.items()}
    (tmp_path / "slurm/jobs.json").write_text(json.dumps(jobs))
    assert slurm.queued(tmp_path) == {*active}


class Desk:
    """What stands in for a worker: its second look finds the answer."""

    stopped = interrupted = False

    def __init__(self, cores: int):
        self.cores, self.log, self.looks = cores, [], 0
        self.process = SimpleNamespace(wait=lambda: self.log.append("ended"))

    def ask(self, request, about):
        self.log.append(request)

    def stop(self):
        self.log.append("stopped")

    def wait(self, seconds):
        self.looks += 1
        return [Ended(self, {"seconds": 5.0})] if self.looks == 2 else []


def test_a_task_gives_its_worker_one_run_and_is_requeued_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", Cluster({}))
    monkeypatch.setattr(slurm, "Worker", Desk)
    monkeypatch.setattr(slurm.workers, "wait", lambda workers, seconds: workers[0].wait(seconds))
    plan.note_failure(tmp_path / "a-0", "no memory")
    task = slurm.Task({"folder": str(tmp_path / "a-0")}, 3)
    assert task.checkpoint()[0] == "requeue"  # before it began
    assert task() == {"seconds": 5.0}
    assert not (tmp_path / "a-0" / plan.FAILURE).exists()
    desk = task._worker
    assert desk.cores == 3
    assert desk.log == [task.request, "stopped"]
    what, again = task.checkpoint()
    assert desk.log[2:] == ["stopped", "ended"]
    assert (what, again.request, again.cores) == ("requeue", task.request, 3)
    assert again._worker is None


def test_a_task_whose_worker_died_has_failed_unless_it_was_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(slurm, "Worker", Desk)
    death = {"died": "its process ended by SIGKILL"}
    monkeypatch.setattr(slurm.workers, "wait", lambda workers, _: [Ended(workers[0], death)])
    folder = tmp_path / "a-0"
    task = slurm.Task({"folder": str(folder)}, 3)
    monkeypatch.setattr(Desk, "stopped", True)  # as SLURM preempts it
    assert task() == death
    assert not (folder / plan.FAILURE).exists()
    monkeypatch.setattr(Desk, "stopped", False)
    with pytest.raises(UserError, match="a-0: its process ended by SIGKILL"):
        task()
    assert (folder / plan.FAILURE).read_text() == death["died"] + "\n"
    (folder / plan.FAILURE).unlink()
    monkeypatch.setattr(Desk, "interrupted", True)  # its run can go on
    with pytest.raises(UserError, match="a-0: its process ended by SIGKILL"):
        task()
    assert not (folder / plan.FAILURE).exists()


@pytest.mark.slow
def test_a_job_that_is_preempted_comes_to_the_same_numbers(tmp_path, data_dir, compile_quickly):
    pytest.importorskip("submitit")
    config = tiny_config(data_dir)
    config.checkpoint_every = 2
    history = train_and_evaluate(config, tmp_path / "quiet")
    items = [item("a-0", config)]
    [job] = slurm.submit(items, tmp_path, 2, cluster="local")
    assert json.loads((tmp_path / "slurm/jobs.json").read_text()) == {"a-0": job.job_id}
    rows = tmp_path / "a-0/metrics.jsonl"
    end = time.monotonic() + 300
    while not (rows.is_file() and '"step": 8' in rows.read_text()):
        assert time.monotonic() < end
        time.sleep(0.1)
    children = ["pgrep", "-P", str(job._process.pid)]
    [task] = subprocess.run(children, capture_output=True, text=True, check=True).stdout.split()
    os.kill(int(task), signal.SIGUSR2)  # what SLURM sends before it takes a job's machine away
    assert "seconds" in job.result()
    assert metrics.read_history(tmp_path / "a-0") == history
    provenance = json.loads((tmp_path / "a-0/provenance.json").read_text())
    assert len(provenance) == 2
