"""The notebooks run, and what is shown of them is what their scripts say."""

import ast
import importlib.util
import io
import os
import re
import tokenize

import jupytext
import nbformat
import pytest
from support.tiny import ROOT

import alexnet

FOLDER = ROOT / "experiments/notebooks"
SPEC = importlib.util.spec_from_file_location("build", FOLDER / "build.py")
build = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(build)

NAMES = build.names()
SCRIPTS = sorted(path.name for path in FOLDER.glob("*.py") if path.name != "build.py")
LARGEST = 600_000  # bytes of a notebook, so that a page that shows it loads at once


@pytest.fixture
def no_data(monkeypatch, tmp_path):
    """A machine on which nothing is prepared."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src") + os.pathsep + os.getenv("PYTHONPATH", ""))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_it_runs(name, no_data, monkeypatch):
    monkeypatch.setenv(build.QUICK, "1")
    executed = build.execute(build.read(FOLDER / f"{name}.py"))
    assert all(cell.execution_count for cell in executed.cells if cell.cell_type == "code")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_it_runs_at_full_length(name, no_data, monkeypatch):
    monkeypatch.delenv(build.QUICK, raising=False)
    build.execute(build.read(FOLDER / f"{name}.py"))


@pytest.mark.slow
def test_a_cell_that_fails_fails_the_notebook(no_data):
    notebook = build.read(FOLDER / "convolution.py")
    wrong = next(cell for cell in notebook.cells if "== 6" in cell.source)
    wrong.source = wrong.source.replace("== 6", "== 7")
    notebook.cells = notebook.cells[: notebook.cells.index(wrong) + 1]
    with pytest.raises(Exception, match="AssertionError"):
        build.execute(notebook)


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_notebook_is_its_script(script):
    written = build.read(FOLDER / script)
    path = FOLDER / script.replace(".py", ".ipynb")
    shown = nbformat.read(path, as_version=4)
    nbformat.validate(shown)
    for cell, other in zip(written.cells, shown.cells, strict=True):
        assert (cell.id, cell.cell_type, cell.source) == (other.id, other.cell_type, other.source)
    # Nor does an editor that saves both change it.
    assert jupytext.writes(shown, fmt="py:percent") == (FOLDER / script).read_text()
    assert path.stat().st_size < LARGEST


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_notebook_has_its_outputs(script):
    shown = nbformat.read(FOLDER / script.replace(".py", ".ipynb"), as_version=4)
    code = [cell for cell in shown.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == [*range(1, len(code) + 1)]
    outputs = [output for cell in code for output in cell.outputs]
    assert {output.output_type for output in outputs} <= {
        "stream",
        "display_data",
        "execute_result",
    }
    assert all(output.get("name") != "stderr" for output in outputs)
    assert sum("image/png" in output.get("data", ()) for output in outputs) >= 5


@pytest.mark.parametrize("script", SCRIPTS)
def test_prose_has_an_id_of_its_own(script):
    cells = build.cells((FOLDER / script).read_text())
    prose = [cell for cell in cells if cell.startswith("# %% [markdown]")]
    ids = [build.prose_id(cell) for cell in prose]
    assert all(ids)
    assert len({*ids}) == len(ids)
    assert (ids[0], ids[-1]) == ("title", "questions")


def comments(code: str) -> list[str]:
    tokens = tokenize.generate_tokens(io.StringIO(code).readline)
    return [token.string for token in tokens if token.type == tokenize.COMMENT]


def statements(code: str) -> str:
    """The code without its comments."""
    return ast.dump(ast.parse(code))


@pytest.mark.parametrize("name", [name for name in NAMES if (FOLDER / f"{name}.ko.py").exists()])
def test_the_korean_has_the_same_code(name):
    english, korean = (
        build.cells((FOLDER / f"{name}{language}.py").read_text()) for language in ("", ".ko")
    )
    assert [build.prose_id(cell) or statements(cell) for cell in english] == [
        build.prose_id(cell) or statements(cell) for cell in korean
    ]
    for comment in comments("\n".join(cell for cell in korean if not build.prose_id(cell))):
        assert not re.search("[a-z]{3}", comment) or re.search("[가-힣]", comment), comment
    for cell in filter(build.prose_id, korean):
        assert re.search("[가-힣]", cell), f"{build.prose_id(cell)} is not in Korean"
    outputs, others = (
        [
            (cell.get("outputs"), cell.get("execution_count"))
            for cell in nbformat.read(FOLDER / f"{name}{language}.ipynb", as_version=4).cells
        ]
        for language in ("", ".ko")
    )
    assert outputs == others


def test_korean_prose_goes_to_its_place_and_code_is_taken_over():
    code = "# %%\nnew = 1  # the velocity\n\n"
    english = f'# %% [markdown] id="a"\n# One\n\n{code}# %% [markdown] id="b"\n# Two\n'
    korean = '# %% [markdown] id="b"\n# 둘\n\n# %%\nold = 1\n\n# %% [markdown] id="a"\n# 하나\n\n'
    code = "# %%\nnew = 1  # 속도\n\n"
    expected = f'# %% [markdown] id="a"\n# 하나\n\n{code}# %% [markdown] id="b"\n# 둘\n'
    assert build.translated(english, korean).strip() == expected.strip()
    with pytest.raises(KeyError, match="b"):
        build.translated(english, '# %% [markdown] id="a"\n# 하나\n')


@pytest.mark.parametrize("name", NAMES)
def test_only_public_names_are_used(name):
    tree, used = ast.parse((FOLDER / f"{name}.py").read_text()), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert not node.module.startswith("alexnet"), node.module
        elif isinstance(node, ast.Import):
            assert not [alias.name for alias in node.names if alias.name.startswith("alexnet.")]
        elif isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "alexnet":
            used.add(node.attr)
    assert used
    assert used <= {*alexnet.__all__}


@pytest.mark.parametrize("script", SCRIPTS)
def test_it_says_what_it_needs_and_ends_with_three_questions(script):
    prose = [
        cell.source for cell in build.read(FOLDER / script).cells if cell.cell_type == "markdown"
    ]
    assert len(re.findall(r"^- \*\*", prose[0], re.MULTILINE)) == 3  # needs, takes, try
    assert len(re.findall(r"^\d\. ", prose[-1], re.MULTILINE)) == 3
