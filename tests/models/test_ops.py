"""alexnet.models.ops and alexnet.kernels: plain or fast, an operation is its definition."""

import functools
import re
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st
from support import reference

from alexnet.kernels import convolution, pooling, relu, response_norm
from alexnet.kernels.choose import CPU, GPU
from alexnet.models import network, table
from alexnet.models import ops as plain
from alexnet.models.network import PLAIN

FORMS = [PLAIN, CPU, pytest.param(GPU, marks=pytest.mark.slow)]


def random(*shape: int, scale: float = 1.0, seed: int = 0) -> np.ndarray:
    return scale * np.random.default_rng(seed).normal(size=shape)


def assert_close(actual: jax.Array, expected: np.ndarray) -> None:
    """Within 1e-5 of the largest number, in float32."""
    assert actual.dtype == jnp.float32
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@functools.partial(jax.jit, static_argnums=0)
def _value_and_gradients(f, inputs, dy):
    y, pull = jax.vjp(f, *inputs)
    return y, *pull(dy)


def value_and_gradients(f, *inputs_and_dy: np.ndarray) -> tuple[jax.Array, ...]:
    """f(inputs), and the gradient of each input for dy; in float32."""
    *inputs, dy = map(np.float32, inputs_and_dy)
    return _value_and_gradients(f, inputs, dy)


cpu = SimpleNamespace(
    conv=convolution.conv,
    max_pool=pooling.max_pool,
    avg_pool=pooling.avg_pool,
    relu=relu.relu,
    response_norm=response_norm.response_norm,
)
gpu = SimpleNamespace(conv=convolution.in_blocks)
both = pytest.mark.parametrize("ops", [plain, cpu], ids=["plain", "cpu"])
every = pytest.mark.parametrize("ops", [plain, cpu, gpu], ids=["plain", "cpu", "gpu"])

many_sizes = settings(derandomize=True, max_examples=8)


@both
@given(
    over=st.sampled_from(["maps", "space"]),
    size=st.sampled_from([1, 3, 5, 9]),  # 9 is wider than most of these maps
    beta=st.sampled_from([0.75, 1.1]),
    shape=st.tuples(*[st.integers(1, 7)] * 3),
)
@many_sizes
def test_response_norm_and_its_gradient_are_those_of_the_definition(ops, over, size, beta, shape):
    # Activations of 100 with alpha 1e-4: the sum weighs as much as k, so that each term is seen.
    x, dy = random(2, *shape, scale=100), random(2, *shape, seed=1)
    how = (size, 2.0, 1e-4, beta, over)
    found, gradient = value_and_gradients(lambda x: ops.response_norm(x, *how), x, dy)
    assert_close(found, reference.norm(x, *how))
    assert_close(gradient, reference.norm_gradient(x, dy, *how))


@both
def test_response_norm_of_three_maps_by_hand(ops):
    # k 1, scale 1, beta 1: 1/(1+1+4), 2/(1+1+4+9), 3/(1+4+9)
    x = np.array([1.0, 2.0, 3.0]).reshape(1, 1, 1, 3)
    found, gradient = value_and_gradients(
        lambda x: ops.response_norm(x, 3, 1.0, 1.0, 1.0), x, np.ones_like(x)
    )
    np.testing.assert_allclose(found.ravel(), [1 / 6, 2 / 15, 3 / 14], rtol=1e-6)
    # a quotient's derivative: 1/6 - 2 * 1 * (1/6^2 + 2/15^2), and so on
    a, b, c = 1 / 6**2, 2 / 15**2, 3 / 14**2
    expected = [1 / 6 - 2 * (a + b), 1 / 15 - 4 * (a + b + c), 1 / 14 - 6 * (b + c)]
    np.testing.assert_allclose(gradient.ravel(), expected, rtol=1e-5)


