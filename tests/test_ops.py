"""alexnet.ops: every fast formulation is its plain definition, and so is its gradient."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet import ops


def random(*shape: int, scale: float = 1.0, seed: int = 0) -> np.ndarray:
    return scale * np.random.default_rng(seed).normal(size=shape)


def assert_close(actual: jax.Array, expected: np.ndarray) -> None:
    """Within 1e-5 of the largest, in float32."""
    assert actual.dtype == jnp.float32
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@functools.partial(jax.jit, static_argnums=0)
def _value_and_gradient(f, x, dy):
    y, pull = jax.vjp(f, x)
    return y, pull(dy)[0]


def value_and_gradient(f, x: np.ndarray, dy: np.ndarray) -> tuple[jax.Array, jax.Array]:
    """f(x), and what dy becomes on its way back; in float32."""
    return _value_and_gradient(f, np.float32(x), np.float32(dy))


NORMS = [(3, 0.75), (5, 0.75), (9, 0.75), (5, 1.1)]


@pytest.mark.parametrize("over", ["maps", "space"])
@pytest.mark.parametrize(("size", "beta"), NORMS)
def test_response_norm_and_its_gradient_are_those_of_the_definition(size, beta, over):
    # Activations of 100 with alpha 1e-4: the sum weighs as much as k, so that each term is seen.
    shape = (2, 2, 2, 11) if over == "maps" else (2, 6, 7, 2)
    x, dy = random(*shape, scale=100), random(*shape, seed=1)

    def definition(x):
        return reference.norm(x, size, 2.0, 1e-4, beta, over)

    found, gradient = value_and_gradient(
        lambda x: ops.response_norm(x, size, 2.0, 1e-4, beta, over), x, dy
    )
    assert_close(found, definition(x))
    expected = reference.numerical_gradient(lambda x: (dy * definition(x)).sum(), x, step=1e-3)
    assert_close(gradient, expected)


def test_response_norm_of_three_maps_by_hand():
    # k 1, scale 1, beta 1: 1/(1+1+4), 2/(1+1+4+9), 3/(1+4+9)
    x = jnp.array([1.0, 2.0, 3.0]).reshape(1, 1, 1, 3)
    found = ops.response_norm(x, 3, 1.0, 1.0, 1.0).ravel()
    np.testing.assert_allclose(found, [1 / 6, 2 / 15, 3 / 14], rtol=1e-6)


@pytest.mark.parametrize("over", ["maps", "space"])
def test_the_window_may_be_wider_than_the_map(over):
    x = random(1, 2, 2, 2, scale=100)
    found = ops.response_norm(np.float32(x), 9, 2.0, 1e-4, 0.75, over)
    assert_close(found, reference.norm(x, 9, 2.0, 1e-4, 0.75, over))


@pytest.mark.parametrize(
    ("size", "stride", "height", "width"),
    [(3, 2, 7, 7), (3, 2, 8, 8), (3, 2, 3, 10), (2, 2, 6, 7), (2, 2, 7, 2), (3, 3, 7, 6)],
)
def test_pools_and_their_gradients_are_those_of_the_definition(size, stride, height, width):
    x = random(2, height, width, 3)
    y = reference.pool(x, size, stride)
    dy = random(*y.shape, seed=1)
    found, gradient = value_and_gradient(lambda x: ops.max_pool(x, size, stride), x, dy)
    assert_close(found, y)
    assert_close(gradient, reference.max_pool_gradient(x, dy, size, stride))

    found, gradient = value_and_gradient(lambda x: ops.avg_pool(x, size, stride), x, dy)
    assert_close(found, reference.pool(x, size, stride, np.mean))
    expected = reference.numerical_gradient(
        lambda x: (dy * reference.pool(x, size, stride, np.mean)).sum(), x
    )
    assert_close(gradient, expected)


def max_pool_3_2(x):
    return ops.max_pool(x, 3, 2)


@given(st.lists(st.integers(-1, 1), min_size=48, max_size=48))
@settings(derandomize=True, deadline=None, max_examples=30)
def test_max_pool_with_many_ties(values):
    x = np.array(values, float).reshape(1, 6, 8, 1)
    expected = reference.pool(x)
    dy = 2.0 ** np.arange(expected.size).reshape(expected.shape)  # every sum tells its terms
    found, gradient = value_and_gradient(max_pool_3_2, x, dy)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(gradient, reference.max_pool_gradient(x, dy, 3, 2))


def test_of_equal_maxima_the_gradient_goes_to_the_first():
    x, dy = np.zeros((1, 4, 4, 1)), np.array([[1.0, 2], [3, 4]]).reshape(1, 2, 2, 1)
    _, gradient = value_and_gradient(lambda x: ops.max_pool(x, 2, 2), x, dy)
    expected = [[1, 0, 2, 0], [0, 0, 0, 0], [3, 0, 4, 0], [0, 0, 0, 0]]
    np.testing.assert_array_equal(gradient[0, :, :, 0], expected)


def test_windows_hang_over_the_lower_and_right_edge():
    x = jnp.arange(16.0).reshape(1, 4, 4, 1)
    np.testing.assert_array_equal(ops.max_pool(x, 3, 2)[0, :, :, 0], [[10, 11], [14, 15]])
    # the last window holds 10, 11, 14, 15 and is divided by 4
    np.testing.assert_array_equal(ops.avg_pool(x, 3, 2)[0, :, :, 0], [[5, 6.5], [11, 12.5]])
    # the edge itself never wins, not even over negative activations
    np.testing.assert_array_equal(ops.max_pool(x - 99, 3, 2)[0, :, :, 0], [[-89, -88], [-85, -84]])


def test_sides_after_pooling():
    alexnet, cifar = (55, 27, 13), (32, 16, 8, 24, 12)
    assert [ops.pooled_side(side, 3, 2) for side in alexnet] == [27, 13, 6]
    assert [ops.pooled_side(side, 3, 2) for side in cifar] == [16, 8, 4, 12, 6]


def test_a_nan_survives_max_pool_wherever_it_is():
    x = random(9, 3, 3, 1)
    x.reshape(9, 9)[np.arange(9), np.arange(9)] = np.nan
    assert np.isnan(ops.max_pool(np.float32(x), 3, 2)).all()


@pytest.mark.parametrize(
    ("side", "size", "stride", "pad"), [(20, 11, 4, (0, 3)), (9, 5, 1, (2, 2)), (6, 3, 1, (0, 0))]
)
def test_conv_is_scipys_correlation(side, size, stride, pad):
    x, kernel = random(2, side, side, 3), random(size, size, 3, 4, seed=1)
    padded = np.pad(x, ((0, 0), pad, pad, (0, 0)))

    def correlation(image, o):
        return scipy.signal.correlate(image, kernel[..., o], "valid")[::stride, ::stride, 0]

    expected = np.stack([np.stack([correlation(im, o) for o in range(4)], -1) for im in padded])
    found = ops.conv(np.float32(x), np.float32(kernel), stride, (pad, pad))
    assert_close(found, expected)
    np.testing.assert_allclose(reference.conv(x, kernel, stride, pad), expected)


def test_conv1_sees_zeros_below_and_right_only():
    x = np.zeros((1, 224, 224, 1), np.float32)
    x[0, 0, 0] = x[0, 223, 223] = 1
    kernel = 1 + np.arange(121, dtype=np.float32).reshape(11, 11, 1, 1)
    found = np.array(ops.conv(x, kernel, 4, ((0, 3), (0, 3))))[0, :, :, 0]
    assert found.shape == (55, 55)
    assert found[0, 0] == kernel[0, 0, 0, 0]  # the first patch starts at the corner itself
    assert found[54, 54] == kernel[7, 7, 0, 0]  # the 55th at 216: pixel 223 is its eighth


def test_local_has_a_filter_for_each_position():
    x, kernel = random(2, 5, 5, 3), random(5, 5, 9, 3, 4, seed=1)
    found = ops.local(np.float32(x), np.float32(kernel), 3, ((1, 1), (1, 1)))
    assert_close(found, reference.local(x, kernel, 3, 1))
    kernel = np.zeros((2, 2, 9, 1, 1), np.float32)
    kernel[0, 0, 1] = kernel[1, 0, 8] = 1  # what is above here, what is below and right there
    x = np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1)
    found = ops.local(x, kernel, 3, ((0, 0), (0, 0)))
    np.testing.assert_array_equal(found[0, :, :, 0], [[1, 0], [14, 0]])


def test_local_with_equal_filters_is_a_convolution():
    x, kernel = np.float32(random(2, 6, 6, 3)), np.float32(random(3, 3, 3, 4, seed=1))
    everywhere = np.broadcast_to(kernel.reshape(9, 3, 4), (6, 6, 9, 3, 4))
    pad = ((1, 1), (1, 1))
    found = ops.local(x, everywhere, 3, pad)
    np.testing.assert_allclose(found, ops.conv(x, kernel, 1, pad), rtol=1e-5, atol=1e-5)
