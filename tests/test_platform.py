"""alexnet.platform: what is chosen for CPUs, and that a user's choice goes first."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest

from alexnet import mesh as meshes
from alexnet import platform


@pytest.fixture(scope="module")
def mesh():
    return meshes.make(towers=2, batch_size=128, data=1, tower=1)


@pytest.mark.parametrize(("batch", "chunk"), [(1, 4), (32, 4), (64, 4), (128, 8), (129, 9)])
def test_on_a_cpu_at_least_4_images_and_at_most_16_chunks(mesh, batch, chunk):
    assert platform.conv_chunk(-1, mesh, batch) == chunk
    assert -(-batch // chunk) <= 16


def test_several_devices_take_their_batch_whole():
    two = SimpleNamespace(size=2, devices=np.array([jax.devices() * 2]))
    assert platform.conv_chunk(-1, two, 128) == 0


def test_what_the_user_asks_for_goes_first(mesh):
    assert platform.conv_chunk(0, mesh, 128) == 0
    assert platform.conv_chunk(32, mesh, 128) == 32
    assert [platform.winograd(asked, mesh) for asked in (-1, 0, 1)] == [True, False, True]
