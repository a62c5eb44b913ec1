"""alexnet.devices.mesh: what one device cannot be asked for."""

import jax
import pytest

from alexnet.devices import mesh
from alexnet.errors import UserError


@pytest.mark.parametrize(
    ("towers", "batch", "data", "tower", "message"),
    [
        (2, 8, 1, 2, r"data: 1 x 2 .data x tower. needs 2 devices, but jax sees 1: cpu"),
        (2, 8, 4, 1, r"data: 4 x 1 .data x tower. needs 4 devices, but jax sees 1: cpu"),
        (2, 8, 1, 3, r"tower=3: the net has 2 tower.s., which do not divide over it"),
        (2, 8, 1, -1, r"tower=-1: the net has 2 tower.s."),
        (2, 8, 3, 1, r"data=3: does not divide the batch of 8 images"),
    ],
)
def test_what_cannot_be(towers, batch, data, tower, message):
    if jax.device_count() > 1:
        pytest.skip("there are more devices")
    with pytest.raises(UserError, match=message):
        mesh.make(towers=towers, batch_size=batch, data=data, tower=tower)


def test_one_device_is_all_of_the_mesh():
    found = mesh.make(towers=2, batch_size=8, data=1, tower=1)
    assert dict(found.shape) == {"data": 1, "tower": 1}