@both
@given(
    window=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    beyond=st.tuples(st.integers(0, 6), st.integers(0, 6)),
)
@many_sizes
def test_pools_and_their_gradients_are_those_of_the_definition(ops, window, beyond):
    size, stride = max(window), min(window)
    x = random(2, size + beyond[0], size + beyond[1], 3)
    for pool, f, f_gradient in (
        (ops.max_pool, np.max, reference.max_pool_gradient),
        (ops.avg_pool, np.mean, reference.mean_pool_gradient),
    ):
        y = reference.pool(x, size, stride, f)
        dy = random(*y.shape, seed=1)
        found, gradient = value_and_gradients(lambda x, pool=pool: pool(x, size, stride), x, dy)
        assert_close(found, y)
        assert_close(gradient, f_gradient(x, dy, size, stride))


@both
def test_with_z_equal_to_s_windows_tile_the_map(ops):
    x = np.float32(random(2, 6, 8, 3))
    tiles = x.reshape(2, 3, 2, 4, 2, 3)
    np.testing.assert_array_equal(ops.max_pool(x, 2, 2), tiles.max((2, 4)))
    np.testing.assert_allclose(ops.avg_pool(x, 2, 2), tiles.mean((2, 4)), rtol=1e-5, atol=1e-6)


@both
@given(values=st.lists(st.integers(-1, 1), min_size=48, max_size=48))
@settings(derandomize=True, max_examples=30)
def test_max_pool_with_many_ties(ops, values):
    x = np.array(values, float).reshape(1, 6, 8, 1)
    expected = reference.pool(x)
    dy = 2.0 ** np.arange(expected.size).reshape(expected.shape)  # every sum tells its terms
    found, gradient = value_and_gradients(lambda x: ops.max_pool(x, 3, 2), x, dy)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(gradient, reference.max_pool_gradient(x, dy, 3, 2))


@both
def test_of_equal_maxima_the_gradient_goes_to_the_first(ops):
    x, dy = np.zeros((1, 4, 4, 1)), np.array([[1.0, 2], [3, 4]]).reshape(1, 2, 2, 1)
    _, gradient = value_and_gradients(lambda x: ops.max_pool(x, 2, 2), x, dy)
    expected = [[1, 0, 2, 0], [0, 0, 0, 0], [3, 0, 4, 0], [0, 0, 0, 0]]
    np.testing.assert_array_equal(gradient[0, :, :, 0], expected)


@both
def test_windows_hang_over_the_lower_and_right_edge(ops):
    x = jnp.arange(16.0).reshape(1, 4, 4, 1)
    np.testing.assert_array_equal(ops.max_pool(x, 3, 2)[0, :, :, 0], [[10, 11], [14, 15]])
    # the last window holds 10, 11, 14, 15 and is divided by 4
    np.testing.assert_array_equal(ops.avg_pool(x, 3, 2)[0, :, :, 0], [[5, 6.5], [11, 12.5]])
    # the edge itself never wins, not even over negative activations
    np.testing.assert_array_equal(ops.max_pool(x - 99, 3, 2)[0, :, :, 0], [[-89, -88], [-85, -84]])


def test_sides_after_pooling():
    alexnet, cifar = (55, 27, 13), (32, 16, 8, 24, 12)
    assert [table.pooled_side(side, 3, 2) for side in alexnet] == [27, 13, 6]
    assert [table.pooled_side(side, 3, 2) for side in cifar] == [16, 8, 4, 12, 6]


def test_windows_that_leave_pixels_out_or_do_not_fit_are_no_pooling():
    for pool in (plain.max_pool, plain.avg_pool):
        with pytest.raises(ValueError, match="stride 2 skips pixels between 1x1 windows"):
            pool(jnp.ones((1, 8, 8, 1)), 1, 2)
        with pytest.raises(ValueError, match="a 9x9 window is larger than the map"):
            pool(jnp.ones((1, 8, 8, 1)), 9, 2)


def test_windows_cover_maps_of_every_side_and_none_begins_beyond():
    for size in range(1, 12):
        for stride in range(1, size + 1):
            for side in range(size, 100):
                expected = len(reference.windows(side, size, stride))
                assert table.pooled_side(side, size, stride) == expected
                net = table.Net("one pool", side, 3, 1, (table.Pool("pool", size, stride),))
                assert net.layers[0].output_shape == (expected, expected, 3)


