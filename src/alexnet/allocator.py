"""Huge pages for the commands' memory, where the C library is glibc.

XLA on CPUs takes memory for the maps of a step and gives it back after it, so every step of AlexNet
touches 120,000 new pages of 4 KB at 32 images, each fetched from the kernel on its own, or 235 of
2 MB. glibc reads its settings only as a process begins, so a command starts itself anew with them,
before anything large is imported. Set GLIBC_TUNABLES, even to nothing, to choose for yourself;
notebooks and other programs that import this package are left alone.
"""

import os
import sys

TUNABLES = "glibc.malloc.hugetlb=1"


def restart() -> None:
    """Replaces this process by the same command with TUNABLES, unless the user has set them."""
    try:
        glibc = os.confstr("CS_GNU_LIBC_VERSION")
    except (AttributeError, ValueError):  # Windows, macOS
        return
    if glibc and "GLIBC_TUNABLES" not in os.environ:
        os.environ["GLIBC_TUNABLES"] = TUNABLES
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
