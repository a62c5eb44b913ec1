"""Several processes as one run: joining them, agreeing, and ending when one is lost.

--coordinator=HOST:PORT --processes=2 --process=0     by hand, with --process=1 on the other
--coordinator=auto                                    under SLURM, Open MPI, Kubernetes, ...
--cpu_devices=2                                       one process, pretending to have devices
"""

import contextlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator

import jax
import numpy as np
from jax.experimental import multihost_utils

from alexnet.errors import Interrupted, UserError

HEARTBEAT_SECONDS = 60  # without a sign of life for so long, a process counts as lost
JOIN_SECONDS = 300
MOST_CPU_DEVICES = 256  # each takes threads and memory of this one machine
UNREACHABLE = ("Gloo", "NCCL", "UNAVAILABLE", "DEADLINE_EXCEEDED", "Unable to initialize backend")
LOST = (
    "another process of this run ended or cannot be reached; start all of them again with the same "
    "command, and the run goes on from its last checkpoint"
)


def join(
    coordinator: str = "", processes: str = "", process: str = "", cpu_devices: str = ""
) -> None:
    """Makes this process one of several, and virtual CPU devices; before the first use of jax.

    Raises:
        UserError: for options that do not go together, or if the others cannot be found.
    """
    numbers = {"processes": processes, "process": process, "cpu_devices": cpu_devices}
    for name, text in numbers.items():
        if text and not (text.isdecimal() and len(text) < 10):
            raise UserError(f"--{name}={text}: expected a whole number")
    if cpu_devices:
        if not 1 <= int(cpu_devices) <= MOST_CPU_DEVICES:
            raise UserError(f"--cpu_devices={cpu_devices}: from 1 to {MOST_CPU_DEVICES}")
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_num_cpu_devices", int(cpu_devices))
    if not coordinator:
        if processes or process:
            raise UserError("--processes and --process need --coordinator=HOST:PORT")
        return
    if coordinator == "auto":
        where = {}
    else:
        if not (processes and process):
            raise UserError(f"--coordinator={coordinator} needs --processes=N and --process=0..N-1")
        if int(process) >= int(processes):
            raise UserError(f"--process={process}: numbers go from 0 to {int(processes) - 1}")
        where = {
            "coordinator_address": coordinator,
            "num_processes": int(processes),
            "process_id": int(process),
        }
    try:
        jax.distributed.initialize(
            **where,
            initialization_timeout=JOIN_SECONDS,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
        )
    except (ValueError, RuntimeError) as error:
        if coordinator == "auto" and isinstance(error, ValueError):
            raise UserError(
                "--coordinator=auto: nothing here says where the other processes are (no SLURM, "
                "Open MPI, Kubernetes, ...); write --coordinator=HOST:PORT --processes=N "
                "--process=0..N-1"
            ) from None
        reason = str(error).splitlines()[0]
        raise UserError(f"--coordinator={coordinator}: could not join the run: {reason}") from None


@contextlib.contextmanager
def ends_clearly() -> Iterator[None]:
    """Ends a process of several at once and with its reason; the others then notice and end too.

    An ordinary exit would wait minutes for the others, who would wait for this one. `Interrupted`
    passes through: all processes have agreed to stop. Where jax misses a heartbeat it aborts the
    process itself, with a report of its own.
    """
    try:
        yield
    except Interrupted:
        raise
    except BaseException as error:
        if not jax.distributed.is_initialized():
            raise
        if isinstance(error, UserError):
            print(error.line(), file=sys.stderr)
        elif any(word in str(error) for word in UNREACHABLE):
            reason = str(error).splitlines()[0]
            print(f"error: {LOST} ({reason})", file=sys.stderr)
        else:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(2)


def agreed(number: int) -> int:
    """The largest of all processes' numbers; they must all ask."""
    if jax.process_count() == 1:
        return number
    return int(np.max(multihost_utils.process_allgather(np.int32(number))))


class Interruption:
    """Ctrl-C or SIGTERM asks the loop to save and stop; a second one stops at once.

    Signals come to the main thread only: in another one nothing is asked.
    """

    signal = 0

    def __enter__(self) -> "Interruption":
        signals = (signal.SIGINT, signal.SIGTERM)
        if threading.current_thread() is not threading.main_thread():
            signals = ()
        self.before = {number: signal.signal(number, self._ask) for number in signals}
        return self

    def __exit__(self, *exception) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def agreed(self, ask_others: bool) -> int:
        """The signal that all processes stop for, or 0; together they only stop when asked."""
        if jax.process_count() == 1:
            return self.signal
        return agreed(self.signal) if ask_others else 0

    def _ask(self, number: int, _) -> None:
        if self.signal:
            raise KeyboardInterrupt
        self.signal = number
        print("stopping after this step ...", file=sys.stderr, flush=True)