@both
@pytest.mark.parametrize(("pool", "f"), [("max_pool", np.max), ("avg_pool", np.mean)])
def test_a_nan_is_seen_by_exactly_the_windows_that_hold_it(ops, pool, f):
    x = random(30, 5, 6, 1)
    x.reshape(30, 30)[np.arange(30), np.arange(30)] = np.nan
    found = np.isnan(getattr(ops, pool)(np.float32(x), 3, 2))
    np.testing.assert_array_equal(found, np.isnan(reference.pool(x, 3, 2, f)))


@both
def test_pools_of_infinities(ops):
    x = random(400, 6, 5, 1)
    which = np.random.default_rng(1).integers(0, 8, x.shape)
    x[which == 0], x[which == 1] = np.inf, -np.inf
    x[0] = -np.inf
    largest = reference.pool(x)
    dy = random(*largest.shape, seed=1)
    found, gradient = value_and_gradients(lambda x: ops.max_pool(x, 3, 2), x, dy)
    np.testing.assert_array_equal(found, np.float32(largest))
    assert_close(gradient, reference.max_pool_gradient(x, dy, 3, 2))
    with np.errstate(invalid="ignore"):  # inf - inf
        mean = reference.pool(x, f=np.mean)
    np.testing.assert_allclose(ops.avg_pool(np.float32(x), 3, 2), mean, rtol=1e-5, atol=1e-5)


@every
@pytest.mark.parametrize(
    ("side", "size", "stride", "pad"), [(20, 11, 4, (0, 3)), (9, 5, 1, (2, 2)), (6, 3, 1, (0, 0))]
)
def test_conv_is_scipys_correlation(ops, side, size, stride, pad):
    x, kernel = random(2, side, side, 3), random(size, size, 3, 4, seed=1)
    padded = np.pad(x, ((0, 0), pad, pad, (0, 0)))

    def correlation(image, o):
        return scipy.signal.correlate(image, kernel[..., o], "valid")[::stride, ::stride, 0]

    expected = np.stack([np.stack([correlation(im, o) for o in range(4)], -1) for im in padded])
    found = ops.conv(np.float32(x), np.float32(kernel), stride, (pad, pad))
    assert_close(found, expected)
    np.testing.assert_allclose(reference.conv(x, kernel, stride, pad), expected)


@given(
    size=st.integers(1, 5),
    beyond=st.integers(0, 4),
    stride=st.integers(1, 4),
    pad=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    maps=st.tuples(st.integers(1, 6), st.integers(1, 3)),
)
@many_sizes
def test_conv_and_its_gradients_are_those_of_the_definition(size, beyond, stride, pad, maps):
    side = size + beyond
    for ops, images in ((plain, 2), (cpu, 2), (cpu, 37), (gpu, 2)):
        x, kernel = random(images, side, side, maps[0]), random(size, size, *maps, seed=1)
        y = reference.conv(x, kernel, stride, pad)
        dy = random(*y.shape, seed=2)
        expected = (y, *reference.conv_gradient(x, kernel, dy, stride, pad))

        def conv(x, kernel, ops=ops):
            return ops.conv(x, kernel, stride, (pad, pad))

        for one, other in zip(value_and_gradients(conv, x, kernel, dy), expected, strict=True):
            assert_close(one, other)


@pytest.mark.parametrize("images", [0, 1, 37])
def test_rectangular_images_and_kernels_with_four_different_borders(images):
    x, kernel = random(images, 7, 9, 3), random(3, 5, 3, 2, seed=1)
    padding = ((0, 1), (3, 2))

    def lax_conv(x, kernel):
        numbers = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), padding, dimension_numbers=numbers)

    def ours(x, kernel):
        return cpu.conv(x, kernel, 1, padding)

    dy = random(images, 6, 10, 2, seed=2)
    found, expected = (value_and_gradients(f, x, kernel, dy) for f in (ours, lax_conv))
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("stride", "channels", "kernel", "own"),
    [
        (4, 3, (3, 3, 48, 2), 1),
        (2, 4, (6, 6, 16, 2), 1),
        (1, 3, (11, 11, 3, 2), 1),
        (4, 5, (11, 11, 5, 2), 4),
    ],
)
def test_for_cudnn_few_channels_at_a_stride_become_many(stride, channels, kernel, own):
    x, kernel_HWIO = jnp.zeros((1, 20, 20, channels)), jnp.zeros((11, 11, channels, 2))
    program = jax.jit(gpu.conv, static_argnums=(2, 3)).trace(x, kernel_HWIO, stride, ((0, 3),) * 2)
    [equation] = [one for one in program.jaxpr.eqns if "conv" in one.primitive.name]
    assert equation.invars[1].aval.shape == kernel
    assert equation.params["window_strides"] == (own, own)


