"""tests/alone.py on a test that needs the one before it."""

import subprocess
import sys

import pytest
from support.tiny import ROOT

TESTS = """
seen = []

def test_first():
    seen.append(1)

def test_second():
    assert seen
"""
RUN = (
    "import sys, pathlib, alone; sys.exit(alone.main(sys.argv[2:], pathlib.Path(sys.argv[1]), ()))"
)


@pytest.mark.slow
def test_a_test_that_needs_another_is_named(tmp_path):
    (tmp_path / "src").mkdir()
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_order.py").write_text(TESTS)
    (tmp_path / "tests/test_broken.py").write_text("import nothing_of_this_name")
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = slow\n")
    command = [sys.executable, "-c", RUN, str(tmp_path), "--jobs=1"]
    done = subprocess.run(command, cwd=ROOT / "tests", capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert done.stdout.splitlines() == [
        "tests/test_broken.py: fails",
        "tests/test_order.py::test_second: fails",
        "3 tests, each alone: 2 failed",
    ]
