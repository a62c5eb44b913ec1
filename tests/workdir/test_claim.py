"""alexnet.workdir.claim: whose a workdir is, for how long, and what becomes of what it held."""

import errno
import json
import os
import re
import resource
import shutil
import signal
from pathlib import Path

import pytest
from support.tiny import ROOT

from alexnet import config as configs
from alexnet.errors import UserError
from alexnet.training.settings import KINDS
from alexnet.workdir import claim as claims
from alexnet.workdir import record
from alexnet.workdir.claim import Claim, claim, start_over


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    """What `monotonic` says there."""
    now = [0.0]
    monkeypatch.setattr(claims, "monotonic", lambda: now[0])
    return now


def held(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_new_workdir_is_made_with_its_parents_and_keeps_its_run(tiny, tmp_path):
    workdir = tmp_path / "a/b/run"
    with claim(workdir, tiny) as first:
        assert first.run == record.run_of(workdir)
    with claim(workdir, tiny) as second:
        assert second.run == first.run


@pytest.mark.parametrize("replaced", [False, True])
def test_a_removed_workdir_is_noticed_within_seconds(tiny, tmp_path, clock, replaced):
    workdir = tmp_path / "run"
    with claim(workdir, tiny) as own:
        clock[0] = 2
        own.check()  # it is there
        shutil.move(workdir, tmp_path / "elsewhere")
        if replaced:
            workdir.mkdir()
            (workdir / claims.LOCK).write_text("")
        clock[0] += 1.9
        own.check()  # it does not look as often as that
        clock[0] += 0.1
        with pytest.raises(UserError, match="run was removed or replaced"):
            own.check()


def test_a_file_server_that_fails_for_a_minute_ends_no_run(tiny, tmp_path, clock, monkeypatch):
    def stale(*_):
        raise OSError(errno.ESTALE, "Stale file handle")

    with claim(tmp_path, tiny) as own:
        for began in (0, 500):  # long after the last look, as after a validation
            clock[0] = began + 200
            with monkeypatch.context() as server:
                server.setattr(os.path, "samestat", stale)
                own.check()
                clock[0] += claims.SHARED_SECONDS - 1
                own.check()
            clock[0] += 2
            own.check()  # it is found again
        with monkeypatch.context() as server:
            server.setattr(os.path, "samestat", stale)
            clock[0] += 2
            own.check()
            clock[0] += claims.SHARED_SECONDS
            with pytest.raises(OSError, match="Stale"):
                own.check()


def test_other_processes_neither_check_the_workdir_nor_note_saves(tmp_path, clock):
    other = Claim(tmp_path / "nowhere", "id", None)
    clock[0] = 20
    other.check()
    other.note_saved(3)


def test_removed_checkpoints_are_noticed(tiny, tmp_path):
    with claim(tmp_path, tiny) as own:
        own.note_saved(None)
    assert (tmp_path / claims.LOCK).read_text() == ""
    for _ in range(2):
        with claim(tmp_path, tiny) as own:  # none was saved: it begins anew
            (tmp_path / "checkpoints/3").mkdir(parents=True, exist_ok=True)
            own.note_saved(3)
            own.note_saved(4)
        assert (tmp_path / claims.LOCK).read_text() == claims.SAVED
    shutil.rmtree(tmp_path / "checkpoints")
    with pytest.raises(UserError, match=r"checkpoints are gone: .* start over with --fresh"):
        claim(tmp_path, tiny).__enter__()


def test_removed_checkpoints_of_an_earlier_versions_run_are_noticed(tiny, tmp_path):
    record.save_config(tiny, tmp_path)
    (tmp_path / "metrics.jsonl").touch()
    (tmp_path / "checkpoints").mkdir()
    with claim(tmp_path, tiny):  # it was stopped before it saved one
        pass
    (tmp_path / "checkpoints").rmdir()
    with pytest.raises(UserError, match=r"checkpoints are gone: .* start over with --fresh"):
        claim(tmp_path, tiny).__enter__()


def test_a_run_without_an_id_gets_one_and_keeps_its_settings(tiny, tmp_path):
    """Early versions gave none; what the next command changes is noted later."""
    record.save_config(tiny, tmp_path)
    found = json.loads((tmp_path / "config.json").read_text())
    del found["run"]
    (tmp_path / "config.json").write_text(json.dumps(found))
    tiny.schedule.rate = 0.5
    with claim(tmp_path, tiny) as own:
        assert own.run == record.run_of(tmp_path) != ""
    assert record.saved_config(tmp_path).schedule.rate == 0.01


def test_a_run_that_ended_before_its_first_row_is_replaced_by_any_other(tiny, tmp_path):
    """Such as one that lacked memory, and that the advice was to start with smaller batches."""
    with claim(tmp_path, tiny) as first:
        (tmp_path / "checkpoints").mkdir()
        (tmp_path / "metrics.jsonl").touch()
        for name in ("provenance.json", "wandb.json"):
            (tmp_path / name).write_text("[]")
    (origin := tmp_path / "origin").mkdir()
    record.save_config(tiny, origin)
    tiny.batch_size, tiny.init_from = 64, str(origin)
    with claim(tmp_path, tiny) as second:
        assert second.run not in (first.run, "")
    assert record.saved_config(tmp_path).batch_size == 64
    assert not (tmp_path / "provenance.json").exists()
    assert not (tmp_path / "wandb.json").exists()  # else the rows would go to the old one's
    assert record.origin_of(tmp_path) == record.run_of(origin)
    (tmp_path / "metrics.jsonl").write_text("{}\n")
    tiny.batch_size = 32
    with pytest.raises(UserError, match=r"batch_size=64, not 32: .* to another folder$"):
        claim(tmp_path, tiny).__enter__()
    (tmp_path / "metrics.jsonl").unlink()
    (tmp_path / "checkpoints/3").mkdir()
    with pytest.raises(UserError, match=r"; to train its weights, name it in a new run's "):
        claim(tmp_path, tiny).__enter__()


def test_what_a_resumed_run_may_change(tiny, tmp_path):
    with claim(tmp_path, tiny):
        (tmp_path / "checkpoints").mkdir()
        (tmp_path / "metrics.jsonl").write_text("{}\n")
    changed = tiny.copy_and_resolve_references()
    configs.apply_overrides(changed, {"epochs": 9.0, "log_every": 3}, KINDS)
    with claim(tmp_path, changed):
        pass
    configs.apply_overrides(changed, {"net.norm": False}, KINDS)
    with pytest.raises(UserError, match=r"config.net.norm=True, not False: .* or start over with"):
        claim(tmp_path, changed).__enter__()
    with claim(tmp_path, changed, ("net.",)):
        pass


def test_the_page_on_launching_lists_the_settings_that_may_change(tiny):
    text = (ROOT / "docs/launching.md").read_text().split("may change only these settings:")[1]
    listed = re.findall(r"`([a-z_.]+)\*?`", text.partition("; and")[0])
    may = {key for key in configs.flat(tiny.to_dict()) if key.startswith(claims.MAY_CHANGE)}
    named = {key for key in configs.flat(tiny.to_dict()) if key.startswith(tuple(listed))}
    assert len(listed) > 10
    assert named == may


@pytest.mark.parametrize("name", ["metrics.jsonl", "tensorboard", "checkpoints"])
def test_a_folder_with_a_runs_files_but_no_config_is_refused(tiny, tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(UserError, match=rf"holds {name} but no run"):
        claim(tmp_path, tiny).__enter__()
    assert not (tmp_path / "config.json").exists()


def test_a_workdir_that_was_emptied_but_for_hidden_files_is_new(tiny, tmp_path):
    with claim(tmp_path, tiny) as own:
        own.note_saved(3)
    (tmp_path / "config.json").unlink()
    with claim(tmp_path, tiny):
        pass
    assert (tmp_path / claims.LOCK).read_text() == ""
    (tmp_path / "config.json").unlink()
    with claim(tmp_path, tiny) as own:
        own.note_saved(3)
    (tmp_path / "config.json").unlink()
    with claim(tmp_path, tiny) as own:  # its first checkpoint is noted, too
        own.note_saved(3)
    assert (tmp_path / claims.LOCK).read_text() == claims.SAVED


@pytest.mark.parametrize("late", [True, False])
def test_all_processes_must_share_the_workdir(tiny, tmp_path, monkeypatch, late):
    """A disk that is shared through a network may show what is new a little later."""
    asked = []

    def gathered(value):
        asked.append(value)
        return [value, value, value if late and len(asked) > 3 else ""]

    monkeypatch.setattr(claims.processes, "gathered", gathered)
    monkeypatch.setattr(claims, "sleep", lambda _: None)
    if late:
        with claim(tmp_path, tiny) as own:
            assert own.run == record.run_of(tmp_path)
        return
    with pytest.raises(UserError, match=r"workdir=.*: process 2 does not find there the run"):
        claim(tmp_path, tiny).__enter__()


def test_a_note_that_a_full_disk_refuses_is_tried_again(tiny, tmp_path):
    class Full:
        tried, tell = 0, staticmethod(lambda: 0)

        def write(self, _):
            self.tried += 1
            raise OSError(28, "No space left on device")

    own = Claim(tmp_path, "id", file := Full())
    own.note_saved(3)
    own.note_saved(4)
    assert file.tried == 2
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with claim(tmp_path, tiny) as own:
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, limit[1]))
            own.note_saved(3)
            own.note_saved(4)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, before)
    assert (tmp_path / claims.LOCK).read_text() == ""