def convolutions(ops, channels: int, stride: int, images: int = 40) -> list[str]:
    """The output shapes of a layer's convolutions: forward, then those of its gradients."""
    x, kernel = jnp.zeros((images, 8, 8, channels)), jnp.zeros((3, 3, channels, 2))

    def layer(*inputs):
        return ops.conv(*inputs, stride, ((1, 1), (1, 1)))

    def gradients(*inputs):
        y, pull = jax.vjp(layer, *inputs)
        return pull(y)

    program = str(jax.make_jaxpr(gradients)(x, kernel))
    return re.findall(r"f32\[([\d,]+)\] = conv_general_dilated", program)


def test_for_eigen_few_channels_give_four_outputs_and_a_kernels_gradient_takes_32_images():
    images, gradient = "40,8,8,3", "3,3,3,2"
    assert len(convolutions(plain, 3, 1)) == 3
    assert convolutions(plain, 3, 1)[0] == "40,8,8,2"
    assert convolutions(cpu, 3, 1) == ["40,8,2,8", images, gradient, gradient]
    assert convolutions(cpu, 3, 2) == ["40,4,4,2", images, gradient, gradient]
    assert convolutions(cpu, 5, 1)[0] == "40,8,8,2"
    assert convolutions(cpu, 3, 1, 32).count(gradient) == 1
    assert convolutions(cpu, 3, 1, 999).count(gradient) == 8


