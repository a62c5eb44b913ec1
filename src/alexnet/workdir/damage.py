"""What is damage, and what is circumstance: decided here alone.

Content that is missing, short or not what its digest says is damage: another checkpoint may be
tried. All else (permission, memory, stale handles, a disk that fails, a barrier, a timeout) says
nothing against the content: whoever meets it stops, and neither renames nor deletes anything.
"""

import errno
import os
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

from alexnet.errors import UserError

MISSING = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
# What TensorStore and XLA put before a message, which they raise as a ValueError or RuntimeError.
CIRCUMSTANCES = (
    *("PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "UNAVAILABLE", "DEADLINE_EXCEEDED", "ABORTED"),
    *("CANCELLED", "UNAUTHENTICATED", "Barrier", "barrier"),
)


class DamagedError(Exception):
    """Something stored that cannot be read, or not as it was written; says which and why."""


def check_readable(folder: Path) -> None:
    """Opens every file below a folder once. Raises OSError where that fails."""

    def fail(error: OSError) -> None:
        raise error

    for inner, _, files in os.walk(folder, onerror=fail):
        for name in files:
            with open(Path(inner, name), "rb") as file:
                file.read(1)


def judged(error: BaseException, what: str) -> Exception:
    """DamagedError or, for circumstances, UserError, for what reading `what` raised."""
    chain = list(_causes(error))
    for one in chain:
        text = str(one)
        refused = isinstance(one, OSError) and not isinstance(one, MISSING)
        refused |= _errno(text) not in (0, errno.ENOENT, errno.ENOTDIR)
        if refused or isinstance(one, MemoryError) or any(word in text for word in CIRCUMSTANCES):
            return UserError(
                f"{what} cannot be read now ({reason(one)}): nothing is known against it, and "
                "nothing was changed; try again once that is mended"
            )
    return DamagedError(f"{what} is damaged ({reason(error)})")


def reason(error: BaseException) -> str:
    """The error at the root, which Orbax wraps several times, in at most a line."""
    *_, root = _causes(error)
    if isinstance(root, OSError) and root.strerror:
        text = f"{root.strerror}: {root.filename}" if root.filename else root.strerror
    elif number := _errno(str(root)):
        text = os.strerror(number)
    else:
        text = f"{type(root).__name__}: {root}"
    return textwrap.shorten(text, 160, placeholder=" ...")


def _errno(text: str) -> int:
    """The system's, in a message of TensorStore's; 0 if there is none."""
    found = re.search(r"\[os_error_code='(\d+)'\]", text)
    return int(found[1]) if found else 0


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
