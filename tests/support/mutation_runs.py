"""Tests run in forked processes, some at a time, each in a copy of the project.

What all need is imported before, so that a process costs a fork and its tests.
"""

import compileall
import contextlib
import hashlib
import json
import math
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

UNCOMPILED = shutil.ignore_patterns("__pycache__")
OUTPUT = {"build", "runs", "wheels"}  # at the top; not copied, as what starts with a dot
IDLE = 600  # seconds that a process may spend waiting
SLOW = ("faults", "golden", "gpu", "notebooks", "docs")  # their tests start other processes
Tests = dict[str, dict[str, Any]]  # by id: its seconds, and lines it runs by source file


@dataclass
class Job:
    """`work` runs in a forked process, in a copy of the project; `done` hears what it returned."""

    work: Callable[[Path], Any]
    done: Callable[[Any], None]  # None: it was stopped after `limit` seconds, or died
    limit: float  # of processor time, whatever else the machine does; the clock gets IDLE more


@contextlib.contextmanager
def copies(root: Path, number: int) -> Iterator[list[Path]]:
    """Copies of the project, which are removed in the end."""
    with tempfile.TemporaryDirectory(prefix=root.name) as folder:
        trees = [Path(folder) / f"{each}/{root.name}" for each in range(number)]
        for tree in trees:
            copy(root, tree)
        yield trees


def copy(root: Path, tree: Path) -> None:
    """The project without what it was run for."""
    tree.mkdir(parents=True)
    for path in root.iterdir():
        if path.is_file():
            shutil.copy2(path, tree)
        elif path.name not in OUTPUT and path.name[0] != ".":
            shutil.copytree(path, tree / path.name, ignore=UNCOMPILED)
    for folder in ("src", "tests"):
        compileall.compile_dir(tree / folder, quiet=2)


def in_parallel(jobs: Iterator[Job], trees: list[Path]) -> None:
    """Forks a process for each job, in a tree that no other uses at the time."""
    running, free, more = {}, list(trees), True
    try:
        while more or running:
            while free and more:
                job = next(jobs, None)
                if more := job is not None:
                    tree = free.pop()
                    end = time.monotonic() + job.limit + IDLE
                    running[_fork(job, tree)] = job, tree, end
            for pid, (job, tree, end) in list(running.items()):
                ended = os.waitpid(pid, os.WNOHANG)[0]
                if not ended and time.monotonic() < end:
                    continue
                _stop(pid, wait=not ended)
                free.append(running.pop(pid)[1])
                answer = tree.parent / "answer.json"
                job.done(json.loads(answer.read_text()) if answer.exists() else None)
            time.sleep(0.02)
    finally:
        for pid in running:
            _stop(pid, wait=True)


def _fork(job: Job, tree: Path) -> int:
    answer, log = tree.parent / "answer.json", tree.parent / "log.txt"
    answer.unlink(missing_ok=True)
    if pid := os.fork():
        return pid
    try:
        os.setsid()  # what the tests start is stopped with them
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(job.limit), resource.RLIM_INFINITY))
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.chdir(tree)
        os.environ |= {"PYTHONPATH": str(tree / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
        sys.dont_write_bytecode = True  # two mutants of a second could share one
        done = json.dumps(job.work(tree))
        answer.with_suffix(".tmp").write_text(done)
        answer.with_suffix(".tmp").rename(answer)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(0)


def _stop(pid: int, wait: bool) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    if wait:
        os.waitpid(pid, 0)


class Watch:
    """A pytest plugin: which tests passed in how many seconds, and the first that failed."""

    def __init__(self, switch: Callable[[str], None] = lambda _: None):
        self.seconds, self.bad, self._switch = Counter(), [], switch

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._switch(nodeid)

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.seconds[report.nodeid] += report.duration
        if report.outcome != "passed":
            self.bad.append(report.nodeid)


def run_pytest(tree: Path, tests: list[str], watch: Watch, *more: str) -> int:
    import hypothesis
    import pytest

    quick = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
    hypothesis.settings.register_profile(
        "mutants", derandomize=True, database=None, phases=quick, deadline=None
    )
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:randomly", "-m", "not slow", "--tb=short"]
    options.append("--assert=plain")  # what was compiled is imported, and not rewritten each time
    options.append("--hypothesis-profile=mutants")  # after conftest.py, which loads its own
    basetemp = f"--basetemp={tree.parent / 'pytest'}"
    return int(pytest.main([*options, *more, basetemp, *tests], [watch]))


def measured(root: Path, trees: list[Path], folder: Path) -> Tests:
    """What every fast test runs; a file is measured again when it or the source has changed."""
    folder.mkdir(exist_ok=True)
    source = [*root.glob("src/**/*.py"), *root.glob("tests/**/conftest.py")]
    common = digest(*sorted(source), *sorted(root.glob("tests/support/*.py")))
    tests, jobs = {}, []
    for path in sorted(root.glob("tests/**/test_*.py")):
        name = str(path.relative_to(root))
        if path.relative_to(root).parts[1] in SLOW:
            continue
        kept = folder / f"{common}-{digest(path)}-{path.stem}.json"
        jobs.append((name, kept))
    missing = [(name, kept) for name, kept in jobs if not kept.exists()]

    def measure(name: str, kept: Path) -> Job:
        def done(answer: Any) -> None:
            found = "stopped" if answer is None else f"{len(answer)} tests pass"
            print(f"measured {name}: {found}", flush=True)
            if answer is not None:
                kept.write_text(json.dumps(answer))

        return Job(lambda tree: _measure(tree, name), done, 900)

    in_parallel(iter([measure(*each) for each in missing]), trees)
    for kept in (kept for _, kept in jobs if kept.exists()):
        tests |= json.loads(kept.read_text())
    return tests


def _measure(tree: Path, name: str) -> Tests:
    import coverage

    source = f"{tree}/src/"
    tracer = coverage.Coverage(data_file=None, config_file=False, include=[f"{source}*"])
    tracer.start()
    tracer.switch_context("imports")
    watch = Watch(tracer.switch_context)
    run_pytest(tree, [name], watch)
    tracer.stop()
    data = tracer.get_data()
    tests = {id: {"seconds": s, "lines": {}} for id, s in watch.seconds.items()}
    for file in data.measured_files():
        for line, ids in data.contexts_by_lineno(file).items():
            for each in tests.keys() & ids:
                lines = tests[each]["lines"]
                lines.setdefault("src/" + file.removeprefix(source), []).append(line)
    return {id: test for id, test in tests.items() if id not in watch.bad}


def digest(*paths: Path) -> str:
    found = hashlib.sha256()
    for path in paths:
        found.update(path.read_bytes())
    return found.hexdigest()[:12]
