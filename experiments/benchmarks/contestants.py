"""Processes that run their iterations when asked to, in turns."""

import contextlib
import json
import os
import select
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import checkout

from alexnet.devices import runtime

HERE = Path(__file__).parent


class Contestant:
    """A process that holds one task at a time; see `work`.

    Attributes:
        about: what it is: platform, device, versions.
        said: what it found while it built its task.
        peak: bytes, after a run.
    """

    def __init__(self, command: list[str], environment: dict[str, str], until: float = 0):
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115  as long as the process
        self.until, self.task, self.started = until, None, time.time()
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env=os.environ | environment,
        )
        self.alive, self.said, self.peak = True, {}, 0
        self.about = self._answer()

    def ask(self, task: dict) -> None:
        """Begins to build a task; `ready` waits until it is built."""
        self.task = task
        self._order({"task": task | {"started": self.started}})

    def ready(self) -> None:
        self.said = self._answer()

    def build(self, task: dict) -> "Contestant":
        self.ask(task)
        self.ready()
        return self

    def run(self, times: int, ahead: int = 1) -> list[float]:
        """Seconds of an iteration, of each group of `ahead`."""
        self._order({"run": times, "ahead": ahead})
        answer = self._answer()
        self.peak = answer["peak"]
        return answer["seconds"]

    def end(self, kill: bool = False) -> None:
        self.alive = False
        if kill:
            self.process.kill()
        for stream in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(BrokenPipeError):
                stream.close()
        self.process.wait()
        self.log.close()

    def _order(self, order: dict) -> None:
        with contextlib.suppress(BrokenPipeError):  # why it ended is read in its answer
            print(json.dumps(order), file=self.process.stdin, flush=True)

    def _answer(self) -> dict:
        """Its next line. Raises ChildProcessError if there is none, or none in time."""
        left = max(0, self.until - time.time()) if self.until else None
        if not select.select([self.process.stdout], [], [], left)[0]:
            self.end(kill=True)
            raise ChildProcessError("the time was up")
        line = self.process.stdout.readline()
        answer = json.loads(line) if line else {"error": self._last_words()}
        if "error" in answer:
            self.end(kill=True)
            raise ChildProcessError(answer["error"])
        return answer

    def _last_words(self) -> str:
        self.process.wait()
        self.log.seek(0)
        return (self.log.read().strip().splitlines() or ["it said nothing"])[-1]


class Stable:
    """Starts contestants, and on a GPU keeps them from task to task: to start one takes seconds.

    On a CPU each task has processes of its own, for a process's peak memory is that of all it did.

    Args:
        torch: a Python that has PyTorch.
        folder: takes the weights and the compiled programs.
        until: when all has to be over, as `time.time` says it; 0 is never.
    """

    def __init__(self, torch: str, folder: Path, until: float = 0):
        self.torch, self.folder, self.until = torch, folder, until
        self.kept, self.keeps = {}, True

    def ours(self, cache: Path | None = None) -> Contestant:
        environment = self._environment(cache) | runtime.allocator_environment()
        return self._start(sys.executable, "jax_contestant.py", environment, cache)

    def theirs(self, allocator: bool = False, cache: Path | None = None) -> Contestant:
        environment = self._environment(cache)
        if allocator:
            environment |= runtime.allocator_environment()
        return self._start(self.torch, "torch_contestant.py", environment, cache)

    def release(self, contestant: Contestant) -> None:
        """Ends a contestant, unless it is one to be kept."""
        if contestant.alive and contestant not in self.kept.values():
            contestant.end()

    def end(self) -> None:
        for contestant in self.kept.values():
            if contestant.alive:
                contestant.end()
        self.kept = {}

    def _start(self, python, script, environment, cache) -> Contestant:
        if (kept := self.kept.get(script)) and kept.alive and cache is None:
            return kept
        contestant = Contestant([python, str(HERE / script)], environment, self.until)
        if self.keeps and cache is None:
            self.kept[script] = contestant
        return contestant

    def _environment(self, cache: Path | None) -> dict[str, str]:
        folder = str(cache or self.folder)
        return {
            "PYTHONPATH": os.pathsep.join(
                filter(None, (str(checkout.SOURCE), os.environ.get("PYTHONPATH")))
            ),
            "JAX_COMPILATION_CACHE_DIR": folder,
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # two processes share a GPU
            "TORCHINDUCTOR_CACHE_DIR": folder,
            "TRITON_CACHE_DIR": str(Path(folder) / "triton"),
        }


def turns(
    us: Contestant, them: Contestant, rounds: int, seconds: float
) -> tuple[list[float], list[float]]:
    """Medians of each one's iterations, round by round, after two to warm up.

    On a GPU the iterations of a turn are started one after the other and waited for in three
    groups, as a training loop does; on a CPU each is waited for.

    Args:
        seconds: how long a turn is to last, at least.
    """
    both, plan = (us, them), {}
    for contestant in both:
        times = max(1, round(seconds / min(contestant.run(2))))
        plan[contestant] = times, max(1, times // 3) if us.about["platform"] == "gpu" else 1
    taken = {us: [], them: []}
    for _ in range(rounds):
        for contestant in both:
            taken[contestant].append(statistics.median(contestant.run(*plan[contestant])))
    return taken[us], taken[them]
