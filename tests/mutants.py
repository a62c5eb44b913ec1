"""Would the tests notice? One small change of the source at a time, and the tests that run it.

    python tests/mutants.py [src/alexnet/FILE.py ...] [--number=20] [--seed=0] [--jobs=2]

draws changes of each file (all files by default), runs the fast tests that reach them in a copy of
the project, prints a line for each and a table of files at the end. `build/mutants/` keeps what was
found: a second call goes on where the first was stopped. Which tests run which lines is
measured first, with coverage.py (`pip install coverage`), and again for test files that changed.
Survivors that change nothing have their reasons in `tests/equivalent_mutants.json`.
"""

import argparse
import compileall
import contextlib
import hashlib
import importlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mutations import Mutant, draw

ROOT = Path(__file__).parents[1]
# Imported once and forked with: importing takes longer than most tests. None may start threads.
HEAVY = ("numpy", "scipy.stats", "PIL.Image", "hypothesis", "pytest", "coverage", "jax", "optax")
HEAVY += ("flax.linen", "orbax.checkpoint", "grain", "ml_collections", "rich", "jinja2")
SLOW = ("faults", "golden", "gpu", "notebooks", "docs")  # their tests start other processes
UNCOMPILED = shutil.ignore_patterns("__pycache__")
OUTPUT = {"build", "runs", "wheels"}  # at the top; not copied, as what starts with a dot
CHANGE = ("file", "function", "before", "after")
Tests = dict[str, dict[str, Any]]  # by id: its seconds, and lines it runs by source file


@dataclass
class Job:
    """`work` runs in a forked process, in a copy of the project; `done` hears what it returned."""

    work: Callable[[Path], Any]
    done: Callable[[Any], None]  # None: it was stopped after `limit` seconds, or died
    limit: float


def main(argv: list[str], root: Path = ROOT, heavy: Iterable[str] = HEAVY) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="*", help="of src; all of them by default")
    parser.add_argument("--number", type=int, default=20, help="how many changes of each file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--budget", type=float, default=40, help="seconds of tests for one change")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time")
    parser.add_argument("--out", type=Path, default=root / "build/mutants")
    flags = parser.parse_args(argv)
    files = flags.files or sorted(str(p.relative_to(root)) for p in root.glob("src/**/*.py"))
    flags.out = flags.out.absolute()
    flags.out.mkdir(parents=True, exist_ok=True)
    os.environ |= {"JAX_PLATFORMS": "cpu", "JAX_COMPILATION_CACHE_DIR": str(flags.out / "jax")}
    for name in heavy:
        importlib.import_module(name)
    with tempfile.TemporaryDirectory(prefix="mutants") as folder:
        trees = [Path(folder) / f"{job}/{root.name}" for job in range(flags.jobs)]
        for tree in trees:
            tree.mkdir(parents=True)
            for path in root.iterdir():
                if path.is_file():
                    shutil.copy2(path, tree)
                elif path.name not in OUTPUT and path.name[0] != ".":
                    shutil.copytree(path, tree / path.name, ignore=UNCOMPILED)
            compileall.compile_dir(tree / "src", quiet=2)
        tests = measured(root, trees, flags.out / "tests")
        results = Results(flags.out / "results.jsonl", _reasons(root))
        jobs = (_jobs(root, file, flags, tests, results) for file in files)
        in_parallel((job for several in jobs for job in several), trees)
    results.table()


def in_parallel(jobs: Iterator[Job], trees: list[Path]) -> None:
    """Forks a process for each job, in a tree that no other uses at the time."""
    running, free, more = {}, list(trees), True
    try:
        while more or running:
            while free and more:
                job = next(jobs, None)
                if more := job is not None:
                    tree = free.pop()
                    running[_fork(job.work, tree)] = job, tree, time.monotonic() + job.limit
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


