"""The state of training and the steps that change it or look at it: pure functions, jitted.

    state = init_state(...);  state, sums = train_step(state, batch, hyperparameters, statistics)

Everything is passed in as functions and arrays; nothing here knows the network.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from alexnet.data.augment import VIEWS, Augmentation, evaluation_inputs, training_inputs
from alexnet.data.statistics import Statistics
from alexnet.devices import mesh as meshes
from alexnet.devices import runtime
from alexnet.training import metrics
from alexnet.training.schedule import Hyperparameters

SCOPES = ("augment", "loss", "update")  # names of a step's parts in profiles, beside the layers

# (params, x_BHWC, dropout_key, examples_B) -> logits_BK; without the last two nothing is dropped
Apply = Callable[..., jax.Array]


class TrainState(NamedTuple):
    """Everything that a step changes; arrays only."""

    step: jax.Array  # int32, steps done
    params: Any
    opt_state: Any  # the optimiser's


def state_shardings(mesh: Mesh, params_specs: Any) -> TrainState:
    """Parameters lie as `params_specs` says, opt_state with them, the step's number everywhere."""
    params = meshes.shardings(mesh, params_specs)
    return TrainState(meshes.replicated(mesh), params, params)


def init_state(
    init: Callable[[jax.Array], Any],
    optimizer: optax.GradientTransformation,
    shardings: TrainState,
    seed: int,
) -> TrainState:
    """Step 0, made where it belongs on the mesh; its values do not depend on the mesh."""

    def fresh(key: jax.Array) -> TrainState:
        params = init(key)
        return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params))

    return jax.jit(fresh, out_shardings=shardings)(jax.random.key(seed))


def make_train_step(
    apply: Apply,
    optimizer: optax.GradientTransformationExtraArgs,
    augmentation: Augmentation,
    mesh: Mesh,
    shardings: TrainState,
    seed: int,
    accumulate: int = 1,
) -> Callable[..., tuple[TrainState, metrics.Sums]]:
    """train_step(state, batch, hyperparameters, statistics) -> (state, sums over the batch).

    It donates `state`, which lies and comes back as `shardings` say. The randomness of a step
    depends on `seed` and the step's number alone. With `accumulate` > 1 the batch goes through the
    net in that many parts, for devices with little memory; the gradient is the same up to rounding.
    """

    def train_step(
        state: TrainState,
        batch: dict[str, jax.Array],
        hyperparameters: Hyperparameters,
        statistics: Statistics,
    ) -> tuple[TrainState, metrics.Sums]:
        key = jax.random.fold_in(jax.random.key(seed), state.step)
        augment_key, dropout_key = jax.random.split(key)
        batch_size = batch["label"].shape[0]

        def inputs(images, examples, key, noise_on, statistics):
            with jax.named_scope("augment"):
                return training_inputs(images, key, augmentation, statistics, noise_on, examples)

        own, same = P("data"), P()
        split_inputs = meshes.split(mesh, inputs, (own, own, same, same, same), own)

        def mean_loss(params, part):
            x_BHWC = split_inputs(
                part["image"],
                part["example"],
                augment_key,
                hyperparameters.colour_noise,
                statistics,
            )
            logits_BK = apply(params, x_BHWC, dropout_key, part["example"])
            with jax.named_scope("loss"):
                sums = metrics.sums(jax.nn.log_softmax(logits_BK), part["label"])
            return sums.loss / batch_size, sums

        gradient = jax.grad(mean_loss, has_aux=True)
        total = None
        for part in _parts(batch | {"example": jnp.arange(batch_size)}, mesh, accumulate):
            if total is not None:  # one part after the other, or nothing would be saved
                part, total = jax.lax.optimization_barrier((part, total))
            found = gradient(state.params, part)
            total = found if total is None else jax.tree.map(jnp.add, total, found)
        gradients, sums = total
        with jax.named_scope("update"):
            change, opt_state = optimizer.update(
                gradients, state.opt_state, state.params, rates=hyperparameters.rates
            )
            params = optax.apply_updates(state.params, change)
        return TrainState(state.step + 1, params, opt_state), sums

    return jax.jit(
        train_step,
        donate_argnums=0,
        out_shardings=(shardings, None),  # or the second step would be compiled anew
        compiler_options=runtime.compiler_options(mesh),
    )


def _parts(batch: dict[str, jax.Array], mesh: Mesh, count: int) -> Iterator[dict[str, jax.Array]]:
    """The batch in `count` parts; each takes from every device some of the images it has."""
    data = mesh.shape["data"]
    for number in range(count):

        def part(rows, number=number):
            per_device = rows.reshape(data, count, -1, *rows.shape[1:])
            return per_device[:, number].reshape(-1, *rows.shape[1:])

        yield batch if count == 1 else jax.tree.map(part, batch)


def make_eval_step(
    apply: Apply, augmentation: Augmentation, mesh: Mesh, views: str = "centre"
) -> Callable[..., tuple[metrics.Sums, jax.Array]]:
    """eval_step(params, batch, statistics) -> (sums, log_probs_BK), averaged over `views`."""

    def inputs(images, statistics, view):
        def crop(images, statistics):
            return evaluation_inputs(images, augmentation, statistics, views, view)

        return meshes.split(mesh, crop, (P("data"), P()), P("data"))(images, statistics)

    inputs = jax.jit(inputs, static_argnums=2)
    log_softmax = jax.jit(
        lambda params, x_BHWC: jax.nn.log_softmax(apply(params, x_BHWC)),
        compiler_options=runtime.compiler_options(mesh),
    )
    add = jax.jit(jnp.logaddexp, donate_argnums=0)
    sums = jax.jit(metrics.sums)

    def eval_step(
        params, batch: dict[str, jax.Array], statistics: Statistics
    ) -> tuple[metrics.Sums, jax.Array]:
        # One view after the other: ten at once would need ten times the memory. The logarithm of
        # the mean softmax keeps probabilities too small for float32.
        total = None
        for view in range(VIEWS[views]):
            log_probs = log_softmax(params, inputs(batch["image"], statistics, view))
            total = log_probs if total is None else add(total, log_probs)
        log_probs_BK = total - jnp.log(float(VIEWS[views]))
        return sums(log_probs_BK, batch["label"]), log_probs_BK

    return eval_step
