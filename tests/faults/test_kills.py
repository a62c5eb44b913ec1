"""SIGKILL at any time, and the same command again: what comes out is what came out undisturbed.

Times are uniform over the seconds that an undisturbed command takes, from its first import to its
last exit. `--faults=N` kills N times, `--faults-seed=N` repeats what a failure printed.
"""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import phased, smallest
from support.killed import Argv, Processes, Server, trained

MOST_KILLS = 5  # before a command is left alone and compared
ENOUGH = 150  # kills, by which each phase must have been hit


@pytest.fixture(scope="module")
def config(tmp_path_factory, compile_quickly) -> Path:
    """The config of the smallest run."""
    return smallest.config(tmp_path_factory.mktemp("smallest"))


def content(folder: Path) -> dict[str, str]:
    """A digest of every file, but for locks."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }


@dataclass
class Task:
    """A command that works in a folder, and what it leaves there.

    Attributes:
        argv: its arguments for a folder.
        outcome: what must be the same.
        before: what the folder has before; None is nothing.
    """

    argv: Callable[[Path], Argv]
    outcome: Callable[[Path], Any]
    before: Path | None = None

    def begin(self, folder: Path) -> Path:
        """A folder that the command has not worked in yet."""
        if self.before:
            shutil.copytree(self.before, folder)
        return folder


def kill(
    task: Task,
    runner: Server | Processes,
    folder: Path,
    kills: int,
    random: np.random.Generator,
    which: Callable[[], dict[str, Any]] = dict,
) -> Counter:
    """Kills so often, and compares. Returns how many kills fell into which phase."""
    first = task.begin(folder / "undisturbed")
    runner.run(task.argv(first))  # it may compile
    again = task.begin(folder / "again")
    _, seconds = runner.run(task.argv(again))
    expected = task.outcome(first)
    assert task.outcome(again) == expected
    counts, round = Counter(), 0
    while counts.total() < kills:
        round += 1
        workdir = task.begin(folder / f"killed{round}")
        for _ in range(min(kills - counts.total(), int(random.integers(1, MOST_KILLS + 1)))):
            phase, _ = runner.run(task.argv(workdir), random.uniform(0, seconds), **which())
            saving = any(workdir.glob("**/checkpoints/*tmp*"))
            if phase:
                counts["save" if saving and phase == "step" else phase] += 1
        runner.run(task.argv(workdir))
        assert task.outcome(workdir) == expected, f"{workdir} differs after {counts}"
        shutil.rmtree(workdir)
    return counts


def training(config: Path) -> Task:
    return Task(lambda workdir: ["train", f"--config={config}", f"--workdir={workdir}"], trained)


@pytest.mark.faults(5)
def test_kills_of_training(config, tmp_path, faults, random):
    server = Server(tmp_path)
    counts = kill(training(config), server, tmp_path, faults, random)
    server.close()
    print(f"{counts.total()} kills fell into {dict(counts)}")


def kill_at_changes(
    task: Task, server: Server, folder: Path, kills: int, random: np.random.Generator
) -> None:
    """Kills within 20 ms of the call that changes a file, before or after the change is made."""
    first = folder / "undisturbed"
    server.run(task.argv(first), within=str(first))
    expected, operations = task.outcome(first), server.operations()
    for number in range(kills):
        workdir = folder / f"killed{number}"
        at, delay = int(random.integers(1, operations + 1)), random.uniform(1e-6, 0.02)
        server.run(task.argv(workdir), at=at, delay=delay, within=str(workdir))
        server.run(task.argv(workdir))
        assert task.outcome(workdir) == expected, f"change {at} of {operations}, {delay:.6f} s"
    print(f"{kills} kills behind one of {operations} changes of files")


@pytest.mark.slow
@pytest.mark.faults(40)
def test_kills_at_changes_of_files(config, tmp_path, faults, random):
    server = Server(tmp_path)
    kill_at_changes(training(config), server, tmp_path, faults, random)
    server.close()


@pytest.mark.slow
@pytest.mark.faults(40)
def test_a_build_without_renames_does_not_pass(config, tmp_path, faults, random):
    server = Server(tmp_path, in_place=True)
    with pytest.raises(AssertionError, match=r"ended with|differs|change"):
        kill_at_changes(training(config), server, tmp_path, faults, random)
    server.close()
    said = (tmp_path / "stderr").read_text()
    assert "is damaged" in said or "cannot" in said


@pytest.mark.slow
@pytest.mark.faults(200)
def test_kills_of_whole_processes(compile_quickly, tmp_path, faults, random):
    """Of a run long enough that every phase has its share beside the imports."""
    config = smallest.config(tmp_path / "smallest", epochs=20.0, validation=150)
    counts = kill(training(config), Processes(tmp_path), tmp_path, faults, random)
    print(f"{counts.total()} kills fell into {dict(counts)}")
    if counts.total() >= ENOUGH:
        assert set(counts) == set(phased.PHASES)


@pytest.mark.slow
@pytest.mark.faults(20)
def test_kills_of_two_processes(config, tmp_path, faults, random):
    """Both at once, or one, which the other has to notice."""

    def which() -> dict[str, Any]:
        return {"only": [None, None, 0, 1][random.integers(4)]}

    runner = Processes(tmp_path, count=2)
    counts = kill(training(config), runner, tmp_path, faults, random, which)
    print(f"{counts.total()} kills fell into {dict(counts)}")


@pytest.mark.slow
@pytest.mark.faults(20)
def test_kills_of_evaluation(config, tmp_path, faults, random):
    def evaluated(workdir: Path) -> list[dict[str, Any]]:
        return json.loads((workdir / "evaluation.json").read_text())

    runner, trained_in = Processes(tmp_path), tmp_path / "trained"
    runner.run(training(config).argv(trained_in))
    task = Task(lambda workdir: ["evaluate", f"--workdir={workdir}"], evaluated, before=trained_in)
    print(kill(task, runner, tmp_path, faults, random))


@pytest.mark.slow
@pytest.mark.faults(20)
def test_kills_of_preparation(tmp_path, faults, random):
    photos = smallest.photos(tmp_path / "photos")
    task = Task(
        lambda folder: ["prepare", f"folder:{photos}", f"--data_dir={folder}"],
        lambda folder: content(folder / "alexnet_store"),
    )
    print(kill(task, Processes(tmp_path), tmp_path, faults, random))


@pytest.mark.slow
@pytest.mark.faults(20)
def test_kills_of_a_sweep(config, tmp_path, faults, random):
    def outcome(workdir: Path) -> dict[str, Any]:
        return {run.parent.name: trained(run.parent) for run in workdir.glob("*/config.json")}

    settings = [f"--config={config}", "--config.seed=0", "--config.seed=1", "--cores=1"]
    task = Task(lambda workdir: ["sweep", *settings, f"--workdir={workdir}"], outcome)
    print(kill(task, Processes(tmp_path), tmp_path, faults, random))
