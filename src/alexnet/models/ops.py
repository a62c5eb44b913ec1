"""The paper's operations as pure functions, in fast formulations, with their gradients.

Arrays are NHWC: x_BHWC is float32 [images, height, width, kernel maps]. Convolutions read HWIO
kernels. Each custom gradient is the exact derivative of the plain definition in its docstring.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import Literal

import jax
import jax.numpy as jnp
from jax import lax

from alexnet.models.table import pooled_side

Padding = tuple[tuple[int, int], tuple[int, int]]

# Eigen takes as long on two cores as on one for the gradient of few kernels over many images, and
# less for several over some of the images each. All are compiled, so there are not too many.
_EIGENS_IMAGES, _GRADIENTS_AT_MOST = 32, 8
# Of few channels Eigen lays out each patch for few products; four outputs share a wider patch.
_EIGENS_OUTPUTS, _FEW_CHANNELS = 4, 4


def conv(
    x_BHWC: jax.Array,
    kernel_HWIO: jax.Array,
    stride: int,
    padding: Padding,
    eigen: bool = False,
) -> jax.Array:
    """Cross-correlation of every image with every kernel (section 3.5).

    Args:
        eigen: in forms that suit Eigen, which XLA on CPUs convolves with.
    """
    return _conv(*_varying_alike(x_BHWC, kernel_HWIO), stride, padding, eigen)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _conv(x_BHWC, kernel_HWIO, stride, padding, eigen):
    if eigen and stride == 1 and x_BHWC.shape[3] <= _FEW_CHANNELS:
        return _conv_adjacent(x_BHWC, kernel_HWIO, padding)
    return _correlate(x_BHWC, kernel_HWIO, padding, (stride, stride))


def _conv_adjacent(x_BHWC, kernel_HWIO, padding):
    """The convolution of stride 1 as one whose kernels give some adjacent outputs of a row each."""
    outputs = _EIGENS_OUTPUTS
    height, (left, right) = padding
    width = x_BHWC.shape[2] + left + right - kernel_HWIO.shape[1] + 1
    shifts = [(i, outputs - 1 - i) for i in range(outputs)]
    shifted = [jnp.pad(kernel_HWIO, ((0, 0), shift, (0, 0), (0, 0))) for shift in shifts]
    beyond = -width % outputs
    y_BHWC = _correlate(
        x_BHWC, jnp.concatenate(shifted, -1), (height, (left, right + beyond)), (1, outputs)
    )
    images, rows = y_BHWC.shape[:2]
    return y_BHWC.reshape(images, rows, width + beyond, kernel_HWIO.shape[3])[:, :, :width]


def _conv_gradient(stride, padding, eigen, saved, dy_BHWC):
    # JAX's own gradients but for the order of their axes. XLA on CPUs hands this order to Eigen
    # everywhere, JAX's only in the outermost function: within `network._compiled_separately`
    # AlexNet's step took tens of times as long with it.
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

    parts = 1
    if eigen:
        parts = max(1, min(-(-x_BHWC.shape[0] // _EIGENS_IMAGES), _GRADIENTS_AT_MOST))
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
    """Adds a layer's bias at every place; the bias's gradient is the sum of dy over all places."""
    return _add_bias(*_varying_alike(y_BHWC, bias_C))


@jax.custom_vjp
def _add_bias(y_BHWC: jax.Array, bias_C: jax.Array) -> jax.Array:
    return y_BHWC + bias_C


def _add_bias_gradient(_, dy_BHWC):
    # A product with ones: XLA on CPUs sums column by column, inside the update of the bias.
    dy_PC = dy_BHWC.reshape(-1, dy_BHWC.shape[-1])
    return dy_BHWC, (jnp.ones((1, len(dy_PC)), dy_PC.dtype) @ dy_PC)[0]


_add_bias.defvjp(lambda y_BHWC, bias_C: (_add_bias(y_BHWC, bias_C), None), _add_bias_gradient)


def _varying_alike(*arrays: jax.Array) -> list[jax.Array]:
    """The same arrays, all varying over the mesh axes that any of them varies over.

    Inside shard_map maps differ between devices where kernels and biases do not. Said here, the
    gradients of these are summed over the devices; a custom gradient cannot say it.
    """
    varying = [jax.typeof(x).manual_axis_type.varying for x in arrays]
    missing = [tuple(frozenset().union(*varying) - axes) for axes in varying]
    return [
        lax.pcast(x, axes, to="varying") if axes else x
        for x, axes in zip(arrays, missing, strict=True)
    ]


@jax.custom_vjp
def relu(x: jax.Array) -> jax.Array:
    """max(0, x), section 3.1; at 0 the gradient is 0."""
    return jnp.maximum(x, 0)


def _relu(x):
    y = relu(x)
    return y, y  # which is kept anyway; x is not, nor whether it was positive


relu.defvjp(_relu, lambda y, dy: (jnp.where(y > 0, dy, 0),))


def tanh(x: jax.Array) -> jax.Array:
    """The nonlinearity that section 3.1 compares with."""
    return jnp.tanh(x)


def sigmoid(x: jax.Array) -> jax.Array:
    """1 / (1 + exp(-x))."""
    return jax.nn.sigmoid(x)


def none(x: jax.Array) -> jax.Array:
    """A layer without a nonlinearity."""
    return x


def local(x_BHWC: jax.Array, kernel_HWKIO: jax.Array, size: int, padding: Padding) -> jax.Array:
    """A convolution whose filters differ at each position (cuda-convnet's `local`), stride 1.

    Args:
        kernel_HWKIO: [output height, output width, size * size, channels, kernels].
    """
    height, width = kernel_HWKIO.shape[:2]
    x_BHWC = jnp.pad(x_BHWC, ((0, 0), *padding, (0, 0)))
    patches = [x_BHWC[:, i : i + height, j : j + width] for i in range(size) for j in range(size)]
    return jnp.einsum("khwbi,hwkio->bhwo", jnp.moveaxis(jnp.stack(patches), 1, 3), kernel_HWKIO)


def dense(x_TBI: jax.Array, kernel_TIO: jax.Array) -> jax.Array:
    """Every tower's inputs [T, B, I] times its kernel [T, I, O], summed in float32: [T, B, O]."""
    wide = jnp.promote_types(x_TBI.dtype, jnp.float32)
    # XLA on CPUs hands this product to Eigen, which takes half as long as YNNPACK, if its small
    # factor lies transposed; without the barrier XLA would undo that. In bfloat16 it is no help.
    x_TIB = jnp.swapaxes(x_TBI, 1, 2)
    if x_TIB.dtype == jnp.float32:
        x_TIB = lax.optimization_barrier(x_TIB)
    y_TBO = jnp.einsum("tib,tio->tbo", x_TIB, kernel_TIO, preferred_element_type=wide)
    return y_TBO.astype(x_TBI.dtype)


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
    s = k + scale * _window_sum(x_BHWC * x_BHWC, size, over)
    return x_BHWC * _inverse_power(s, beta)


def _response_norm(x, size, k, scale, beta, over):
    return response_norm(x, size, k, scale, beta, over), x


def _response_norm_gradient(size, k, scale, beta, over, x, dy):
    # db_i/da_j = [i=j] s_i^-beta - 2 scale beta a_i a_j s_i^(-beta-1) for j in the window of i; as
    # the window is symmetric, summing over i is the same window sum again.
    s = k + scale * _window_sum(x * x, size, over)  # again: smaller than keeping it
    dy_d = dy * _inverse_power(s, beta)
    dx = dy_d - 2 * scale * beta * x * _window_sum(dy_d * x / s, size, over)
    # Without the division XLA computes all this again for each of dx's readers: it takes sums and
    # products for too cheap to keep.
    return (dx * s / s,)


response_norm.defvjp(_response_norm, _response_norm_gradient)


def _inverse_power(s: jax.Array, beta: float) -> jax.Array:
    if beta == 0.75:  # two square roots cost far less than a power
        return lax.rsqrt(s * jnp.sqrt(s))
    return s**-beta


def _window_sum(x: jax.Array, size: int, over: str) -> jax.Array:
    for axis in (3,) if over == "maps" else (1, 2):
        # Shifted slices fuse into one pass; reduce_window and cumsum do not.
        pad = [(size // 2, size // 2) if i == axis else (0, 0) for i in range(4)]
        padded, n = jnp.pad(x, pad), x.shape[axis]
        x = sum(lax.slice_in_dim(padded, i, i + n, axis=axis) for i in range(size))
    return x


# --- Overlapping pooling (section 3.4) ----------------------------------------------------------


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def max_pool(x_BHWC: jax.Array, size: int, stride: int) -> jax.Array:
    """Largest activation of each size x size window; of equal ones, the gradient goes to the first.

    "First" in row-major order is also cuDNN's and XLA's rule. Taken along the columns and then
    along the rows, which is the same and lets the gradient, too, go one axis at a time.
    """
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
    best = which = None
    for n, candidate in enumerate(_slices(x, axis, size, stride, fill=-jnp.inf)):
        if best is None:
            best, which = candidate, jnp.zeros(candidate.shape, jnp.uint8)
        else:
            which = jnp.where(candidate > best, jnp.uint8(n), which)
            best = jnp.maximum(best, candidate)  # unlike where, keeps a NaN
    return best, which


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def avg_pool(x_BHWC: jax.Array, size: int, stride: int) -> jax.Array:
    """Mean of each size x size window, over the part of it that lies inside the map."""
    for axis in (2, 1):
        side = x_BHWC.shape[axis]
        total = sum(_slices(x_BHWC, axis, size, stride, fill=0))
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


def global_avg_pool(x_BHWC: jax.Array) -> jax.Array:
    """Mean of each map: [B, C]."""
    return x_BHWC.mean((1, 2))


def _inside(side: int, size: int, stride: int, axis: int) -> jax.Array:
    """How much of each window along an axis lies inside the map; broadcasts along that axis."""
    windows = range(pooled_side(side, size, stride))
    lengths = jnp.array([min(size, side - n * stride) for n in windows])
    return lengths.reshape([-1 if i == axis else 1 for i in range(4)])


def _slices(x: jax.Array, axis: int, size: int, stride: int, fill: float) -> Iterator[jax.Array]:
    """What all windows along an axis have in their first place, in their second, ..."""
    last = (pooled_side(x.shape[axis], size, stride) - 1) * stride
    overhang = max(0, last + size - x.shape[axis])
    if overhang:
        pad = [(0, overhang if i == axis else 0) for i in range(4)]
        x = jnp.pad(x, pad, constant_values=fill)
    for start in range(size):
        yield lax.slice_in_dim(x, start, start + last + 1, stride, axis)


def _spread(parts: Sequence[jax.Array], axis: int, stride: int, side: int) -> jax.Array:
    """The adjoint of `_slices`: part i of window n goes to place n * stride + i of `side`.

    Places are taken apart by their remainder modulo the stride and interleaved at the end; pads
    between the elements would make XLA test every element.
    """
    windows = parts[0].shape[axis]
    length = -(-side // stride)  # places of each remainder
    zero = jnp.zeros((), parts[0].dtype)
    planes = []
    for remainder in range(stride):
        total = None
        for later, part in enumerate(parts[remainder::stride]):
            # A negative pad cuts off what hangs over the edge.
            pad = [
                (later, length - windows - later, 0) if i == axis else (0, 0, 0) for i in range(4)
            ]
            part = lax.pad(part, zero, pad)
            total = part if total is None else total + part
        planes.append(total)
    x = jnp.stack(planes, axis + 1)
    x = x.reshape(*x.shape[:axis], length * stride, *x.shape[axis + 2 :])
    return lax.slice_in_dim(x, 0, side, axis=axis)
