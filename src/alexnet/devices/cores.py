"""The CPU cores that this process may use. Nothing here needs JAX."""

import os


def cpu_count() -> int:
    """How many there are: those of its affinity mask, where the system has one."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
