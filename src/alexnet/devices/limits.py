"""What control groups, such as a container's or a SLURM job's, allow this process on Linux.

Docker, systemd and SLURM put a process into a group, whose limits and whose parents' hold for it.
The kernel's older interface has a tree of folders for each resource, the newer one tree for all.
"""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

OWN = Path("/proc/self/cgroup")  # lines such as 4:memory:/job_7 and, of the newer one, 0::/job_7
ROOT = Path("/sys/fs/cgroup")
PERIOD = 100_000  # microseconds, the kernel's default


def memory() -> int:
    """The bytes that the groups may use, the least of all; 0 if no limit is known."""
    found = []
    for group in _groups("memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            found += _numbers(group / name)[:1]
    return min(found, default=0)


def cores() -> float:
    """How many cores' time the groups may use, the least of all; 0.0 if no limit is known."""
    found = []
    for group in _groups("cpu"):
        if len(both := _numbers(group / "cpu.max")) == 2:
            found.append(both[0] / both[1])
        period = _numbers(group / "cpu.cfs_period_us") or [PERIOD]
        found += [quota / period[0] for quota in _numbers(group / "cpu.cfs_quota_us")]
    return min((one for one in found if one > 0), default=0.0)  # -1 is no limit


def _groups(resource: str) -> Iterator[Path]:
    """The folders of this process's groups and of their parents; some may not be there.

    A container may see its own group as the root, whatever its path is outside.
    """
    try:
        lines = os.fsdecode(OWN.read_bytes()).splitlines()
    except OSError:
        return
    for line in lines:
        _, resources, path = line.split(":", 2)
        if resource in resources.split(",") or not resources:
            root = ROOT / resource if resources else ROOT
            inside = PurePosixPath(path.lstrip("/"))
            yield from (root / one for one in (inside, *inside.parents))


def _numbers(file: Path) -> list[int]:
    """The numbers in a file: [] if it is not there, or says "max", that there is no limit."""
    try:
        return [int(word) for word in file.read_text().split()]
    except (OSError, ValueError):
        return []
