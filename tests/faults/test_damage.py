"""Random damage to any file that the project reads: an error, or what was read before; no third.

`--faults=N` damages N times, `--faults-seed=N` repeats what a failure printed.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from support import smallest

from alexnet import convert, evaluate, train
from alexnet.data.inventory import read_left_out
from alexnet.data.store import load_store
from alexnet.errors import UserError
from alexnet.inference.loading import load
from alexnet.results import folders
from alexnet.workdir import record

DIGEST = b'"crc32"'
ROWS = ("metrics.jsonl", "provenance.json", "evaluation.json")  # each with a digest
NOT_READ = ("tensorboard", ".lock", ".evaluation.lock")


@pytest.fixture(scope="module")
def whole(tmp_path_factory, compile_quickly) -> Path:
    """A run, evaluated and exported, and the store that it was trained on."""
    folder = tmp_path_factory.mktemp("whole")
    config = smallest.config(folder)
    train.main([f"--config={config}", f"--workdir={folder}/run"])
    evaluate.main([f"--workdir={folder}/run"])
    convert.main([f"--workdir={folder}/run", f"--target={folder}/net.safetensors"])
    [store] = (path for path in (folder / "alexnet_store").iterdir() if path.is_dir())
    store.rename(folder / "store")
    return folder


def plain(value: Any) -> Any:
    """A tree that == compares, arrays as their bytes."""
    leaves, tree = jax.tree.flatten(value)
    return tree, [
        (leaf.dtype.str, leaf.shape, leaf.tobytes()) if isinstance(leaf, np.ndarray) else leaf
        for leaf in (np.asarray(leaf) if isinstance(leaf, jax.Array) else leaf for leaf in leaves)
    ]


def net(path: Path) -> Any:
    """Everything that predictions depend on."""
    found = load(path)
    about = (found.about.config.to_dict(), found.classes, found.about.statistics)
    return plain((found.params, about, found.about.step))


def images(path: Path) -> Any:
    """Everything in a store."""
    found = load_store(path)
    if found is None:
        raise UserError("there is no store")
    splits = {split: found.read(split, range(count)) for split, count in found.counts.items()}
    return plain((splits, found.classes, found.statistics, [str(x) for x in read_left_out(path)]))


READERS: dict[str, Callable[[Path], Any]] = {
    "run": lambda folder: net(folder / "run"),
    "net.safetensors": lambda folder: net(folder / "net.safetensors"),
    "store": lambda folder: images(folder / "store"),
    "rows": lambda folder: plain([one.last for one in folders.read([folder / "run"]).results]),
    "evaluations": lambda folder: plain(record.evaluations(folder / "run")),
}


def damage(path: Path, random: np.random.Generator) -> str:
    """Does something to a file, and says what."""
    content = bytearray(path.read_bytes())
    place = int(random.integers(max(1, len(content))))
    kind = random.choice(["flip", "cut", "zero", "empty", "more", "gone", "noise"])
    if kind == "flip" and content:
        content[place] ^= 1 << int(random.integers(8))
    elif kind == "cut":
        del content[place:]
    elif kind == "zero":
        content[place : place + 64] = bytes(len(content[place : place + 64]))
    elif kind == "empty":
        content.clear()
    elif kind == "more":
        content += random.bytes(16)
    elif kind == "noise":
        content[place : place + 16] = random.bytes(len(content[place : place + 16]))
    path.unlink()
    if kind != "gone":
        path.write_bytes(content)
    return f"{kind} at {place}"


def lost_digests(file: Path, before: Path) -> bool:
    """Rows at the end may be gone, and one whose digest lost its name is an earlier version's."""
    left = file.read_bytes() if file.exists() else b""
    return file.name in ROWS and left.count(DIGEST) < before.read_bytes().count(DIGEST)


def check(whole: Path, folder: Path, random: np.random.Generator, capsys) -> bool:
    """Damages one file of a copy; whether that was noticed."""
    shutil.copytree(whole, folder)
    files = [
        path
        for name in ("run", "store", "net.safetensors")
        for path in sorted([folder / name, *(folder / name).rglob("*")])
        if path.is_file() and not {*path.parts} & {*NOT_READ}
    ]
    file = files[random.integers(len(files))]
    what, noticed = damage(file, random), False
    for name, read in READERS.items():
        capsys.readouterr()
        try:
            found = read(folder)
        except UserError as error:
            line, noticed = str(error), True
        else:
            line = ""
        assert "\n" not in line, f"{file}, {what}: {name}: {line}"
        if line:
            continue
        said = capsys.readouterr().err
        same = found == READERS[name](whole) or lost_digests(file, whole / file.relative_to(folder))
        assert same or "damaged" in said, f"{file}, {what}: {name} reads something else"
        noticed |= "damaged" in said
    shutil.rmtree(folder)
    return noticed


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of Orbax
@pytest.mark.parametrize(
    "share",
    [
        pytest.param("few", marks=pytest.mark.faults(20)),
        pytest.param("many", marks=[pytest.mark.slow, pytest.mark.faults(1000)]),
    ],
)
def test_damage_is_never_believed(whole, tmp_path, faults, random, capsys, share):
    noticed = sum(check(whole, tmp_path / str(n), random, capsys) for n in range(faults))
    assert noticed  # two of five, or so: else nothing of what was hit is read
    with capsys.disabled():
        print(f"\n{faults} files damaged: {noticed} errors, {faults - noticed} without effect")
