"""The overhead of the training loop over the bare step.

    python experiments/benchmarks/loop.py --config=configs/imagenette.py --steps=20
    python experiments/benchmarks/loop.py --config=configs/cifar10.py:80sec --steps=300

Each round times two turns. The bare step runs on one batch that is already on the device: no input,
no augmentation, no logs. The loop is `train_and_evaluate` itself, with a checkpoint in the middle.
Its time comes from its log, from the first row to the last: all of the loop without compiling at
its start, and without the time that it spends in validations and checkpoints. The script prints
medians, and the loop's overhead as a share of its time.
"""

import dataclasses
import statistics
import sys
import tempfile
import time
from pathlib import Path

import checkout  # noqa: F401  before the package
import jax

from alexnet.cli import count, parse, run
from alexnet.devices import runtime
from alexnet.logs import metrics
from alexnet.training.loop import train_and_evaluate
from alexnet.training.setup import setup

OPTIONS = {"steps": ("20", "steps of the loop in a round"), "rounds": ("5", "how many rounds")}


def bare_step(config):
    """seconds(n): a step's time over n steps of the config's net, with nothing around them."""
    run = setup(config)
    plain = dataclasses.replace(run.augmentation, random_crop=False, flip=False, colour_noise=0)
    run = dataclasses.replace(run, augmentation=plain)
    state, hyperparameters = run.fresh(), run.hyperparameters(1)
    _, batch = next(run.batches())

    def seconds(times: int) -> float:
        nonlocal state
        start = time.perf_counter()
        for _ in range(times):
            state, sums = run.train_step(state, batch, hyperparameters)
        jax.block_until_ready((state, sums))
        return (time.perf_counter() - start) / times

    seconds(2)
    return seconds


def loop_seconds(config, folder: str) -> float:
    """A step's time in the loop, from the first row of its log to the last, pauses excluded."""
    with tempfile.TemporaryDirectory(dir=folder) as workdir:
        train_and_evaluate(config, Path(workdir) / "run")
        rows = metrics.read_log(Path(workdir) / "run")
    *_, last = (row for row in rows if "train/loss" in row)
    return config.batch_size / last["train/images_per_second"]


def main(argv: list[str]) -> None:
    config, options = parse(argv, OPTIONS)
    steps, rounds = count("steps", options["steps"], 4), count("rounds", options["rounds"])
    runtime.cache_compilations()
    bare = bare_step(config)
    with config.unlocked():
        config.epochs = steps * config.batch_size / setup(config).store.counts["train"]
        config.log_every, config.checkpoint_every = max(1, steps // 10), steps // 2
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds):
            found.append((bare(max(2, steps // 2)), loop_seconds(config, folder)))
    for step, loop in found:
        print(f"step {step * 1e3:,.1f} ms, loop {loop * 1e3:,.1f} ms, {1 - step / loop:.1%}")
    step, loop = (statistics.median(times) for times in zip(*found, strict=True))
    print(f"medians: step {step * 1e3:,.1f} ms, loop {loop * 1e3:,.1f} ms, {1 - step / loop:.1%}")


if __name__ == "__main__":
    runtime.restart_with_mimalloc()  # as the commands do
    run(lambda: main(sys.argv[1:]))
