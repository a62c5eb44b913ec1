"""What a step takes at the least, counted by hand, and whether that is there."""

from pathlib import Path
from types import SimpleNamespace

import jax
import pytest

from alexnet.errors import UserError
from alexnet.models import table
from alexnet.training.loop import train_and_evaluate
from alexnet.training.setup import setup
from alexnet.training.watch import memory

# 3 x 3 x 3 -> 2 x 2 x 4 -> 3: 4 * (2 * 2 * 3 + 1) and 3 * (16 + 1) parameters
NET = table.Net("small", 3, 3, 1, (table.Conv("conv1", 4, 2, std=0.1), table.Dense("fc2", 3)))
WEIGHTS = 2 * (52 + 51) * 4
IMAGES = 6 * 5 * 5 * 3


@pytest.mark.parametrize(
    ("dtype", "accumulate", "maps"),
    [("float32", 1, 6 * 19 * 4), ("bfloat16", 1, 6 * 19 * 2), ("float32", 3, 2 * 19 * 4)],
)
def test_weights_velocities_images_and_maps_are_counted(dtype, accumulate, maps):
    assert memory.least(NET, 6, 5, dtype, accumulate) == (WEIGHTS, IMAGES + maps)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (
            6,
            r"^config.batch_size=6: a .* a smaller batch, or raise config.accumulate$",
        ),
        (
            1,
            r"^config.net: a step needs at least .* choose a smaller net, or split its towers ov",
        ),
    ],
)
def test_a_step_that_lacks_one_byte_is_refused(monkeypatch, batch, message):
    whole = sum(memory.least(NET, batch, 5))
    for there in (whole, 0):  # 0: unknown
        monkeypatch.setattr(memory, "memory_of", lambda device, there=there: there)
        memory.check(NET, batch, 5, "float32", 1, data=1, tower=1)
    monkeypatch.setattr(memory, "memory_of", lambda device: whole - 1)
    for devices in (1, 4):  # those of a CPU share its memory
        with pytest.raises(UserError, match=message):
            memory.check(NET, batch, 5, "float32", 1, data=1, tower=devices)
    monkeypatch.setattr(jax, "process_count", lambda: 2)  # each on another machine
    memory.check(NET, batch, 5, "float32", 1, data=1, tower=4)


def gpu(**stats) -> SimpleNamespace:
    return SimpleNamespace(platform="gpu", memory_stats=lambda: stats or None)


def test_only_training_is_refused_and_before_it_writes_anything(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "memory_of", lambda device: 1 << 10)
    run = setup(tiny)  # as to evaluate, which needs less
    for train in (run.fresh, lambda: train_and_evaluate(tiny, tmp_path / "run")):
        with pytest.raises(UserError, match="a step needs at least"):
            train()
    assert not (tmp_path / "run").exists()


def test_a_run_is_judged_by_its_own_batch_dtype_and_parts(tiny, monkeypatch):
    tiny.dtype, tiny.accumulate = "bfloat16", 2
    run = setup(tiny)
    about = tiny.batch_size, run.store.image_size, "bfloat16", 2
    needed = sum(memory.least(run.net, *about))
    assert needed < sum(memory.least(run.net, *about[:2], "float32", 1))
    monkeypatch.setattr(memory, "memory_of", lambda device: needed)
    run.check_memory()
    monkeypatch.setattr(memory, "memory_of", lambda device: needed - 1)
    with pytest.raises(UserError, match="a step needs at least"):
        run.check_memory()


def test_each_gpu_has_its_own_memory(monkeypatch):
    assert memory.memory_of(gpu(bytes_limit=7)) == 7
    assert memory.memory_of(gpu()) == memory.memory_of(gpu(bytes_in_use=7)) == 0  # unknown
    weights, images = memory.least(NET, 60, 5)
    quarter = (2 * weights + images) // 4 + 1  # both parts of the batch have their own weights
    monkeypatch.setattr(jax, "local_devices", lambda: [gpu(bytes_limit=quarter)])
    memory.check(NET, 60, 5, "float32", 1, data=2, tower=2)
    with pytest.raises(UserError, match=r"or raise config\.accumulate"):
        memory.check(NET, 60, 5, "float32", 1, data=3, tower=1)
    monkeypatch.setattr(jax, "local_devices", lambda: [gpu(bytes_limit=weights)])
    with pytest.raises(UserError, match=r"split its towers"):  # more copies do not help
        memory.check(NET, 1, 5, "float32", 1, data=99, tower=1)


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="Linux")
def test_the_memory_of_a_cpu_is_the_machines_or_the_containers(monkeypatch):
    [cpu] = jax.local_devices()
    there = Path("/proc/meminfo").read_text().split()
    whole = 1024 * int(there[there.index("MemTotal:") + 1])
    for limit, expected in ((0, whole), (4096, 4096), (2 * whole, whole)):
        monkeypatch.setattr(memory.limits, "memory", lambda limit=limit: limit)
        assert memory.memory_of(cpu) == expected


def test_sizes_are_told_in_gib(monkeypatch):
    monkeypatch.setattr(memory, "memory_of", lambda device: 3 * 2**29)
    batch = 2**24  # of 5 * 5 * 3 bytes and 19 floats each: 151 / 64 GiB
    with pytest.raises(UserError, match=r" 2\.4 GiB.* 1\.5 GiB "):
        memory.check(NET, batch, 5, "float32", 1, data=1, tower=1)
