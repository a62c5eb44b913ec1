"""alexnet.kernels.dense: all towers' products at once, against numpy's in float64."""

import jax.numpy as jnp
import numpy as np
import pytest

from alexnet.kernels import dense


@pytest.mark.parametrize("form", [dense.towers, dense.gpu_towers])
def test_each_tower_has_its_own_product_and_biases(form):
    random = np.random.default_rng(0)
    xs = [jnp.float32(random.normal(size=(4, 2, 2, 3))) for _ in range(2)]
    kernel_TIO = random.normal(size=(2, 12, 5)).astype("f")
    bias_TO = random.normal(size=(2, 5)).astype("f")
    found = form(xs, kernel_TIO, bias_TO)
    assert len(found) == 2
    for y, x, kernel, bias in zip(found, xs, kernel_TIO, bias_TO, strict=True):
        expected = np.float64(x).reshape(4, 12) @ kernel.astype(float) + bias
        np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
