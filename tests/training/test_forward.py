"""alexnet.training.forward: which image is which, and what the towers exchange."""

import jax
import numpy as np
import pytest

from alexnet.models import network, table
from alexnet.training import forward

ROWS = (table.Conv("conv1", 4, 1, std=0.1), table.Dense("fc2", 4, std=0.1))
NET = table.Net("small", 3, 4, 2, ROWS)
SHAPES = jax.eval_shape(lambda: network.init(NET, jax.random.key(0)))


def test_images_have_their_numbers_in_the_batch():
    numbers = []

    def inputs(x_BHWC, examples_B):
        numbers.append(list(examples_B))
        return x_BHWC

    logits_of = forward.on_mesh(NET, inputs=inputs)
    params = jax.tree.map(lambda leaf: np.ones(leaf.shape, leaf.dtype), SHAPES)
    x_BHWC = np.ones((5, 3, 3, 3), np.float32)
    whole = logits_of(params, x_BHWC)
    np.testing.assert_array_equal(logits_of(params, x_BHWC[3:], None, np.arange(3, 5)), whole[3:])
    assert numbers == [[0, 1, 2, 3, 4], [3, 4]]  # which crops and dropout go by


@pytest.mark.parametrize(("tower", "exchanged"), [(1, False), (2, True)])
def test_towers_exchange_on_two_devices_alone(tower, exchanged):
    types = (jax.sharding.AxisType.Auto,) * 2
    mesh = jax.sharding.AbstractMesh((1, tower), ("data", "tower"), axis_types=types)
    x_BHWC = np.ones((5, 3, 3, 3), np.float32)
    program = str(jax.make_jaxpr(forward.on_mesh(NET, mesh))(SHAPES, x_BHWC))
    assert ("all_gather" in program) == exchanged
