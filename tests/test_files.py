"""What a damaged file is called; rows that are sealed: any change of a value is noticed."""

import json
import os
import resource
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet import files
from alexnet.errors import UserError

VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
ROWS = st.dictionaries(st.text(), VALUES | st.lists(VALUES)).filter(lambda row: "crc32" not in row)


@settings(max_examples=30)
@given(ROWS)
def test_a_row_comes_back_from_json_as_it_was(row):
    read = json.loads(json.dumps(files.sealed(row)))
    assert files.unsealed(read, "here", "remove it") == row


@settings(max_examples=30)
@given(ROWS, ROWS)
def test_another_row_under_the_same_digest_is_damage(row, other):
    changed = other | {"crc32": files.sealed(row)["crc32"]}
    if json.dumps(other, sort_keys=True) == json.dumps(row, sort_keys=True):
        assert files.unsealed(changed, "here", "remove it") == other
        return
    with pytest.raises(UserError, match=r"^here is damaged \(its digest differs\): remove it$"):
        files.unsealed(changed, "here", "remove it")


def test_rows_of_earlier_versions_have_no_digest():
    assert files.unsealed({"a": 1}, "here", "") == {"a": 1}


def test_a_sealed_file_is_read_without_its_digest(tmp_path):
    files.write_json(files.sealed({"a": 1}), tmp_path / "a.json")
    assert files.read_sealed(tmp_path / "a.json", "remove it") == {"a": 1}


def test_what_is_not_json_says_why(tmp_path):
    path = tmp_path / "a.json"
    for content, why in ((" \n", "it is empty"), ("[1, ", "Expecting value: line 1 column 5")):
        path.write_text(content)
        with pytest.raises(UserError, match=rf"a.json is damaged \({why}.*\): remove it$"):
            files.read_json(path, list, "remove it")


@pytest.mark.parametrize(
    ("name", "why"), [("a" * 300, "File name too long"), ("a\0", "(stat: )?embedded null")]
)
def test_a_name_that_cannot_be_opened_says_why(name, why):
    with pytest.raises(UserError, match=f"cannot be read: {why}"):
        files.read_bytes(Path(name))


def test_true_is_not_a_number():
    files.check_fields({"n": 1, "x": 1, "b": True}, {"n": int, "x": float, "b": bool}, "here", "")
    for kind in (int, float):
        with pytest.raises(UserError, match=r"here is damaged \(n is True, not a"):
            files.check_fields({"n": True}, {"n": kind}, "here", "")


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path, error):
    target = tmp_path / "a.json"
    target.write_text("before")

    def write() -> None:
        with files.whole(target) as partial:
            partial.write_text("half")
            raise error

    with pytest.raises(type(error)):
        write()
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert target.read_text() == "before"


def fill(target: Path, text: str, full: bool = False) -> None:
    with files.whole_folder(target) as partial:
        (partial / "a").write_text(text)
        if full:
            raise OSError("the disk is full")


def test_a_folder_that_is_a_link_is_replaced_where_it_lies(tmp_path):
    """Such as a dataset that was moved to a larger disk."""
    disk = tmp_path / "disk"
    disk.mkdir()
    fill(disk / "store", "before")
    link = tmp_path / "link"
    link.symlink_to(disk / "store")
    fill(link, "after")
    assert link.is_symlink()
    assert (disk / "store/a").read_text() == "after"
    assert [path.name for path in disk.iterdir()] == ["store"]


@pytest.mark.parametrize("number", [1, 2])
def test_a_folder_stays_if_its_replacement_is_interrupted(tmp_path, monkeypatch, number):
    """At the first of the two renames, or at the second."""
    target, renames = tmp_path / "store", []
    fill(target, "before")

    def replace(*paths):
        renames.append(paths)
        if len(renames) == number:
            raise KeyboardInterrupt
        rename(*paths)

    rename = os.replace
    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        fill(target, "after")
    assert (target / "a").read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_a_folder_that_nobody_can_remove_is_named_before_the_work(tmp_path, monkeypatch):
    """As on NFS, while a run has files open in what was replaced before."""
    target = tmp_path / "store"
    fill(target, "before")
    (tmp_path / "store.old").mkdir()
    monkeypatch.setattr(files.shutil, "rmtree", lambda *_, **__: None)
    with pytest.raises(OSError, match=r"is a run using it\?: .*store.old"):
        fill(target, "after")
    assert (target / "a").read_text() == "before"


def test_a_folder_is_brought_back_after_a_kill_between_the_renames(tmp_path):
    target = tmp_path / "store"
    fill(target, "before")
    os.replace(target, tmp_path / "store.old")
    fill(tmp_path / "store.partial", "after")
    with pytest.raises(OSError, match="full"):
        fill(target, "half", full=True)
    assert (target / "a").read_text() == "before"
    fill(target, "after")
    assert (target / "a").read_text() == "after"
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


@pytest.fixture
def few_files(monkeypatch):
    """A process that may open 100 files more, and 600 at most; [(soft, hard), ...] that it set."""
    now = len(os.listdir("/dev/fd")) if os.path.isdir("/dev/fd") else 0
    limits = [(now + 100, now + 600)]

    def set_limits(_, both):
        if both[0] > both[1]:
            raise ValueError("current limit exceeds maximum limit")
        limits.append(both)

    monkeypatch.setattr(resource, "getrlimit", lambda _: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", set_limits)
    return limits


def test_the_limit_on_open_files_is_raised_as_far_as_it_must_be(few_files):
    files.allow_open(9, "a store")
    [before] = few_files
    files.allow_open(500, "a store")
    [_, (soft, hard)] = few_files
    assert before[0] < 500 < soft < hard == before[1]
    with pytest.raises(UserError, match=rf"^TFDS's x has 1,024 files to be open .* open {soft} "):
        files.allow_open(1024, "TFDS's x")
