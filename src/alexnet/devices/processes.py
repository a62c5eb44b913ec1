"""Several processes as one run: joining them, agreeing, and ending when one is lost.

--coordinator=HOST:PORT --processes=2 --process=0     by hand, with --process=1 for the other
--coordinator=auto                                    under SLURM, Open MPI, Kubernetes, ...
--cpu_devices=2                                       one process with 2 virtual devices
"""

import contextlib
import json
import os
import re
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from alexnet.devices.runtime import UNREACHABLE
from alexnet.errors import Interrupted, UserError, circumstance
from alexnet.text import say

HEARTBEAT_SECONDS = 100  # a process counts as lost after this long without a sign of life
ANSWER_SECONDS = 35  # how long the others try to reach process 0
JOIN_SECONDS = 300  # how long the processes wait for each other
NOTICE_SECONDS = 10  # how long a process waits before it says that it waits
LOST_WORDS = ("Gloo", "NCCL", *UNREACHABLE)  # in errors that mean LOST
MOST_CPU_DEVICES = 256  # each takes threads and memory of this machine
LOST = (
    "another process of this run ended, cannot be reached or has no such device; start all of them "
    "again with the same command, and the run goes on from its last checkpoint"
)

T = TypeVar("T")


def join(
    coordinator: str = "", processes: str = "", process: str = "", cpu_devices: str = ""
) -> None:
    """Makes this process one of several, or makes virtual CPU devices. Call it before using jax.

    Raises:
        UserError: for options that do not go together, or if the others cannot be reached; if
            process 0 does not answer, after ANSWER_SECONDS.
    """
    numbers = {"processes": processes, "process": process, "cpu_devices": cpu_devices}
    for name, text in numbers.items():
        if text and not re.fullmatch("[0-9]{1,9}", text):
            raise UserError("expected a whole number", f"{name}={text}")
    if cpu_devices:
        if not 1 <= int(cpu_devices) <= MOST_CPU_DEVICES:
            raise UserError(f"from 1 to {MOST_CPU_DEVICES}", f"cpu_devices={cpu_devices}")
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_num_cpu_devices", int(cpu_devices))
    if not coordinator:
        if processes or process:
            raise UserError("--processes and --process need --coordinator=HOST:PORT")
        return
    where: dict[str, Any] = {}
    if coordinator == "auto":
        if processes or process:
            raise UserError("leave out --processes and --process", "coordinator=auto")
    else:
        if not (processes and process):
            raise UserError("add --processes=N and --process=0..N-1", f"coordinator={coordinator}")
        if int(process) >= int(processes):
            raise UserError(f"numbers go from 0 to {int(processes) - 1}", f"process={process}")
        host, port = address(coordinator)
        if int(process):
            await_answer(host, port, coordinator)
        where = {
            "coordinator_address": coordinator,
            "num_processes": int(processes),
            "process_id": int(process),
            # Under SLURM, JAX would otherwise give each process a single GPU.
            "cluster_detection_method": "deactivate",
        }
    jax.config.update("jax_enable_preemption_service", False)  # it would catch SIGTERM before us
    try:
        with _waiting(coordinator):
            jax.distributed.initialize(
                **where,
                initialization_timeout=2 * JOIN_SECONDS,
                heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
            )
    except (ValueError, RuntimeError) as error:
        if coordinator == "auto" and isinstance(error, ValueError):
            raise UserError(
                "nothing here says where the other processes are (under SLURM, start them with "
                "srun, under Open MPI 4 with mpirun; for Kubernetes, install jax[k8s]); or write "
                "--coordinator=HOST:PORT --processes=N --process=0..N-1",
                "coordinator=auto",
            ) from None
        reason = str(error).splitlines()[0]
        at_fault = f"coordinator={coordinator}"
        raise UserError(f"could not join the run: {reason}", at_fault) from None


@contextlib.contextmanager
def _waiting(coordinator: str) -> Iterator[None]:
    """Reports a long wait for the others; after JOIN_SECONDS exits with a line: jax would abort."""

    def notice() -> None:
        say(
            f"--coordinator={coordinator}: waiting for the other processes, for up to "
            f"{JOIN_SECONDS} seconds"
        )

    def end() -> None:
        number = "all of them" if coordinator == "auto" else "as many as --processes says"
        say(
            f"error: --coordinator={coordinator}: not all processes joined within {JOIN_SECONDS} "
            f"seconds: start {number}, at the same time"
        )
        os._exit(2)

    timers = [threading.Timer(NOTICE_SECONDS, notice), threading.Timer(JOIN_SECONDS, end)]
    for timer in timers:
        timer.daemon = True
        timer.start()
    try:
        yield
    finally:
        for timer in timers:
            timer.cancel()


