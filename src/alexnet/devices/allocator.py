"""mimalloc in place of the C library's malloc, for commands that compute on CPUs under Linux.

XLA takes memory for the maps of a step, in one block, and gives it back after it. glibc hands it
back to the kernel, which zeroes it again for the next step; told to keep it, it lets small blocks
settle there, until a step needs new room. mimalloc keeps it, in huge pages, and finds it again if
it has one area for everything: of several, each thread prefers another, and something is soon in
the way in all of them. A process has to begin with its allocator, so a command starts itself anew,
before anything large is imported. Set one of these variables, LD_PRELOAD= to nothing too, to choose
for yourself; notebooks and other programs that import this package are left alone, and so are
environments with a plugin for GPUs, whose maps are not in this memory.
"""

import os
import sys
from importlib import metadata, util

WHEEL, LIBRARY = "cmeel-mimalloc", "libmimalloc.so"
SETTINGS = {
    "MIMALLOC_ARENA_RESERVE": "16GiB",  # an area; addresses only, memory is taken when it is used
    "MIMALLOC_PURGE_DELAY": "60000",  # ms that unused memory is kept, many steps long
}


def environment() -> dict[str, str]:
    """What a process must begin with to use mimalloc; nothing where its wheel is not installed."""
    if sys.platform != "linux":
        return {}
    try:
        files = metadata.files(WHEEL) or []
    except metadata.PackageNotFoundError:
        return {}
    paths = [str(file.locate()) for file in files if file.name == LIBRARY]
    return {"LD_PRELOAD": paths[0], **SETTINGS} if paths else {}


def restart() -> None:
    """Replaces this process by the same command with mimalloc, unless the user has chosen."""
    if os.environ.keys() & {"LD_PRELOAD", *SETTINGS} or util.find_spec("jax_plugins"):
        return
    if settings := environment():
        os.environ |= settings
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
