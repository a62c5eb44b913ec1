"""How much training time checkpoints take, with their digests and checks.

    python experiments/benchmarks/saving.py --config=configs/imagenette.py [--config.batch_size=32]
        [--saves=5] [--every=300]

This script trains, saves --saves times, and prints the median cost of three parts: the two checks
before a save (the norms of the state, and the loss of a batch with the new weights); the time for
which `save` blocks training (the copy to the host and the digests); and the extra time of steps
that run while files are written. A last line gives the total, as a share of --every seconds of
training.
"""

import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence

import checkout  # noqa: F401  before the package
import jax

from alexnet.cli import count, parse, run
from alexnet.training.run import Run
from alexnet.training.setup import setup
from alexnet.training.watch.divergence import check_loss, check_state
from alexnet.workdir.checkpoint import Checkpoints
from alexnet.workdir.record import Progress

OPTIONS = {
    "saves": ("5", "how many saves are timed"),
    "every": ("300", "seconds of training between saves, to compute the share"),
}
PARTS = ("checks", "save", "slower steps")


def main(argv: Sequence[str]) -> None:
    """Prints a line for each part and one for their sum."""
    config, options = parse(argv, OPTIONS)
    saves, every = (count(name, options[name]) for name in OPTIONS)
    trained = setup(config)
    with tempfile.TemporaryDirectory() as folder, Checkpoints(folder) as checkpoints:
        step_seconds, lost = timed(trained, checkpoints, saves)
    print(f"{trained.net.name} on {trained.device}, a step takes {step_seconds:.3f} s")
    for name, seconds in zip(PARTS, lost, strict=True):
        print(f"{name:13} {seconds:.3f} s a save")
    print(f"{'all':13} {sum(lost):.3f} s a save, {sum(lost) / every:.2%} of {every} s of training")


def timed(trained: Run, checkpoints: Checkpoints, saves: int) -> tuple[float, list[float]]:
    """Medians: (seconds per step, seconds that each of PARTS costs per save)."""
    batches, state = iter(trained.batches()), trained.fresh()

    def step() -> float:
        nonlocal state, batch, number
        number, batch = next(batches)
        hyperparameters = trained.hyperparameters(number)
        return clocked(lambda: trained.train_step(state, batch, hyperparameters), keep)

    def keep(found) -> None:
        nonlocal state
        state = found[0]

    number, batch, plain, lost = 0, None, [], []
    step(), trained.loss(state.params, batch), check_state(number, state)  # compiled
    for _ in range(saves):
        own = [step() for _ in range(5)]
        plain += own
        checks = clocked(lambda: check_loss(number, trained.loss(state.params, batch)))
        checks += clocked(lambda: check_state(number, state))
        held = clocked(lambda: checkpoints.save(number, state, Progress(), None))
        beside, saved = [], checkpoints.directory / str(number)
        while not saved.is_dir():
            beside.append(step())
        checkpoints.wait()
        slower = sum(beside) - len(beside) * statistics.median(own)
        lost.append((checks, held, max(slower, 0.0)))
    return statistics.median(plain), [statistics.median(part) for part in zip(*lost, strict=True)]


def clocked(work: Callable, keep: Callable = lambda _: None) -> float:
    """The seconds until the result of `work` is ready. `keep` gets the result."""
    began = time.perf_counter()
    found = work()
    jax.block_until_ready(found)
    taken = time.perf_counter() - began
    keep(found)
    return taken


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        run(lambda: main(sys.argv[1:]))
