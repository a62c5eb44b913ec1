"""The least memory that a training step needs, checked before any is allocated."""

import math
import os
from contextlib import suppress

import jax
import jax.numpy as jnp

from alexnet.devices import limits
from alexnet.errors import UserError
from alexnet.models.table import Net, Weighted


def check(
    net: Net, batch_size: int, image_size: int, dtype: str, accumulate: int, data: int, tower: int
) -> None:
    """Raises UserError if a step with this batch cannot fit into memory.

    Args:
        image_size: of the stored images, in pixels.
        data, tower: how many devices the batch and the towers are split over.
    """
    device, share = jax.local_devices()[0], data * tower
    if device.platform == "cpu":  # CPU devices share one memory
        share = jax.process_count()
    weights, images = least(net, batch_size, image_size, dtype, accumulate)
    weights *= data  # each part of the batch has its own copy
    there = memory_of(device)
    if there and weights + images > there * share:
        what = f"config.batch_size={batch_size}"
        advice = "smaller batch, or raise config.accumulate"
        if weights > images:
            what, advice = "config.net", "smaller net, or split its towers over more devices"
        raise UserError(
            f"a step needs at least {gib(weights + images)}, and {gib(there * share)} are "
            f"available: choose a {advice}",
            what,
        )


def least(
    net: Net, batch_size: int, image_size: int, dtype: str = "float32", accumulate: int = 1
) -> tuple[int, int]:
    """(weights and their velocities; images and what layers keep for the gradient), in bytes.

    Of what layers keep, it counts only outputs of layers with weights: no compiler can avoid these.
    """
    found = net.layers
    weights = 2 * 4 * sum(layer.parameters for layer in found)
    kept = sum(math.prod(layer.output_shape) for layer in found if isinstance(layer.row, Weighted))
    part = batch_size // accumulate
    images = batch_size * image_size**2 * 3
    return weights, images + part * net.towers * kept * jnp.dtype(dtype).itemsize


def memory_of(device: jax.Device) -> int:
    """The memory of a device, or of the machine for a CPU, in bytes; 0 if unknown."""
    if device.platform != "cpu":
        return (device.memory_stats() or {}).get("bytes_limit", 0)
    machine = 0
    with suppress(AttributeError, ValueError, OSError):  # Windows has no sysconf
        machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(filter(None, (machine, limits.memory())), default=0)


def gib(size: float) -> str:
    """A number of bytes in words."""
    return f"{size / 2**30:,.1f} GiB"
