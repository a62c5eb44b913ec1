"""alexnet.data.sources.tree: what is in a folder, byte by byte."""

import hashlib

import pytest

from alexnet.data.sources import tree
from alexnet.devices.cores import CHUNK


@pytest.mark.filterwarnings("error")
def test_digests_come_in_order_with_a_reason_where_there_is_none(tmp_path):
    paths = []
    for number in range(CHUNK + 3):
        paths.append(tmp_path / f"{number}.png")
        paths[-1].write_bytes(b"%d" % number)
    expected = [hashlib.sha256(path.read_bytes()).digest()[:16] for path in paths]
    paths[5] = tmp_path / "gone.png"
    paths[CHUNK] = tmp_path
    expected[5], expected[CHUNK] = "No such file or directory", "Is a directory"
    assert list(tree.digests_of([str(path) for path in paths])) == expected
    assert list(tree.digests_of([])) == []


def test_kinds_are_the_five_most_frequent():
    suffixes = ["txt"] * 1200 + ["HEIC", "heic", "a", "a", "b", "b", "c", "c", "d"]
    names = [f"x.{suffix}" for suffix in suffixes] + ["README"] * 2
    files = [tree.File(name, None) for name in names]
    assert tree.kinds(files) == (
        "found: 1,200 .txt, 2 .heic, 2 .a, 2 .b, 2 .c; export photos of cameras as JPEG"
    )
    assert tree.kinds(files[-2:]) == "found: 2 without suffix"
    assert tree.kinds([]) == "found: no files"


def test_a_link_that_leads_nowhere_has_a_name_and_no_size(tmp_path):
    (tmp_path / "a").symlink_to("nowhere")
    assert [(file.path, file.status, file.size) for file in tree.walk(tmp_path)] == [("a", None, 0)]


def test_a_stamp_tells_where_a_name_ends():
    one, two = [tree.File("ab", None)], [tree.File("a", None), tree.File("b", None)]
    assert tree.stamp_of(one) != tree.stamp_of(two)


def test_what_systems_write_into_a_folder_does_not_change_its_stamp(tmp_path):
    (tmp_path / "a").write_bytes(b"a")
    before = tree.stamp_of(tree.walk(tmp_path))
    (tmp_path / ".DS_Store").write_bytes(b"seen")
    (tmp_path / "@eaDir").mkdir()
    (tmp_path / "@eaDir/a.jpg").write_bytes(b"small")
    assert len(tree.walk(tmp_path)) == 3
    assert tree.stamp_of(tree.walk(tmp_path)) == before
    (tmp_path / "a").write_bytes(b"bb")
    assert tree.stamp_of(tree.walk(tmp_path)) != before


def test_files_come_folder_by_folder(tmp_path):
    for name in ("b/1", "b/c/1", "b-a/1", "a b", "Z", "\u00e9"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [file.path for file in tree.walk(tmp_path)]
    assert found == ["Z", "a b", "b/1", "b/c/1", "b-a/1", "\u00e9"]
