"""Response normalisation by shifted slices of a padded copy; gradients need only the input.

Compared with a product with a band matrix, 32 x 55x55x48: 5.1 -> 2.3 ms, gradient 9.8 -> 7.3.
"""

import functools
from typing import Literal

import jax
import jax.numpy as jnp
from jax import lax


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3, 4, 5))
def response_norm(
    x_BHWC: jax.Array,
    size: int,
    k: float,
    scale: float,
    beta: float,
    over: Literal["maps", "space"] = "maps",
) -> jax.Array:
    """Equals `ops.response_norm`."""
    s = k + scale * _window_sum(x_BHWC * x_BHWC, size, over)
    return x_BHWC * _inverse_power(s, beta)


def _response_norm(x, size, k, scale, beta, over):
    return response_norm(x, size, k, scale, beta, over), x


def _response_norm_gradient(size, k, scale, beta, over, x, dy):
    # db_i/da_j = [i=j] s_i^-beta - 2 scale beta a_i a_j s_i^(-beta-1) for j in the window of i; as
    # the window is symmetric, summing over i is the same window sum again.
    s = k + scale * _window_sum(x * x, size, over)  # recomputed: keeping it takes more memory
    dy_d = dy * _inverse_power(s, beta)
    dx = dy_d - 2 * scale * beta * x * _window_sum(dy_d * x / s, size, over)
    # * s / s makes XLA keep dx. Otherwise it recomputes all this for each reader of dx, as it takes
    # sums and products for too cheap to keep. AlexNet, batch 32: 667 -> 637 ms.
    return (dx * s / s,)


response_norm.defvjp(_response_norm, _response_norm_gradient)


def _inverse_power(s: jax.Array, beta: float) -> jax.Array:
    if beta == 0.75:  # two square roots cost far less than a power
        return lax.rsqrt(s * jnp.sqrt(s))
    return s**-beta


def _window_sum(x: jax.Array, size: int, over: str) -> jax.Array:
    for axis in (3,) if over == "maps" else (1, 2):
        # Shifted slices fuse into one pass over a padded copy; reduce_window and cumsum do not.
        pad = [(size // 2, size // 2) if i == axis else (0, 0) for i in range(4)]
        padded, n = jnp.pad(x, pad), x.shape[axis]
        shifted = (lax.slice_in_dim(padded, i, i + n, axis=axis) for i in range(size))
        x = functools.reduce(jnp.add, shifted)
    return x
