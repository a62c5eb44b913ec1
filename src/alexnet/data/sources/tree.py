"""Every file below a folder, and what its name and its entry say of it."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from alexnet.errors import UserError, one_line

# Of systems' own: zip files of macOS, thumbnails of Synology, wastebaskets.
JUNK = ("__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found")
JUNK_FILES = ("thumbs.db", "desktop.ini", "icon\r")
RULES = 2  # of what is an image, a class, a split; part of the stamp


class File(NamedTuple):
    path: str  # below the root
    status: os.stat_result | None  # None: a link that leads nowhere

    @property
    def parts(self) -> list[str]:
        return self.path.split(os.sep)


def root_of(path: str) -> Path:
    root = Path(path).expanduser()
    if not root.is_dir():
        raise UserError(
            f"folder {root} does not exist; if it moved, say where it is now: folder:/new/place",
            "name",
        )
    return root


def walk(root: Path) -> list[File]:
    """Every file below `root`, in the order of their paths; links to folders are followed."""
    found = []

    def descend(folder: Path, below: str, above: frozenset[str]) -> None:
        here = os.path.realpath(folder)
        if here in above:  # a link to a folder that it lies in, whose files are found there
            return
        try:
            with os.scandir(folder) as entries:
                listed = sorted(entries, key=lambda entry: os.fsencode(entry.name))
        except OSError as error:
            raise UserError(f"cannot list folder {folder}: {error.strerror}") from error
        for entry in listed:
            path = os.path.join(below, entry.name)
            if entry.is_dir():
                descend(folder / entry.name, path, above | {here})
                continue
            try:
                found.append(File(path, entry.stat()))
            except OSError:
                found.append(File(path, None))

    descend(root, "", frozenset())
    return found


def stamp_of(files: Iterable[File]) -> str:
    digest = hashlib.sha256(f"{RULES}\n".encode())
    for path, status in files:
        digest.update(os.fsencode(path))
        if status:
            about = (status.st_mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            digest.update(repr(about).encode())
        digest.update(b"\0\n")
    return digest.hexdigest()


def is_hidden(parts: Sequence[str]) -> bool:
    """Whether a file, the last of the parts, or a folder above it is hidden or a system's own."""
    *folders, name = parts
    return (
        any(part.startswith(".") for part in parts)
        or any(folder.lower() in JUNK for folder in folders)
        or name.lower() in JUNK_FILES
    )


def folders_in(root: Path) -> set[str]:
    return {entry.name for entry in root.iterdir() if entry.is_dir()}


def digest_of(path: Path) -> bytes | str:
    """Of a file's bytes, or why they cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).digest()
    except OSError as error:
        return one_line(error)


def kinds(files: Iterable[File]) -> str:
    """What there is instead of images: "found: 12 .txt, 1 .heic"."""
    kinds = Counter(os.path.splitext(file.path)[1].lower() or "without suffix" for file in files)
    listed = ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common(5))
    return f"found: {listed}" if listed else "found: no files"
