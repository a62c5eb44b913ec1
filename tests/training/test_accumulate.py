"""Accumulation and mixed precision against the plain step."""

import functools

import jax
import numpy as np
import pytest
from support.tiny import tiny_config

from alexnet.devices import mesh as meshes
from alexnet.models import network
from alexnet.training import optimizer, schedule, step
from alexnet.training.setup import assemble, train_batches


def steps(config, count: int = 3):
    """(losses, parameters) after a few steps at a low rate."""
    run = assemble(config)
    init = functools.partial(network.init, run.net)
    shapes = jax.eval_shape(init, jax.random.key(0))
    sgd = optimizer.momentum_sgd(shapes)
    state = step.init_state(init, sgd, run.shardings, 0)
    train_step = step.make_train_step(
        run.apply, sgd, run.augmentation, run.mesh, run.shardings, 0, config.accumulate
    )
    hyperparameters = schedule.build("milestones", epochs=1.0, rate=0.0005)(0.0, [], shapes)
    losses = []
    batches = train_batches(run, 0)
    for _ in range(count):
        state, sums = train_step(state, next(batches), hyperparameters, run.statistics)
        losses.append(float(sums.loss) / int(sums.count))
    return losses, jax.device_get(state.params), run


@pytest.fixture(scope="module")
def plain(data_dir):
    return steps(tiny_config(data_dir))[:2]


@pytest.mark.parametrize("parts", [2, pytest.param(8, marks=pytest.mark.slow)])
def test_accumulating_over_parts_of_the_batch_is_the_plain_step(plain, tiny, parts):
    tiny.accumulate = parts
    losses, params, _ = steps(tiny)
    np.testing.assert_allclose(losses, plain[0], rtol=1e-5)
    for mine, theirs in zip(jax.tree.leaves(params), jax.tree.leaves(plain[1]), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-3, atol=1e-6)


@pytest.mark.slow
def test_mixed_precision_follows_the_plain_step(plain, tiny):
    tiny.dtype = "bfloat16"
    losses, params, run = steps(tiny)
    np.testing.assert_allclose(losses, plain[0], rtol=0.02)
    assert losses != plain[0]
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(params))
    x = np.zeros((2, 18, 18, 3), np.float32)
    assert run.apply(jax.device_put(params, meshes.replicated(run.mesh)), x).dtype == np.float32
    text = jax.jit(run.apply).lower(params, x).as_text()
    assert "bf16" in text
