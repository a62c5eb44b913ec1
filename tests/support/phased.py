"""Commands in processes of their own, in which another process can see how far they are.

    python phased.py serve            then lines of JSON: {"marks": ..., "argv": [...], ...}
    python phased.py MARKS COMMAND ARGUMENT ...

The first imports everything once, and forks a process for each line: seconds of imports are saved.
It prints the process's number when it begins, and its status when it ends. The second is a whole
process. The code of the commands runs as it is; around some of its functions a word is written to
MARKS.
"""

import functools
import importlib
import json
import os
import signal
import sys
import time
from pathlib import Path

PHASES = ("import", "compile", "step", "save", "validation", "exit")


class Marks:
    """The phase that a process is in, in a file that outlives it."""

    def __init__(self, path: str):
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)

    def __call__(self, phase: str) -> None:
        os.pwrite(self._file, phase.ljust(16).encode(), 0)

    def count(self, number: int) -> None:
        """Behind the phase."""
        os.pwrite(self._file, f"{number:8}".encode(), 16)

    def during(self, owner: type, name: str, phase: str, first: str = "") -> None:
        """Marks `phase` while a method runs, or `first` the first time, and "step" behind it."""
        method, phases = getattr(owner, name), iter((first or phase,))

        @functools.wraps(method)
        def marked(*args, **kwargs):
            self(next(phases, phase))
            try:
                return method(*args, **kwargs)
            finally:
                self("step")

        setattr(owner, name, marked)


def phase(path: Path) -> str:
    """What a process that is gone was doing."""
    return (path.read_text()[:16].strip() if path.exists() else "") or "import"


def operations(path: Path) -> int:
    """How many changes of files were counted."""
    return int(path.read_text()[16:] or 0)


def watch(marks: Marks) -> None:
    """Marks what a training run does."""
    from alexnet.training.run import Run
    from alexnet.workdir.checkpoint import Checkpoints

    marks.during(Run, "evaluate", "validation")
    marks.during(Run, "train_step", "step", first="compile")
    for name in ("save", "wait"):
        marks.during(Checkpoints, name, "save")


OPERATIONS = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree")


def count_operations(marks: Marks, within: str, at: int, delay: float) -> None:
    """Counts what changes files below a folder; ends the process soon after one of them.

    Args:
        at: the number of that one; 0 is none.
        delay: seconds.
    """
    count = 0

    def hook(event: str, args: tuple) -> None:
        nonlocal count
        writes = event == "open" and args[2] & (os.O_WRONLY | os.O_RDWR)
        if not (writes or event in OPERATIONS) or within not in str(args[0]):
            return
        count += 1
        marks.count(count)
        if count == at:
            signal.setitimer(signal.ITIMER_REAL, delay)  # SIGALRM ends it, as SIGKILL would

    sys.addaudithook(hook)


def replace_in_place(source: str | Path, target: str | Path) -> None:
    """A build with its renames taken out: what `os.replace` is to do, without it."""
    if Path(source).is_dir():
        os.rename(source, target)
        return
    content = Path(source).read_bytes()
    with open(target, "wb", buffering=0) as file:
        for start in range(0, len(content), 64):
            file.write(content[start : start + 64])
            time.sleep(0.001)
    os.unlink(source)


def run(marks: Marks, command: str, argv: list[str]) -> None:
    """The command, as `python -m alexnet.COMMAND` runs it."""
    marks("import")
    main = importlib.import_module(f"alexnet.{command}").main
    from alexnet.cli import run as run_command
    from alexnet.devices import processes

    processes.JOIN_SECONDS = 60  # for one that was killed before it joined
    if command == "train":
        watch(marks)
    marks("compile")
    try:
        run_command(lambda: main(argv))
    finally:
        marks("exit")


def serve() -> None:
    """Forks a process for each line of the standard input."""
    importlib.import_module("alexnet.train")
    print("ready", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if not child:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            marks, (command, *argv) = Marks(asked["marks"]), asked["argv"]
            count_operations(marks, asked["within"], asked["at"], asked["delay"])
            if asked["in_place"]:
                os.replace = replace_in_place
            run(marks, command, argv)
            sys.exit(0)
        print(child, flush=True)
        print(os.waitpid(child, 0)[1], flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve()
    else:
        run(Marks(sys.argv[1]), sys.argv[2], sys.argv[3:])
