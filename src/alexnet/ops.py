"""The paper's operations as pure functions, in fast formulations, with their gradients.

Arrays are NHWC: x_BHWC is float32 [images, height, width, kernel maps]. Convolutions read HWIO
kernels. Each custom gradient is the exact derivative of the plain definition in its docstring.
"""

import functools
import math
from typing import Literal

import jax
import jax.numpy as jnp
from jax import lax

Padding = tuple[tuple[int, int], tuple[int, int]]


def conv(x_BHWC: jax.Array, kernel_HWIO: jax.Array, stride: int, padding: Padding) -> jax.Array:
    """Cross-correlation of every image with every kernel (section 3.5)."""
    return lax.conv_general_dilated(
        x_BHWC,
        kernel_HWIO,
        (stride, stride),
        padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def local(x_BHWC: jax.Array, kernel_HWKIO: jax.Array, size: int, padding: Padding) -> jax.Array:
    """A convolution whose filters differ at each position (cuda-convnet's `local`), stride 1.

    Args:
        kernel_HWKIO: [output height, output width, size * size, channels, kernels].
    """
    height, width = kernel_HWKIO.shape[:2]
    x_BHWC = jnp.pad(x_BHWC, ((0, 0), *padding, (0, 0)))
    patches = [x_BHWC[:, i : i + height, j : j + width] for i in range(size) for j in range(size)]
    return jnp.einsum("khwbi,hwkio->bhwo", jnp.moveaxis(jnp.stack(patches), 1, 3), kernel_HWKIO)


# --- Response normalisation (section 3.3) -------------------------------------------------------


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3, 4, 5))
def response_norm(
    x_BHWC: jax.Array,
    size: int,
    k: float,
    scale: float,
    beta: float,
    over: Literal["maps", "space"] = "maps",
) -> jax.Array:
    """b = a / (k + scale * sum of a^2)^beta, the sum over a window centred on each activation.

    The window is `size` adjacent maps, or size x size pixels of the same map; beyond the border
    there is nothing to add. `size` is odd.
    """
    return _response_norm(x_BHWC, size, k, scale, beta, over)[0]


def _response_norm(x, size, k, scale, beta, over):
    s = k + scale * _window_sum(x * x, size, over)
    return x * _inverse_power(s, beta), (x, s)


def _response_norm_gradient(size, k, scale, beta, over, saved, dy):
    # db_i/da_j = [i=j] s_i^-beta - 2 scale beta a_i a_j s_i^(-beta-1) for j in the window of i; as
    # the window is symmetric, summing over i is the same window sum again.
    x, s = saved
    dy_d = dy * _inverse_power(s, beta)
    return (dy_d - 2 * scale * beta * x * _window_sum(dy_d * x / s, size, over),)


response_norm.defvjp(_response_norm, _response_norm_gradient)


def _inverse_power(s: jax.Array, beta: float) -> jax.Array:
    if beta == 0.75:  # two square roots cost far less than a power
        r = lax.rsqrt(s)
        return r * jnp.sqrt(r)
    return s**-beta


def _window_sum(x: jax.Array, size: int, over: str) -> jax.Array:
    for axis in (3,) if over == "maps" else (1, 2):
        # Shifted slices fuse into one pass; reduce_window and cumsum do not.
        pad = [(size // 2, size // 2) if i == axis else (0, 0) for i in range(4)]
        padded, n = jnp.pad(x, pad), x.shape[axis]
        x = sum(lax.slice_in_dim(padded, i, i + n, axis=axis) for i in range(size))
    return x


# --- Overlapping pooling (section 3.4) ----------------------------------------------------------


def pooled_side(side: int, size: int, stride: int) -> int:
    """Windows may hang over the lower and right edge: the number of windows is rounded up."""
    return math.ceil((side - size) / stride) + 1


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def max_pool(x_BHWC: jax.Array, size: int, stride: int) -> jax.Array:
    """Largest activation of each size x size window; of equal ones, the gradient goes to the first.

    "First" in row-major order is also cuDNN's and XLA's rule.
    """
    return _max_pool(x_BHWC, size, stride)[0]


def _max_pool(x, size, stride):
    best = which = None
    for n, candidate in enumerate(_window_slices(x, size, stride, -jnp.inf)):
        if best is None:
            best, which = candidate, jnp.zeros(candidate.shape, jnp.uint8)
        else:
            which = jnp.where(candidate > best, jnp.uint8(n), which)
            best = jnp.maximum(best, candidate)  # unlike where, keeps a NaN
    return best, (which, x.shape[1:3])


def _max_pool_gradient(size, stride, saved, dy):
    which, (height, width) = saved
    out_height, out_width = dy.shape[1:3]
    zero = jnp.zeros((), dy.dtype)
    dx = None
    for i in range(size):
        for j in range(size):
            # The adjoint of a strided slice: spread dy out again. A negative pad cuts off what
            # hangs over the edge, where no maximum can be.
            rows = (i, height - i - (out_height - 1) * stride - 1, stride - 1)
            columns = (j, width - j - (out_width - 1) * stride - 1, stride - 1)
            part = jnp.where(which == i * size + j, dy, zero)
            part = lax.pad(part, zero, ((0, 0, 0), rows, columns, (0, 0, 0)))
            dx = part if dx is None else dx + part
    return (dx,)


max_pool.defvjp(_max_pool, _max_pool_gradient)


def avg_pool(x_BHWC: jax.Array, size: int, stride: int) -> jax.Array:
    """Mean of each size x size window, over the part of it that lies inside the map."""
    total = sum(_window_slices(x_BHWC, size, stride, 0.0))
    rows, columns = (
        [min(size, side - i * stride) for i in range(pooled_side(side, size, stride))]
        for side in x_BHWC.shape[1:3]
    )
    count = jnp.array(rows)[:, None] * jnp.array(columns)[None, :]
    return total / count[..., None].astype(total.dtype)


def _window_slices(x: jax.Array, size: int, stride: int, fill: float):
    """Yields, for each place in the window in row-major order, what all windows have there."""
    batch, height, width, channels = x.shape
    out_height, out_width = (pooled_side(side, size, stride) for side in (height, width))
    last_row, last_column = (out_height - 1) * stride, (out_width - 1) * stride
    overhang = (max(0, last_row + size - height), max(0, last_column + size - width))
    if any(overhang):
        pad = ((0, 0), (0, overhang[0]), (0, overhang[1]), (0, 0))
        x = jnp.pad(x, pad, constant_values=fill)
    for i in range(size):
        for j in range(size):
            end = (batch, i + last_row + 1, j + last_column + 1, channels)
            yield lax.slice(x, (0, i, j, 0), end, (1, stride, stride, 1))
