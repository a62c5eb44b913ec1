"""Loss (section 3.5) and errors (section 2) over a split, as sums: each example counts once."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Sums:
    """Sums over examples; scalars, float32 and int32."""

    loss: jax.Array  # -log p(label), in nats
    top1_errors: jax.Array  # examples whose label is not the most likely class
    top5_errors: jax.Array  # examples whose label is not among the five most likely
    count: jax.Array


@dataclasses.dataclass(frozen=True)
class Means:
    """The same per example: mean loss in nats, errors as fractions of 1, and the count."""

    loss: float
    top1_error: float
    top5_error: float
    count: int

    def row(self) -> dict[str, Any]:
        """The numbers by name."""
        return dataclasses.asdict(self)


def sums(log_probs_BK: jax.Array, labels_B: jax.Array) -> Sums:
    """Sums over a batch; a label of -1 is padding and does not count.

    Among equal probabilities, the lower class counts as the more likely; NaN is always an error.
    """
    real_B = labels_B >= 0
    true_B1 = jnp.take_along_axis(log_probs_BK, jnp.maximum(labels_B, 0)[:, None], axis=1)
    # `~(<=)` rather than `>`: a NaN must not look like the best.
    ahead_BK = ~(log_probs_BK <= true_B1)
    classes_K = jnp.arange(log_probs_BK.shape[1])
    tied_BK = (log_probs_BK == true_B1) & (classes_K < labels_B[:, None])
    rank_B = jnp.sum(ahead_BK | tied_BK, axis=1)
    rank_B = jnp.where(jnp.isnan(true_B1[:, 0]), 5, rank_B)  # also with fewer than five classes
    return Sums(
        loss=jnp.sum(jnp.where(real_B, -true_B1[:, 0], 0.0)),
        top1_errors=jnp.sum(real_B & (rank_B >= 1), dtype=jnp.int32),
        top5_errors=jnp.sum(real_B & (rank_B >= 5), dtype=jnp.int32),
        count=jnp.sum(real_B, dtype=jnp.int32),
    )


@jax.jit
def add(a: Sums, b: Sums) -> Sums:
    """The sums of both."""
    return jax.tree.map(jnp.add, a, b)


def means(total: Sums) -> Means:
    """Fetches the sums from the device and divides by the count."""
    found = jax.device_get(total)
    count = found.count.item()
    return Means(
        loss=found.loss.item() / count,
        top1_error=found.top1_errors.item() / count,
        top5_error=found.top5_errors.item() / count,
        count=count,
    )


def joined(kept: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """(log_probs_NK, labels_N) of what `evaluate` kept, without padding."""
    log_probs_NK, labels_N = (np.concatenate(parts) for parts in zip(*kept, strict=True))
    real_N = labels_N >= 0
    return log_probs_NK[real_N], labels_N[real_N]


def evaluate(
    eval_step: Callable[[dict[str, jax.Array]], tuple[Sums, jax.Array]],
    batches: Iterable[dict[str, jax.Array]],
    count: int,
    keep: list | None = None,
    stop: Callable[[], object] = lambda: False,
) -> Means | None:
    """Loss and errors over batches with `count` examples, each of which counts exactly once.

    Args:
        eval_step: f(batch) -> (sums over the batch, log_probs_BK).
        keep: a list to fill with each batch's (log_probs_BK, labels_B), float32 and int32, in the
            order of the split; a label of -1 is padding.
        stop: called after each batch; if it returns true, evaluation ends at once, with None.
    """
    total = None
    for batch in batches:
        counted, log_probs_BK = eval_step(batch)
        jax.block_until_ready(total)  # at most two batches in flight, so that a stop is quick
        if keep is not None:
            keep.append(jax.device_get((log_probs_BK, batch["label"])))
        total = counted if total is None else add(total, counted)
        if stop():
            return None
    assert total is not None  # no split is empty
    found = means(total)
    assert found.count == count, f"{found.count} of {count} examples were counted"
    return found
