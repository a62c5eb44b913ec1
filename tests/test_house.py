"""The house rules that a machine can check: which way imports point, and what never loads."""

import ast
import subprocess
import sys

from tiny import ROOT

# Each file may import from the levels below its own.
LEVELS = [
    {"errors", "alarm", "allocator", "columns"},
    {"table", "options"},
    {"frameworks", "formats"},
    {"nets", "ops", "platform", "data", "config", "checkpoint", "log", "cluster", "mesh", "cost"},
    {"model", "augment", "optimizer", "schedule", "metrics"},
    {"step"},
    {"run"},
    {"pretrained", "ensemble"},
    {"train", "evaluate", "roofline", "profile", "convert"},
]
SAME_LEVEL = {("schedule", "optimizer")}  # the type of the rates


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


def test_imports_point_one_way():
    level = {}
    for depth, names in enumerate(LEVELS):
        level |= dict.fromkeys(names, depth)
    source = ROOT / "src/alexnet"
    files = {path: path.stem for path in source.glob("*.py") if path.stem != "__init__"}
    for folder in ("data", "formats"):
        files |= dict.fromkeys((source / folder).glob("*.py"), folder)
    assert set(files.values()) <= set(level), "a new file: give it a level here"
    for path, name in files.items():
        for imported in imports(path):
            if not imported.startswith("alexnet."):
                continue
            other = imported.removeprefix("alexnet.")
            same = other == name or (name, other) in SAME_LEVEL
            assert same or level[other] < level[name], f"{path} imports {imported}"


def test_only_the_model_knows_linen_and_only_checkpoint_knows_orbax():
    for path in (ROOT / "src").rglob("*.py"):
        text = path.read_text()
        assert ("linen" in text) == (path.stem == "model"), path
        assert ("orbax" in text.lower()) == (path.stem == "checkpoint"), path


def test_configs_import_ml_collections_and_each_other_only():
    names = {path.stem for path in (ROOT / "configs").glob("*.py")}
    for path in (ROOT / "configs").glob("*.py"):
        assert imports(path) <= {"ml_collections", *names}, path


def test_a_net_needs_no_jax():
    code = "import sys, alexnet.nets; assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_training_loads_neither_tensorflow_nor_tfds(tmp_path):
    (tmp_path / "tensorflow").mkdir()
    (tmp_path / "tensorflow/__init__.py").write_text("")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import alexnet.train, alexnet.evaluate; "
        "loaded = [m for m in sys.modules if m in ('tensorflow', 'tensorflow_datasets')]; "
        "assert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
