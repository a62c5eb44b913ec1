"""The worker processes of a sweep, as the process that hands out the runs sees them."""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, TypedDict

from alexnet.devices.interruption import signal_numbers

COMMAND = [sys.executable, "-m", "alexnet.sweeps.worker"]
GPUS = "CUDA_VISIBLE_DEVICES"
RESERVE = "XLA_PYTHON_CLIENT_PREALLOCATE"  # whether JAX takes most of a GPU's memory at once
PIN = "PJRT_NPROC"  # how many cores XLA uses on CPUs; a result's last bits depend on it


class Request(TypedDict, total=False):
    """A job for a worker: to check a config, or to train or evaluate in a folder."""

    check: dict[str, Any]  # a config
    origin: bool  # whether the run whose weights it begins with must be there
    elsewhere: bool  # whether it will have other devices, with other memory
    dry: bool  # whether to prepare no dataset
    folder: str
    config: dict[str, Any]  # to train with
    of: Sequence[str]  # the runs to evaluate
    views: str
    name: str  # of the dataset, which may have moved since
    data_dir: str  # where it is prepared; "" is where the runs found it


class Answer(TypedDict, total=False):
    """The outcome of a request: `steps`, `seconds`, `error` or `died`, and what is beside it."""

    steps: int  # of the config that was checked
    prepares: str  # beside steps, the dataset that would be prepared first
    seconds: float  # that the run took
    error: str
    spent: bool  # beside error, whether the process ends, as the next run might meet the same
    died: str  # how the process ended


class Ended(NamedTuple):
    """A worker that is idle again, or dead, and its answer."""

    worker: "Worker"
    answer: Answer


class Worker:
    """A process that takes one request at a time.

    Args:
        cores: how many it computes with.
        cpus: the CPUs it may run on; empty for all.
        gpus: environment variables that say which GPUs it sees, and how it takes their memory.
        keep: file descriptors that stay open in it.
    """

    def __init__(
        self,
        cores: int,
        cpus: Sequence[int] = (),
        gpus: Mapping[str, str] = MappingProxyType({}),
        keep: Sequence[int] = (),
    ):
        self.process = subprocess.Popen(
            [*COMMAND, *map(str, cpus)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, PIN: str(cores), **gpus},
            pass_fds=keep,
            start_new_session=True,  # Ctrl-C reaches only the sweep, which then stops workers
            text=True,
            bufsize=1,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._requests, self.answers = self.process.stdin, self.process.stdout
        self.doing: Any = None

    def ask(self, request: Request, about: Any) -> None:
        """Sends a request; `doing` is then `about`, until the caller clears it."""
        self.doing = about
        with contextlib.suppress(BrokenPipeError):  # the worker has died, as `wait` will report
            print(json.dumps(request), file=self._requests, flush=True)

    def stop(self) -> None:
        """Asks the worker to save its run and to end."""
        if not self.stopped:
            self._requests.close()

    @property
    def stopped(self) -> bool:
        """Whether the worker was asked to end."""
        return self._requests.closed

    @property
    def interrupted(self) -> bool:
        """Whether the process, which has died, got a signal that stops a run."""
        code = self.process.returncode
        return any(code in (-number, 128 + number) for number in signal_numbers())

    def kill(self) -> None:
        """Ends the process at once."""
        self.process.kill()
        self.process.wait()


def wait(workers: Sequence[Worker], seconds: float) -> Iterator[Ended]:
    """The answers that come within `seconds`; for a worker that died, how it died."""
    with selectors.DefaultSelector() as selector:
        for worker in workers:
            selector.register(worker.answers, selectors.EVENT_READ, worker)
        for key, _ in selector.select(seconds):
            line = key.data.answers.readline()
            yield Ended(key.data, json.loads(line) if line.endswith("\n") else _death(key.data))


def answer_of(worker: Worker) -> Answer:
    """A worker's answer, however long it takes."""
    while not (ended := list(wait([worker], 60.0))):
        pass
    return ended[0].answer


def _death(worker: Worker) -> Answer:
    code = worker.process.wait()
    how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit status {code}"
    return {"died": f"its process ended {how}"}