def _fork(work: Callable[[Path], Any], tree: Path) -> int:
    answer, log = tree.parent / "answer.json", tree.parent / "log.txt"
    answer.unlink(missing_ok=True)
    if pid := os.fork():
        return pid
    try:
        os.setsid()  # what the tests start is stopped with them
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's `&` ignores it
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.chdir(tree)
        os.environ |= {"PYTHONPATH": str(tree / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
        sys.dont_write_bytecode = True  # two mutants of a second could share one
        done = json.dumps(work(tree))
        answer.with_suffix(".tmp").write_text(done)
        answer.with_suffix(".tmp").rename(answer)
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
    hypothesis.settings.register_profile("mutants", derandomize=True, database=None, phases=quick)
    hypothesis.settings.load_profile("mutants")
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:randomly", "-m", "not slow", "--tb=short"]
    basetemp = f"--basetemp={tree.parent / 'pytest'}"
    return int(pytest.main([*options, *more, basetemp, *tests], [watch]))


def measured(root: Path, trees: list[Path], folder: Path) -> Tests:
    """What every fast test runs; a file is measured again when it or the source has changed."""
    folder.mkdir(exist_ok=True)
    source = [*root.glob("src/**/*.py"), *root.glob("tests/**/conftest.py")]
    common = _digest(*sorted(source), *sorted(root.glob("tests/support/*.py")))
    tests, jobs = {}, []
    for path in sorted(root.glob("tests/**/test_*.py")):
        name = str(path.relative_to(root))
        if path.relative_to(root).parts[1] in SLOW:
            continue
        kept = folder / f"{common}-{_digest(path)}-{path.stem}.json"
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


def chosen(file: str, lines: frozenset[int], tests: Tests, budget: float) -> list[str]:
    """Ids of tests that run these lines, then of those named like the file: fast ones first.

    All together take less than `budget` seconds.
    """
    path = Path(file)
    beside = Path("tests", *path.parent.parts[2:], f"test_{path.stem}.py")
    named = {str(beside), f"tests/commands/{beside.name}"}
    reach = {i for i, test in tests.items() if lines & set(test["lines"].get(file, ()))}
    if not reach:  # module level, or another process
        reach = {i for i, test in tests.items() if file in test["lines"]}
        named.add("tests/test_house.py")
    own = {i for i in tests if i.partition("::")[0] in named}
    several, total = [], 0.0
    order = sorted(reach | own, key=lambda i: (i not in reach, i not in own, tests[i]["seconds"]))
    for each in order:
        if total + tests[each]["seconds"] < budget:
            total += tests[each]["seconds"]
            several.append(each)
    return several


class Results:
    """One line of JSON for each mutant that was tried, as it is found."""

    def __init__(self, path: Path, reasons: dict[tuple[str, ...], str]):
        self.path, self.reasons, self.shown = path, reasons, []
        rows = path.read_text().splitlines() if path.exists() else []
        self.known = {row["key"]: row for row in map(json.loads, rows)}

    def add(self, row: dict[str, Any]) -> None:
        self.known[row["key"]] = row
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        self.show(row)

    def show(self, row: dict[str, Any]) -> None:
        outcome, by = row["outcome"], row["by"]
        reason = self.reasons.get(tuple(row[key] for key in CHANGE))
        if outcome == "survived" and reason:
            outcome, by = "equivalent", reason
        self.shown.append((row["file"], outcome))
        where = f"{row['file']}:{row['line']} {row['function']}"
        print(f"{outcome:10} {where}: {row['before']} -> {row['after']} ({by})", flush=True)

    def table(self) -> None:
        counts = Counter(self.shown)
        print(f"\n{'tried':>6}{'caught':>8}{'equivalent':>12}{'survived':>10}")
        for file in [*dict(self.shown), "all"]:
            row = [
                sum(n for (f, o), n in counts.items() if file in (f, "all") and o == outcome)
                for outcome in ("caught", "equivalent", "survived")
            ]
            print(f"{sum(row):6}{row[0]:8}{row[1]:12}{row[2]:10}  {file}")


def _jobs(
    root: Path, file: str, flags: argparse.Namespace, tests: Tests, results: Results
) -> Iterator[Job]:
    """The mutants of a file that are not known yet."""
    path = root / file
    mutants = draw(path.read_text(), flags.number, random.Random(f"{flags.seed} {file}"))
    for index, mutant in enumerate(mutants):
        ids = chosen(file, mutant.lines, tests, flags.budget)
        row = {"file": file, "line": mutant.line, "function": mutant.function}
        row |= {"before": mutant.before, "after": mutant.after}
        where = sorted({root / each.partition("::")[0] for each in ids})
        row["key"] = key = f"{flags.seed} {index} {_digest(path)} {file}"
        row["tests"] = _digest(*where)
        known = results.known.get(key)
        if known and (known["outcome"] == "caught" or known["tests"] == row["tests"]):
            results.show(known)
        else:
            yield _job(root, file, mutant, row, ids, tests, results)


def _job(
    root: Path, file: str, mutant: Mutant, row: dict, ids: list[str], tests: Tests, results: Results
) -> Job:
    def done(failed: str | None) -> None:
        by = failed or f"{len(ids)} tests" if failed is not None else "time"
        results.add(row | {"outcome": "survived" if failed == "" else "caught", "by": by})

    seconds = sum(tests[each]["seconds"] for each in ids)
    return Job(lambda tree: _try(root, tree, file, mutant, ids), done, 40 + 8 * seconds)


def _try(root: Path, tree: Path, file: str, mutant: Mutant, ids: list[str]) -> str:
    """The first test that fails on the changed source, or "" where none does."""
    shutil.copytree(root / "src", tree / "src", ignore=UNCOMPILED, dirs_exist_ok=True)
    (tree / file).write_text(mutant.source)
    watch = Watch()
    code = run_pytest(tree, ids, watch, "-x") if ids else 0
    return "" if code == 0 else ([*watch.bad, "imports"])[0]


def _reasons(root: Path) -> dict[tuple[str, ...], str]:
    path = root / "tests/equivalent_mutants.json"
    rows = json.loads(path.read_text()) if path.exists() else []
    return {tuple(r[key] for key in CHANGE): r["why"] for r in rows}


def _digest(*paths: Path) -> str:
    found = hashlib.sha256()
    for path in paths:
        found.update(path.read_bytes())
    return found.hexdigest()[:12]


if __name__ == "__main__":
    main(sys.argv[1:])
