"""Several steps as one program, for nets whose step takes no longer than to start it.

The loop acts between programs only: on its rows, validations, checkpoints, and on signals.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

import jax

from alexnet.data.statistics import Statistics
from alexnet.training import evaluation
from alexnet.training.schedule import Hyperparameters
from alexnet.training.step import Batch, TrainState, TrainStep

Group = list[tuple[int, Batch]]  # steps, each with its batch


class TrainSteps(Protocol):
    """A jitted program of several steps: (state, the sums of each step)."""

    def __call__(
        self,
        state: TrainState,
        batches: Sequence[Batch],
        hyperparameters: Sequence[Hyperparameters],
        statistics: Statistics,
        key: jax.Array,
    ) -> tuple[TrainState, list[evaluation.Sums]]: ...


def groups(
    batches: Iterable[tuple[int, Batch]], size: int, acts: Callable[[int], bool]
) -> Iterator[Group]:
    """`size` steps at a time, or single ones where the loop `acts` after one before the last."""
    ahead: Group = []
    for step, batch in batches:
        ahead.append((step, batch))
        if acts(step) and len(ahead) < size:  # a group of another size would be compiled for it
            yield from ([one] for one in ahead)
            ahead = []
        elif len(ahead) == size:
            yield ahead
            ahead = []
    yield from ([one] for one in ahead)


def make_train_steps(
    train_step: TrainStep,
    shardings: TrainState,
    compiler_options: dict[str, Any] | None = None,
) -> TrainSteps:
    """train_steps(state, batches, hyperparameters, statistics, key) -> (state, sums of each step).

    One program for as many steps as there are batches, each with its hyperparameters; it donates
    `state`. The steps are written out, with barriers between them: as the body of a loop XLA on
    CPUs runs them many times slower, and without barriers it might merge one with the next.

    Args:
        train_step: what `step.make_train_step` made.
    """
    step = inspect.unwrap(train_step)  # not jitted: a call within a program would be compiled apart

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