def test_other_nonlinearities_are_numpys_and_scipys():
    x = np.linspace(-9, 9, 37, dtype=np.float32)
    np.testing.assert_allclose(plain.tanh(x), np.tanh(x), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(plain.sigmoid(x), scipy.special.expit(x), rtol=1e-5)
    np.testing.assert_array_equal(plain.none(x), x)


@both
def test_relu_lets_through_what_is_positive(ops):
    x = np.array([-2.0, -0.0, 0.0, 1e-9, 0.5, 3.0, np.inf])
    dy = np.arange(1.0, 8.0)
    y, dx = value_and_gradients(ops.relu, x, dy)
    np.testing.assert_array_equal(y, np.where(x > 0, x, 0).astype(y.dtype))
    np.testing.assert_array_equal(dx, [0, 0, 0, 4, 5, 6, 7])
    assert np.isnan(ops.relu(jnp.float32(np.nan)))


ADDERS = pytest.mark.parametrize(
    "add_bias", [network.add_bias, convolution.add_bias, convolution.add_bias_by_pixel]
)


@ADDERS
def test_a_bias_is_added_at_every_place_and_gets_the_sum_of_what_comes_back(add_bias):
    y, bias, dy = random(3, 4, 5, 6), random(6, seed=1), random(3, 4, 5, 6, seed=2)
    found, gradient, bias_gradient = value_and_gradients(add_bias, y, bias, dy)
    assert_close(found, y + bias)
    assert_close(gradient, dy)
    assert_close(bias_gradient, dy.sum((0, 1, 2)))


@given(
    size=st.integers(1, 3),
    beyond=st.integers(0, 3),
    pad=st.integers(0, 1),
    maps=st.tuples(st.integers(1, 3), st.integers(1, 3)),
)
@many_sizes
def test_local_and_its_gradients_are_those_of_the_definition(size, beyond, pad, maps):
    side = size + beyond
    out = beyond + 2 * pad + 1
    x, kernel = random(2, side, side, maps[0]), random(out, out, size**2, *maps, seed=1)
    y = reference.local(x, kernel, size, pad)
    dy = random(*y.shape, seed=2)
    found = value_and_gradients(lambda *a: plain.local(*a, size, ((pad, pad),) * 2), x, kernel, dy)
    for one, expected in zip(
        found, (y, *reference.local_gradient(x, kernel, dy, size, pad)), strict=True
    ):
        assert_close(one, expected)


@every
def test_conv1_sees_zeros_below_and_right_only(ops):
    x = np.zeros((1, 224, 224, 1), np.float32)
    x[0, 0, 0] = x[0, 223, 223] = 1
    kernel = 1 + np.arange(121, dtype=np.float32).reshape(11, 11, 1, 1)
    found = np.array(ops.conv(x, kernel, 4, ((0, 3), (0, 3))))[0, :, :, 0]
    assert found.shape == (55, 55)
    assert found[0, 0] == kernel[0, 0, 0, 0]  # the first patch starts at the corner itself
    assert found[54, 54] == kernel[7, 7, 0, 0]  # the 55th at 216: pixel 223 is its eighth


@pytest.mark.parametrize("kernels", FORMS, ids=["plain", "cpu", "gpu"])
@given(sizes=st.tuples(*[st.integers(1, 9)] * 4))
@many_sizes
def test_dense_layers_and_their_gradients_are_products_of_each_tower(kernels, sizes):
    towers, images, inputs, outputs = sizes
    x, kernel = random(towers, images, inputs), random(towers, inputs, outputs, seed=1)
    bias, dy = random(towers, outputs, seed=2), random(towers, images, outputs, seed=3)

    def layer(x, kernel, bias):
        return jnp.stack(kernels.dense(list(x), kernel, bias))

    y, dx, dkernel, dbias = value_and_gradients(layer, x, kernel, bias, dy)
    for t in range(towers):
        assert_close(y[t], x[t] @ kernel[t] + bias[t])
        assert_close(dx[t], dy[t] @ kernel[t].T)
        assert_close(dkernel[t], x[t].T @ dy[t])
        assert_close(dbias[t], dy[t].sum(0))


@pytest.mark.parametrize("kernels", FORMS, ids=["plain", "cpu", "gpu"])
def test_dense_sums_bfloat16_in_float32(kernels):
    x, kernel = np.full((1, 4096), 1, jnp.bfloat16), np.full((1, 4096, 1), 1, jnp.bfloat16)
    [y] = kernels.dense([x], kernel, np.zeros((1, 1), jnp.bfloat16))
    assert y == 4096  # summed in bfloat16 it would stay at 256


@pytest.mark.parametrize("kernels", FORMS[1:], ids=["cpu", "gpu"])
def test_towers_that_read_the_same_maps_are_one_convolution_and_change_nothing(kernels):
    x, own = random(2, 6, 6, 3), random(2, 2, 6, 6, 3, seed=1)
    kernel, bias = random(2, 3, 3, 3, 4, seed=2), random(2, 4, seed=3)
    how = (1, ((1, 1), (1, 1)))
    for same, count in ((True, 1), (False, 2)):

        def layer(x, own, kernel, bias, kernels=kernels, same=same):
            return jnp.stack(kernels.conv([x, x] if same else list(own), kernel, bias, *how))

        inputs = tuple(map(np.float32, (x, own, kernel, bias)))
        program = str(jax.make_jaxpr(layer)(*inputs))
        assert kernels is CPU or program.count("conv_general_dilated[") == count
        dy = random(2, 2, 6, 6, 4, seed=4)
        plain_layer = functools.partial(layer, kernels=PLAIN)
        found, expected = (value_and_gradients(f, *inputs, dy) for f in (layer, plain_layer))
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_local_has_a_filter_for_each_position():
    kernel = np.zeros((2, 2, 9, 1, 1), np.float32)
    kernel[0, 0, 1] = kernel[1, 0, 8] = 1  # what is above here, what is below and right there
    x = np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1)
    found = plain.local(x, kernel, 3, ((0, 0), (0, 0)))
    np.testing.assert_array_equal(found[0, :, :, 0], [[1, 0], [14, 0]])


