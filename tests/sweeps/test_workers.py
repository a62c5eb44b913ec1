"""Processes that answer requests, with a program of a few lines in place of a training."""

import os
import signal
import sys

import pytest

from alexnet.sweeps import workers

ECHO = """
import json, os, sys
for line in sys.stdin:
    request = json.loads(line)
    if "exit" in request:
        sys.exit(request["exit"])
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES")
    about = {"cores": os.environ["PJRT_NPROC"], "cpus": sys.argv[1:], "gpus": gpus}
    print(json.dumps(request | about), flush=True)
"""


@pytest.fixture
def worker(monkeypatch):
    monkeypatch.setattr(workers, "COMMAND", [sys.executable, "-c", ECHO])
    found = workers.Worker(3, cpus=(2, 5), gpus={"CUDA_VISIBLE_DEVICES": "6,7"})
    yield found
    found.kill()


def ended(worker) -> workers.Ended:
    [found] = workers.wait([worker], 20)
    return found


def test_a_request_has_its_answer(worker):
    for number in range(2):
        worker.ask({"folder": f"a-{number}"}, about=number)
        assert worker.doing == number
        answer = {"folder": f"a-{number}", "cores": "3", "cpus": ["2", "5"], "gpus": "6,7"}
        assert ended(worker) == (worker, answer)
    assert os.getsid(worker.process.pid) == worker.process.pid  # Ctrl-C does not reach it
    assert list(workers.wait([worker], 0.01)) == []


def test_a_worker_that_is_asked_to_stop_ends_its_process(worker):
    assert not worker.stopped
    for _ in range(2):
        worker.stop()
        assert worker.stopped
    assert worker.process.wait(20) == 0
    assert ended(worker).answer == {"died": "its process ended with exit status 0"}


@pytest.mark.parametrize("status", [1, 7])
def test_a_process_that_ends_has_died_with_its_status(worker, status):
    for request in ({"exit": status}, {"folder": "a-0"}):  # nobody reads the second
        worker.ask(request, about="run")
        assert ended(worker).answer == {"died": f"its process ended with exit status {status}"}


def test_a_process_that_is_killed_has_died_of_its_signal(worker):
    worker.kill()
    assert worker.process.returncode == -signal.SIGKILL  # it has ended already
    assert ended(worker).answer == {"died": "its process ended by SIGKILL"}
