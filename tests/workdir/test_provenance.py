"""The record of how a run was made."""

import datetime
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from alexnet import files
from alexnet.workdir import provenance as module
from alexnet.workdir.provenance import cores, provenance


def test_the_cores_that_xla_computes_with(monkeypatch):
    monkeypatch.setenv("PJRT_NPROC", "3")
    assert cores() == 3
    for nothing in ("", "0", "many"):
        monkeypatch.setenv("PJRT_NPROC", nothing)
        assert 1 <= cores() <= os.cpu_count()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux")
def test_the_cores_of_a_process_that_is_pinned(monkeypatch):
    monkeypatch.delenv("PJRT_NPROC", raising=False)
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(own)})  # as `taskset` does
    try:
        assert cores() == 1
    finally:
        os.sched_setaffinity(0, own)


@pytest.mark.parametrize(("count", "expected"), [(6, 6), (None, 1)])
def test_the_cores_of_systems_that_do_not_pin_processes(monkeypatch, count, expected):
    monkeypatch.delenv("PJRT_NPROC", raising=False)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: count)
    assert cores() == expected


def test_the_cores_are_recorded(tmp_path, monkeypatch):
    monkeypatch.setenv("PJRT_NPROC", "5")
    before = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    with provenance(tmp_path, "1 x cpu"):
        pass
    after = datetime.datetime.now(datetime.UTC)
    with pytest.raises(KeyError), provenance(tmp_path, "1 x cpu"):
        raise KeyError("x")
    first, second = json.loads((tmp_path / "provenance.json").read_text())
    assert (first["cores"], first["outcome"]) == (5, "done")
    assert second["outcome"] == "KeyError: 'x'"
    began, ended = (datetime.datetime.fromisoformat(first[key]) for key in ("began", "ended"))
    assert before <= began <= ended <= after


@pytest.mark.parametrize("damaged", ['[{"command": "alex', "5", "[5]", '[{"crc32": "0"}]'])
def test_a_damaged_record_is_put_aside_and_the_run_goes_on(tmp_path, damaged):
    path = tmp_path / "provenance.json"
    path.write_text(damaged)
    with provenance(tmp_path, "1 x cpu"):
        pass
    [entry] = json.loads(path.read_text())
    assert entry["outcome"] == "done"
    assert (tmp_path / "provenance.json.damaged").read_text() == damaged


def test_a_record_that_cannot_be_written_is_a_warning(tmp_path, monkeypatch, capsys):
    def full(value, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "write_json", full)
    with provenance(tmp_path, "1 x cpu"):
        pass
    line = f"warning: {tmp_path}/provenance.json cannot be written (No space left on device)\n"
    assert capsys.readouterr().err == 2 * line


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A folder that holds the package."""
    if not shutil.which("git"):
        pytest.skip("git is not installed")
    for name in [name for name in os.environ if name.startswith("GIT_")]:  # as in a hook
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setattr(module, "ROOT", tmp_path)
    module._git.cache_clear()
    yield tmp_path
    module._git.cache_clear()


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=A", "-c", "user.email=a@example.com")
    command = ["git", "-C", str(folder), *who, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_the_commit_is_that_of_the_code_that_was_loaded(root, monkeypatch):
    git(root, "init", "-q")
    (root / "a.py").write_text("1")
    (root / "tour.ipynb").write_text("no outputs")
    git(root, "add", "a.py", "tour.ipynb")
    git(root, "commit", "-q", "-m", "A")
    (root / "notes").write_text("mine")  # not in the repository: no change of the code
    (root / "tour.ipynb").write_text("executed")  # nor is this
    first = module.commit()
    assert module.git_error() == ""
    assert first == git(root, "rev-parse", "HEAD")
    (root / "a.py").write_text("2")
    assert module.commit() == first  # what was loaded is what it was
    module._git.cache_clear()
    changed = module.commit()
    assert re.fullmatch(first + r"\+[0-9a-f]{8}", changed)
    new = root / "src/net.py"
    new.parent.mkdir()
    for content in ("1", "2"):  # a new file of the code is a change, and so is what it holds
        new.write_text(content)
        module._git.cache_clear()
        assert module.commit() not in (changed, first)
        changed = module.commit()
    (new.parent / ".net.py.swp").write_text("an editor's")
    (new.parent / ".#net.py").symlink_to("somebody@somewhere")
    module._git.cache_clear()
    assert module.commit() == changed
    new.unlink()
    module._git.cache_clear()
    changed = module.commit()
    for content, same in (("3", False), ("2", True)):
        (root / "a.py").write_text(content)
        module._git.cache_clear()
        assert (module.commit() == changed) is same
    monkeypatch.setattr(module, "ROOT", root / "package")  # installed in that checkout
    module.ROOT.mkdir()
    module._git.cache_clear()
    assert (module.commit(), module.git_error()) == (None, "not a checkout")


def test_code_outside_a_checkout_has_no_commit(root, monkeypatch):
    monkeypatch.chdir(root)
    assert module.commit() is None
    assert "not a git repository" in module.git_error()
    git(root, "init", "-q")
    module._git.cache_clear()
    assert module.commit() is None  # nothing is committed yet


def test_the_root_is_that_of_a_checkout():
    assert (module.ROOT / "tests/workdir" / Path(__file__).name).samefile(__file__)
