"""Result files: what they hold, and whose they are."""

import dataclasses
import json

import pytest
from support.runs import leave, results_by_name

from alexnet.errors import UserError
from alexnet.results import folders
from alexnet.results.file import collect
from alexnet.results.result import Result
from alexnet.sweeps.essence import essence


def test_a_failure_that_is_kept_is_still_a_failure(tmp_path, failing):
    failing("a-0", failure="no memory")
    leave(tmp_path / "b-0", [0.5])
    before = folders.read([tmp_path])
    collect(before.results + before.failed, tmp_path / "kept")
    after = folders.read([tmp_path / "kept"])
    assert [one.name for one in after.results] == ["b-0"]
    [kept] = after.failed
    assert (kept.name, kept.failure, kept.seed) == ("a-0", "no memory", before.failed[0].seed)
    assert essence(kept.config) == essence(before.failed[0].config)
    assert "failure" not in json.loads((tmp_path / "kept/b-0.json").read_text())


def test_files_that_are_kept_say_the_same_and_nothing_of_the_machine(tmp_path):
    overrides = {"data.data_dir": "/home/me/data", "init_from": "/home/me/sweep/pre-0"}
    leave(tmp_path / "a-0", [0.5, 0.4], train=[0.7], overrides=overrides, contents={"train": "d"})
    before = results_by_name(tmp_path)["a-0"]
    for _ in range(2):  # the second replaces what the first has written
        [file] = collect([before], tmp_path / "for/the/paper")
    assert "/home" not in file.read_text()
    after = results_by_name(tmp_path / "for")["a-0"]
    assert after.config["init_from"] == "arm:pre"
    assert essence(after.config) == essence(before.config)
    for name in ("seed", "last", "best", "curve", "dataset", "about"):
        assert getattr(after, name) == getattr(before, name), name


def test_runs_that_share_a_name_do_not_replace_each_other(tmp_path):
    """Every sweep has a baseline-0."""
    target = tmp_path / "kept"

    def left(folder: str, errors=(0.5, 0.4), **overrides) -> Result:
        leave(tmp_path / folder / "a-0", errors, overrides=overrides)
        return results_by_name(tmp_path / folder)["a-0"]

    first, again = left("first"), left("again", (0.5, 0.3), log_every=7)
    others = [left("net", **{"net.norm": False}), left("seed", seed=1)]
    leave(tmp_path / "first/b-0", [0.5])
    for other in others:
        with pytest.raises(UserError, match=r"a-0.json is the file of another run of that name"):
            collect([results_by_name(tmp_path / "first")["b-0"], first, other], target)
        assert not list(target.iterdir())
    collect([first], target)
    for other in others:
        with pytest.raises(UserError, match=r"a-0.json is the file of another run of that name"):
            collect([other], target)
    assert results_by_name(target)["a-0"].last == first.last
    collect([again], target)  # the same run once more
    assert results_by_name(target)["a-0"].last == again.last
    failed = dataclasses.replace(again, last={}, best={}, failure="no memory")
    collect([again, failed], target)
    collect([failed], target)
    assert results_by_name(target)["a-0"].last == again.last
    assert [path.name for path in target.iterdir()] == ["a-0.json"]  # and no partial file


def test_averages_of_other_runs_are_other_results(tmp_path):
    leave(tmp_path / "a-0", [0.5])
    run = results_by_name(tmp_path)["a-0"]
    views = dataclasses.replace(run, name="x-0", views="ten_crop", of=("a-0",))
    collect([views], tmp_path / "kept")
    for other in (
        dataclasses.replace(views, views="centre"),
        dataclasses.replace(views, of=("a-0", "a-1")),
        dataclasses.replace(views, views="", of=()),
    ):
        with pytest.raises(UserError, match="another run of that name"):
            collect([other], tmp_path / "kept")
    collect([dataclasses.replace(views, of=("a-0",))], tmp_path / "kept")


def test_other_files_are_passed_over_and_damaged_results_are_not(tmp_path):
    leave(tmp_path / "a-0", [0.5])
    [file] = collect([results_by_name(tmp_path)["a-0"]], tmp_path / "kept")
    (tmp_path / "kept/notes.json").write_text("{")
    (tmp_path / "kept/list.json").write_text("[1]")
    (tmp_path / "kept/a-1.txt").write_text(file.read_text())
    (tmp_path / "kept/._a-0.json").write_text(file.read_text()[9:])  # as macOS leaves
    (tmp_path / "kept/gone.json").symlink_to(tmp_path / "gone.json")
    assert list(results_by_name(tmp_path / "kept")) == ["a-0"]
    file.write_text(file.read_text()[:-9])
    with pytest.raises(UserError, match=r"kept/a-0.json is damaged.*: restore or delete it"):
        results_by_name(tmp_path / "kept")
