"""Limits of control groups, in trees of files like those of Docker, systemd and SLURM."""

import os

import pytest

from alexnet.devices import limits

OLD = "5:cpuset:/\n4:memory:/slurm/job_7\n1:cpu,cpuacct:/slurm/job_7\n0::/\n"
NEW = "0::/slurm/job_7/task_0\n"


@pytest.mark.parametrize(
    ("own", "files", "memory", "cores"),
    [
        (NEW, {}, 0, 0),
        (NEW, {"slurm/job_7/task_0/memory.max": "max", "slurm/memory.max": "max\n"}, 0, 0),
        (
            NEW,
            {"slurm/job_7/task_0/memory.max": "max", "slurm/job_7/memory.max": "4096\n"},
            4096,
            0,
        ),
        (NEW, {"slurm/job_7/memory.max": "4096", "slurm/memory.max": "2048"}, 2048, 0),
        (NEW, {"memory.max": "512", "cpu.max": "max 100000"}, 512, 0),  # a container's own root
        (NEW, {"slurm/job_7/cpu.max": "150000 100000", "cpu.max": "400000 100000"}, 0, 1.5),
        (NEW, {"other/memory.max": "1", "other/cpu.max": "1 100000"}, 0, 0),
        (OLD, {"memory/slurm/job_7/memory.limit_in_bytes": "4096"}, 4096, 0),
        (OLD, {"memory/memory.limit_in_bytes": "512"}, 512, 0),  # a container's own root
        (OLD, {"cpu/slurm/job_7/cpu.cfs_quota_us": "-1"}, 0, 0),
        (OLD, {"cpu/cpu.cfs_quota_us": "250000"}, 0, 2.5),
        (
            OLD,
            {"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "50000\n"},
            0,
            2,
        ),
        (OLD, {"memory/memory.limit_in_bytes": "damaged"}, 0, 0),
    ],
)
def test_the_least_limit_of_the_groups_and_their_parents_holds(
    tmp_path, monkeypatch, own, files, memory, cores
):
    monkeypatch.setattr(limits, "ROOT", tmp_path / "cgroup")
    monkeypatch.setattr(limits, "OWN", tmp_path / "own")
    (tmp_path / "own").write_text(own)
    for name, text in files.items():
        path = tmp_path / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert (limits.memory(), limits.cores()) == (memory, cores)


def test_a_group_may_have_any_name(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "ROOT", tmp_path / "cgroup")
    monkeypatch.setattr(limits, "OWN", tmp_path / "own")
    (tmp_path / "own").write_bytes(b"0::/caf\xe9: a/b\n")
    group = tmp_path / "cgroup" / os.fsdecode(b"caf\xe9: a")
    group.mkdir(parents=True)
    (group / "memory.max").write_text("4096")
    assert limits.memory() == 4096


def test_without_groups_there_is_no_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "OWN", tmp_path / "own")
    assert (limits.memory(), limits.cores()) == (0, 0)
