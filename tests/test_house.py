"""The house rules that a machine can check: which way imports point, and what never loads."""

import ast
import re
import subprocess
import sys
import tomllib

import pytest
from support.tiny import ROOT

# A wing may import from those below its own; from its neighbours, only in the lowest row.
WINGS = [
    {"config", "errors", "files", "locks", "text"},
    {"models", "devices"},
    {"formats", "workdir", "logs", "data", "kernels"},
    {"training"},
    {"cli", "analysis", "inference", "figures"},
    {"sweeps"},
    {"results"},
    {"comparison"},
    {"reports"},
    {
        "train",
        "doctor",
        "evaluate",
        "prepare",
        "sweep",
        "compare",
        "convert",
        "nets",
        "roofline",
        "predict",
        "profile",
        "report",
    },  # the commands
]
SOURCE = ROOT / "src/alexnet"
SCRIPTS = [
    path
    for folder in ("benchmarks", "results", "notebooks")
    for path in sorted((ROOT / "experiments" / folder).glob("*.py"))
]


def imports(path) -> set[str]:
    """Modules of alexnet, or other top-level packages, that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "alexnet":
            names = [f"alexnet.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module]
        else:
            continue
        found |= {".".join(name.split(".")[:2]) for name in names}
    return found


def wing(name: str) -> int | None:
    """How high a folder or file of the package stands."""
    return next((level for level, names in enumerate(WINGS) if name in names), None)


def test_imports_point_one_way():
    wrong, files = set(), {path.stem for path in SOURCE.iterdir() if path.stem[0] not in "._"}
    assert files == set().union(*WINGS), "a new file or folder: give it a place in WINGS"
    for path in SOURCE.rglob("*.py"):
        here = path.relative_to(SOURCE).as_posix()
        own = here.partition("/")[0].removesuffix(".py")
        for imported in imports(path):
            other = imported.removeprefix("alexnet.")
            if imported == other or own == other or None in (wing(own), wing(other)):
                continue
            if wing(other) >= max(wing(own), 1):  # the lowest may import each other
                wrong.add((here, imported))
    assert not wrong


def test_only_the_model_knows_linen_and_only_snapshot_knows_orbax():
    for path in (ROOT / "src").rglob("*.py"):
        linen = re.search(r"flax\.linen|from flax import .*\blinen\b", path.read_text())
        assert bool(linen) == (path.stem == "network"), path
        assert ("orbax.checkpoint" in imports(path)) == (path.stem == "snapshot"), path


def test_configs_import_each_other_only():
    names = {path.stem for path in (ROOT / "configs").glob("*.py")}
    for path in (ROOT / "configs").glob("*.py"):
        assert imports(path) <= names, path


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_scripts_import_what_there_is(script):
    """Benchmarks are run now and then: a module that moves must not break them."""
    for node in ast.walk(ast.parse(script.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] == "alexnet":
            exec(ast.unparse(node), {})


def test_a_net_needs_no_jax():
    code = "import sys, alexnet.nets; assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_compare_starts_without_what_reads_data_and_checkpoints():
    heavy = {"grain", "orbax.checkpoint", "tensorstore"}
    code = f"import sys, alexnet.compare; assert not {heavy} & {{*sys.modules}}"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_dataclasses_are_frozen_but_for_what_fills_up():
    thawed = {
        f"{path.relative_to(SOURCE).with_suffix('')}.{node.name}"
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
        for decorator in map(ast.unparse, node.decorator_list)
        if re.match(r"(dataclasses\.)?dataclass\b", decorator) and "frozen=True" not in decorator
    }
    assert thawed == {"reports/subject.Subject", "reports/part.Part", "reports/page.Run"} | {
        "sweeps/runner.Job"
    }


def test_an_installed_package_has_every_file():
    """Tests run from the sources, where a file that setuptools leaves out is there all the same."""
    about = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    taken = {
        path
        for package, patterns in about["package-data"].items()
        for pattern in patterns
        for path in (ROOT / "src" / package.replace(".", "/")).glob(pattern)
    }
    files = {
        path
        for path in SOURCE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    }
    assert {path for path in files if path.suffix != ".py"} == taken
    folders = {path.parent for path in files}
    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []
