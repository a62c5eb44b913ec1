"""Huge pages for the commands' memory, where the C library is glibc.

XLA on CPUs takes memory for the maps of a step and gives it back after it, so every step of AlexNet
would touch 160,000 new pages of 4 KB; in pages of 2 MB they are 300, and a step is a tenth faster.
glibc reads its settings only as a process begins, so a command starts itself anew with them, before
anything large is imported. Set GLIBC_TUNABLES, even to nothing, to choose for yourself; notebooks
and other programs that import this package are left alone.
"""

import os
import sys

TUNABLES = "glibc.malloc.hugetlb=1:glibc.malloc.arena_max=1"


def restart() -> None:
    """Replaces this process by the same command with TUNABLES, unless the user has set them."""
    try:
        glibc = os.confstr("CS_GNU_LIBC_VERSION")
    except (AttributeError, ValueError):  # Windows, macOS
        return
    if glibc and "GLIBC_TUNABLES" not in os.environ:
        os.environ["GLIBC_TUNABLES"] = TUNABLES
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
