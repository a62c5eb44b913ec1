"""Reads files, with one clear line about a damaged one, and writes them whole or not at all."""

import contextlib
import errno
import json
import os
import shutil
import stat
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from alexnet.errors import UserError, one_line

KINDS = {  # of paths that are not regular files
    stat.S_ISDIR: "a folder",
    stat.S_ISFIFO: "a FIFO",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
    stat.S_ISSOCK: "a socket",
}
SPARE = 64  # open files beside those that are counted: libraries, logs, threads
SEAL = "crc32"  # the key of a row's digest
WORDS = {dict: "an object", list: "a list", str: "text", int: "a whole number", float: "a number"}


def read_bytes(path: Path) -> bytes:
    """A regular file's content. A FIFO or a device, which might block, is refused.

    Raises:
        FileNotFoundError: if there is none.
        UserError: if it cannot be read.
    """
    try:
        mode = path.stat().st_mode
        called = next((called for is_kind, called in KINDS.items() if is_kind(mode)), "")
        if not called:
            return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:  # a name too long, or with a null byte
        reason = getattr(error, "strerror", "") or one_line(error)
        raise UserError(f"{str(path)[:200]} cannot be read: {reason}") from None
    raise UserError(f"{path} is {called}, not a file")


def read_json(path: Path, kind: type, advice: str) -> Any:
    """The content of a JSON file, which must be of type `kind`: dict, list, or object for any.

    Args:
        advice: what the user should do about a damaged file.

    Raises:
        FileNotFoundError: if there is none.
        UserError: if it cannot be read, or holds something else.
    """
    content = read_bytes(path)
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        what = one_line(error) if content.strip() else "it is empty"
        raise UserError(f"{path} is damaged ({what}): {advice}") from None
    if not isinstance(found, kind):
        raise UserError(f"{path} is damaged (it does not hold {WORDS[kind]}): {advice}")
    return found


def read_sealed(path: Path, advice: str) -> dict[str, Any]:
    """An object that was written `sealed`. Raises as `read_json` and `unsealed` do."""
    return unsealed(read_json(path, dict, advice), str(path), advice)


@contextlib.contextmanager
def whole(target: Path) -> Iterator[Path]:
    """A path to write to; the file there replaces `target` once it is complete."""
    partial = target.with_name(target.name + ".partial")
    try:
        yield partial
        os.replace(partial, target)
    except BaseException:  # also a full disk and Ctrl-C
        with contextlib.suppress(OSError):
            partial.unlink()
        raise


@contextlib.contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """An empty folder to fill; it replaces `target`, or what that links to, once it is complete."""
    if target.is_symlink():  # such as a dataset that was moved to a larger disk
        target = target.resolve()
    partial, old = (target.with_name(target.name + suffix) for suffix in (".partial", ".old"))

    def clean() -> None:
        if old.exists() and not target.exists():  # interrupted between the two renames
            os.replace(old, target)
        for left in (partial, old):
            shutil.rmtree(left, ignore_errors=True)

    clean()  # what a process left that was killed
    if old.exists():  # on NFS, while a run has its files open
        raise OSError(errno.EBUSY, "it cannot be removed: is a run using it?", str(old))
    partial.mkdir()
    try:
        yield partial
        if target.exists():  # removed last: that takes time, and fails on NFS while a run reads it
            os.replace(target, old)
        os.replace(partial, target)
    finally:  # also after a full disk and Ctrl-C
        clean()


def allow_open(count: int, what: str) -> None:
    """Raises this process's limit on open files, if need be, so that `count` more can be open.

    Raises:
        UserError: if the system allows fewer, naming `what` needs them.
    """
    try:
        import resource
    except ImportError:  # not a Unix
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    here = Path("/dev/fd")
    needed = (sum(1 for _ in here.iterdir()) if here.is_dir() else 0) + count + SPARE
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    except (ValueError, OSError):  # above the hard limit
        raise UserError(
            f"{what} has {count:,} files to be open at once, but this process may open {soft:,} "
            f"and no more: raise the limit (ulimit -n {needed})"
        ) from None


def write_json(value: Any, path: Path) -> None:
    """Writes a JSON file, whole or not at all."""
    with whole(path) as partial:
        partial.write_text(json.dumps(value, indent=2) + "\n")


def sealed(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row, a JSON object, with its digest appended; `unsealed` checks it."""
    return {**row, SEAL: _digest(row)}


def unsealed(row: Mapping[str, Any], where: str, advice: str) -> dict[str, Any]:
    """A row without its digest; earlier versions of this program wrote none.

    Raises:
        UserError: if the row has changed since it was sealed.
    """
    found = {name: value for name, value in row.items() if name != SEAL}
    if SEAL in row and row[SEAL] != _digest(found):
        raise UserError(f"{where} is damaged (its digest differs): {advice}")
    return found


def _digest(row: Mapping[str, Any]) -> str:
    """The digest of the values, however their JSON is written."""
    return f"{zlib.crc32(json.dumps(row, sort_keys=True).encode()):08x}"


def check_fields(
    found: Mapping[str, Any], types: Mapping[str, type], where: str, advice: str
) -> None:
    """Raises UserError if a value is missing or of another type; an int passes for a float."""
    for name, kind in types.items():
        if name not in found:
            raise UserError(f"{where} is damaged (it has no {name}): {advice}")
        value = found[name]
        fits = isinstance(value, (int, float) if kind is float else kind)
        if not fits or (isinstance(value, bool) and kind is not bool):
            raise UserError(
                f"{where} is damaged ({name} is {value!r:.40}, not {WORDS[kind]}): {advice}"
            )
