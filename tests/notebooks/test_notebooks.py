"""The notebooks run, and what is shown of them is what their scripts say."""

import ast
import importlib.util
import io
import math
import os
import re
import tokenize

import jupytext
import nbformat
import numpy as np
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
    assert (ids[0], *ids[-2:]) == ("title", "questions", "answers")


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
def test_it_says_what_it_needs_and_ends_with_three_questions_and_hidden_answers(script):
    prose = [
        cell.source for cell in build.read(FOLDER / script).cells if cell.cell_type == "markdown"
    ]
    assert len(re.findall(r"^- \*\*", prose[0], re.MULTILINE)) == 3  # needs, takes, try
    for cell in prose[-2:]:
        assert len(re.findall(r"^\d\. ", cell, re.MULTILINE)) == 3
    # With empty lines about it, Markdown inside of HTML is still Markdown.
    assert re.fullmatch(
        r"<details><summary>(Answers|답)</summary>\n\n.+\n\n</details>", prose[-1], re.DOTALL
    )


def figures(script: str) -> list[str]:
    """The numbers of two and more digits in a script's answers, without their commas."""
    answers = build.cells((FOLDER / script).read_text())[-1]
    return [number.replace(",", "") for number in re.findall(r"\d[\d,.]*\d", answers)]


@pytest.mark.parametrize("language", ["", ".ko"])
def test_the_answers_about_sizes_are_the_nets(language):
    def counts(name: str, **changes) -> dict[str, int]:
        rows = alexnet.build(name, **changes).layers
        return {layer.row.name: layer.parameters for layer in rows if layer.parameters}

    whole = alexnet.build("alexnet", image_size=256)
    pool5 = next(layer for layer in whole.layers if layer.row.name == "pool5")
    assert str(math.prod(pool5.output_shape) * whole.towers) in figures(f"convolution{language}.py")

    without = counts("alexnet", preset="paper", remove="pool5")
    tour = figures(f"alexnet_tour{language}.py")
    assert {str(sum(without.values())), str(without["fc6"])} <= {*tour}
    net = alexnet.build("alexnet", preset="paper", remove="pool5")
    states = 3 * 4 * sum(without.values())
    outputs = 128 * 4 * sum(layer.neurons for layer in net.layers if not layer.row.in_place)
    assert {f"{states / 1e9:.2f}", f"{(states + outputs) / 1e9:.2f}"} <= {*tour}

    cnn, small = counts("cifar_80sec", classes=10), figures(f"cifar10_cnn{language}.py")
    removed = counts("cifar_80sec", classes=10, remove="conv3,pool3")
    sizes = sum(cnn.values()), sum(removed.values()), removed["fc64"], cnn["fc64"], cnn["conv3"]
    assert {*map(str, sizes)} <= {*small}


@pytest.mark.parametrize("language", ["", ".ko"])
def test_the_answer_about_a_radius(language):
    """Section 3.3 over eleven maps, in NumPy."""
    maps = np.array([10, 20, 100, 20, 10, 0, 0, 0.0])
    for half in (2, 5):
        reach = [maps[max(0, i - half) : i + half + 1] for i in range(3)]
        scaled = [a / (2 + 1e-4 * (r**2).sum()) ** 0.75 for a, r in zip(maps, reach, strict=False)]
        shown = {f"{value:.3g}" for value in scaled}
        assert shown <= {*figures(f"convolution{language}.py")}
