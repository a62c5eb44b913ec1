"""Loss and errors over a split."""

from collections.abc import Callable, Iterable

import jax

from alexnet.training import metrics
from alexnet.training.step import Batch


def evaluate(
    eval_step: Callable[[Batch], tuple[metrics.Sums, jax.Array]],
    batches: Iterable[Batch],
    count: int,
    keep: list | None = None,
) -> metrics.Means:
    """Loss and errors over batches with `count` examples, each of which counts exactly once.

    Args:
        eval_step: (sums over a batch, log_probs_BK).
        keep: a list to fill with each batch's (log_probs_BK, labels_B) as numpy arrays, in the
            order of the split; a label of -1 is padding.
    """
    total = None
    for batch in batches:
        sums, log_probs_BK = eval_step(batch)
        if keep is not None:
            keep.append(jax.device_get((log_probs_BK, batch["label"])))
        total = sums if total is None else _add(total, sums)
    means = metrics.means(total)
    assert means.count == count, f"{means.count} of {count} examples were counted"
    return means


_add = jax.jit(metrics.add)
