"""What of a training's time checkpoints cost, with their digests and the checks before them.

    python experiments/benchmarks/saving.py --config=configs/imagenette.py [--config.batch_size=32]
        [--saves=5] [--every=300]

Trains, saves so often, and takes the medians: of the two checks (the norms of the state, the loss
of a batch with the new weights), of the time that `save` holds the training up (the copy to the
host and the digests), and of the time that the steps beside the writing take longer than others. A
line says what share of the time that is, at one save every so many seconds.
"""

import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence

import jax

from alexnet.cli import count, parse, run
from alexnet.training.health import check_loss, check_state
from alexnet.training.setup import KINDS, Run, setup
from alexnet.workdir.checkpoint import Checkpoints
from alexnet.workdir.record import Progress

OPTIONS = {
    "saves": ("5", "how many are timed"),
    "every": ("300", "seconds of training from one save to the next, for the share"),
}
PARTS = ("checks", "save", "slower steps")


def main(argv: Sequence[str]) -> None:
    """Prints a line for each part and one for all."""
    config, options = parse(argv, {"config": (None, ""), **OPTIONS}, KINDS)
    saves, every = (count(name, options[name]) for name in OPTIONS)
    trained = setup(config)
    with tempfile.TemporaryDirectory() as folder, Checkpoints(folder) as checkpoints:
        step_seconds, lost = timed(trained, checkpoints, saves)
    print(f"{trained.net.name} on {trained.device}, a step takes {step_seconds:.3f} s")
    for name, seconds in zip(PARTS, lost, strict=True):
        print(f"{name:13} {seconds:.3f} s a save")
    print(f"{'all':13} {sum(lost):.3f} s a save, {sum(lost) / every:.2%} at one every {every} s")


def timed(trained: Run, checkpoints: Checkpoints, saves: int) -> tuple[float, list[float]]:
    """(seconds a step, the seconds that each of PARTS costs), medians."""
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
    """The seconds until what `work` gives is there, which `keep` takes."""
    began = time.perf_counter()
    found = work()
    jax.block_until_ready(found)
    taken = time.perf_counter() - began
    keep(found)
    return taken


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        run(lambda: main(sys.argv[1:]))
