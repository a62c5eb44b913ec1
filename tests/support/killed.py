"""Commands that are killed while they run: real processes, SIGKILL, a time drawn beforehand."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from support import phased
from support.processes import free_port

from alexnet.logs import metrics
from alexnet.workdir import checkpoint, record

PROGRAM = [sys.executable, phased.__file__]
Argv = Sequence[str]  # a command and its arguments, without "alexnet"
CLOCKS = ("seconds", "train/images_per_second")
PEER_SECONDS = 200  # within which a process notices that another one is gone


class Server:
    """Forks each command from a process that has imported everything; see `phased`.

    Args:
        in_place: whether files are written in place, where a rename should put them.
    """

    def __init__(self, folder: Path, in_place: bool = False):
        self._asked = {"marks": str(folder / "marks"), "in_place": in_place}
        self._marks = folder / "marks"
        self._process = subprocess.Popen(
            [*PROGRAM, "serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(folder / "stderr").open("a"),
            text=True,
        )
        assert self._process.stdout.readline() == "ready\n"

    def run(
        self,
        argv: Argv,
        seconds: float | None = None,
        at: int = 0,
        delay: float = 0.0,
        within: str = "nowhere",
    ) -> tuple[str, float]:
        """(the phase in which it was killed after so many seconds, or "", the seconds it took).

        Or it is killed after a `delay` behind change number `at` of the files `within` a folder.
        """
        asked = {"argv": list(argv), "at": at, "delay": delay, "within": within}
        self._process.stdin.write(json.dumps(self._asked | asked) + "\n")
        self._process.stdin.flush()
        child, start = int(self._process.stdout.readline()), time.monotonic()
        ended, _, _ = select.select([self._process.stdout], [], [], seconds)
        if not ended:
            os.kill(child, signal.SIGKILL)
        status = int(self._process.stdout.readline())
        if os.WIFSIGNALED(status):
            return phased.phase(self._marks), time.monotonic() - start
        assert status == 0, f"{argv} ended with {status}"
        return "", time.monotonic() - start

    def operations(self) -> int:
        """How many changes of files the last command has made."""
        return phased.operations(self._marks)

    def close(self) -> None:
        """Ends it."""
        self._process.stdin.close()
        self._process.wait()


class Processes:
    """Starts each command anew, or several processes of it, of which one or all are killed.

    Args:
        count: of processes of one run.
    """

    def __init__(self, folder: Path, count: int = 1):
        self._folder, self._count = folder, count

    def run(
        self, argv: Argv, seconds: float | None = None, only: int | None = None
    ) -> tuple[str, float]:
        """As in `Server`; `only` is the process that is killed, and the others have to notice."""
        together = [[]]
        if self._count > 1:
            where = [f"--coordinator=127.0.0.1:{free_port()}", f"--processes={self._count}"]
            together = [[*where, f"--process={number}"] for number in range(self._count)]
        start, running = time.monotonic(), []
        for number, more in enumerate(together):
            with (self._folder / f"output{number}").open("a") as output:
                command = [*PROGRAM, str(self._marks(number)), *argv, *more]
                running.append(
                    subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
                )
        try:
            running[only or 0].wait(seconds)
        except subprocess.TimeoutExpired:
            for one in running if only is None else [running[only]]:
                os.killpg(one.pid, signal.SIGKILL)  # the workers of a sweep, too
            for one in running:
                one.wait(PEER_SECONDS)  # raises if it goes on
            return phased.phase(self._marks(only or 0)), time.monotonic() - start
        statuses = [one.wait(PEER_SECONDS) for one in running]
        assert statuses == [0] * self._count, f"{argv} ended with {statuses}; see {self._folder}"
        return "", time.monotonic() - start

    def close(self) -> None:
        """Nothing is kept."""

    def _marks(self, number: int) -> Path:
        return self._folder / f"marks{number}"


def trained(workdir: Path) -> dict[str, Any]:
    """Every number that a run leaves, but for the clock's."""
    params, progress = checkpoint.load_params(workdir, "last")
    arrays = {
        jax.tree_util.keystr(path): np.asarray(leaf).tobytes()
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
    }
    rows = [
        {name: value for name, value in row.items() if name not in CLOCKS}
        for row in metrics.read_log(workdir)
    ]
    kept = sorted(path.name for path in (workdir / "checkpoints").iterdir())
    settings = record.saved_config(workdir).to_dict()
    return {"rows": rows, "progress": progress, "kept": kept, "config": settings} | arrays
