"""Locks on open files: one process at a time does what others wait for, or may not do.

The system frees a lock when its file is closed, and so when its process is killed. Some file
systems (Lustre, some NFS) and Windows have none: there a warning says so and all goes on.
"""

import errno
import os
import sys
from typing import IO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK}
_warned = set()


def lock(file: IO, wait: bool = True) -> bool:
    """Locks an open file until it is closed; False if another process has it and `wait` is not.

    Raises OSError for what is no lack of locks.
    """
    try:
        if fcntl is None:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        _warn(os.path.dirname(os.path.abspath(file.name)), error)
    return True


def _warn(folder: str, error: OSError) -> None:
    """Once for each folder."""
    if folder not in _warned:
        _warned.add(folder)
        print(
            f"warning: {folder} is on a file system without locks ({error.strerror}): see to it "
            "that no other process writes there",
            file=sys.stderr,
        )
