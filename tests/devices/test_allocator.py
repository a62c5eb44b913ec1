"""The allocator: a command restarts once with mimalloc; nothing else does."""

import os
import subprocess
import sys
from importlib import metadata, util
from pathlib import Path

import pytest

from alexnet.devices import runtime

VARIABLES = ("LD_PRELOAD", "MIMALLOC_ARENA_RESERVE", "MIMALLOC_PURGE_DELAY")
linux = pytest.mark.skipif(sys.platform != "linux", reason="the library is preloaded on Linux only")


@pytest.fixture
def started(monkeypatch):
    """(program, arguments, LD_PRELOAD) of every new start."""
    found = []

    def execv(program, arguments):
        found.append((program, arguments, os.environ["LD_PRELOAD"]))

    monkeypatch.setattr(os, "execv", execv)
    monkeypatch.setattr(sys, "orig_argv", ["python", "-X", "dev", "-m", "alexnet.nets", "pocket"])
    monkeypatch.setattr(util, "find_spec", lambda name: None)  # also where GPUs are
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
def test_once_even_if_the_loader_drops_the_library(started, monkeypatch):
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


def test_other_systems_are_left_alone(started, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    runtime.restart_with_mimalloc()
    assert not started


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


@linux
def test_the_library_is_the_allocator_of_such_a_process():
    code = "import ctypes; print(ctypes.CDLL(None).mi_version() > 0)"
    found = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | runtime.allocator_environment(),
    )
    assert (found.stdout, found.stderr) == ("True\n", "")
