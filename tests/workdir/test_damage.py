"""Which errors mean damaged content, and which say nothing about the content."""

import errno
import io
import os

import pytest

from alexnet.errors import UserError
from alexnet.workdir import damage
from alexnet.workdir.damage import DamagedError


def system(number: int) -> OSError:
    return OSError(number, os.strerror(number), "a.bin")


def store(number: int) -> ValueError:
    """As TensorStore says it."""
    return ValueError(f"NOT_FOUND: Error reading [os_error_code='{number}'] [source='x.cc:1']")


def within(error: Exception) -> Exception:
    """As Orbax wraps it."""
    outer = RuntimeError("restore failed")
    outer.__cause__ = ValueError("read failed")
    outer.__cause__.__cause__ = error
    return outer


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize(
    ("error", "why"),
    [
        (system(errno.EACCES), "Permission denied: a.bin"),
        (system(errno.EIO), "Input/output error: a.bin"),
        (system(errno.ESTALE), f"{os.strerror(errno.ESTALE)}: a.bin"),
        (MemoryError("9 GiB"), "MemoryError: 9 GiB"),
        (store(errno.EIO), "Input/output error"),
        (store(errno.EMFILE), "Too many open files"),
        (RuntimeError("UNAVAILABLE: socket"), "RuntimeError: UNAVAILABLE: socket"),
        (ValueError("DEADLINE_EXCEEDED"), "ValueError: DEADLINE_EXCEEDED"),
        (RuntimeError("RESOURCE_EXHAUSTED: 9 GiB"), "RuntimeError: RESOURCE_EXHAUSTED: 9 GiB"),
        (RuntimeError("ABORTED: x"), "RuntimeError: ABORTED: x"),
        (RuntimeError("CANCELLED: x"), "RuntimeError: CANCELLED: x"),
        (ValueError("PERMISSION_DENIED: x"), "ValueError: PERMISSION_DENIED: x"),
        (ValueError("UNAUTHENTICATED: x"), "ValueError: UNAUTHENTICATED: x"),
        (RuntimeError("Barrier timed out"), "RuntimeError: Barrier timed out"),
        (RuntimeError("the barrier failed"), "RuntimeError: the barrier failed"),
    ],
)
def test_a_circumstance_says_nothing_against_the_content(error, why, wrapped):
    found = damage.judged(within(error) if wrapped else error, "checkpoint 3")
    assert isinstance(found, UserError)
    assert str(found).startswith(f"checkpoint 3 cannot be read now ({why}): it may be intact, ")


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize(
    ("error", "why"),
    [
        (system(errno.ENOENT), "No such file or directory: a.bin"),
        (system(errno.ENOTDIR), "Not a directory: a.bin"),
        (system(errno.EISDIR), "Is a directory: a.bin"),
        (store(errno.ENOENT), "No such file or directory"),
        (store(errno.ENOTDIR), "Not a directory"),
        (ValueError("its digest differs"), "ValueError: its digest differs"),
        (KeyError("params"), "KeyError: 'params'"),
    ],
)
def test_content_that_is_missing_or_different_is_damage(error, why, wrapped):
    found = damage.judged(within(error) if wrapped else error, "checkpoint 3")
    assert isinstance(found, DamagedError)
    assert str(found) == f"checkpoint 3 is damaged ({why})"


def test_a_long_reason_is_cut_to_a_line():
    text = damage.reason(ValueError("a\n" * 500))
    assert len(text) <= 160
    assert text.endswith(" ...")
    assert "\n" not in text


def test_every_file_below_is_opened_and_read(tmp_path, monkeypatch):
    (tmp_path / "a/b").mkdir(parents=True)
    for name in ("one", "a/two", "a/b/three"):
        (tmp_path / name).write_bytes(b"12")
    damage.check_readable(tmp_path)
    bad = tmp_path / "a/b/three"

    class Failing(io.BytesIO):
        def read(self, *_):
            raise system(errno.EIO)

    def opened(path, mode):
        return Failing() if path == bad else path.open(mode)

    monkeypatch.setattr(damage, "open", opened, raising=False)
    with pytest.raises(OSError, match="Input/output error"):  # which shows only when it is read
        damage.check_readable(tmp_path)
    with pytest.raises(FileNotFoundError):
        damage.check_readable(tmp_path / "nowhere")