def test_starting_over_puts_aside_what_was_there(tmp_path, capsys):
    workdir = tmp_path / "run"
    start_over(workdir)
    assert not workdir.exists()
    workdir.mkdir()
    start_over(workdir)
    assert held(workdir) == {".lock": ""}
    (workdir / "earlier-notes").mkdir()  # the user's
    for number, text in ((1, "one"), (2, "two")):
        (workdir / "checkpoints").mkdir()
        (workdir / "checkpoints/3").write_text(text)
        (workdir / "config.json").write_text(text)
        (workdir / "wandb.json").write_text(text)
        (workdir / ".lock").write_text("saved")
        start_over(workdir)
        found = f"the earlier run is in {workdir}/earlier-{number}\n"
        assert capsys.readouterr().out == f"starting over: {found}"
    assert held(workdir) == {
        ".lock": "",
        "earlier-1/checkpoints/3": "one",
        "earlier-1/config.json": "one",
        "earlier-1/wandb.json": "one",
        "earlier-2/checkpoints/3": "two",
        "earlier-2/config.json": "two",
        "earlier-2/wandb.json": "two",
    }


def test_a_folder_of_other_runs_is_refused(tiny, tmp_path):
    """A run there would hide them from `compare`."""
    for name in ("a-0", "earlier-1"):
        with claim(tmp_path / name, tiny):
            pass
    with pytest.raises(UserError, match=r"holds other runs \(a-0\): give this one a folder of its"):
        claim(tmp_path, tiny).__enter__()
    shutil.rmtree(tmp_path / "a-0")
    with claim(tmp_path, tiny):
        pass


