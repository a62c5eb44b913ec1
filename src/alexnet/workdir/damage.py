"""Decides whether a failed read means damaged content, or says nothing about the content.

Content that is missing, short or different from its digest is damage: another checkpoint may be
tried. Any other error (permission, memory, stale handles, a disk that fails, a failed barrier, a
timeout) says nothing about the content: the program stops, and neither renames nor deletes
anything.
"""

import errno
import os
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

from alexnet.errors import UserError

MISSING = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
# Words in errors of TensorStore and XLA that say nothing about the content.
CIRCUMSTANCES = (
    *("PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "UNAVAILABLE", "DEADLINE_EXCEEDED", "ABORTED"),
    *("CANCELLED", "UNAUTHENTICATED", "Barrier", "barrier"),
)


class DamagedError(Exception):
    """Stored content is unreadable or changed; the message says which content, and why."""


def check_readable(folder: Path) -> None:
    """Opens every file below a folder once. Raises OSError where that fails."""

    def fail(error: OSError) -> None:
        raise error

    for inner, _, files in os.walk(folder, onerror=fail):
        for name in files:
            with open(Path(inner, name), "rb") as file:
                file.read(1)


def judged(error: BaseException, what: str) -> Exception:
    """The exception to raise for an `error` in reading `what`: DamagedError, or UserError."""
    chain = list(_causes(error))
    for one in chain:
        text = str(one)
        refused = isinstance(one, OSError) and not isinstance(one, MISSING)
        refused |= _errno(text) not in (0, errno.ENOENT, errno.ENOTDIR)
        if refused or isinstance(one, MemoryError) or any(word in text for word in CIRCUMSTANCES):
            return UserError(
                f"{what} cannot be read now ({reason(one)}): it may be intact, and nothing was "
                "changed; mend the cause and try again"
            )
    return DamagedError(f"{what} is damaged ({reason(error)})")


def reason(error: BaseException) -> str:
    """One short line on the root cause, which Orbax wraps several times."""
    *_, root = _causes(error)
    if isinstance(root, OSError) and root.strerror:
        text = f"{root.strerror}: {root.filename}" if root.filename else root.strerror
    elif number := _errno(str(root)):
        text = os.strerror(number)
    else:
        text = f"{type(root).__name__}: {root}"
    return textwrap.shorten(text, 160, placeholder=" ...")


def _errno(text: str) -> int:
    """The system's error number in a message of TensorStore; 0 if there is none."""
    found = re.search(r"\[os_error_code='(\d+)'\]", text)
    return int(found[1]) if found else 0


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
