"""The allocator: a command restarts once with mimalloc; nothing else does."""

import os
import shutil
import subprocess
import sys
import types
from importlib import metadata, util
from pathlib import Path

import pytest

from alexnet.devices import runtime

VARIABLES = ("LD_PRELOAD", "MIMALLOC_ARENA_RESERVE", "MIMALLOC_PURGE_DELAY")
linux = pytest.mark.skipif(sys.platform != "linux", reason="the library is preloaded on Linux only")
preloaded = pytest.mark.skipif(not runtime.allocator_environment(), reason="not preloaded here")


@pytest.fixture
def started(monkeypatch):
    """(program, arguments, LD_PRELOAD) of every new start."""
    found = []

    def execv(program, arguments):
        found.append((program, arguments, os.environ["LD_PRELOAD"]))

    monkeypatch.setattr(os, "execv", execv)
    monkeypatch.setattr(sys, "orig_argv", ["python", "-X", "dev", "-m", "alexnet.nets", "pocket"])
    monkeypatch.setattr(util, "find_spec", lambda name: None)  # also where GPUs are
    if sys.platform == "linux" and not runtime.allocator_environment():
        pytest.skip("the linker would split the library's path, or lacks what it needs")
    for variable in VARIABLES:
        monkeypatch.setenv(variable, "")  # so that what a restart sets is undone
        monkeypatch.delenv(variable)
    return found


@linux
def test_a_command_starts_anew_with_all_its_arguments(started):
    runtime.restart_with_mimalloc()
    arguments = [sys.executable, "-X", "dev", "-m", "alexnet.nets", "pocket"]
    assert started == [(sys.executable, arguments, runtime.allocator_environment()["LD_PRELOAD"])]
    assert Path(runtime.allocator_environment()["LD_PRELOAD"]).is_file()


@linux
def test_a_command_restarts_once_even_if_the_loader_drops_the_library(started, monkeypatch):
    runtime.restart_with_mimalloc()
    monkeypatch.delenv("LD_PRELOAD")  # so it does for programs with more rights than their user
    runtime.restart_with_mimalloc()
    assert len(started) == 1


@pytest.mark.parametrize("variable", VARIABLES)
def test_the_users_settings_stand(started, monkeypatch, variable):
    monkeypatch.setenv(variable, "")
    runtime.restart_with_mimalloc()
    assert not started


def test_gpus_are_left_alone(started, monkeypatch):
    monkeypatch.setattr(util, "find_spec", lambda name: name if name == "jax_plugins" else None)
    runtime.restart_with_mimalloc()
    assert not started


def test_without_the_wheel_commands_run_as_they_are(started, monkeypatch):
    def files(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "files", files)
    runtime.restart_with_mimalloc()
    assert not started


@pytest.fixture
def library(started, monkeypatch, tmp_path):
    """Copies the wheel's library into a folder, and makes the wheel say that it is there."""
    path = tmp_path / runtime.LIBRARY
    shutil.copy(runtime.allocator_environment()["LD_PRELOAD"], path)

    def put(folder: str) -> Path:
        (tmp_path / folder).mkdir()
        file = types.SimpleNamespace(name=path.name, locate=lambda: tmp_path / folder / path.name)
        monkeypatch.setattr(metadata, "files", lambda name: [file])
        return shutil.copy(path, file.locate())

    return put


@linux
def test_the_library_is_preloaded_from_where_the_wheel_has_it(started, library):
    path = library("lib")
    runtime.restart_with_mimalloc()
    assert [found for _, _, found in started] == [str(path)]


@linux
@pytest.mark.parametrize("folder", ["My Projects", "a:b"])
def test_a_path_that_the_linker_would_split_is_not_preloaded(started, library, folder):
    """ld.so splits LD_PRELOAD at spaces and colons, and complains about each piece."""
    library(folder)
    runtime.restart_with_mimalloc()
    assert not started


@linux
def test_a_library_that_cannot_be_loaded_is_not_preloaded(started, library):
    """ld.so would end every command, as where libatomic is missing."""
    library("lib").write_bytes(b"")
    runtime.restart_with_mimalloc()
    assert not started


