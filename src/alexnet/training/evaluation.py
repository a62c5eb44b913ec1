"""Loss and errors of a run's net over a split."""

from collections.abc import Callable

import jax

from alexnet.data import pipeline
from alexnet.devices import mesh as meshes
from alexnet.models import network
from alexnet.training import metrics
from alexnet.training.setup import Run
from alexnet.training.step import make_eval_step


def make_evaluation(
    run: Run, split: str = "validation", views: str = "centre"
) -> Callable[..., metrics.Means]:
    """evaluate(params) -> loss and errors over a split, every example exactly once.

    evaluate(params, keep=[]) also fills that list with each batch's (log_probs_BK, labels_B) as
    numpy arrays, in the order of the split; a label of -1 is padding.
    """
    eval_step = make_eval_step(run.apply, run.augmentation, run.mesh, views)
    add = jax.jit(metrics.add)
    count = run.store.counts[split]
    part, parts = meshes.process_rows(run.mesh)

    def evaluate(params: network.Params, keep: list | None = None) -> metrics.Means:
        batches = pipeline.eval_batches(
            run.store, split, batch_size=run.config.batch_size, part=part, parts=parts
        )
        total = None
        for batch in meshes.put(run.mesh, batches):
            sums, log_probs_BK = eval_step(params, batch, run.statistics)
            if keep is not None:
                keep.append(jax.device_get((log_probs_BK, batch["label"])))
            total = sums if total is None else add(total, sums)
        means = metrics.means(total)
        assert means.count == count, f"{means.count} of {count} examples of {split} were counted"
        return means

    return evaluate
