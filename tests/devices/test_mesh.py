"""alexnet.devices.mesh: impossible meshes, and how processes share a batch."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from alexnet.devices import mesh
from alexnet.errors import UserError


class Device:
    """What a mesh looks at."""

    platform = "cpu"

    def __init__(self, number: int, process: int = 0):
        self.id, self.process_index = number, process


@pytest.mark.parametrize(
    ("towers", "batch", "data", "tower", "message"),
    [
        (2, 8, 1, 2, r"data=1: 1 x 2 .data x tower. needs 2 devices, but jax sees 1: cpu; 0 takes"),
        (2, 8, 0, 2, r"tower=2: 1 x 2 .data x tower. needs 2 devices"),
        (2, 8, 4, 1, r"data=4: 4 x 1 .data x tower. needs 4 devices, but jax sees 1: cpu"),
        (2, 8, 1, 3, r"tower=3: the net's towers .2. do not divide over that"),
        (2, 8, 1, -1, r"tower=-1: the net's towers .2. do not"),
        (2, 8, 3, 1, r"data=3: does not divide the batch of 8 images"),
    ],
)
def test_impossible_meshes_are_refused(towers, batch, data, tower, message):
    if jax.device_count() > 1:
        pytest.skip("there are more devices")
    with pytest.raises(UserError, match=message):
        mesh.make(towers=towers, batch_size=batch, data=data, tower=tower)


def test_one_device_is_all_of_the_mesh():
    found = mesh.make(towers=2, batch_size=8, data=1, tower=1)
    assert dict(found.shape) == {"data": 1, "tower": 1}


def test_unless_told_otherwise_it_takes_all_devices(monkeypatch):
    four = [Device(number) for number in range(4)]
    monkeypatch.setattr(jax, "devices", lambda: four[::-1])
    found = mesh.make(towers=2, batch_size=8)
    assert found.devices.tolist() == [four[:2], four[2:]]  # the towers of an image are neighbours
    assert dict(found.shape) == {"data": 2, "tower": 2}


@pytest.mark.parametrize(
    ("owners", "asked", "expected"),
    [
        ([0, 0, 0, 1, 1, 1], {}, [[0, 0], [1, 1]]),  # the third of each stays idle
        ([0, 0, 0, 1, 1, 1], {"tower": 1}, [[0], [0], [1], [1]]),
        ([0] * 4 + [1] * 4, {"data": 2, "tower": 2}, [[0, 0], [1, 1]]),
        ([0] * 4 + [1] * 4, {"data": 4, "tower": 1}, [[0], [0], [1], [1]]),
        ([0, 1, 2], {"data": 2, "tower": 1}, [[0], [1]]),  # cannot be shared: see below
    ],
)
def test_processes_give_the_mesh_as_many_devices_each(monkeypatch, owners, asked, expected):
    devices = [Device(*both) for both in enumerate(owners)]
    monkeypatch.setattr(jax, "devices", lambda: devices)
    monkeypatch.setattr(jax, "process_count", lambda: len({*owners}))
    found = mesh.make(towers=2, batch_size=128, **asked)
    assert [[device.process_index for device in row] for row in found.devices] == expected


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ({"data": 1, "tower": 1}, None),
        ({"data": 1, "tower": 2}, {"tower"}),
        ({"data": 2, "tower": 1}, {"data"}),
        ({"data": 4, "tower": 2}, {"data", "tower"}),
    ],
)
def test_only_axes_of_several_devices_are_split(monkeypatch, shape, axes):
    monkeypatch.setattr(jax, "shard_map", lambda f, **how: how)
    found = mesh.split(SimpleNamespace(shape=shape), max, P("data"), P("tower"))
    if axes is None:
        assert found is max
        return
    specs = [P(name if name in axes else None) for name in ("data", "tower")]
    assert found["axis_names"] == axes
    assert [found["in_specs"], found["out_specs"]] == specs


def test_a_batch_in_parts_has_each_image_once():
    two = SimpleNamespace(shape={"data": 2})  # devices with images 0 to 2 and 3 to 5
    batch = {"image": np.arange(12).reshape(6, 2), "label": np.arange(6)}
    assert list(mesh.parts(two, 1, batch)) == [batch]
    found = jax.jit(lambda batch: list(mesh.parts(two, 3, batch)))(batch)
    assert [part["label"].tolist() for part in found] == [[0, 3], [1, 4], [2, 5]]
    assert [part["image"].tolist() for part in found] == [
        [[0, 1], [6, 7]],
        [[2, 3], [8, 9]],
        [[4, 5], [10, 11]],
    ]


def of_processes(processes: list[list[int]]) -> SimpleNamespace:
    """A mesh [data][tower] by the process that each device belongs to, and no more."""
    devices = [[SimpleNamespace(process_index=n) for n in row] for row in processes]
    grid = np.array(devices)
    return SimpleNamespace(devices=grid, shape={"data": grid.shape[0], "tower": grid.shape[1]})


@pytest.mark.parametrize(
    ("processes", "here", "expected"),
    [
        ([[0], [0], [1], [1]], 0, (0, 2)),
        ([[0], [0], [1], [1]], 1, (1, 2)),
        ([[0, 0], [1, 1], [2, 2]], 2, (2, 3)),
        ([[0, 1], [0, 1]], 0, (0, 1)),  # each process has a tower, and all images
        ([[0, 1], [0, 1]], 1, (0, 1)),
        ([[0, 1], [2, 3]], 3, (1, 2)),
    ],
)
def test_a_process_reads_the_rows_of_its_devices(monkeypatch, processes, here, expected):
    monkeypatch.setattr(jax, "process_index", lambda: here)
    monkeypatch.setattr(jax, "process_count", lambda: 1 + max(map(max, processes)))
    assert mesh.process_rows(of_processes(processes)) == expected


@pytest.mark.parametrize(
    ("processes", "message"),
    [
        ([[0], [0]], r"config.mesh: 2 x 1 .data x tower. leaves process 1 without a device"),
        ([[0], [1], [0], [1]], r"process 0 has rows \[0, 2\] of the mesh, not"),
        ([[0], [0], [1]], r"process 0 has rows \[0, 1\] of the mesh, not"),
        ([[0, 0], [0, 1]], r"process 1 has rows \[1\] of the mesh, not"),
    ],
)
@pytest.mark.parametrize("here", [0, 1])  # all end alike, and none waits for another
def test_processes_share_the_batch_evenly(monkeypatch, processes, here, message):
    monkeypatch.setattr(jax, "process_index", lambda: here)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(UserError, match=message):
        mesh.process_rows(of_processes(processes))