def test_other_systems_are_left_alone(started, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    runtime.restart_with_mimalloc()
    assert not started


@pytest.mark.parametrize(
    ("line", "argv0"),
    [
        ("python -m alexnet train", "-m"),
        ("python -m alexnet.train --config=x", "-m"),
        ("python -malexnet.train", "-m"),
        ("python -m alexnet.data.prepare", "-m"),
        ("python -X dev -W error -O -m alexnet.train", "-m"),
        ("python -Xdev -Werror -Im alexnet.train", "-m"),
        ("python -X m -Imalexnet.train", "-m"),
        ("python -IW m -m alexnet.train", "-m"),
        ("python --check-hash-based-pycs always -m alexnet.train -m other", "-m"),
        ("python /venv/bin/alexnet train -m other", "/venv/bin/alexnet"),
        ("python -X dev -- /venv/bin/alexnet", "/venv/bin/alexnet"),
    ],
)
def test_our_commands_are_recognised(line, argv0):
    assert runtime.is_command([argv0], line.split())
    assert runtime.is_command([argv0, "--workdir=x"], [*line.split(), "--workdir=x"])


@pytest.mark.parametrize(
    ("line", "argv0"),
    [
        ("python -m other.main", "-m"),
        ("python -m other.main -m alexnet.train", "-m"),
        ("python -W alexnet -mother alexnet", "-m"),
        ("python -m alexnet_tools.train", "-m"),
        ("python -m pytest -m alexnet", "-m"),
        ("python -m cProfile -m alexnet.train", "-m"),
        ("python -m cProfile -m alexnet.train", "alexnet.train"),
        ("python -m cProfile /venv/bin/alexnet train", "/venv/bin/alexnet"),
        ("python -m torch.distributed.run -m alexnet.train", "-m"),
        ("python -m alexnet.train", "/src/alexnet/train.py"),  # it has begun
        ("python main.py -m alexnet.train", "main.py"),
        ("python main.py -m alexnet.train", "-m"),
        ("python -- main.py -m alexnet.train", "-m"),
        ("python -c import -m alexnet.train", "-c"),
        ("python -c from_multiprocessing --multiprocessing-fork", "/venv/bin/alexnet"),
        ("python - -m alexnet.train", "-"),
        ("python", ""),
        ("", "-m"),
        ("python -m", "-m"),
    ],
)
def test_other_programs_are_not_our_commands(line, argv0):
    assert not runtime.is_command([argv0], line.split())


def test_a_program_without_arguments_is_not_our_command():
    assert not runtime.is_command([], [])


def run(*arguments: str) -> subprocess.CompletedProcess:
    environment = {k: v for k, v in os.environ.items() if k not in VARIABLES}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=environment
    )


def test_a_real_command_keeps_its_arguments_and_its_exit():
    assert "conv1" in run("-m", "alexnet.nets", "pocket").stdout
    wrong = run("-m", "alexnet.nets", "poket")
    assert wrong.returncode != 0
    assert "poket" in wrong.stderr


def test_importing_the_package_does_not_restart_a_program():
    code = "import os, alexnet.nets; print(os.environ.get('LD_PRELOAD'))"
    assert run("-c", code).stdout == "None\n"


@pytest.mark.parametrize("module", ["other.main", "other"])
def test_a_package_that_imports_ours_runs_once(tmp_path, monkeypatch, module):
    (tmp_path / "other").mkdir()
    (tmp_path / "other/__init__.py").write_text("print('begins', flush=True)\nimport alexnet\n")
    for name in ("main", "__main__"):
        code = "import os, alexnet.nets; print(os.environ.get('LD_PRELOAD'))"
        (tmp_path / f"other/{name}.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    done = run("-m", module, "-m", "alexnet.nets")
    assert (done.stdout, done.stderr) == ("begins\nNone\n", "")


@preloaded
@pytest.mark.parametrize("way", ["module", "script"])
def test_a_command_restarts_once_before_anything_large(tmp_path, monkeypatch, way):
    # Python imports sitecustomize whenever it starts.
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\n"
        "execv = os.execv\n"
        "def watched(*new):\n"
        "    large = {'jax', 'numpy', 'flax', 'ml_collections'} & sys.modules.keys()\n"
        "    print('anew', sorted(large), flush=True)\n"
        "    execv(*new)\n"
        "os.execv = watched\n"
    )
    script = tmp_path / "alexnet"  # as pip writes it
    script.write_text("import sys\nfrom alexnet.__main__ import main\nsys.exit(main())\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    start = ["-m", "alexnet.nets"] if way == "module" else [str(script), "nets"]
    lines = run(*start, "pocket").stdout.splitlines()
    assert lines[0] == "anew []"
    assert sum("anew" in line for line in lines) == 1
    assert any("conv1" in line for line in lines)


@preloaded
def test_the_library_is_the_allocator_of_such_a_process():
    code = "import ctypes; print(ctypes.CDLL(None).mi_version() > 0)"
    found = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | runtime.allocator_environment(),
    )
    assert (found.stdout, found.stderr) == ("True\n", "")
