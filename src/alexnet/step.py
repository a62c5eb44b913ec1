"""The state of training and the steps that change it or look at it: pure functions, jitted.

    state = init_state(...);  state, sums = train_step(state, batch, knobs, statistics)

Everything is passed in as functions and arrays; nothing here knows the network.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from alexnet import mesh as meshes
from alexnet import metrics
from alexnet.augment import VIEWS, Augmentation, evaluation_inputs, training_inputs
from alexnet.data.statistics import Statistics
from alexnet.schedule import Knobs

Apply = Callable[..., jax.Array]  # (params, x_BHWC, dropout_key or None) -> logits_BK


class TrainState(NamedTuple):
    """Everything that a step changes; arrays only."""

    step: jax.Array  # int32, steps done
    params: Any
    velocity: Any  # the optimiser's


def init_state(
    init: Callable[[jax.Array], Any],
    optimizer: optax.GradientTransformation,
    mesh: Mesh,
    seed: int,
) -> TrainState:
    """Step 0, born in its place on the mesh; the values do not depend on the mesh."""

    def start(key):
        params = init(key)
        return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params))

    key = jax.random.key(seed)
    shardings = meshes.state_shardings(mesh, jax.eval_shape(start, key))
    return jax.jit(start, out_shardings=shardings)(key)


def make_train_step(
    apply: Apply,
    optimizer: optax.GradientTransformationExtraArgs,
    how: Augmentation,
    mesh: Mesh,
    seed: int,
) -> Callable[..., tuple[TrainState, metrics.Sums]]:
    """train_step(state, batch, knobs, statistics) -> (state, sums over the batch); eats `state`.

    The randomness of a step depends on `seed` and the step's number alone.
    """

    def train_step(
        state: TrainState, batch: dict[str, jax.Array], knobs: Knobs, statistics: Statistics
    ) -> tuple[TrainState, metrics.Sums]:
        key = jax.random.fold_in(jax.random.key(seed), state.step)
        augment_key, dropout_key = jax.random.split(key)

        def inputs(images, examples, key, noise_on, statistics):
            return training_inputs(images, key, how, statistics, noise_on, examples)

        x_BHWC = _over_data(mesh, inputs)(
            batch["image"], augment_key, knobs.colour_noise, statistics
        )

        def mean_loss(params):
            logits_BK = apply(params, x_BHWC, dropout_key)
            log_probs_BK = jax.nn.log_softmax(logits_BK)
            sums = metrics.sums(log_probs_BK, batch["label"])
            return sums.loss / batch["label"].shape[0], sums

        gradients, sums = jax.grad(mean_loss, has_aux=True)(state.params)
        change, velocity = optimizer.update(
            gradients, state.velocity, state.params, rates=knobs.rates
        )
        params = optax.apply_updates(state.params, change)
        return TrainState(state.step + 1, params, velocity), sums

    return jax.jit(train_step, donate_argnums=0)


def make_eval_step(
    apply: Apply, how: Augmentation, mesh: Mesh, views: str = "centre"
) -> Callable[..., metrics.Sums]:
    """eval_step(params, batch, statistics) -> sums; averages the softmax over `views`."""

    def inputs(images, statistics, view):
        def crop(images, _, statistics):
            return evaluation_inputs(images, how, statistics, views, view)

        return _over_data(mesh, crop)(images, statistics)

    inputs = jax.jit(inputs, static_argnums=2)
    log_softmax = jax.jit(lambda params, x_BHWC: jax.nn.log_softmax(apply(params, x_BHWC)))
    add = jax.jit(jnp.logaddexp, donate_argnums=0)
    sums = jax.jit(metrics.sums)

    def eval_step(params, batch: dict[str, jax.Array], statistics: Statistics) -> metrics.Sums:
        # One view after the other: ten at once would need ten times the memory. The logarithm of
        # the mean softmax keeps probabilities too small for float32.
        total = None
        for view in range(VIEWS[views]):
            log_probs = log_softmax(params, inputs(batch["image"], statistics, view))
            total = log_probs if total is None else add(total, log_probs)
        return sums(total - jnp.log(float(VIEWS[views])), batch["label"])

    return eval_step


def _over_data(mesh: Mesh, f: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """f(images, their numbers in the global batch, *rest), each device on its own images."""

    def here(images, *rest):
        batch = images.shape[0]
        examples = jax.lax.axis_index("data") * batch + jnp.arange(batch)
        return f(images, examples, *rest)

    def everywhere(images, *rest):
        specs = (P("data"), *(P() for _ in rest))
        return jax.shard_map(here, mesh=mesh, in_specs=specs, out_specs=P("data"))(images, *rest)

    return everywhere
