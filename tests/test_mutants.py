"""tests/mutants.py on a project of one small file: what its test notices, and what it does not."""

import ast
import json
import random
import subprocess
import sys

import pytest
from support import mutations
from support.tiny import ROOT

AREA = '''
def area(width: int, height: int = 1 * 1) -> int:
    """Of a rectangle, 1 + 1."""
    if width < 0:
        raise ValueError("below", 0)
    return width * height
'''
TEST = """
from tiny.area import area

def test_area():
    assert area(2, 3) == 6
"""
RUN = "import sys, pathlib, mutants; mutants.main(sys.argv[2:], pathlib.Path(sys.argv[1]), ())"


def test_every_change_is_one_and_docstrings_annotations_and_errors_stay():
    original, found = ast.unparse(ast.parse(AREA)).splitlines(), []
    for mutant in mutations.draw(AREA, 100, random.Random(0)):
        lines = zip(original, mutant.source.splitlines(), strict=True)
        [(before, after)] = [(one.strip(), other.strip()) for one, other in lines if one != other]
        assert mutant.before in before
        assert mutant.after in after
        found.append(after)
    assert sorted(found) == [
        "def area(width: int, height: int=1 * 2) -> int:",
        "def area(width: int, height: int=1 / 1) -> int:",
        "def area(width: int, height: int=2 * 1) -> int:",
        "if width < 1:",
        "if width <= 0:",
        "return",
        "return width / height",
    ]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("x = a and b", "x = a or b"),
        ("x = not a", "x = a"),
        ("x = a if b else c", "x = a if not b else c"),
        ("x = [a for a in b if a]", "x = [a for a in b if not a]"),
        ("x = f(flag=True)", "x = f(flag=False)"),
        ("x = f(a, b=c)", "x = f(a)"),
        ("x = f(a, b)", "x = f(a)"),
        ("x += a", "pass"),
        ("f()", "pass"),
        ("x = a is None", "x = a is not None"),
        ("x = a in b", "x = a not in b"),
    ],
)
def test_kinds_of_changes(before, after):
    assert after in [ast.unparse(ast.parse(m.source)) for m in mutations.draw(before, 9, random)]


def test_the_lines_that_a_test_must_run():
    source = "A = 1\n\ndef f(x=2):\n    if x:\n        return 3\n\nclass B:\n    c = 4\n"
    mutants = mutations.draw(source, 99, random.Random(0))
    lines = {(mutant.line, tuple(sorted(mutant.lines))) for mutant in mutants}
    assert lines == {(1, ()), (3, (3, 4, 5)), (4, (4,)), (5, (5,)), (8, ())}


def test_a_larger_number_draws_the_same_first():
    few, many = (mutations.draw(AREA, number, random.Random(3)) for number in (2, 5))
    assert few == many[:2]


def test_mended_docstrings_and_messages_leave_a_change_the_same():
    mended = AREA.replace("Of a rectangle", "\n    The area").replace('"below"', 'f"width {width}"')
    one, other = (mutations.draw(text, 100, random.Random(0)) for text in (AREA, mended))
    assert [each.code for each in one] == [each.code for each in other]
    assert len({each.code for each in one}) == len(one)


@pytest.mark.slow
def test_a_change_is_caught_or_equivalent_or_has_survived(tmp_path):
    (tmp_path / "src/tiny").mkdir(parents=True)
    (tmp_path / "tests").mkdir()
    (tmp_path / "src/tiny/area.py").write_text(AREA)
    (tmp_path / "tests/test_area.py").write_text(TEST)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = slow\npythonpath = src\n")
    row = {"file": "src/tiny/area.py", "function": "area"}
    row |= {"before": "if width < 0:", "after": "if width < 1:", "why": "widths are above 1"}
    (tmp_path / "tests/equivalent_mutants.json").write_text(json.dumps([row]))

    def run() -> list[str]:
        command = [sys.executable, "-c", RUN, str(tmp_path), "--jobs=1"]
        done = subprocess.run(command, cwd=ROOT / "tests", capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    first, *lines = run()
    assert first == "measured tests/test_area.py: 1 tests pass"
    at = "src/tiny/area.py:6 area: return width * height ->"
    assert f"caught     {at} return width / height (tests/test_area.py::test_area)" in lines
    assert f"caught     {at} return (tests/test_area.py::test_area)" in lines
    at = "src/tiny/area.py:4 area: if width < 0: ->"
    assert f"survived   {at} if width <= 0: (1 tests)" in lines
    assert f"equivalent {at} if width < 1: (widths are above 1)" in lines
    assert [line.split() for line in lines[-3:]] == [
        ["tried", "caught", "equivalent", "survived"],
        ["7", "2", "1", "4", "src/tiny/area.py"],
        ["7", "2", "1", "4", "all"],
    ]
    assert run() == lines  # nothing is tried twice
    assert (tmp_path / "src/tiny/area.py").read_text() == AREA
