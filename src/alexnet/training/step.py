"""The training state, and the jitted pure functions that update or evaluate it.

    state = make_init(...)(key)
    state, sums = make_train_step(...)(state, batch, hyperparameters, statistics, key)

Everything is passed in as functions and arrays; nothing here knows the network, the mesh or how
images become inputs.
"""

import functools
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from alexnet.data.statistics import Statistics
from alexnet.training import evaluation
from alexnet.training.schedule import Hyperparameters

SCOPES = ("augment", "loss", "update")  # a step's parts as profiles name them, besides the layers

Batch = dict[str, jax.Array]  # "image" uint8 [B, S, S, C] and "label" int32 [B]


class TrainState(NamedTuple):
    """Everything that a step changes: arrays, or a matching tree of their shapes or shardings."""

    step: Any  # int32, steps done
    params: Any
    opt_state: Any  # the optimiser's state


# f(params, images_BSSC, key, examples_B, noise_on, statistics) -> logits_BK of one random view of
# each image, with dropout
TrainingForward = Callable[[Any, jax.Array, jax.Array, jax.Array, jax.Array, Statistics], jax.Array]
# f(params, images_BSSC, statistics, view) -> logits_BK of one of the fixed views
EvaluationForward = Callable[[Any, jax.Array, Statistics | None, jax.Array | int], jax.Array]
# f(params, batch, statistics) -> (sums over the batch, log_probs_BK)
EvalStep = Callable[[Any, Batch, Statistics], tuple[evaluation.Sums, jax.Array]]


def begin(params: Any, optimizer: optax.GradientTransformation) -> TrainState:
    """The state at step 0 with these parameters."""
    return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params))


def make_init(
    init: Callable[[jax.Array], Any],
    optimizer: optax.GradientTransformation,
    shardings: TrainState,
) -> Callable[[jax.Array], TrainState]:
    """f(key) -> the state at step 0, laid out as `shardings` say; no value depends on the mesh."""

    def fresh(key: jax.Array) -> TrainState:
        return begin(init(key), optimizer)

    return jax.jit(fresh, out_shardings=shardings)


def state_shardings(
    optimizer: optax.GradientTransformationExtraArgs, shapes: Any, params: Any, everywhere: Any
) -> TrainState:
    """The state's shardings: the optimiser's state lies as its parameters, the rest `everywhere`.

    Args:
        shapes, params: the parameters' shapes and shardings.
    """
    opt_state = optax.tree.map_params(
        optimizer,
        lambda _, sharding: sharding,
        jax.eval_shape(optimizer.init, shapes),
        params,
        transform_non_params=lambda _: everywhere,
    )
    return TrainState(everywhere, params, opt_state)


def key_of(seed: int) -> jax.Array:
    """A run's PRNG key. Its implementation is fixed: another would draw different ones."""
    return jax.random.key(seed, impl="threefry2x32")


def make_train_step(
    forward: TrainingForward,
    optimizer: optax.GradientTransformationExtraArgs,
    shardings: TrainState,
    parts: Callable[[Batch], Iterable[Batch]] = lambda batch: [batch],
    compiler_options: dict[str, Any] | None = None,
) -> jax.stages.Wrapped:
    """train_step(state, batch, hyperparameters, statistics, key) -> (state, sums over the batch).

    The step donates `state` and keeps its `shardings`. Its randomness depends only on the run's
    `key` and the step's number. The key is an argument, so runs with different seeds share one
    program.

    Args:
        parts: splits a batch into parts that go through the net one after the other, to save
            memory; the gradient is the same up to rounding.
    """

    def train_step(
        state: TrainState,
        batch: Batch,
        hyperparameters: Hyperparameters,
        statistics: Statistics,
        key: jax.Array,
    ) -> tuple[TrainState, evaluation.Sums]:
        key = jax.random.fold_in(key, state.step)
        batch_size = batch["label"].shape[0]

        def mean_loss(params, part):
            noise_on, examples_B = hyperparameters.colour_noise, part["example"]
            logits_BK = forward(params, part["image"], key, examples_B, noise_on, statistics)
            with jax.named_scope("loss"):
                sums = evaluation.sums(jax.nn.log_softmax(logits_BK), part["label"])
            return sums.loss / batch_size, sums

        gradient = jax.grad(mean_loss, has_aux=True)
        total = None
        for part in parts(batch | {"example": jnp.arange(batch_size, dtype=jnp.int32)}):
            if total is not None:  # strictly in sequence, or no memory is saved
                part, total = jax.lax.optimization_barrier((part, total))
                part = _after(part, total[0])
            found = gradient(state.params, part)
            total = found if total is None else jax.tree.map(jnp.add, total, found)
        assert total is not None  # a batch has at least one part
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
        out_shardings=(shardings, None),  # or the second step would be recompiled
        compiler_options=compiler_options,
    )


def _after(part: Batch, gradients: Any) -> Batch:
    """The part, which now depends on the gradients: XLA on CPUs drops barriers.

    Without this, all parts would be in memory together. 0 is added to the images, unless gradients
    are not finite, which ends the run.
    """
    some = [gradient[(0,) * gradient.ndim] for gradient in jax.tree.leaves(gradients)]
    nothing = jnp.isnan(functools.reduce(jnp.add, some)).astype(part["image"].dtype)
    return part | {"image": part["image"] + nothing}


@jax.jit
def norms(state: TrainState) -> tuple[jax.Array, jax.Array]:
    """The Euclidean norms of the parameters and of the optimiser's state.

    A norm is infinite or NaN if any of its numbers is, or if the sum of squares overflows float32.
    """

    def norm(tree: Any) -> jax.Array:
        leaves = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.inexact)]
        return optax.tree.norm([x.astype(jnp.float32) for x in leaves])

    return norm(state.params), norm(state.opt_state)


def make_eval_step(
    forward: EvaluationForward,
    count: int = 1,
    compiler_options: dict[str, Any] | None = None,
) -> EvalStep:
    """eval_step(params, batch, statistics) -> (sums, log_probs_BK) of the views' mean (4.1).

    Args:
        count: how many views `forward` has.
    """
    log_softmax = jax.jit(
        lambda *arguments: jax.nn.log_softmax(forward(*arguments)),
        compiler_options=compiler_options,
    )
    add = jax.jit(jnp.logaddexp, donate_argnums=0)
    sums = jax.jit(evaluation.sums)

    def eval_step(
        params: Any, batch: Batch, statistics: Statistics
    ) -> tuple[evaluation.Sums, jax.Array]:
        # One view after the other: ten at once would need ten times the memory. Averaging in log
        # space keeps probabilities that are too small for float32.
        total = None
        for view in range(count):
            log_probs = log_softmax(params, batch["image"], statistics, jnp.int32(view))
            total = log_probs if total is None else add(total, log_probs)
        assert total is not None  # there is at least one view
        log_probs_BK = total - jnp.log(jnp.float32(count))
        return sums(log_probs_BK, batch["label"]), log_probs_BK

    return eval_step
