"""Convolutions in forms that are fast in Eigen, for CPUs, and in cuDNN (`gpu_towers`), for GPUs.

Kernel gradients over 32 images at a time, and four outputs at once for three channels: a step of
the net 80sec 68.5 -> 59.2 ms. A bias's gradient as a product with ones: AlexNet without LRN, batch
32, 719 -> 688 ms. One convolution for towers that read the same maps: conv1, 32 images, 42 -> 32
ms; a step of AlexNet on an H100, batch 128, bfloat16, 5.87 -> 5.19 ms, with `in_blocks` 4.05 ms.
There, `add_bias_by_pixel` saves .2 ms.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from alexnet.models import network, ops
from alexnet.models.ops import Padding

# For the gradient of few kernels over many images, Eigen is no faster on two cores than on one;
# several gradients, each over some of the images, are faster. Each is compiled, so few are used.
IMAGES, GRADIENTS_AT_MOST = 32, 8
# With few channels, each patch that Eigen lays out serves few products; four outputs share one.
OUTPUTS, FEW_CHANNELS = 4, 4  # so few channels also leave a GPU's tensor cores idle


def towers(
    xs: list[jax.Array], kernel_THWIO: jax.Array, bias_TO: jax.Array, stride: int, padding: Padding
) -> list[jax.Array]:
    """Each tower's convolution of its maps; towers with the same maps share one."""
    ys = _together(conv, xs, kernel_THWIO, stride, padding)
    return [add_bias(y, bias_TO[t]) for t, y in enumerate(ys)]


def gpu_towers(
    xs: list[jax.Array], kernel_THWIO: jax.Array, bias_TO: jax.Array, stride: int, padding: Padding
) -> list[jax.Array]:
    """`towers` with `in_blocks` in place of `conv`, and cuDNN's own gradients."""
    ys = _together(in_blocks, xs, kernel_THWIO, stride, padding)
    return [add_bias_by_pixel(y, bias_TO[t]) for t, y in enumerate(ys)]


def _together(convolve, xs, kernel_THWIO, stride, padding):
    if not all(x is xs[0] for x in xs):
        return [convolve(x, kernel_THWIO[t], stride, padding) for t, x in enumerate(xs)]
    kernels_HWIO = jnp.concatenate(list(kernel_THWIO), -1)
    return jnp.split(convolve(xs[0], kernels_HWIO, stride, padding), len(xs), -1)


def in_blocks(
    x_BHWC: jax.Array, kernel_HWIO: jax.Array, stride: int, padding: Padding
) -> jax.Array:
    """Equals `ops.conv`; with a stride and few channels, it reads blocks of stride x stride pixels.

    Each block becomes one pixel, with the channels of all its pixels, and the stride becomes 1.
    conv1 of AlexNet slides kernels of 3x3 blocks over 48 channels, rather than 11x11 pixels over 3.
    """
    if stride == 1 or x_BHWC.shape[3] > FEW_CHANNELS:
        return ops.conv(x_BHWC, kernel_HWIO, stride, padding)
    edges: list[tuple[int, int]] = []
    beyond = [-size % stride for size in kernel_HWIO.shape[:2]]  # completes the last block
    for n, (low, high) in enumerate(padding):
        side, size = x_BHWC.shape[1 + n], kernel_HWIO.shape[n]
        last = (side + low + high - size) // stride * stride  # where the last window begins
        edges.append((low, last + size + beyond[n] - side - low))  # a negative edge cuts pixels off
    zero = jnp.zeros((), x_BHWC.dtype)
    x_BHWC = lax.pad(x_BHWC, zero, [(0, 0, 0), *((*edge, 0) for edge in edges), (0, 0, 0)])
    kernel_HWIO = jnp.pad(kernel_HWIO, [*((0, more) for more in beyond), (0, 0), (0, 0)])
    kernel_OHWI = _blocks(jnp.moveaxis(kernel_HWIO, 3, 0), stride)
    blocks, kernels = _blocks(x_BHWC, stride), jnp.moveaxis(kernel_OHWI, 0, 3)
    return ops.conv(blocks, kernels, 1, ((0, 0), (0, 0)))


def _blocks(x_BHWC: jax.Array, side: int) -> jax.Array:
    """[B, H / side, W / side, side * side * C]"""
    images, height, width, channels = x_BHWC.shape
    height, width = height // side, width // side
    x = x_BHWC.reshape(images, height, side, width, side, channels)
    return jnp.swapaxes(x, 2, 3).reshape(images, height, width, side * side * channels)


def conv(x_BHWC: jax.Array, kernel_HWIO: jax.Array, stride: int, padding: Padding) -> jax.Array:
    """Equals `ops.conv`."""
    return _conv(*network.varying_alike(x_BHWC, kernel_HWIO), stride, padding)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _conv(x_BHWC, kernel_HWIO, stride, padding):
    if stride == 1 and x_BHWC.shape[3] <= FEW_CHANNELS:
        return _conv_adjacent(x_BHWC, kernel_HWIO, padding)
    return _correlate(x_BHWC, kernel_HWIO, padding, (stride, stride))


