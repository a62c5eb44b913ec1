"""Does each test pass alone? Every fast test in a process where no other ran before it.

    python tests/alone.py [tests/FILE.py ...] [--jobs=2]

prints each test that fails, and how many there were; exit status 1 if one failed. Libraries are
imported before, once for all; the package is not.
"""

import argparse
import importlib
import os
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from mutants import HEAVY, ROOT
from support.mutation_runs import Job, Watch, copies, in_parallel, run_pytest

LIMIT = 300  # seconds of processor time for one test


def main(argv: list[str], root: Path = ROOT, heavy: Iterable[str] = HEAVY) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="*", help="of tests; all of them by default")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time")
    flags = parser.parse_args(argv)
    files = flags.files or sorted(str(p.relative_to(root)) for p in root.glob("tests/**/test_*.py"))
    for name in heavy:
        importlib.import_module(name)
    with copies(root, flags.jobs) as trees, tempfile.TemporaryDirectory(prefix="jax") as cache:
        os.environ |= {"JAX_PLATFORMS": "cpu", "JAX_COMPILATION_CACHE_DIR": cache}
        tests: list[str] = []
        in_parallel((_collected(file, tests) for file in files), trees)
        failed: list[str] = []
        in_parallel((_alone(each, failed) for each in tests), trees)
    print(f"{len(tests)} tests, each alone: {len(failed)} failed")
    return bool(failed)


class Collected:
    """A pytest plugin: the ids of the tests that would run."""

    def __init__(self) -> None:
        self.ids: list[str] = []

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.ids = [item.nodeid for item in session.items]


def _collected(file: str, tests: list[str]) -> Job:
    def work(tree: Path) -> list[str]:
        code = run_pytest(tree, [file], found := Collected(), "--collect-only")
        fine = code in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
        return found.ids if fine else [file]

    return Job(work, lambda ids: tests.extend([file] if ids is None else ids), LIMIT)


def _alone(test: str, failed: list[str]) -> Job:
    def done(code: int | None) -> None:
        if code != 0:
            failed.append(test)
            print(f"{test}: {'did not end' if code is None else 'fails'}", flush=True)

    return Job(lambda tree: run_pytest(tree, [test], Watch()), done, LIMIT)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
