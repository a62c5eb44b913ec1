"""Every file below a folder, and what its name and directory entry say."""

import hashlib
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from time import monotonic
from typing import NamedTuple

from alexnet.data.progress import EVERY
from alexnet.data.records import OF_A_FILE, check_circumstances
from alexnet.devices.cores import in_chunks
from alexnet.errors import UserError, one_line
from alexnet.text import printable, say

# Folders that systems make: in macOS's zip files, for Synology's thumbnails, for deleted files.
JUNK = ("__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found")
JUNK_FILES = ("thumbs.db", "desktop.ini", "icon\r")
CAMERAS = (".heic", ".heif", ".dng", ".cr2", ".cr3", ".nef", ".arw")  # photos, but not for Pillow
AS_JPEG = "; export photos of cameras as JPEG"
SOON = 10.0  # seconds until the first line on a long walk
PAUSES = (1.0, 5.0, 25.0)  # seconds before a file is read again
RULES = 2  # version of the rules for images, classes and splits; part of the stamp


class Status(NamedTuple):
    """What `os.stat` says of a file; there may be millions, so no more of it is kept."""

    mode: int
    size: int
    mtime_ns: int
    ctime_ns: int


class File(NamedTuple):
    path: str  # below the root
    status: Status | None  # None: a link that leads nowhere

    @property
    def parts(self) -> list[str]:
        return self.path.split(os.sep)

    @property
    def size(self) -> int:
        """In bytes; 0 for a link that leads nowhere."""
        return self.status.size if self.status else 0


def walk(root: Path) -> list[File]:
    """Every file below `root`; links to folders are followed, unless they lead in a circle."""
    found: list[File] = []
    due = monotonic() + SOON
    waiting = [("", frozenset[str]())]  # (a folder below the root, the folders above it)
    while waiting:
        if monotonic() >= due:  # on network disks, a million files take many minutes
            due += EVERY
            say(f"looking at the files of {printable(str(root))}: {len(found):,} so far")
        below, above = waiting.pop()
        here = os.path.realpath(root / below)
        if here in above:
            continue
        for entry in _entries(root / below, is_hidden([*below.split(os.sep), ""])):
            path = os.path.join(below, entry.name)
            try:
                if entry.is_dir():
                    waiting.append((path, above | {here}))
                else:
                    full = entry.stat()
                    status = Status(full.st_mode, full.st_size, full.st_mtime_ns, full.st_ctime_ns)
                    found.append(File(path, status))
            except OSError:  # a link that leads nowhere, or to itself
                found.append(File(path, None))
    # By folders, as no name has a null byte.
    return sorted(
        found, key=lambda file: os.fsencode(file.path).replace(os.fsencode(os.sep), b"\0")
    )


def _entries(folder: Path, hidden: bool) -> list[os.DirEntry]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        if hidden:  # such as lost+found
            return []
        raise UserError(f"cannot list folder {folder}: {error.strerror}") from error


def stamp_of(files: Iterable[File]) -> str:
    """A digest of the files' names, sizes and times; hidden ones come and go on their own."""
    digest = hashlib.sha256(f"{RULES}\n".encode())
    for path, status in (file for file in files if not is_hidden(file.parts)):
        digest.update(os.fsencode(path))
        if status:
            digest.update(repr(tuple(status)).encode())
        digest.update(b"\0\n")
    return digest.hexdigest()


def is_hidden(parts: Sequence[str]) -> bool:
    """Whether a file (the last part) or a folder above it is hidden, or is made by a system."""
    *folders, name = parts
    return (
        any(part.startswith(".") for part in parts)
        or any(folder.lower() in JUNK for folder in folders)
        or name.lower() in JUNK_FILES
    )


def folders_in(root: Path) -> set[str]:
    return {entry.name for entry in root.iterdir() if entry.is_dir()}


def digests_of(paths: Sequence[str]) -> Iterator[bytes | str]:
    """A digest of each file's bytes, or why they cannot be read; in threads."""
    for digests in in_chunks(lambda chunk: [_digest(paths[one]) for one in chunk], len(paths)):
        yield from digests


def read(path: str | os.PathLike) -> bytes:
    """A file's content. A passing error, as of a network disk, gets more tries; raises OSError."""
    for pause in PAUSES:
        try:
            return Path(path).read_bytes()
        except OSError as error:
            if error.errno in OF_A_FILE:
                raise
        time.sleep(pause)
    return Path(path).read_bytes()


def _digest(path: str) -> bytes | str:
    try:
        return hashlib.sha256(read(path)).digest()[:16]
    except OSError as error:
        check_circumstances(error, path)
        return error.strerror or one_line(error)


def kinds(files: Iterable[File]) -> str:
    """The kinds of files, for a message on missing images: "found: 12 .txt, 1 .png"."""
    counts = Counter(os.path.splitext(file.path)[1].lower() or "without suffix" for file in files)
    listed = ", ".join(f"{count:,} {kind}" for kind, count in counts.most_common(5))
    advice = AS_JPEG if any(kind in CAMERAS for kind in counts) else ""
    return f"found: {listed}{advice}" if listed else "found: no files"