def _conv_adjacent(x_BHWC, kernel_HWIO, padding):
    """A convolution of stride 1 in which each kernel gives OUTPUTS adjacent outputs of a row."""
    height, (left, right) = padding
    width = x_BHWC.shape[2] + left + right - kernel_HWIO.shape[1] + 1
    shifts = [(i, OUTPUTS - 1 - i) for i in range(OUTPUTS)]
    shifted = [jnp.pad(kernel_HWIO, ((0, 0), shift, (0, 0), (0, 0))) for shift in shifts]
    beyond = -width % OUTPUTS
    y_BHWC = _correlate(
        x_BHWC, jnp.concatenate(shifted, -1), (height, (left, right + beyond)), (1, OUTPUTS)
    )
    images, rows = y_BHWC.shape[:2]
    return y_BHWC.reshape(images, rows, width + beyond, kernel_HWIO.shape[3])[:, :, :width]


def _conv_gradient(stride, padding, saved, dy_BHWC):
    # JAX's gradients, but with another order of axes, as XLA on CPUs hands this order to Eigen
    # everywhere, but JAX's order only in the outermost function: with JAX's order, AlexNet's step
    # in `chunks` took tens of times as long.
    x_BHWC, kernel_HWIO = saved
    sides, sizes = x_BHWC.shape[1:3], kernel_HWIO.shape[:2]
    reaches = [(n - 1) * stride + 1 for n in dy_BHWC.shape[1:3]]  # from first window to last
    geometry = list(zip(sides, sizes, reaches, padding, strict=True))
    pad_x = [(k - 1 - low, side + low - reach) for side, k, reach, (low, _) in geometry]
    pad_kernel = [(low, k - 1 + reach - side - low) for side, k, reach, (low, _) in geometry]
    turned_HWOI = jnp.swapaxes(kernel_HWIO[::-1, ::-1], 2, 3)
    dx_BHWC = _correlate(dy_BHWC, turned_HWOI, pad_x, x_apart=stride)

    def dkernel(x_BHWC, dy_BHWC):
        x_CHWB, dy_HWBO = jnp.transpose(x_BHWC, (3, 1, 2, 0)), jnp.transpose(dy_BHWC, (1, 2, 0, 3))
        return _correlate(x_CHWB, dy_HWBO, pad_kernel, kernel_apart=stride)

    parts = max(1, min(-(-x_BHWC.shape[0] // IMAGES), GRADIENTS_AT_MOST))
    pairs = zip(jnp.array_split(x_BHWC, parts), jnp.array_split(dy_BHWC, parts), strict=True)
    dkernel_IHWO = functools.reduce(jnp.add, [dkernel(*pair) for pair in pairs])
    return dx_BHWC, jnp.transpose(dkernel_IHWO, (1, 2, 0, 3))


_conv.defvjp(
    lambda x, kernel, *geometry: (_conv(x, kernel, *geometry), (x, kernel)), _conv_gradient
)


def _correlate(x_BHWC, kernel_HWIO, padding, strides=(1, 1), x_apart=1, kernel_apart=1):
    return lax.conv_general_dilated(
        x_BHWC,
        kernel_HWIO,
        strides,
        padding,
        lhs_dilation=(x_apart, x_apart),
        rhs_dilation=(kernel_apart, kernel_apart),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def add_bias(y_BHWC: jax.Array, bias_C: jax.Array) -> jax.Array:
    """y + bias; the bias's gradient is the sum of dy over images and pixels."""
    return _add_bias(*network.varying_alike(y_BHWC, bias_C))


@jax.custom_vjp
def _add_bias(y_BHWC, bias_C):
    return y_BHWC + bias_C


def _add_bias_gradient(_, dy_BHWC):
    # A product with ones: a sum would be computed column by column in the bias's update.
    dy_PC = dy_BHWC.reshape(-1, dy_BHWC.shape[-1])
    return dy_BHWC, (jnp.ones((1, len(dy_PC)), dy_PC.dtype) @ dy_PC)[0]


_add_bias.defvjp(lambda y_BHWC, bias_C: (_add_bias(y_BHWC, bias_C), None), _add_bias_gradient)


def add_bias_by_pixel(y_BHWC: jax.Array, bias_C: jax.Array) -> jax.Array:
    """`network.add_bias`; the bias's gradient sums dy over images, then over pixels."""
    return _add_bias_by_pixel(*network.varying_alike(y_BHWC, bias_C))


@jax.custom_vjp
def _add_bias_by_pixel(y_BHWC, bias_C):
    return network.add_bias(y_BHWC, bias_C)


def _sum_by_pixel(bias_C, dy_BHWC):
    # Sums over images read whole rows of memory. The barriers keep XLA from fusing both sums into
    # what computes dy: that would read map by map.
    dy_BN = lax.optimization_barrier(dy_BHWC).reshape(len(dy_BHWC), -1)
    wide = jnp.promote_types(dy_BN.dtype, jnp.float32)
    sums_N = lax.optimization_barrier(jnp.sum(dy_BN, 0, dtype=wide))
    return dy_BHWC, sums_N.reshape(-1, dy_BHWC.shape[-1]).sum(0).astype(bias_C.dtype)


_add_bias_by_pixel.defvjp(
    lambda y_BHWC, bias_C: (_add_bias_by_pixel(y_BHWC, bias_C), bias_C), _sum_by_pixel
)
