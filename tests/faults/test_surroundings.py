"""Where a command runs may be odd: that costs a line at most, never a traceback."""

import os
import pwd
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from alexnet import cli
from alexnet.data.recipe import Recipe
from alexnet.devices import runtime
from alexnet.errors import UserError, local_path
from alexnet.workdir import checkpoint, snapshot

# Modules of Python that Windows has not
UNIX = ("fcntl", "grp", "pwd", "resource", "termios")
COMMANDS = ("train", "evaluate", "predict", "prepare", "convert", "sweep", "compare", "report")


@pytest.fixture
def nobody(monkeypatch) -> None:
    """A container's user whom no passwd file knows, and no HOME."""

    def unknown(number: int):
        raise KeyError(f"getpwuid(): uid not found: {number}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("HOME", "XDG_CACHE_HOME", "USER", "LOGNAME"):
        monkeypatch.delenv(name, raising=False)


def test_a_user_without_a_home_is_told_what_to_set(nobody):
    with pytest.raises(UserError) as error:
        local_path("data_dir", "~/tensorflow_datasets")
    assert str(error.value) == (
        "data_dir=~/tensorflow_datasets: there is no home folder ~: set HOME, or write the whole "
        "path"
    )


@pytest.mark.parametrize("name", [b"caf\xe9", "한글".encode("euc-kr")])
def test_a_path_that_is_not_utf8_is_refused_where_it_would_lose_files(tmp_path, name):
    """TensorStore writes such names as UTF-8, into another folder; ArrayRecord refuses them."""
    there = tmp_path / os.fsdecode(name)
    there.mkdir()
    for attempt in (
        lambda: checkpoint.check_path(there / "run"),
        lambda: snapshot.read(there / "7", snapshot.only_params),
        lambda: Recipe("digits", str(there), 8),
    ):
        with pytest.raises(UserError, match="need a path in UTF-8: choose") as error:
            attempt()
        assert str(error.value).isascii()
    checkpoint.check_path(tmp_path / "한글")


def test_without_a_home_compiled_steps_are_not_kept(nobody, capsys):
    assert runtime.writable_cache() is None
    assert capsys.readouterr().err == (
        "compiled steps are not kept (Could not determine home directory.): set XDG_CACHE_HOME\n"
    )


@pytest.mark.skipif(not Path("/proc").exists(), reason="Linux")
def test_compiled_steps_are_not_kept_where_nothing_can_be_written(monkeypatch, capsys):
    monkeypatch.setenv("HOME", "/proc/nowhere")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert runtime.writable_cache() is None
    assert capsys.readouterr().err == (
        "compiled steps are not kept (No such file or directory): set XDG_CACHE_HOME\n"
    )


def test_a_locale_that_cannot_name_a_file_is_named(capsys):
    with pytest.raises(SystemExit):
        cli.run(lambda: "/photos/고양이".encode("ascii"))
    assert capsys.readouterr().err == (
        "error: '/photos/\\uace0\\uc591\\uc774': ascii lacks these characters; set PYTHONUTF8=1\n"
    )


def test_a_reader_that_has_seen_enough_is_no_error():
    code = (
        "from alexnet import cli\n"
        "def lines():\n    for _ in range(10**6): print('line')\n"
        "cli.run(lines)"
    )
    done = subprocess.run(
        ["bash", "-c", f'{shlex.quote(sys.executable)} -c "$CODE" | head -1'],
        env=os.environ | {"CODE": code},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("line\n", "")


@pytest.mark.slow
def test_every_command_is_imported_where_there_is_no_unix():
    code = f"import sys; sys.modules |= dict.fromkeys({UNIX!r})\n" + "\n".join(
        f"import alexnet.{command}" for command in COMMANDS
    )
    subprocess.run([sys.executable, "-c", code], check=True)
