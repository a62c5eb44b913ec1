"""Would the tests notice? One small change of the source at a time, and the tests that run it.

    python tests/mutants.py [src/alexnet/FILE.py ...] [--number=20] [--seed=0] [--jobs=2]

draws changes of each file (all files by default), runs the fast tests that reach them in a copy of
the project, prints a line for each and a table of files at the end. `build/mutants/` keeps what was
found: a second call goes on where the first was stopped. Which tests run which lines is
measured first, with coverage.py (`pip install coverage`), and again for test files that changed.
Survivors that change nothing have their reasons in `tests/equivalent_mutants.json`.
"""

import argparse
import hashlib
import importlib
import json
import os
import random
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from support.mutation_runs import (
    UNCOMPILED,
    Job,
    Tests,
    Watch,
    copies,
    digest,
    in_parallel,
    measured,
    run_pytest,
)
from support.mutations import Mutant, draw

ROOT = Path(__file__).parents[1]
# Imported once and forked with: importing takes longer than most tests. None may start threads.
HEAVY = ("numpy", "scipy.stats", "PIL.Image", "hypothesis", "pytest", "coverage", "jax", "optax")
HEAVY += ("flax.linen", "orbax.checkpoint", "grain", "ml_collections", "rich", "jinja2")
CHANGE = ("file", "function", "before", "after")
FIRST = 12  # tests that run before the others are collected: most changes are noticed by these


def main(argv: list[str], root: Path = ROOT, heavy: Iterable[str] = HEAVY) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="*", help="of src; all of them by default")
    parser.add_argument("--number", type=int, default=20, help="how many changes of each file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--budget", type=float, default=40, help="seconds of tests for one change")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time")
    parser.add_argument("--out", type=Path, default=root / "build/mutants")
    flags = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C: nothing is left behind
    files = flags.files or sorted(str(p.relative_to(root)) for p in root.glob("src/**/*.py"))
    flags.out = flags.out.absolute()
    flags.out.mkdir(parents=True, exist_ok=True)
    os.environ |= {"JAX_PLATFORMS": "cpu", "JAX_COMPILATION_CACHE_DIR": str(flags.out / "jax")}
    for name in heavy:
        importlib.import_module(name)
    with copies(root, flags.jobs) as trees:
        tests = measured(root, trees, flags.out / "tests")
        results = Results(flags.out / "results.jsonl", _reasons(root))
        while True:
            jobs = (_jobs(root, file, flags, tests, results) for file in files)
            in_parallel((job for several in jobs for job in several), trees)
            fail_anyway = controls(root, trees, flags.out / "controls.json", results)
            if not fail_anyway:
                break
            results.forget(fail_anyway)
            tests = {each: test for each, test in tests.items() if each not in fail_anyway}
    results.table()


def chosen(file: str, lines: frozenset[int], tests: Tests, budget: float) -> list[str]:
    """Ids of tests that run these lines, then of those named like the file: fast ones first.

    All together take less than `budget` seconds.
    """
    path = Path(file)
    beside = Path("tests", *path.parent.parts[2:], f"test_{path.stem.strip('_')}.py")
    named = {str(beside), f"tests/commands/{beside.name}", "tests/test_house.py"}
    reach = {i for i, test in tests.items() if lines & set(test["lines"].get(file, ()))}
    own = {i for i in tests if i.partition("::")[0] in named}
    first = reach or own
    if not reach:  # module level, or another process
        reach = {i for i, test in tests.items() if file in test["lines"]}
    several, total = [], 0.0
    order = sorted(reach | own, key=lambda i: (i not in first, i not in own, tests[i]["seconds"]))
    for each in order:
        if total + tests[each]["seconds"] < budget:
            total += tests[each]["seconds"]
            several.append(each)
    return several


def controls(root: Path, trees: list[Path], kept: Path, results: "Results") -> set[str]:
    """The tests that noticed a change, but fail alone without one: they prove nothing."""
    known = json.loads(kept.read_text()) if kept.exists() else {}
    source = digest(*sorted(root.glob("src/**/*.py")))
    keys = {
        by: f"{source} {digest(root / by.partition('::')[0])} {by}"
        for by in {row["by"] for row in results.shown if row["outcome"] == "caught"}
        if "::" in by
    }

    def control(by: str, key: str) -> Job:
        def done(failed: str | None) -> None:
            known[key] = failed == ""
            kept.write_text(json.dumps(known))
            if not known[key]:
                print(f"fails alone, without any change: {by}", flush=True)

        return Job(lambda tree: _run(root, tree, [by]), done, 300)

    in_parallel((control(by, key) for by, key in keys.items() if key not in known), trees)
    return {by for by, key in keys.items() if not known[key]}


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
        self.shown.append(row | {"outcome": outcome})
        where = f"{row['file']}:{row['line']} {row['function']}"
        print(f"{outcome:10} {where}: {row['before']} -> {row['after']} ({by})", flush=True)

    def forget(self, tests: set[str]) -> None:
        """What these tests noticed is tried again; what is known is shown again."""
        self.known = {key: row for key, row in self.known.items() if row["by"] not in tests}
        self.shown = []

    def table(self) -> None:
        counts = Counter((row["file"], row["outcome"]) for row in self.shown)
        print(f"\n{'tried':>6}{'caught':>8}{'equivalent':>12}{'survived':>10}")
        for file in [*dict.fromkeys(file for file, _ in counts), "all"]:
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
    for mutant in mutants:
        ids = chosen(file, mutant.lines, tests, flags.budget)
        row = {"file": file, "line": mutant.line, "function": mutant.function}
        row |= {"before": mutant.before, "after": mutant.after}
        row["key"] = key = f"{file} {hashlib.sha256(mutant.code.encode()).hexdigest()[:16]}"
        row["tests"] = digest(*sorted({root / each.partition("::")[0] for each in ids}))
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
    return Job(lambda tree: _run(root, tree, ids, file, mutant.source), done, 30 + 4 * seconds)


def _run(root: Path, tree: Path, ids: list[str], file: str = "", source: str = "") -> str:
    """The first test that fails where `file` is `source`, or "" where none does."""
    shutil.copytree(root / "src", tree / "src", ignore=UNCOMPILED, dirs_exist_ok=True)
    if file:
        (tree / file).write_text(source)
    for several in filter(None, (ids[:FIRST], ids[FIRST:])):
        watch = Watch()
        if run_pytest(tree, several, watch, "-x"):
            return [*watch.bad, "imports"][0]
    return ""


def _reasons(root: Path) -> dict[tuple[str, ...], str]:
    path = root / "tests/equivalent_mutants.json"
    rows = json.loads(path.read_text()) if path.exists() else []
    return {tuple(r[key] for key in CHANGE): r["why"] for r in rows}


if __name__ == "__main__":
    main(sys.argv[1:])
