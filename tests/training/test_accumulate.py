"""Accumulation and mixed precision against the plain step."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support.tiny import tiny_config

from alexnet.devices import mesh as meshes
from alexnet.training import forward, step
from alexnet.training.schedule import Hyperparameters
from alexnet.training.setup import setup


def steps(config, count: int = 3):
    """(losses, parameters) after a few steps at a low rate."""
    config.schedule.rate = 0.0005
    run = setup(config)
    state, losses = run.fresh(), []
    for number, batch in itertools.islice(run.batches(), count):
        state, sums = run.train_step(state, batch, run.hyperparameters(number))
        losses.append(float(sums.loss) / int(sums.count))
    return losses, jax.device_get(state.params), run


pytestmark = pytest.mark.usefixtures("compile_quickly")


@pytest.fixture(scope="module")
def plain(data_dir):
    return steps(tiny_config(data_dir))[:2]


@pytest.mark.slow
@pytest.mark.parametrize("parts", [2, 8])
def test_accumulating_over_parts_of_the_batch_is_the_plain_step(plain, tiny, parts):
    tiny.accumulate = parts
    losses, params, _ = steps(tiny)
    np.testing.assert_allclose(losses, plain[0], rtol=1e-5)
    for mine, theirs in zip(jax.tree.leaves(params), jax.tree.leaves(plain[1]), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-3, atol=1e-6)


def test_parts_of_a_batch_are_not_in_memory_together():
    """XLA says how much it needs for a step of one wide layer; on CPUs it drops barriers."""
    count, wide = 512, 4096
    everywhere = meshes.replicated(meshes.make(towers=1, batch_size=count, data=1))

    def wide_layer(params, images_BSSC, *_):
        x = images_BSSC.reshape(len(images_BSSC), -1) / 255
        return jnp.tanh(jnp.tanh(x @ params["in"]) * params["each"]) @ params["out"]

    def needed(parts: int) -> int:
        shapes = {"in": (12, wide), "each": (wide,), "out": (wide, 10)}
        params = {name: jax.ShapeDtypeStruct(shape, "float32") for name, shape in shapes.items()}
        optimizer = optax.with_extra_args_support(optax.sgd(0.1))
        program = step.make_train_step(
            wide_layer,
            optimizer,
            everywhere,
            functools.partial(meshes.parts, everywhere.mesh, parts),
        )
        state = jax.eval_shape(functools.partial(step.begin, optimizer=optimizer), params)
        batch = {
            "image": jax.ShapeDtypeStruct((count, 2, 2, 3), "uint8"),
            "label": jax.ShapeDtypeStruct((count,), "int32"),
        }
        key = jax.eval_shape(lambda: step.key_of(0))
        given = Hyperparameters(None, None), None, key
        memory = program.lower(state, batch, *given).compile().memory_analysis()
        return memory.temp_size_in_bytes

    one_map = 4 * count * wide
    assert needed(1) > 2 * one_map
    assert needed(8) < needed(1) / 4


@pytest.mark.slow
def test_mixed_precision_follows_the_plain_step(plain, tiny):
    tiny.dtype = "bfloat16"
    losses, params, run = steps(tiny)
    np.testing.assert_allclose(losses, plain[0], rtol=0.02)
    assert losses != plain[0]
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(params))
    x = np.zeros((2, 18, 18, 3), np.float32)
    logits = forward.on_mesh(run.net, run.mesh, **run.how)
    assert logits(jax.device_put(params, meshes.replicated(run.mesh)), x).dtype == np.float32
    text = jax.jit(logits).lower(params, x).as_text()
    assert "bf16" in text


def test_no_more_images_are_evaluated_at_once_than_trained(tiny):
    tiny.accumulate = 2
    run, seen = setup(tiny), []
    program = run._eval_program("centre")

    def counted(params, batch, statistics):
        seen.append(batch["image"].shape[0])
        return program(params, batch, statistics)

    run.programs["centre"] = counted
    state, batch = run.fresh(), next(run.batches())[1]
    loss = run.loss(state.params, batch)
    assert seen == [128, 128]
    sums, _ = program(state.params, batch, run.statistics)
    assert loss == pytest.approx(float(sums.loss) / 256, rel=1e-6)
    assert run.evaluate(state.params).count == 359
    assert seen[2:] == [128] * 3
