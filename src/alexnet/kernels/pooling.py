"""Pooling along the columns and then along the rows; its gradient the other way round.

The gradient of pool1, 32 images: 182 -> 20 ms; of an average pool, 128 x 32x32x32: 63 -> 13 ms.
"""

import functools
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
from jax import lax

from alexnet.models.table import pooled_side


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def max_pool(x_BHWC: jax.Array, size: int, stride: int) -> jax.Array:
    """Equals `ops.max_pool`; of equal activations it takes the first in row-major order."""
    return _max_pool(x_BHWC, size, stride)[0]


def _max_pool(x, size, stride):
    x_columns, column = _max_along(x, 2, size, stride)
    y, row = _max_along(x_columns, 1, size, stride)
    return y, (row, column, x.shape[1:3])


def _max_pool_gradient(size, stride, saved, dy):
    row, column, (height, width) = saved
    for axis, which, side in ((1, row, height), (2, column, width)):
        parts = [jnp.where(which == i, dy, 0) for i in range(size)]
        dy = _spread(parts, axis, stride, side)
    return (dy,)


max_pool.defvjp(_max_pool, _max_pool_gradient)


def _max_along(x: jax.Array, axis: int, size: int, stride: int) -> tuple[jax.Array, jax.Array]:
    """The maximum of each window along one axis, and its place 0..size-1 in the window, uint8."""
    best, *others = _slices(x, axis, size, stride, fill=-jnp.inf)
    which = jnp.zeros(best.shape, jnp.uint8)
    for n, candidate in enumerate(others, 1):
        which = jnp.where(candidate > best, jnp.uint8(n), which)
        best = jnp.maximum(best, candidate)  # unlike where, keeps a NaN
    return best, which


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def avg_pool(x_BHWC: jax.Array, size: int, stride: int) -> jax.Array:
    """Equals `ops.avg_pool`."""
    for axis in (2, 1):
        side = x_BHWC.shape[axis]
        total = functools.reduce(jnp.add, _slices(x_BHWC, axis, size, stride, fill=0))
        x_BHWC = total / _inside(side, size, stride, axis).astype(total.dtype)
    return x_BHWC


def _avg_pool(x, size, stride):
    return avg_pool(x, size, stride), x.shape[1:3]


def _avg_pool_gradient(size, stride, sides, dy):
    for axis, side in zip((1, 2), sides, strict=True):
        dy = dy / _inside(side, size, stride, axis).astype(dy.dtype)
        dy = _spread([dy] * size, axis, stride, side)
    return (dy,)


avg_pool.defvjp(_avg_pool, _avg_pool_gradient)


def _inside(side: int, size: int, stride: int, axis: int) -> jax.Array:
    """How much of each window along an axis lies inside the map; broadcasts over other axes."""
    windows = range(pooled_side(side, size, stride))
    lengths = jnp.array([min(size, side - n * stride) for n in windows])
    return lengths.reshape([-1 if i == axis else 1 for i in range(4)])


def _slices(x: jax.Array, axis: int, size: int, stride: int, fill: float) -> Iterator[jax.Array]:
    """The first elements of all windows along an axis, then their second elements, ..."""
    last = (pooled_side(x.shape[axis], size, stride) - 1) * stride
    overhang = last + size - x.shape[axis]
    if overhang:
        pad = [(0, overhang if i == axis else 0) for i in range(4)]
        x = jnp.pad(x, pad, constant_values=fill)
    for start in range(size):
        yield lax.slice_in_dim(x, start, start + last + 1, stride, axis)


def _spread(parts: Sequence[jax.Array], axis: int, stride: int, side: int) -> jax.Array:
    """The adjoint of `_slices`: part i of window n goes to place n * stride + i of `side`.

    Places are grouped by their remainder modulo the stride, and interleaved at the end. Padding
    between the elements would do the same, but makes XLA test every element.
    """
    windows = parts[0].shape[axis]
    length = -(-side // stride)  # places of each remainder
    zero = jnp.zeros((), parts[0].dtype)
    planes = []
    for remainder in range(stride):
        padded = []
        for later, part in enumerate(parts[remainder::stride]):
            # A negative pad cuts off what hangs over the edge.
            pad = [
                (later, length - windows - later, 0) if i == axis else (0, 0, 0) for i in range(4)
            ]
            padded.append(lax.pad(part, zero, pad))
        planes.append(functools.reduce(jnp.add, padded))
    x = jnp.stack(planes, axis + 1)
    x = x.reshape(*x.shape[:axis], length * stride, *x.shape[axis + 2 :])
    return lax.slice_in_dim(x, 0, side, axis=axis)
