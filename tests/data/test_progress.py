"""A long pass over files shows how far it has come, also where there is no terminal."""

import pytest

from alexnet.data import progress
from alexnet.data.sources import tree


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    """The time in seconds, in a list, to be changed."""
    now = [0.0]
    for module in (progress, tree):
        monkeypatch.setattr(module, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize("quiet", [False, True])
def test_a_line_a_minute_where_there_is_no_terminal(clock, capsys, quiet):
    found = []
    for part in progress.shown([[1, 2], [3], [4, 5, 6]], "photos", 1006, len, quiet):
        found += part
        clock[0] += 40
    assert found == [1, 2, 3, 4, 5, 6]
    # Two parts of 40 seconds each, then a third; the next line would be due after 140
    assert capsys.readouterr().err == ("" if quiet else "photos: 3 of 1,006\n")


def test_a_long_walk_says_that_it_goes_on(clock, capsys, tmp_path, monkeypatch):
    for number in range(4):
        (tmp_path / f"f{number}").mkdir()
        (tmp_path / f"f{number}/x.png").touch()
    entries = tree._entries

    def slow(folder, hidden):
        clock[0] += 20
        return entries(folder, hidden)

    monkeypatch.setattr(tree, "_entries", slow)
    assert len(tree.walk(tmp_path)) == 4
    assert capsys.readouterr().err.splitlines() == [
        f"looking at the files of {tmp_path}: 0 so far",
        f"looking at the files of {tmp_path}: 3 so far",
    ]


@pytest.mark.parametrize(("fails", "errno", "tries"), [(2, 5, 3), (9, 5, 4), (1, 2, 1), (9, 13, 1)])
def test_a_passing_error_of_a_disk_gets_more_tries(monkeypatch, tmp_path, fails, errno, tries):
    """5 is EIO; 2 and 13 are of the file: it is not there, or may not be read."""
    (tmp_path / "x").write_bytes(b"content")
    read, seen, slept = tree.Path.read_bytes, [], []

    def flaky(self):
        seen.append(self)
        if len(seen) <= fails:
            raise OSError(errno, "not now")
        return read(self)

    monkeypatch.setattr(tree.Path, "read_bytes", flaky)
    monkeypatch.setattr(tree.time, "sleep", slept.append)
    if fails < tries:
        assert tree.read(tmp_path / "x") == b"content"
    else:
        with pytest.raises(OSError, match="not now"):
            tree.read(tmp_path / "x")
    assert len(seen) == tries
    assert slept == list(tree.PAUSES[: tries - 1])
