"""The commands and the Python of each page, run in its order, on small data and for a few steps."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.pages import PAGES, Line, blocks, command_of, lines
from support.tiny import ROOT

pytestmark = pytest.mark.slow

# What a test cannot run, and why
NOT_RUN = {
    "prepare cifar10": "downloads; tests/data/sources/test_cifar10.py has a small archive",
    "prepare imagenet2010": "archives on request; tests/data/sources/test_ilsvrc.py has small ones",
    "prepare imagenet2012": "archives on request; tests/data/sources/test_ilsvrc.py has small ones",
    "prepare imagenette/160px-v2": "downloads",
    "runs/torchvision": "weights to download; tests/commands/test_convert.py writes such files",
    "--source=": "other people's weights; tests/commands/test_convert.py writes such files",
    "--coordinator=": "several machines; tests/devices/test_processes.py has several processes",
    "experiments/benchmarks/": "minutes; tests/commands/test_benchmarks.py has short ones",
    "--config.wandb_project=": "an account; tests/logs/test_tracker.py has its offline mode",
    "=A,": "a placeholder",
    "DIR": "a placeholder",
    "experiments/results/": "writes pages; tests/results/test_pages.py",
    "git log": "a commit to look at",
    "notebooks/build.py": "tests/notebooks",
}


@pytest.fixture
def elsewhere(tmp_path, data_dir, monkeypatch):
    """A folder with what a page expects beside it, and a way to run commands there."""
    for folder in ("configs", "experiments/trained"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    for file in ROOT.glob("experiments/*.py"):
        shutil.copy(file, tmp_path / "experiments")
    for run in ("digits", "tanh", "a", "b"):
        shutil.copytree(ROOT / "experiments/trained/digits", tmp_path / "runs" / run)
    random = np.random.default_rng(0)
    for number in range(36):
        folder = tmp_path / "photos" / f"class{number % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        photo = Image.fromarray(random.integers(0, 256, (70, 80, 3), np.uint8))
        photo.save(folder / f"{number}.png")
    for name in ("photo.png", "another.jpg"):
        photo.save(tmp_path / name)
    monkeypatch.setenv("TFDS_DATA_DIR", data_dir)
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def short(line: Line) -> list[str]:
    """The same command on small data and for a few steps."""
    name, arguments = command_of(line)
    arguments = [re.sub(r"folder:/path/to/\w+", "folder:photos", word) for word in arguments]
    if "--help" in arguments or not name:
        return [name, *arguments][not name :]
    config = next((word for word in arguments if word.startswith("--config=")), "")
    if name in ("train", "profile"):
        if not any(word.startswith("--config.data.name=") for word in arguments):
            data = "digits" if "digits" in config or "cifar10" in config else "folder:photos"
            arguments.append(f"--config.data.name={data}")
        if name == "train":
            arguments.append("--config.epochs=0.2")
        if "configs/imagenet.py" in config:
            arguments.append("--config.batch_size=8")  # of the full net
    if name == "sweep" and "--dry_run" not in arguments:
        arguments += ["--config.epochs=0.2"]
        arguments += [] if config else ["--seeds=1"]
    return [name, *arguments]


def runnable(page: Path) -> list[Line]:
    """The page's commands of this project, without those that a test cannot run."""
    ours = [line for line in lines(page) if command_of(line)]
    return [line for line in ours if not any(part in " ".join(line.arguments) for part in NOT_RUN)]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_commands_run_in_the_pages_order(page, elsewhere):
    for line in runnable(page):
        arguments = [word for given in short(line) for word in as_paths(given, elsewhere)]
        for word in arguments:
            if word.startswith("--workdir=runs/") and arguments[0] in ("train", "sweep"):
                shutil.rmtree(elsewhere / word.removeprefix("--workdir="), ignore_errors=True)
        told = subprocess.run(
            [sys.executable, "-m", "alexnet", *arguments], capture_output=True, text=True
        )
        assert told.returncode == 0, f"{arguments}: {told.stdout[-500:]}{told.stderr[-1000:]}"
        for number in re.findall(r"\d{1,3}(?:,\d{3})+|\d+\.\d+", line.comment):
            assert number in told.stdout, (arguments, number)


def as_paths(word: str, folder: Path) -> list[str]:
    """The paths that a shell would write in place of a word with a star."""
    if "*" not in word:
        return [word]
    return sorted(str(path.relative_to(folder)) for path in folder.glob(word) if path.is_dir())


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_python_runs(page, elsewhere):
    for line in runnable(page):
        if any(word.startswith("--target=") for word in line.arguments):  # a file to read
            subprocess.run([sys.executable, "-m", "alexnet", *short(line)], check=True)
    program = []
    for number, block in enumerate(blocks(page, "python")):
        if "torchvision" in block:
            continue
        if "def get_config" in block:
            (elsewhere / f"configs/page{number}.py").write_text(block)
            code = f"import alexnet; alexnet.load_config('configs/page{number}.py')\n"
        elif "\nARMS = " in block:
            (elsewhere / f"experiments/page{number}.py").write_text(block)
            code = (
                "from alexnet.sweeps import definition\n"
                f"definition.load('experiments/page{number}.py:small')\n"
            )
        else:
            code = block
        program.append(code)
    if program:
        script = elsewhere / "page.py"
        script.write_text("\n".join(program))
        told = subprocess.run([sys.executable, script], capture_output=True, text=True)
        assert told.returncode == 0, told.stderr[-2000:]
