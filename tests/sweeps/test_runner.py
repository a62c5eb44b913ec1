"""Shares of cores and GPUs, and the progress that is read from a run."""

import dataclasses
import io
import os
import sys
from types import SimpleNamespace

import pytest
from support.runs import DIGITS, leave

from alexnet.errors import UserError
from alexnet.sweeps import board, plan, runner, worker
from alexnet.sweeps.plan import Item
from alexnet.sweeps.runner import Job
from alexnet.training.settings import load_config


def job(name: str, state: str = "new", epochs: float = 4.0, **how) -> Job:
    config = load_config(DIGITS, {"epochs": epochs})
    return Job(Item(name, name.partition("-")[0], config), state, **how)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="Linux")
def test_no_core_is_in_two_shares(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {7, 2, 3, 5, 4})
    assert runner.shares(2, 2) == [[2, 3], [4, 5]]
    assert runner.shares(3, 2) == [[], [], []]  # too few: they share all
    # another sweep would choose the same ones
    assert runner.shares(1, 3) == [[]]
    assert runner.shares(2, 1) == [[], []]


def test_where_a_process_cannot_choose_its_cores_all_workers_share_them(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert runner.shares(2, 2) == [[], []]


def test_gpus_are_dealt_out(monkeypatch, tmp_path):
    for name in ("a", "b", "c", "d"):
        (tmp_path / name).touch()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("XLA_PYTHON_CLIENT_PREALLOCATE", raising=False)
    own = [{"CUDA_VISIBLE_DEVICES": gpus} for gpus in ("0,1", "2,3")]
    assert runner.gpu_shares(2, tmp_path) == own
    shared = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    one_each = [shared | {"CUDA_VISIBLE_DEVICES": gpu} for gpu in "01230"]
    assert runner.gpu_shares(5, tmp_path) == one_each
    assert runner.gpu_shares(2, tmp_path / "none") == [shared] * 2
    assert runner.gpu_shares(1, tmp_path / "none") == [{}]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert runner.gpu_shares(2, tmp_path) == [{"CUDA_VISIBLE_DEVICES": gpus} for gpus in "35"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # none
    assert runner.gpu_shares(2, tmp_path) == [shared] * 2
    assert runner.gpu_shares(1, tmp_path) == [{}]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    monkeypatch.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", "true")  # the user's choice
    asked = {"XLA_PYTHON_CLIENT_PREALLOCATE": "true"}
    expected = [asked | {"CUDA_VISIBLE_DEVICES": gpu} for gpu in "353"]
    assert runner.gpu_shares(3, tmp_path) == expected


def test_an_arm_is_checked_once_and_only_if_it_has_a_run_to_train(tmp_path, monkeypatch):
    asked, average = [], job("mean-0")
    monkeypatch.setattr(
        runner.Runner,
        "_ask_first",
        lambda _, asks: (
            asked.append(asks) or {"steps": 7} | ({"prepares": "x"} if asks["dry"] else {})
        ),
    )
    average.item = dataclasses.replace(average.item, views="centre")
    jobs = [job("a-0", "done"), job("b-0", "begun"), job("b-1"), average]
    assert runner.Runner(jobs, tmp_path, 1, lambda place: None).check() == []
    config = jobs[1].item.config.to_dict()
    [request] = asked
    assert request == {"check": config, "origin": False, "elsewhere": False, "dry": False}  # begun
    assert [one.steps for one in jobs] == [0, 7, 7, 0]
    asked.clear()
    later = job("d-0")
    later.item = dataclasses.replace(later.item, needs=("c-0",), arm="d")
    runner.Runner([job("c-0"), later], tmp_path, 1, lambda place: None).check(elsewhere=True)
    assert [one["origin"] for one in asked] == [True, False]
    assert all(one["elsewhere"] for one in asked)
    assert asked[0]["check"]["mesh"] == config["mesh"] | {"data": 0, "tower": 0}
    two = runner.Runner([job("c-0"), job("c-1"), later], tmp_path, 1, lambda place: None)
    assert two.check(dry=True) == ["x"]


def test_progress_is_read_from_the_log(tmp_path):
    leave(tmp_path / "a-0", [0.5, 0.4], train=[0.7, 0.6], epochs=4)
    with (tmp_path / "a-0/metrics.jsonl").open("a") as rows:
        rows.write('{"step": 30, "epoch": 3.0, "tra')  # under way
    found = job("a-0")
    runner.look(found, tmp_path)
    assert (found.epoch, found.error, found.train_error) == (2.0, 0.4, 0.6)
    assert found.share == 0.5


def test_only_the_end_of_a_long_log_is_read(tmp_path):
    leave(tmp_path / "a-0", [0.5] * 400, epochs=800)
    found = job("a-0", epochs=800.0)
    runner.look(found, tmp_path)
    assert (found.epoch, found.share) == (400.0, 0.5)


def test_the_table_fits_a_terminal_and_says_what_counts():
    jobs = [job(f"arm_{n}-0", "done", epoch=4.0, error=0.1) for n in range(40)]
    jobs += [
        job("now-0", "running", epoch=1.0, train_error=0.3),
        job("bad-0", "failed", note="x" * 99),
    ]
    shown = board.Board(jobs)
    lines = shown.table(room=6)
    assert len(lines) == 7
    assert max(map(len, lines)) <= 79
    assert [line.split()[0] for line in lines[1:3]] == ["now-0", "bad-0"]
    assert shown.summary() == "40 of 42 done, 1 running, 1 failed"


def test_the_time_that_is_left(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(board.time, "monotonic", lambda: now[0])
    jobs = [job("a-0", "done", steps=100), job("b-0", "running", steps=100), job("c-0", steps=300)]
    shown = board.Board(jobs)
    assert shown.seconds_left() is None
    jobs[1].epoch, now[0] = 2.0, 130.0  # 50 steps in 30 s, and 350 to go
    assert shown.seconds_left() == pytest.approx(210.0)
    assert shown.summary() == "1 of 3 done, 1 running, ETA 0:03:30"


def test_runs_are_labelled_for_trackers_unless_the_user_has(monkeypatch, tmp_path):
    monkeypatch.setattr(worker, "CHOSEN", {"WANDB_TAGS"})
    monkeypatch.setenv("WANDB_TAGS", "mine")
    monkeypatch.setenv("WANDB_RUN_GROUP", "of an earlier run")
    worker.label(tmp_path / "ablations" / "no_lrn-3")
    assert os.environ["WANDB_TAGS"] == "mine"
    assert os.environ["WANDB_RUN_GROUP"] == "ablations"
    monkeypatch.setattr(worker, "CHOSEN", set())
    worker.label(tmp_path / "ablations" / "no_lrn-3")
    assert os.environ["WANDB_TAGS"] == "no_lrn"
    worker.label(tmp_path / "ablations" / f"kernels=_16,32_,x={'y' * 99}-3")
    assert os.environ["WANDB_TAGS"] == f"kernels=_16;32_;x={'y' * 99}"[:64]  # the longest it takes


@pytest.mark.parametrize(
    ("stopped", "interrupted", "stopping", "asked_to_end"),
    [
        (False, False, False, False),
        (True, False, True, True),
        (False, True, True, True),  # the sweep and the worker got the same signal
        (False, True, False, False),
        (False, False, True, False),
    ],
)
def test_a_run_whose_process_died_has_failed_unless_it_was_to_end(
    tmp_path, stopped, interrupted, stopping, asked_to_end
):
    dead = SimpleNamespace(stopped=stopped, interrupted=interrupted)
    other = SimpleNamespace()
    sweep = SimpleNamespace(crew=[other, dead], workdir=tmp_path, stopping=stopping)
    found = job("a-0", "running")
    runner.Runner._bury(sweep, dead, found, "its process ended by SIGKILL")
    assert sweep.crew == [other, None]
    state = "begun" if asked_to_end else "failed"
    assert found.state == state
    again = job("a-0")
    leave(tmp_path / "b-0", [0.5], epochs=4)  # which failed later than it began
    (tmp_path / "b-0" / plan.FAILURE).write_text("no memory\n")
    [first, second] = runner.jobs([again.item, job("b-0").item], tmp_path)
    assert second.note == "no memory"
    assert (first.state, first.note) == (
        ("new", "") if asked_to_end else ("failed", "its process ended by SIGKILL")
    )
    [first, second] = runner.jobs([again.item, job("b-0").item], tmp_path, retry=True)
    assert (first.state, second.state) == ("new", "begun")


@pytest.mark.parametrize("spent", [True, False])
def test_a_spent_worker_is_replaced(tmp_path, monkeypatch, spent):
    killed = []
    worker = SimpleNamespace(doing=(found := job("a-0", "running")), kill=lambda: killed.append(1))
    sweep = SimpleNamespace(crew=[worker], workdir=tmp_path, _busy=list)
    answer = {"error": "cuDNN failed", "spent": spent}
    monkeypatch.setattr(runner.workers, "wait", lambda *_: [runner.workers.Ended(worker, answer)])
    runner.Runner._listen(sweep, lambda _: None)
    assert (found.state, found.note) == ("failed", "cuDNN failed")
    assert (sweep.crew, killed) == (([None], [1]) if spent else ([worker], []))


def test_a_sweep_says_at_once_what_it_waits_for(tmp_path, monkeypatch):
    said, written = [], io.BytesIO()

    def lock(file, wait=True):
        if wait:
            said.append(written.getvalue())
        return wait or file.name.endswith(".sweep.lock")

    monkeypatch.setattr(runner, "lock", lock)
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written))
    with runner.alone(tmp_path / "new") as descriptor:
        os.fstat(descriptor)  # it is open
    assert said == [b"waiting for the runs of an earlier sweep to save and stop ...\n"]
    monkeypatch.setattr(runner, "lock", lambda file, wait=True: False)
    with pytest.raises(UserError, match="another sweep is running in"), runner.alone(tmp_path):
        pass
