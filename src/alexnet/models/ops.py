"""The paper's operations, each written as it is defined.

Maps are NHWC: x_BHWC is [images, height, width, kernel maps], of any float dtype. Everything here
supports grad, jvp, vmap and their combinations. `alexnet.kernels` has the same operations in faster
forms for particular devices.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from jax import lax

from alexnet.models.table import pooled_side

Padding = tuple[tuple[int, int], tuple[int, int]]  # rows (before, after), columns


def conv(x_BHWC: jax.Array, kernel_HWIO: jax.Array, stride: int, padding: Padding) -> jax.Array:
    """Cross-correlation of every image with every kernel (section 3.5)."""
    layouts = ("NHWC", "HWIO", "NHWC")
    strides = (stride, stride)
    return lax.conv_general_dilated(
        x_BHWC, kernel_HWIO, strides, padding, dimension_numbers=layouts
    )


def local(x_BHWC: jax.Array, kernel_HWKIO: jax.Array, size: int, padding: Padding) -> jax.Array:
    """A convolution whose filters differ at each position (cuda-convnet's `local`), stride 1.

    Args:
        kernel_HWKIO: [output height, output width, size * size, channels, kernels].
        size: side of the filters, in pixels.
    """
    images, (height, width, _, _, kernels) = len(x_BHWC), kernel_HWKIO.shape
    positions, weights = height * width, size * size * x_BHWC.shape[3]
    x_BHWC = jnp.pad(x_BHWC, ((0, 0), *padding, (0, 0)))
    patches = [x_BHWC[:, i : i + height, j : j + width] for i in range(size) for j in range(size)]
    patches_BPI = jnp.concatenate(patches, -1).reshape(images, positions, weights)
    kernel_PIO = kernel_HWKIO.reshape(positions, weights, kernels)
    # One axis of positions: XLA on CPUs takes twice as long for products with two such axes.
    y_BPO = jnp.einsum("bpi,pio->bpo", patches_BPI, kernel_PIO)
    return y_BPO.reshape(images, height, width, kernels)


def dense(x_BI: jax.Array, kernel_IO: jax.Array) -> jax.Array:
    """Every image's features times every neuron's weights, summed in float32 or wider."""
    wide = jnp.promote_types(x_BI.dtype, jnp.float32)
    return jnp.matmul(x_BI, kernel_IO, preferred_element_type=wide).astype(x_BI.dtype)


def relu(x: jax.Array) -> jax.Array:
    """max(0, x), section 3.1; its slope at 0 is 0, where that of jnp.maximum is 1/2."""
    return jnp.where(x <= 0, 0, x)  # not x > 0: a NaN stays one


def tanh(x: jax.Array) -> jax.Array:
    """The nonlinearity that section 3.1 compares ReLU with."""
    return jnp.tanh(x)


def sigmoid(x: jax.Array) -> jax.Array:
    """1 / (1 + exp(-x))."""
    return jax.nn.sigmoid(x)


def none(x: jax.Array) -> jax.Array:
    """A layer without a nonlinearity."""
    return x


def response_norm(
    x_BHWC: jax.Array,
    size: int,
    k: float,
    scale: float,
    beta: float,
    over: Literal["maps", "space"] = "maps",
) -> jax.Array:
    """b = a / (k + scale * sum of a^2)^beta (section 3.3).

    The sum runs over a window centred on each a: `size` adjacent maps, or size x size pixels of the
    same map; beyond the border the terms are zero. `size`, the paper's n, is odd. `scale` is the
    paper's alpha or, as in the source, alpha divided by the number of terms.
    """
    window = (1, 1, 1, size) if over == "maps" else (1, size, size, 1)
    sums = lax.reduce_window(x_BHWC * x_BHWC, 0.0, lax.add, window, (1, 1, 1, 1), "SAME")
    return x_BHWC / (k + scale * sums) ** beta


def max_pool(x_BHWC: jax.Array, size: int, stride: int) -> jax.Array:
    """Largest activation of each size x size window (section 3.4).

    Windows may hang over the lower and right edge. Among equal activations, the first in row-major
    order gets the gradient. Raises UserError if windows leave pixels out, or do not fit.
    """
    return _pool(x_BHWC, size, stride, -jnp.inf, lax.max)


def avg_pool(x_BHWC: jax.Array, size: int, stride: int) -> jax.Array:
    """Mean over the part of each size x size window that lies inside the map."""
    inside = _pool(jnp.ones_like(x_BHWC[:1, :, :, :1]), size, stride, 0.0, lax.add)
    return _pool(x_BHWC, size, stride, 0.0, lax.add) / inside


def _pool(x_BHWC, size, stride, start, reduce):
    edges = [
        (0, (pooled_side(side, size, stride) - 1) * stride + size - side)
        for side in x_BHWC.shape[1:3]
    ]
    window, strides = (1, size, size, 1), (1, stride, stride, 1)
    padding = ((0, 0), *edges, (0, 0))
    return lax.reduce_window(x_BHWC, start, reduce, window, strides, padding)


def global_avg_pool(x_BHWC: jax.Array) -> jax.Array:
    """Mean of each map: [B, C]."""
    return x_BHWC.mean((1, 2))


def dropout(x_B: jax.Array, rate: float, keys_B: jax.Array) -> jax.Array:
    """Sets each activation of an image to 0 with probability `rate` (section 4.2).

    Args:
        x_B: [B, ...].
        keys_B: a key for each image.
    """
    # `bernoulli` draws in the probability's dtype: another dtype would give another mask.
    keep = jnp.float32(1 - rate)
    kept_B = jax.vmap(lambda key: jax.random.bernoulli(key, keep, x_B.shape[1:]))(keys_B)
    return jnp.where(kept_B, x_B, 0)