def test_starting_over_leaves_what_is_not_the_runs(tmp_path):
    for name in ("config.json", "thesis.tex", "run-1/config.json", "wandb/files"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    start_over(tmp_path)
    assert held(tmp_path) == {
        ".lock": "",
        "earlier-1/config.json": "config.json",
        "earlier-1/wandb/files": "wandb/files",
        "run-1/config.json": "run-1/config.json",
        "thesis.tex": "thesis.tex",
    }


def test_starting_over_leaves_a_folder_that_holds_no_run(tmp_path):
    (tmp_path / "thesis.tex").write_text("\\begin")
    (tmp_path / "checkpoints").mkdir()  # of another program
    start_over(tmp_path)
    assert held(tmp_path) == {".lock": "", "thesis.tex": "\\begin"}
    assert (tmp_path / "checkpoints").is_dir()


def test_a_cut_move_of_the_old_run_goes_on_the_next_time(tmp_path, monkeypatch):
    for name in ("config.json", "metrics.jsonl"):
        (tmp_path / name).write_text("old")
    (tmp_path / "checkpoints").mkdir()
    moved, replace = [], os.replace

    def cut(source, target):
        if moved == ["checkpoints", "metrics.jsonl"]:
            raise OSError(28, "No space left on device")
        moved.append(source.name)
        replace(source, target)

    monkeypatch.setattr(os, "replace", cut)
    with pytest.raises(UserError, match="cannot start over there: No space left"):
        start_over(tmp_path)
    monkeypatch.undo()
    start_over(tmp_path)
    assert held(tmp_path).keys() == {".lock", "earlier-1/metrics.jsonl", "earlier-2/config.json"}


def test_starting_over_is_refused_while_another_run_uses_the_workdir(tiny, tmp_path):
    with claim(tmp_path, tiny):
        with pytest.raises(UserError, match="another run is using"):
            start_over(tmp_path)
        with pytest.raises(UserError, match="another run is using"), claim(tmp_path, tiny):
            pass
    assert record.run_of(tmp_path)
    with claim(tmp_path, tiny):  # it is free again
        pass


def test_starting_over_moves_all_that_a_page_lists_as_a_runs_own():
    page = (ROOT / "docs/checkpoints.md").read_text().partition("\nA workdir is self-contained")[0]
    cells = re.findall(r"^\| (`.*?) \|", page, re.M)
    names = {name.rstrip("/") for cell in cells for name in re.findall("`([^`]+)`", cell)}
    assert names - {"checkpoints/N.damaged", "earlier-N"} == {*claims.OWN}
