"""Memory that the commands keep, in huge pages, where the C library is glibc.

XLA on CPUs takes memory for the maps of a step and gives it back after it, so every step of AlexNet
would touch 160,000 new pages of 4 KB, each cleared by the kernel. Kept between steps, and in pages
of 2 MB, they are touched once. glibc reads its settings only as a process begins, so a command
starts itself anew with them, before anything large is imported. Set GLIBC_TUNABLES, even to
nothing, to choose for yourself; notebooks and other programs that import this package are left
alone.
"""

import os
import sys

MB = 2**20
TUNABLES = ":".join(
    f"glibc.malloc.{name}={value}"
    for name, value in {
        "hugetlb": 1,  # ask the kernel for huge pages
        "arena_max": 1,  # one heap: any thread can use what another has freed
        "mmap_threshold": 2**40,  # blocks of any size come from the heap
        "trim_threshold": 2**40,  # and however much lies free at its end is kept
        "top_pad": 256 * MB,  # it grows by so much
    }.items()
)


def restart() -> None:
    """Replaces this process by the same command with TUNABLES, unless the user has set them."""
    try:
        glibc = os.confstr("CS_GNU_LIBC_VERSION")
    except (AttributeError, ValueError):  # Windows, macOS
        return
    if glibc and "GLIBC_TUNABLES" not in os.environ:
        os.environ["GLIBC_TUNABLES"] = TUNABLES
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
