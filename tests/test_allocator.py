"""alexnet.allocator: a command restarts once with glibc's settings; nothing else does."""

import os
import subprocess
import sys

import pytest

from alexnet import allocator


@pytest.fixture
def started(monkeypatch):
    """(program, arguments, GLIBC_TUNABLES) of every new start."""
    found = []

    def execv(program, arguments):
        found.append((program, arguments, os.environ["GLIBC_TUNABLES"]))

    monkeypatch.setattr(os, "execv", execv)
    monkeypatch.setattr(os, "confstr", lambda name: "glibc 2.36", raising=False)
    monkeypatch.setattr(sys, "orig_argv", ["python", "-X", "dev", "-m", "alexnet.nets", "pocket"])
    monkeypatch.setenv("GLIBC_TUNABLES", "")  # so that what restart() sets is undone
    monkeypatch.delenv("GLIBC_TUNABLES")
    return found


def test_a_command_starts_anew_with_all_its_arguments(started):
    allocator.restart()
    arguments = [sys.executable, "-X", "dev", "-m", "alexnet.nets", "pocket"]
    assert started == [(sys.executable, arguments, allocator.TUNABLES)]


def test_once(started):
    allocator.restart()
    allocator.restart()
    assert len(started) == 1


def test_the_users_settings_stand(started, monkeypatch):
    monkeypatch.setenv("GLIBC_TUNABLES", "")
    allocator.restart()
    assert not started


@pytest.mark.parametrize("error", [ValueError, AttributeError])
def test_other_c_libraries_have_no_such_settings(started, monkeypatch, error):
    def confstr(name):
        raise error(name)

    monkeypatch.setattr(os, "confstr", confstr, raising=False)
    allocator.restart()
    assert not started


def run(*arguments: str) -> subprocess.CompletedProcess:
    environment = {k: v for k, v in os.environ.items() if k != "GLIBC_TUNABLES"}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=environment
    )


def test_a_real_command_keeps_its_arguments_and_its_exit():
    assert "conv1" in run("-m", "alexnet.nets", "pocket").stdout
    wrong = run("-m", "alexnet.nets", "poket")
    assert wrong.returncode != 0
    assert "poket" in wrong.stderr


def test_importing_the_package_does_not_restart_a_program():
    code = "import os, alexnet.nets; print(os.environ.get('GLIBC_TUNABLES'))"
    assert run("-c", code).stdout == "None\n"
