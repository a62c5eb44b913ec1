"""alexnet.kernels.chunks: what is compiled apart is the same function."""

import jax
import jax.numpy as jnp

from alexnet.kernels import chunks


def test_what_is_compiled_separately_is_the_same_function_with_its_gradient():
    def stage(x, y):
        return jnp.where(x > 0, x * x, 0) * y, y

    apart = chunks.compiled_separately(stage)
    x, y = jnp.float32([-1.0, 3.0]), jnp.float32(2.0)
    assert [out.tolist() for out in jax.jit(apart)(x, y)] == [[0.0, 18.0], 2.0]
    gradient = jax.jit(jax.grad(lambda x: apart(x, y)[0].sum()))(x)
    assert gradient.tolist() == [0.0, 12.0]
