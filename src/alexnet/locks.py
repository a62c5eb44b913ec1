"""Locks on open files: one process at a time does what others wait for, or may not do.

The system frees a lock when its file is closed, and so when its process is killed. Some file
systems (Lustre, some NFS) and Windows have none: there a warning says so and all goes on.
"""

import errno
import os
import sys
from typing import IO

NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK}
_warned: set[str] = set()


def lock(file: IO, wait: bool = True) -> bool:
    """Locks an open file until it is closed; False if another process has it and `wait` is not.

    Raises OSError for what is no lack of locks.
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
            f"warning: {folder} is on a file system without locks ({os.strerror(reason)}): see to "
            "it that no other process writes there",
            file=sys.stderr,
        )
