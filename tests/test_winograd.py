"""alexnet.winograd: another order of sums for the same convolution, and its gradients."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet import mesh as meshes
from alexnet import model, nets, ops, winograd
from alexnet.table import Conv


@given(
    side=st.integers(3, 9),
    maps=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    pad=st.tuples(st.integers(0, 2), st.integers(0, 2)),
)
@settings(derandomize=True, deadline=None, max_examples=15)
def test_it_is_the_convolution_and_its_gradients(side, maps, pad):
    random = np.random.default_rng(0)
    x = random.normal(size=(2, side, side, maps[0]))
    kernel = random.normal(size=(3, 3, *maps))
    y = reference.conv(x, kernel, 1, pad)
    dy = random.normal(size=y.shape)

    @jax.jit
    def found(x, kernel, dy):
        y, pull = jax.vjp(lambda x, kernel: winograd.conv3x3(x, kernel, (pad, pad)), x, kernel)
        return y, *pull(dy)

    wanted = y, *reference.conv_gradient(x, kernel, dy, 1, pad)
    for actual, expected in zip(found(*map(np.float32, (x, kernel, dy))), wanted, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_it_multiplies_16_times_where_the_definition_does_36_times():
    x, kernel = jnp.zeros((1, 8, 8, 10)), jnp.zeros((3, 3, 10, 10))
    program = str(jax.make_jaxpr(lambda *a: winograd.conv3x3(*a, ((1, 1), (1, 1))))(x, kernel))
    assert "conv_general_dilated" not in program
    assert "f32[16,16,10]" in program  # 16 products for each of 4 x 4 tiles of 2 x 2 outputs


@pytest.mark.parametrize("on", [False, True])
def test_a_net_uses_it_for_its_3x3_convolutions_alone(on):
    net = nets.build("alexnet", classes=10, kernels=(4, 4, 4, 4, 4), hidden=(4, 4), image_size=64)
    mesh = meshes.make(towers=2, batch_size=1, data=1, tower=1)
    apply = model.on_mesh(net, mesh, winograd=on)
    params = jax.eval_shape(lambda: model.init(net, jax.random.key(0)))
    program = str(jax.make_jaxpr(apply)(params, jnp.zeros((1, 64, 64, 3))))
    convolutions = [row for row in net.rows if isinstance(row, Conv)]
    ordinary = sum(not on or row.size != 3 for row in convolutions) * net.towers
    assert program.count("conv_general_dilated[") == ordinary


def test_it_is_as_precise_as_float32_allows_at_alexnets_size():
    random = np.random.default_rng(0)
    x = random.normal(size=(1, 13, 13, 256)).astype(np.float32)
    kernel = random.normal(size=(3, 3, 256, 32)).astype(np.float32)
    padding = ((1, 1), (1, 1))
    exact = reference.conv(x.astype(float), kernel.astype(float), 1, (1, 1))
    error = [
        np.abs(f - exact).max() / np.abs(exact).max()
        for f in (winograd.conv3x3(x, kernel, padding), ops.conv(x, kernel, 1, padding))
    ]
    assert error[0] < 1e-5
    assert error[0] < 20 * error[1]


def test_its_gradients_are_summed_over_devices():
    """Images on two devices, kernels on both alike: the same gradients as on one device."""
    code = """
import jax, jax.numpy as jnp, numpy as np
jax.config.update("jax_num_cpu_devices", 2)
from alexnet.winograd import conv3x3
mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
x = jnp.array(np.random.default_rng(0).normal(size=(4, 5, 5, 3)), jnp.float32)
kernel = jnp.array(np.random.default_rng(1).normal(size=(3, 3, 3, 2)), jnp.float32)
f = lambda x, kernel: conv3x3(x, kernel, ((1, 1), (1, 1)))
P = jax.P
spread = jax.shard_map(f, mesh=mesh, in_specs=(P("data"), P()), out_specs=P("data"))
one, two = (jax.grad(lambda *a: (g(*a) ** 2).sum(), (0, 1))(x, kernel) for g in (f, spread))
for a, b in zip(one, two):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
