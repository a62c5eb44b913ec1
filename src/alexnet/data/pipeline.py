"""From a store to batches: shuffled and endless for training, each example once for evaluation."""

import functools
import sys
from collections.abc import Callable, Iterator

import grain
import numpy as np

from alexnet.data.store import Store
from alexnet.devices.cores import cpu_count
from alexnet.errors import require

Batch = dict[str, np.ndarray]  # "image" uint8 (b, S, S, 3), "label" int32 (b,)


def train_batches(
    store: Store,
    *,
    batch_size: int,
    seed: int,
    start_step: int = 0,
    threads: int | None = None,
    part: int = 0,
    parts: int = 1,
) -> Iterator[Batch]:
    """Endless batches from step `start_step` on; every example once an epoch.

    Each epoch has its own order, a function of (seed, epoch); a batch may straddle two epochs.
    Part p of P gets rows [p*b, (p+1)*b) of the global batch, b = batch_size / P, so a step sees the
    same images with any number of parts and threads.
    """
    per_part = _per_part(batch_size, parts)
    examples = train_examples(store.counts["train"], seed)

    def read(step: int) -> Batch:
        first = step * batch_size + part * per_part
        images, labels = store.read("train", examples(first, per_part))
        return {"image": images, "label": labels}

    return _in_threads(grain.MapDataset.range(start_step, sys.maxsize).map(read), threads)


def train_examples(count: int, seed: int) -> Callable[[int, int], list[int]]:
    """f(first, n) -> the numbers of the training images that a run sees at places first..first+n-1.

    Places are counted from the start of the run; each epoch shuffles all `count` images.
    """

    @functools.lru_cache(maxsize=2)  # a batch may straddle two epochs
    def epoch_order(epoch: int) -> np.ndarray:
        return np.random.default_rng([seed, epoch]).permutation(count)

    def examples(first: int, n: int) -> list[int]:
        epochs, rows = np.divmod(np.arange(first, first + n), count)
        orders = [epoch_order(int(epoch))[rows[epochs == epoch]] for epoch in np.unique(epochs)]
        return np.concatenate([*orders, np.empty(0, np.int64)]).tolist()

    return examples


def eval_batches(
    store: Store,
    split: str,
    *,
    batch_size: int,
    part: int = 0,
    parts: int = 1,
) -> Iterator[Batch]:
    """Every example of `split` once, in order; the last batch is padded to `batch_size`.

    Padding is black images with label -1. Processes share each batch as in training, and all get
    the same number of batches.
    """
    per_part = _per_part(batch_size, parts)
    count = store.counts[split]

    def read(step: int) -> Batch:
        first = step * batch_size + part * per_part
        images, labels = store.read(split, range(first, min(first + per_part, count)))
        if fill := per_part - len(labels):
            images = np.pad(images, ((0, fill), (0, 0), (0, 0), (0, 0)))
            labels = np.pad(labels, (0, fill), constant_values=-1)
        return {"image": images, "label": labels}

    steps = -(-count // batch_size)
    return _in_threads(grain.MapDataset.range(steps).map(read))


def _in_threads(batches: grain.MapDataset, threads: int | None = None) -> Iterator[Batch]:
    """Batches read ahead by `threads` threads: decoding releases the GIL.

    Decoding a 256 x 256 JPEG takes a core .3 ms; on few cores, more threads than cores hide the
    disk. The cores are those of this moment, as a sweep's worker is pinned after its imports.
    """
    threads = min(max(4, cpu_count()), 16) if threads is None else threads
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads + 4)
    return iter(batches.to_iter_dataset(options))


def _per_part(batch_size: int, parts: int) -> int:
    divides = batch_size >= 1 and batch_size % parts == 0
    needs = f"must be a positive multiple of {parts}, the number of parts that processes read"
    require("batch_size", batch_size, divides, needs)
    return batch_size // parts
