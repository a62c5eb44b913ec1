"""The processes of a benchmark, which take turns: each runs iterations on request."""

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

import checkout  # noqa: F401  before the package; contestants inherit its PYTHONPATH

from alexnet.devices import runtime

HERE = Path(__file__).parent


class Contestant:
    """A process that holds one task at a time; see `work`.

    Attributes:
        about: platform, device, versions.
        said: its answer to the last task: compile time, rates, or what a check found; None until
            it is built.
        peak: peak memory in bytes, after a run.
        alive: whether it was not ended.

    Args:
        until: the deadline, in seconds as `time.time` gives them; 0 for none.
    """

    def __init__(self, command: list[str], environment: dict[str, str], until: float = 0):
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115  open as long as the process
        self.until, self.started = until, time.time()
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env=os.environ | environment,
        )
        self.alive, self.peak = True, 0
        self.said: dict | None = {}
        self.about = self._answer()

    def ask(self, task: dict) -> None:
        """Sends a task to build; `ready` waits until it is built."""
        self.said = None
        self._order({"task": task | {"started": self.started}})

    def ready(self) -> None:
        if self.said is None:
            self.said = self._answer()

    def build(self, task: dict) -> "Contestant":
        self.ask(task)
        self.ready()
        return self

    def run(self, times: int, ahead: int = 1) -> list[float]:
        """Seconds per iteration, one number for each group of `ahead` iterations."""
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
        with contextlib.suppress(BrokenPipeError):  # `_answer` reads why it ended
            print(json.dumps(order), file=self.process.stdin, flush=True)

    def _answer(self) -> dict:
        """The next line of its output. Raises ChildProcessError if none comes, or none in time."""
        left = max(0, self.until - time.time()) if self.until else None
        if not select.select([self.process.stdout], [], [], left)[0]:
            self.end(kill=True)
            raise ChildProcessError("the time is up")
        line = self.process.stdout.readline()
        answer = json.loads(line) if line else {"error": self._last_words()}
        if "error" in answer:
            self.end(kill=True)
            raise ChildProcessError(answer["error"])
        return answer

    def words(self) -> str:
        """The last line of its log, or ""."""
        self.log.seek(0)
        return (self.log.read().strip().splitlines() or [""])[-1]

    def _last_words(self) -> str:
        self.process.wait()
        return self.words() or "no output"


class Stable:
    """Starts contestants. On a GPU each serves many tasks, because a start takes seconds.

    On a CPU each task gets new processes, because peak memory is counted from a process's start.

    Args:
        torch: a Python that has PyTorch.
        folder: for the weights and, unless there is a `cache`, the compiled programs.
        until: the deadline, in seconds as `time.time` gives them; 0 for none.
        cache: a folder for compiled programs that outlives the stable.
    """

    def __init__(self, torch: str, folder: Path, until: float = 0, cache: Path | None = None):
        self.torch, self.folder, self.until = torch, folder, until
        self.cache = cache or folder
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
        """Ends a contestant, unless the stable keeps it."""
        if contestant.alive and contestant not in self.kept.values():
            contestant.end()

    def end(self) -> None:
        for contestant in self.kept.values():
            if contestant.alive:
                contestant.end(kill=True)  # it may be compiling, for minutes
        self.kept = {}

    def _start(self, python, script, environment, cache) -> Contestant:
        if (kept := self.kept.get(script)) and kept.alive and cache is None:
            return kept
        contestant = Contestant([python, str(HERE / script)], environment, self.until)
        if self.keeps and cache is None:
            self.kept[script] = contestant
        return contestant

    def _environment(self, cache: Path | None) -> dict[str, str]:
        folder = str(cache or self.cache)
        return {
            "JAX_COMPILATION_CACHE_DIR": folder,
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # two processes share a GPU
            "TORCHINDUCTOR_CACHE_DIR": folder,
            "TRITON_CACHE_DIR": str(Path(folder) / "triton"),
        }


def turns(
    us: Contestant, them: Contestant, rounds: int, seconds: float
) -> tuple[list[float], list[float]]:
    """Each contestant's median seconds per iteration, round by round, after two warm-up iterations.

    On a GPU, a turn starts its iterations one after the other and waits for them in a few groups,
    as a training loop does. On a CPU it waits for each one.

    Args:
        seconds: approximate length of a turn.
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
