"""Faults that are really made: system calls that are refused, disks that are full."""

import ctypes
import errno
import os
import platform
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

FLOCK = {"x86_64": 73, "aarch64": 32}  # the number of the system call


def without_flock() -> None:
    """From now on the kernel answers this process's flock with ENOSYS, as on Lustre."""

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))

    load, equal, give = 0x20, 0x15, 0x06
    rules = b"".join(
        struct.pack("HBBI", *rule)
        for rule in (
            (load, 0, 0, 0),  # the call's number
            (equal, 0, 1, FLOCK[platform.machine()]),
            (give, 0, 0, 0x00050000 | errno.ENOSYS),
            (give, 0, 0, 0x7FFF0000),  # all others are allowed
        )
    )
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(38, 1, 0, 0, 0) == 0  # no new privileges
    program = Program(len(rules) // 8, rules)
    assert libc.prctl(22, 2, ctypes.byref(program)) == 0, os.strerror(ctypes.get_errno())


def until(true: Callable[[], object], process: subprocess.Popen, seconds: float = 120) -> None:
    """Waits for something that a process does, which must not end before."""
    end = time.monotonic() + seconds
    while not true():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)


def end(process: subprocess.Popen, number: int) -> float:
    """Sends a signal; the seconds until the process ended."""
    began = time.monotonic()
    process.send_signal(number)
    process.wait(timeout=120)
    return time.monotonic() - began


def python(code: str, *arguments: str | Path, **options) -> subprocess.CompletedProcess:
    """Runs code in a process of its own, `arguments` in sys.argv[1:]."""
    command: Sequence[str] = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, text=True, capture_output=True, check=False, **options)


SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)
