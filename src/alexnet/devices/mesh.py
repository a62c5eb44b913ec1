"""Arranges devices as a mesh, and splits images over "data" and parameters over "tower"."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from alexnet.devices.layout import layout
from alexnet.errors import UserError


def make(*, towers: int, batch_size: int, data: int = 0, tower: int = 0) -> Mesh:
    """A mesh of data x tower devices; `config.mesh` holds `data` and `tower`.

    Args:
        towers: the net's number of towers.
        batch_size: images in a batch, on all devices together.
        data: how many devices the batch is split over; 0 takes the most that divide the batch.
        tower: how many devices the towers are split over; 0 gives each tower its own device if
            there are enough, as in the paper.

    Raises:
        UserError: if the towers or the batch do not divide over the devices, or these are too few.
    """
    devices = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    if tower < 0 or (tower and towers % tower):
        raise UserError(
            f"the net's towers ({towers}) do not divide over that many devices", f"tower={tower}"
        )
    asked = f"data={data}" if data else f"tower={tower}"
    data, tower = layout(len(devices), towers, batch_size, data, tower)
    if data < 1 or batch_size % data:
        raise UserError(f"does not divide the batch of {batch_size} images", f"data={data}")
    if data * tower > len(devices):
        raise UserError(
            f"{data} x {tower} (data x tower) needs {data * tower} devices, but jax sees "
            f"{len(devices)}: {devices[0].platform}; 0 takes what fits",
            asked,
        )
    each, rest = divmod(data * tower, jax.process_count())
    if not rest:  # the same number of each process, which then reads an equal part of each batch
        groups = itertools.groupby(devices, key=lambda device: device.process_index)
        devices = [one for _, own in groups for one in itertools.islice(own, each)]
    # Neighbouring devices hold the towers of one replica, which communicate most.
    grid = np.array(devices[: data * tower]).reshape(data, tower)
    return Mesh(grid, ("data", "tower"), axis_types=(AxisType.Auto, AxisType.Auto))


def split(
    mesh: Mesh | None, f: Callable[..., Any], in_specs: Any, out_specs: Any
) -> Callable[..., Any]:
    """`jax.shard_map` over the axes with several devices; f itself if no axis has several.

    Over an axis of one device, XLA on CPUs would still sum the gradients, and copy them all.
    """
    axes = {name for name, size in mesh.shape.items() if size > 1} if mesh else set()
    if not axes:
        return f

    def only(spec: P) -> P:
        return P(*(name if name in axes else None for name in spec))

    in_specs, out_specs = jax.tree.map(only, (in_specs, out_specs))
    return jax.shard_map(f, mesh=mesh, in_specs=in_specs, out_specs=out_specs, axis_names=axes)


def by_tower(mesh: Mesh, params: Any) -> Any:
    """The shardings of parameters or their shapes: split over "tower", their first axis."""
    return jax.tree.map(lambda _: NamedSharding(mesh, P("tower")), params)


def shapes(tree: Any, shardings: Any) -> Any:
    """Shapes, dtypes and shardings of a tree, to restore a checkpoint into."""
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        tree,
        shardings,
    )


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Images and labels: split over "data", the same on every tower."""
    return NamedSharding(mesh, P("data"))


def process_rows(mesh: Mesh) -> tuple[int, int]:
    """(part, parts): this process's devices take part number `part` of each batch's `parts`.

    Processes that hold different towers for the same images take the same part. Raises UserError,
    the same in every process, if they cannot share the mesh.
    """
    found = []
    for process in range(jax.process_count()):
        rows = [
            number
            for number, towers in enumerate(mesh.devices)
            if any(device.process_index == process for device in towers)
        ]
        if not rows:
            raise UserError(
                f"{mesh.shape['data']} x {mesh.shape['tower']} (data x tower) leaves process "
                f"{process} without a device; start fewer processes or choose another mesh",
                "config.mesh",
            )
        parts, rest = divmod(mesh.shape["data"], len(rows))
        part, offset = divmod(rows[0], len(rows))
        found.append((part, parts))
        if rest or offset or rows[-1] - rows[0] + 1 != len(rows) or parts != found[0][1]:
            raise UserError(
                f"process {process} has rows {rows} of the mesh, not one of its equal parts: "
                "choose another mesh",
                "config.mesh",
            )
    return found[jax.process_index()]


def replicated(mesh: Mesh) -> NamedSharding:
    """The same on every device."""
    return NamedSharding(mesh, P())


def put_key(mesh: Mesh, key: jax.Array) -> jax.Array:
    """A random key on every device; every process must pass the same key."""
    data = jax.device_put(np.asarray(jax.random.key_data(key)), replicated(mesh))
    return jax.random.wrap_key_data(data, impl=jax.random.key_impl(key))


def put(mesh: Mesh, batches: Iterable[dict[str, np.ndarray]]) -> Iterable[dict[str, jax.Array]]:
    """Moves each process's rows of the batches to the devices, one batch ahead of their use."""
    sharding = batch_sharding(mesh)
    ahead = None
    for batch in batches:
        on_device = {
            name: jax.make_array_from_process_local_data(sharding, rows)
            for name, rows in batch.items()
        }
        if ahead is not None:
            yield ahead
        ahead = on_device
    if ahead is not None:
        yield ahead


def parts(mesh: Mesh, count: int, batch: dict[str, jax.Array]) -> Iterator[dict[str, jax.Array]]:
    """A batch in `count` parts, each with some of the images on every device."""
    data = mesh.shape["data"]
    for number in range(count):

        def part(rows, number=number):
            per_device = rows.reshape(data, count, -1, *rows.shape[1:])
            return per_device[:, number].reshape(-1, *rows.shape[1:])

        yield batch if count == 1 else jax.tree.map(part, batch)


def whole(leaf: jax.Array | np.ndarray) -> np.ndarray:
    """The whole array on the host, whatever its sharding; every process must call it."""
    if isinstance(leaf, jax.Array) and not (leaf.is_fully_addressable or leaf.is_fully_replicated):
        leaf = multihost_utils.process_allgather(leaf, tiled=True)
    return np.asarray(leaf)
