"""Fully-connected layers of all towers as one product.

Kernels are read in place: slicing out each tower's would copy all 151 MB of fc6. On CPUs, Eigen
multiplies instead of YNNPACK: fc6, 32 images, 35 -> 18.6 ms, its kernel's gradient 14.3 -> 10.6.
"""

import jax
import jax.numpy as jnp
from jax import lax

from alexnet.models.network import add_bias


def towers(xs: list[jax.Array], kernel_TIO: jax.Array, bias_TO: jax.Array) -> list[jax.Array]:
    """Each tower's outputs for its maps or features [B, ...]."""
    x_TBI = jnp.stack([x.reshape(x.shape[0], -1) for x in xs])
    return list(add_bias(dense(x_TBI, kernel_TIO), bias_TO[:, None]))


def gpu_towers(xs: list[jax.Array], kernel_TIO: jax.Array, bias_TO: jax.Array) -> list[jax.Array]:
    """`towers` as one plain product.

    In bfloat16, tensor cores add in float32. A product that JAX knows to be float32 would have
    float32 factors in its gradients.
    """
    x_TBI = jnp.stack([x.reshape(x.shape[0], -1) for x in xs])
    y_TBO = jnp.einsum("tbi,tio->tbo", x_TBI, kernel_TIO)
    return list(add_bias(y_TBO, bias_TO[:, None]))


def dense(x_TBI: jax.Array, kernel_TIO: jax.Array) -> jax.Array:
    """`ops.dense` of every tower: [T, B, O]."""
    wide = jnp.promote_types(x_TBI.dtype, jnp.float32)
    # If the small factor is stored transposed, XLA on CPUs hands this product to Eigen, which takes
    # half as long as YNNPACK; without the barrier XLA would undo the transposition. In bfloat16 it
    # does not help.
    x_TIB = jnp.swapaxes(x_TBI, 1, 2)
    if x_TIB.dtype == jnp.float32:
        x_TIB = lax.optimization_barrier(x_TIB)
    y_TBO = jnp.einsum("tib,tio->tbo", x_TIB, kernel_TIO, preferred_element_type=wide)
    return y_TBO.astype(x_TBI.dtype)