def test_local_with_equal_filters_is_a_convolution():
    x, kernel = np.float32(random(2, 6, 6, 3)), np.float32(random(3, 3, 3, 4, seed=1))
    everywhere = np.broadcast_to(kernel.reshape(9, 3, 4), (6, 6, 9, 3, 4))
    pad = ((1, 1), (1, 1))
    found = plain.local(x, everywhere, 3, pad)
    np.testing.assert_allclose(found, plain.conv(x, kernel, 1, pad), rtol=1e-5, atol=1e-5)


BFLOAT16 = {  # of [2, 6, 7, 4] images, by float64 numpy
    "max_pool": ((3, 2), reference.pool),
    "avg_pool": ((3, 2), functools.partial(reference.pool, f=np.mean)),
    "response_norm": ((5, 2.0, 0.1, 0.75, "maps"), reference.norm),
    "response_norm over space": ((5, 2.0, 0.1, 0.75, "space"), reference.norm),
}


@both
@pytest.mark.parametrize("op", BFLOAT16)
def test_bfloat16_passes_through_with_its_two_to_three_digits(ops, op):
    how, definition = BFLOAT16[op]
    x = jnp.asarray(random(2, 6, 7, 4), jnp.bfloat16)
    y, pull = jax.vjp(lambda x: getattr(ops, op.split()[0])(x, *how), x)
    assert y.dtype == jnp.bfloat16
    expected = definition(np.float64(x), *how)
    np.testing.assert_allclose(np.float64(y), expected, rtol=0.03, atol=0.01)
    [dx] = pull(jnp.ones_like(y))
    assert dx.dtype == jnp.bfloat16
    assert np.isfinite(np.float64(dx)).all()


@pytest.mark.parametrize("kernels", [PLAIN, GPU], ids=["plain", "gpu"])
@pytest.mark.parametrize("layer", ["conv", "dense"])
def test_the_gradient_of_a_bias_is_not_summed_in_bfloat16(kernels, layer):
    """At 256, another 1 no longer changes a sum in bfloat16; conv1 adds up 387,200 numbers."""
    x, weights = ((2, 9, 9, 4), (3, 3, 4, 5)) if layer == "conv" else ((7, 6), (6, 5))
    x, kernel_T = (jnp.ones(shape, jnp.bfloat16) for shape in (x, (1, *weights)))
    how = (1, ((1, 1), (1, 1))) if layer == "conv" else ()

    def total(bias_T):
        [y] = getattr(kernels, layer)([x], kernel_T, bias_T, *how)
        return y.astype(jnp.float32).sum()

    program = jax.make_jaxpr(jax.grad(total))(jnp.zeros((1, 5), jnp.bfloat16))
    sums = [
        (
            one.invars[0].aval.dtype,
            np.prod([one.invars[0].aval.shape[n] for n in one.params["axes"]]),
        )
        for one in program.eqns
        if "reduce_sum" in str(one.primitive)
    ]
    assert {str(dtype) for dtype, terms in sums if terms > 1} == {"float32"}


@pytest.mark.slow
def test_convolutions_in_bfloat16():
    x = jnp.asarray(random(2, 5, 5, 3), jnp.bfloat16)
    kernel = jnp.asarray(random(3, 3, 3, 4, seed=1), jnp.bfloat16)
    filters = jnp.asarray(random(5, 5, 9, 3, 4, seed=1), jnp.bfloat16)
    pads = ((1, 1), (1, 1))
    for found, expected in (
        (plain.conv(x, kernel, 1, pads), reference.conv(*map(np.float64, (x, kernel)), 1, (1, 1))),
        (plain.local(x, filters, 3, pads), reference.local(*map(np.float64, (x, filters)), 3, 1)),
        (cpu.conv(x, kernel, 1, pads), reference.conv(*map(np.float64, (x, kernel)), 1, (1, 1))),
    ):
        assert found.dtype == jnp.bfloat16
        np.testing.assert_allclose(np.float64(found), expected, rtol=0, atol=0.1)
