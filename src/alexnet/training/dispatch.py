"""Several steps as one program, for nets whose steps take no longer than their dispatch.

The loop can act only between programs: to log, validate, save or obey a signal.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax

from alexnet.training.step import Batch, TrainState

Group = list[tuple[int, Batch]]  # steps, each with its batch


def groups(
    batches: Iterable[tuple[int, Batch]], size: int, acts: Callable[[int], bool]
) -> Iterator[Group]:
    """Groups of `size` steps. If `acts(step)` before a group is full, its steps come singly."""
    ahead: Group = []
    for step, batch in batches:
        ahead.append((step, batch))
        if acts(step) and len(ahead) < size:  # a shorter group would be another program
            yield from ([one] for one in ahead)
            ahead = []
        elif len(ahead) == size:
            yield ahead
            ahead = []
    yield from ([one] for one in ahead)


def make_train_steps(
    train_step: jax.stages.Wrapped,
    shardings: TrainState,
    compiler_options: dict[str, Any] | None = None,
) -> jax.stages.Wrapped:
    """train_steps(state, batches, hyperparameters, statistics, key) -> (state, sums of each step).

    The program takes a step for each batch, with that step's hyperparameters, and donates `state`.
    The steps are unrolled, with barriers between them: XLA on CPUs runs the body of a loop many
    times slower, and without barriers it might merge one step with the next.
    """
    step = inspect.unwrap(train_step)  # not jitted: JAX takes compiler options only outermost

    def train_steps(state, batches, hyperparameters, statistics, key):
        found = []
        for batch, now in zip(batches, hyperparameters, strict=True):
            state, sums = step(state, batch, now, statistics, key)
            state, sums = jax.lax.optimization_barrier((state, sums))
            found.append(sums)
        return state, found

    return jax.jit(
        train_steps,
        donate_argnums=0,
        out_shardings=(shardings, None),
        compiler_options=compiler_options,
    )