def address(coordinator: str) -> tuple[str, int]:
    """(host, port) of HOST:PORT. Raises UserError for any other text, or an unknown host."""
    host, _, port = coordinator.rpartition(":")
    if not host or not re.fullmatch("[0-9]{1,5}", port) or not 0 < int(port) < 2**16:
        raise UserError("write HOST:PORT, such as 10.0.0.1:8476", f"coordinator={coordinator}")
    host = host.strip("[]")  # around an IPv6 address
    try:
        socket.getaddrinfo(host, int(port))
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        where = f"coordinator={coordinator}"
        raise UserError(f"unknown host {host} ({reason})", where) from None
    return host, int(port)


def await_answer(host: str, port: int, coordinator: str, seconds: float = ANSWER_SECONDS) -> None:
    """Waits until the address answers. Raises UserError if it does not within `seconds`."""
    until = time.monotonic() + seconds
    while True:
        try:
            left = max(until - time.monotonic(), 0.1)
            socket.create_connection((host, port), timeout=min(left, 5)).close()
            return
        except OSError as error:
            if time.monotonic() >= until:
                reason = error.strerror or error
                raise UserError(
                    f"no process 0 answers there ({reason}, for {seconds:.0f} seconds): is it "
                    "running, and is that its address?",
                    f"coordinator={coordinator}",
                ) from None
            time.sleep(0.5)


@contextlib.contextmanager
def ends_clearly() -> Iterator[None]:
    """Ends one of several processes at once, with its reason; the others then notice and end.

    An ordinary exit would wait minutes for the others, which would wait for this one. `Interrupted`
    passes through, as all processes have agreed to stop. If jax misses a heartbeat, it aborts the
    process and prints its own report.
    """
    try:
        yield
    except Interrupted:
        raise
    except BaseException as error:
        if not jax.distributed.is_initialized():
            raise
        if isinstance(error, KeyboardInterrupt):
            os._exit(130)
        if isinstance(error, UserError):
            print(error.line(), file=sys.stderr)
        elif any(word in str(error) for word in LOST_WORDS):
            reason = str(error).splitlines()[0]
            print(f"error: {LOST} ({reason})", file=sys.stderr)
        elif line := circumstance(error):
            print(f"error: {line}", file=sys.stderr)
        else:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(2)


def gathered(value: Any) -> list[Any]:
    """Every process's value, in order, after a JSON round trip; every process must call it."""
    text = json.dumps(value)
    if jax.process_count() == 1:
        return [json.loads(text)]
    own = np.frombuffer(text.encode(), np.uint8)
    sizes = multihost_utils.process_allgather(np.int32(len(own)))
    padded = np.pad(own, (0, int(sizes.max()) - len(own)), constant_values=ord(" "))
    return [json.loads(row.tobytes()) for row in multihost_utils.process_allgather(padded)]


def together(attempt: Callable[[], T], *expected: type[Exception]) -> T:
    """The result of `attempt` in this process, once it has succeeded in all processes.

    An error in one process is raised in all, so that all take the same path; `attempt` itself must
    not wait for other processes.

    Args:
        expected: the exceptions that `attempt` may raise, in order of precedence after UserError.
            Each must take a message as its only argument.
    """
    expected = (UserError, *expected)
    wrong = None
    try:
        found = attempt()
    except expected as error:
        rank = next(rank for rank, kind in enumerate(expected) if isinstance(error, kind))
        wrong = [rank, str(error)]
        if jax.process_count() == 1:
            raise
    everyone = gathered(wrong)
    if any(everyone):
        rank, process = min((w[0], n) for n, w in enumerate(everyone) if w)
        text = everyone[process][1]
        alone = sum(w == everyone[process] for w in everyone) == 1
        raise expected[rank](f"process {process}: {text}" if alone else text)
    return found


def check_same(settings: Mapping[str, Any], but: Sequence[str] = ()) -> None:
    """Raises UserError in every process if a setting differs between processes.

    Args:
        settings: {name: value}.
        but: the names of settings that may differ.
    """
    if jax.process_count() == 1:
        return
    first, *others = gathered({key: value for key, value in settings.items() if key not in but})
    for process, other in enumerate(others, 1):
        for key in {**first, **other}:
            if first.get(key) != other.get(key):
                raise UserError(
                    f"process 0 has {key}={first.get(key)!r}, process {process} has "
                    f"{key}={other.get(key)!r}: start all with the same"
                )
