"""The mean of each map, which no net of the paper has."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alexnet.errors import UserError
from alexnet.models import network, ops
from alexnet.models.describe import describe
from alexnet.models.table import Activation, Conv, Dense, GlobalPool, Net

pytestmark = pytest.mark.usefixtures("compile_quickly")


def net(image_size: int = 12, *more: GlobalPool) -> Net:
    return Net(
        "all convolutional",
        image_size,
        classes=6,
        towers=2,
        rows=(
            *(Conv("conv1", 8, 3, stride=2), Activation("relu1")),
            *(Conv("conv2", 12, 3, pad=1, reads="all"), Activation("relu2")),
            *(GlobalPool("pool2"), *more),
            Dense("fc3", 6),
        ),
    )


def test_a_map_becomes_its_mean_and_the_gradient_goes_to_all_of_it_alike():
    random = np.random.default_rng(0)
    x_BHWC, dy_BC = random.normal(size=(2, 5, 7, 3)), random.normal(size=(2, 3))
    with jax.enable_x64(True):
        found, pull = jax.vjp(ops.global_avg_pool, jnp.array(x_BHWC))
        (dx,) = pull(jnp.array(dy_BC))
    sums = [[sum(x_BHWC[b, :, :, c].flat) for c in range(3)] for b in range(2)]
    np.testing.assert_allclose(found, np.array(sums) / 35, rtol=1e-13)
    np.testing.assert_allclose(dx, np.broadcast_to(dy_BC[:, None, None] / 35, dx.shape), rtol=1e-13)


def test_the_layer_after_it_reads_the_means_of_both_towers():
    pooled = net()
    params = network.init(pooled, jax.random.key(0))
    x_BHWC = np.random.default_rng(1).normal(size=(3, 12, 12, 3)).astype(np.float32)
    logits_BK, seen = network.apply(pooled, params, x_BHWC)
    means_BC = seen["relu2"].mean((1, 2))  # both towers' maps, side by side
    np.testing.assert_allclose(seen["pool2"], means_BC, rtol=1e-6)
    kernel = np.concatenate(params["fc3"]["kernel"], -1)  # each tower's classes, from all maps
    np.testing.assert_allclose(logits_BK, means_BC @ kernel, rtol=1e-4, atol=1e-6)


def test_its_shape_and_what_comes_after_it():
    layers = {layer.row.name: layer for layer in net().layers}
    assert layers["pool2"].output_shape == (6,)
    assert (layers["pool2"].neurons, layers["pool2"].parameters) == (12, 0)
    assert layers["fc3"].parameters == 12 * 6 + 6
    assert "pool2  global average pool" in describe(net())
    with pytest.raises(UserError, match="pool3 cannot read 6: it needs maps"):
        _ = net(12, GlobalPool("pool3")).layers


def test_the_parameters_fit_images_of_another_size():
    params = network.init(net(), jax.random.key(0))
    logits_BK, _ = network.apply(net(20), params, np.ones((1, 20, 20, 3), np.float32))
    assert logits_BK.shape == (1, 6)
