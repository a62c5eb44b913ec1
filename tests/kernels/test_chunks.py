"""alexnet.kernels.chunks: what is compiled apart is the same function."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alexnet.kernels import chunks


def test_what_is_compiled_separately_is_the_same_function_with_its_gradient():
    def stage(x, y):
        return jnp.where(x > 0, x * x, 0) * y, y

    apart = chunks.compiled_separately(stage)
    x, y = jnp.float32([-1.0, 3.0]), jnp.float32(2.0)
    assert [out.tolist() for out in jax.jit(apart)(x, y)] == [[0.0, 18.0], 2.0]
    gradient = jax.jit(jax.grad(lambda x: apart(x, y)[0].sum()))(x)
    assert gradient.tolist() == [0.0, 12.0]


@pytest.mark.parametrize(
    ("size", "sizes"), [(2, [2, 2, 1]), (3, [3, 2]), (4, [4, 1]), (5, [5]), (6, [5])]
)
def test_a_stage_gets_its_images_in_order_and_no_more_than_size(size, sizes):
    seen = []

    def stage(x_BHWC, examples_B):
        seen.append(len(x_BHWC))
        return [x_BHWC + 1, x_BHWC + 2], {"name": examples_B}

    x_BHWC, examples_B = np.arange(5 * 6).reshape(5, 1, 1, 6), np.arange(5) + 9
    xs, named = chunks.in_chunks(stage, x_BHWC, examples_B, False, size)
    assert seen == sizes
    np.testing.assert_array_equal(xs, [x_BHWC + 1, x_BHWC + 2])
    np.testing.assert_array_equal(named["name"], examples_B)


@pytest.mark.parametrize(("size", "programs"), [(4, 2), (5, 0), (6, 0)])
def test_in_training_chunks_are_compiled_apart_and_a_whole_batch_is_not(size, programs):
    x_BHWC, examples_B = jnp.zeros((5, 1, 1, 6)), jnp.arange(5)

    def maps(x_BHWC):
        return chunks.in_chunks(lambda x, y: (x * 2, y), x_BHWC, examples_B, True, size)

    assert str(jax.make_jaxpr(maps)(x_BHWC)).count("inlined") == programs
