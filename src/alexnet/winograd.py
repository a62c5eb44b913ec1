"""3x3 convolutions with 16 products instead of 36 for each 2x2 outputs: Winograd's F(2x2, 3x3).

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2015), section 4.1. Of each 4x4
tile d of a map and each 3x3 filter g the outputs are A'[(G g G') * (B' d B)]A. Summed over the
maps, the products in the middle are 16 matrix products. Exact but for rounding: the sums are taken
in another order. In names, P are the 16 places of a tile and T all tiles of all images.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from alexnet.ops import Padding

G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])


def conv3x3(x_BHWI: jax.Array, kernel_HWIO: jax.Array, padding: Padding) -> jax.Array:
    """`ops.conv` with a 3x3 kernel, stride 1 and at most 2 pixels of padding."""
    # Inside shard_map one may differ between devices where the other does not. Said here, its
    # gradient is summed over them; a custom gradient cannot say it.
    axes = _varies(x_BHWI) | _varies(kernel_HWIO)
    x_BHWI, kernel_HWIO = (
        lax.pcast(a, tuple(axes - _varies(a)), to="varying") if axes - _varies(a) else a
        for a in (x_BHWI, kernel_HWIO)
    )
    return _conv3x3(x_BHWI, kernel_HWIO, padding)


def _varies(x: jax.Array) -> frozenset[str]:
    """The mesh axes along which devices have different values."""
    return jax.typeof(x).manual_axis_type.varying


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _conv3x3(x_BHWI: jax.Array, kernel_HWIO: jax.Array, padding: Padding) -> jax.Array:
    y_PTO = jnp.einsum("pti,pio->pto", _inputs(x_BHWI, padding), _filters(kernel_HWIO))
    height, width = (x_BHWI.shape[i + 1] + sum(padding[i]) - 2 for i in (0, 1))
    y = y_PTO.reshape(4, 4, len(x_BHWI), -(-height // 2), -(-width // 2), y_PTO.shape[-1])
    upper, lower = _outputs(y)
    rows = [jnp.stack(_outputs(row), 3) for row in (upper, lower)]  # [B, tiles, tiles, 2, O]
    y_BHWO = jnp.stack(rows, 2)
    batch, tall, _, wide, _, maps = y_BHWO.shape
    return y_BHWO.reshape(batch, 2 * tall, 2 * wide, maps)[:, :height, :width]


def _forward(x_BHWI, kernel_HWIO, padding):
    return _conv3x3(x_BHWI, kernel_HWIO, padding), (x_BHWI, kernel_HWIO)


def _gradient(padding, saved, dy_BHWO):
    x_BHWI, kernel_HWIO = saved
    turned = jnp.flip(kernel_HWIO, (0, 1)).swapaxes(2, 3)
    dx_BHWI = _conv3x3(dy_BHWO, turned, tuple((2 - a, 2 - b) for a, b in padding))
    dy_PTO = _output_gradients(dy_BHWO)
    dfilters = jnp.einsum("pti,pto->pio", _inputs(x_BHWI, padding), dy_PTO)
    return dx_BHWI, _filter_gradients(dfilters)


_conv3x3.defvjp(_forward, _gradient)


def _inputs(x_BHWI: jax.Array, padding: Padding) -> jax.Array:
    """B' d B of all tiles, which begin every 2 pixels and overlap by 2: [16, T, I]."""
    sides = [-(-(x_BHWI.shape[i + 1] + sum(padding[i]) - 2) // 2) for i in (0, 1)]
    after = [2 * n + 2 - x_BHWI.shape[i + 1] - padding[i][0] for i, n in enumerate(sides)]
    pads = [(before, after) for (before, _), after in zip(padding, after, strict=True)]
    x = jnp.pad(x_BHWI, ((0, 0), *pads, (0, 0)))

    def transformed(x: jax.Array, axis: int, tiles: int) -> list[jax.Array]:
        place = [lax.slice_in_dim(x, i, i + 2 * tiles - 1, 2, axis) for i in range(4)]
        return [place[0] - place[2], place[1] + place[2], place[2] - place[1], place[1] - place[3]]

    rows = transformed(x, 1, sides[0])
    places = [place for row in rows for place in transformed(row, 2, sides[1])]
    return jnp.stack([place.reshape(-1, x.shape[-1]) for place in places])


def _filters(kernel_HWIO: jax.Array) -> jax.Array:
    """G g G' of all filters: [16, I, O]."""
    g = G.astype(kernel_HWIO.dtype)
    filters = jnp.einsum("ph,qw,hwio->pqio", g, g, kernel_HWIO, precision="highest")
    return filters.reshape(16, *kernel_HWIO.shape[2:])


def _filter_gradients(d_PIO: jax.Array) -> jax.Array:
    """G' d G, the adjoint of the filters: [3, 3, I, O]."""
    g, d = G.astype(d_PIO.dtype), d_PIO.reshape(4, 4, *d_PIO.shape[1:])
    return jnp.einsum("ph,qw,pqio->hwio", g, g, d, precision="highest")


def _outputs(m: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A' m: the two outputs of the four products along the first axis."""
    return m[0] + m[1] + m[2], m[1] - m[2] - m[3]


def _output_gradients(dy_BHWO: jax.Array) -> jax.Array:
    """A dy A', the adjoint of the outputs, of all tiles: [16, T, O]."""
    odd = [(0, side % 2) for side in dy_BHWO.shape[1:3]]
    dy = jnp.pad(dy_BHWO, ((0, 0), *odd, (0, 0)))

    def transformed(dy: jax.Array, axis: int) -> list[jax.Array]:
        first, second = (lax.slice_in_dim(dy, i, None, 2, axis) for i in (0, 1))
        return [first, first + second, first - second, -second]

    places = [place for row in transformed(dy, 1) for place in transformed(row, 2)]
    return jnp.stack([place.reshape(-1, dy.shape[-1]) for place in places])
