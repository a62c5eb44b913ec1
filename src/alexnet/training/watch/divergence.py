"""Finds out that a run diverges, and tells its user what to do."""

import contextlib
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import jax

from alexnet.data.store import Store, load_store
from alexnet.errors import UserError
from alexnet.files import write_json
from alexnet.logs import metrics
from alexnet.text import some
from alexnet.training.run import Run
from alexnet.training.step import TrainState, norms
from alexnet.workdir import record
from alexnet.workdir.record import DIVERGED

RISE = 1.1  # times the first loss: a run that guesses stays below
FAR_GONE = 1e6  # nats: such a loss counts as divergence, and the weights are not saved
FILE = record.DIVERGENCE


class DivergedRun(UserError):
    """A run has diverged, and this says what the user can do.

    Attributes:
        found: the text without the advice, which is for a run on its own.
    """

    def __init__(self, found: str, advice: str):
        super().__init__(f"{found}; {advice}")
        self.found = found


class DivergedError(Exception):
    """A run's numbers are no longer finite, or its loss is FAR_GONE or more.

    Args:
        step: the step at which it happened.
        what: the finding, such as "the loss is nan".
    """

    def __init__(self, step: int, what: str):
        super().__init__(step, what)
        self.step, self.what = step, what


def check_loss(step: int, loss: float, name: str = "loss") -> None:
    """Raises DivergedError for a loss that is NaN, or FAR_GONE or more."""
    if not loss < FAR_GONE:
        raise DivergedError(step, f"the {name} is {loss:.4g}")


def check_state(step: int, state: TrainState) -> None:
    """Raises DivergedError if the parameters or the optimiser's state are not finite."""
    parts = ("parameters", "optimiser's state")
    for name, norm in zip(parts, jax.device_get(norms(state)), strict=True):
        if not math.isfinite(norm):
            raise DivergedError(step, f"the norm of the {name} is {norm:.4g}")


def _files(store: Store) -> tuple[str, ...]:
    """The files of the training images; () if another store has taken the place of this one."""
    with contextlib.suppress(UserError):
        now = load_store(store.path)
        if now and now.contents == store.contents:
            return store.files("train")
    return ()


def rise(workdir: Path, step: int) -> str:
    """How the training loss had risen up to a step, "from 2.3 to 61"; "" if it had not."""
    try:
        rows = metrics.read_log(workdir)
    except UserError:  # there is none yet, or it is damaged
        return ""
    losses = [row["train/loss"] for row in rows if "train/loss" in row and row["step"] <= step]
    if len(losses) < 2 or None in (losses[0], losses[-1]) or losses[-1] <= RISE * losses[0]:
        return ""
    return f"from {losses[0]:.3g} to {losses[-1]:.3g}"


@contextlib.contextmanager
def explained(
    run: Run,
    workdir: Path,
    start: int,
    saved: Callable[[], int | None],
    rate: Callable[[int], float],
    again: str = "the same command",
) -> Iterator:
    """Turns DivergedError into a DivergedRun, with details in `<workdir>/diverged.json`.

    Args:
        start: the step that the run resumed from; 0 if it did not.
        saved: returns the newest step that was saved.
        rate: returns the learning rate of a step.
        again: what starts the run again.
    """
    try:
        yield
    except DivergedError as error:
        step, last = error.step, saved()
        first, now = run.config.schedule.rate, rate(step)
        # Else it is a milestone's or another kind of schedule's, or an event sets a layer's own.
        own = first == now and not getattr(run.schedule, "events", ())
        smaller = f"{'a smaller' if own else 'smaller rates in'} config.schedule{'.rate' * own}"
        examples, epoch = run.examples(step), run.epoch(step)
        if jax.process_index() == 0:
            found = {"step": step, "epoch": epoch, "found": error.what, "examples": examples}
            if files := _files(run.store):
                found["files"] = [files[number] for number in examples]
            with contextlib.suppress(OSError):
                write_json(found | {"last_checkpoint": last}, workdir / FILE)
        then = "from the beginning" if not last else f"from step {last}, the last one saved"
        if start and step <= start + 1:  # what was saved may be to blame
            then += f"; if it fails there again, move {workdir}/checkpoints/{start} away first"
        elif last and (risen := rise(workdir, last)):
            then += f"; by then the loss had risen {risen}: --fresh starts over"
        raise DivergedRun(
            f"{error.what} at step {step} (epoch {epoch:.2f}, training images "
            f"{some([str(number) for number in examples], 3)}, listed in {workdir / FILE}): "
            f"{DIVERGED}",
            advice=f"{again} with {smaller} (here {now:g}) starts again {then}",
        ) from None
