"""Locks on open files: one process works while the others wait or give up.

The system frees a lock when its file is closed, even if its process is killed. Windows lacks
these locks, as do some file systems (some NFS, or Lustre mounted without them): a warning says so,
and work continues without.
"""

import errno
import os
import sys
from typing import IO

NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK}
_warned: set[str] = set()


def lock(file: IO, wait: bool = True) -> bool:
    """Locks an open file until it is closed; False if another process has it and `wait` is False.

    Raises OSError for any failure but a lack of locks.
    """
    try:
        import fcntl  # which Windows lacks

        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except ImportError:
        _warn(file, errno.ENOSYS)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        _warn(file, error.errno)
    return True


def _warn(file: IO, reason: int) -> None:
    """Says once for each folder that files in it cannot be locked; `reason` is an errno."""
    folder = os.path.dirname(os.path.abspath(file.name))
    if folder not in _warned:
        _warned.add(folder)
        print(
            f"warning: {folder} is on a file system without locks ({os.strerror(reason)}): make "
            "sure that no other process writes there",
            file=sys.stderr,
        )
