"""Several processes as one run: joining them, agreeing, and ending when one is lost.

--coordinator=HOST:PORT --processes=2 --process=0     by hand, with --process=1 for the other
--coordinator=auto                                    under SLURM, Open MPI, Kubernetes, ...
--cpu_devices=2                                       one process with 2 virtual devices
"""

import contextlib
import json
import os
import re
import signal
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

from alexnet.errors import Interrupted, UserError, circumstance
from alexnet.text import say

HEARTBEAT_SECONDS = 100  # a process counts as lost after this long without a sign of life
ANSWER_SECONDS = 35  # how long the others try to reach process 0
JOIN_SECONDS = 300  # how long the processes wait for each other
NOTICE_SECONDS = 10  # how long a process waits before it says that it waits
EVENT_SECONDS = 2  # signals that come within this long are of one event
HAND_SECONDS = 0.5  # but Ctrl-C may be pressed again after this long
ASK_SECONDS = 3  # how often the processes ask each other whether to stop
SIGNALS = ("SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP")
MOST_CPU_DEVICES = 256  # each takes threads and memory of this machine
UNREACHABLE = ("Gloo", "NCCL", "UNAVAILABLE", "DEADLINE_EXCEEDED", "Unable to initialize backend")
LOST = (
    "another process of this run ended or cannot be reached; start all of them again with the same "
    "command, and the run goes on from its last checkpoint"
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
        elif any(word in str(error) for word in UNREACHABLE):
            reason = str(error).splitlines()[0]
            print(f"error: {LOST} ({reason})", file=sys.stderr)
        elif line := circumstance(error):
            print(f"error: {line}", file=sys.stderr)
        else:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(2)


def signal_numbers() -> list[signal.Signals]:
    """Those of SIGNALS that this system has."""
    return [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]


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


class Interruption:
    """A signal of SIGNALS asks the loop to save and stop; a second one ends the process at once.

    A thread listens, as Python's own handlers wait for the main thread, which may be compiling for
    minutes. Ignored signals, such as SIGHUP under nohup, stay ignored. Python lets only the main
    thread handle signals: in another thread this does nothing. Signals of one event count once:
    when a terminal closes, both the shell and the system send SIGHUP; when a machine is shut down,
    systemd sends SIGTERM and SIGHUP.

    Args:
        second_ends: if False, a second signal raises KeyboardInterrupt in the main thread.
        again: what resumes the run.

    Attributes:
        signal: the first signal that came, or 0.
        lived: when `agreed` was last called, by `time.monotonic`: a sign of life.
    """

    signal = 0
    _agreed = 0  # the signal agreed on
    _pause, _left = 1, 1  # calls of `agreed` from one exchange to the next, and calls left
    _asked: float | None = None  # when the last exchange was

    def __init__(self, second_ends: bool = True, again: str = "the same command"):
        self._second_ends, self._again = second_ends, again
        self._first: tuple[int, float] = 0, 0.0  # the first signal, and when the handler saw it
        self._heard = 0.0  # when the listener saw it
        self._before: dict[int, Any] = {}  # the handlers by signal
        self.lived = time.monotonic()

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is not threading.main_thread():
            return self
        listened, self._told = os.pipe()
        os.set_blocking(self._told, False)
        threading.Thread(target=self._listen, args=(listened,), daemon=True).start()
        self._wakeup = signal.set_wakeup_fd(self._told, warn_on_full_buffer=False)
        for number in signal_numbers():
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._interrupt)
        return self

    def __exit__(self, *exception) -> None:
        if not self._before:
            return
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before = {}
        signal.set_wakeup_fd(self._wakeup)
        os.close(self._told)

    def agreed(self) -> int:
        """The signal that all processes stop for, or 0.

        Every process must call it equally often: after each program of one or more steps, and each
        batch of a validation. The processes ask each other every few seconds.
        """
        self.lived = time.monotonic()
        if jax.process_count() == 1 or self._agreed:
            return self._agreed or self.signal
        self._left -= 1
        if self._left:
            return 0
        now = time.monotonic()
        pace = (now - self._asked) / self._pause if self._asked is not None else ASK_SECONDS
        answers = gathered([self.signal, pace])
        slowest = max(pace for _, pace in answers)
        calls = int(ASK_SECONDS / max(slowest, 1e-6))
        self._pause = self._left = max(1, min(calls, 2 * self._pause))
        self._asked = now
        self._agreed = max(number for number, _ in answers)
        return self._agreed

    def begin_pace(self) -> None:
        """Measures anew how often to ask, as what follows may take longer; in every process."""
        self._pause, self._left, self._asked = 1, 1, None

    def _listen(self, listened: int) -> None:
        with os.fdopen(listened, "rb", buffering=0) as numbers:
            while number := numbers.read(1):
                if number[0] in self._before:
                    self._ask(number[0])

    def _ask(self, number: int) -> None:
        if not self.signal:
            self.signal, self._heard = number, time.monotonic()
            say("stopping after this step ...")
        elif self._second_ends and not _of_one_event(number, self.signal, self._heard):
            say(f"stopped at once; {self._again} goes on from the last checkpoint")
            os._exit(128 + number)

    def _interrupt(self, number: int, _) -> None:
        if not self._first[0]:
            self._first = number, time.monotonic()
        elif not self._second_ends and not _of_one_event(number, *self._first):
            raise KeyboardInterrupt


def _of_one_event(number: int, first: int, when: float) -> bool:
    """Whether a signal belongs to the event that sent the first one."""
    by_hand = number == first == signal.SIGINT
    return time.monotonic() - when < (HAND_SECONDS if by_hand else EVENT_SECONDS)
