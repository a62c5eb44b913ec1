"""A run's health: doubtful settings, a loss that does not fall, numbers that are not finite."""

import contextlib
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from statistics import median

import jax

from alexnet.data.store import Store, load_store
from alexnet.errors import UserError
from alexnet.files import write_json
from alexnet.logs import metrics
from alexnet.text import some
from alexnet.training.run import Run
from alexnet.training.step import TrainState, norms
from alexnet.workdir.record import DIVERGED

ALARM_STEPS = 200  # that a loss may stay at that of guessing
ADAMS_RATE = 0.002  # twice adamw's usual rate
RISE = 1.1  # times the first loss: a run that guesses stays below
TOLERANCE = 0.01  # of ln(classes)
FAR_GONE = 1e6  # nats: such a loss counts as divergence, and the weights are not saved
FILE = "diverged.json"  # in the workdir of a run that diverged


def warnings(run: Run) -> list[str]:
    """A line for each setting that is possible but probably a mistake."""
    lines, images = [], run.store.counts["train"]
    if run.config.batch_size > images:
        lines.append(
            f"config.batch_size={run.config.batch_size} is more than the {images:,} training "
            "images: a step sees some twice"
        )
    last = run.epoch(run.steps - 1)  # when the last step begins
    for name in ("milestones", "events"):
        late = [entry[0] for entry in getattr(run.schedule, name, ()) if entry[0] > last]
        if late:
            epochs = ", ".join(f"{epoch:g}" for epoch in late)
            lines.append(
                f"the run ends (config.epochs={run.config.epochs:g}) before "
                f"config.schedule.{name} at epoch {epochs}"
            )
    before = run.config.schedule.rate
    for epoch, rate in getattr(run.schedule, "milestones", ()):
        if rate >= before:
            lines.append(
                f"config.schedule.milestones sets the rate to {rate:g} at epoch {epoch:g}, no "
                f"lower than before ({before:g})"
            )
        before = rate
    if run.config.optimizer.name == "adamw" and run.config.schedule.rate > ADAMS_RATE:
        lines.append(
            f"config.schedule.rate={run.config.schedule.rate:g} suits momentum: adamw needs "
            "about 0.001"
        )
    epoch = math.ceil(images / run.config.batch_size)
    often = min(run.config.log_every, run.config.checkpoint_every, epoch)
    if run.config.steps_per_dispatch > often:
        lines.append(
            f"config.steps_per_dispatch={run.config.steps_per_dispatch} has no effect: numbers, "
            f"checkpoints or validations are due every {often} steps"
        )
    if not tells_top5(run):
        lines.append(
            f"with {len(run.store.classes)} classes the top-5 error is always 0: it is not shown"
        )
    return lines


def tells_top5(run: Run) -> bool:
    """Whether there are more than five classes."""
    return len(run.store.classes) > 5


class Alarm:
    """Watches the training loss and warns once if it stays at ln(classes), the loss of guessing.

    Good runs begin at ln(classes) as well, and with 1000 classes stay there for hundreds of steps.
    So the alarm waits for 2 * classes steps, in which each class comes up about
    2 * batch_size times, and then looks at the last 200 steps. A resumed run collects its losses
    anew and, if still stuck, warns again.
    """

    def __init__(self, classes: int):
        self.classes = classes
        self._losses: deque[float] = deque(maxlen=ALARM_STEPS)
        self._spoken = False

    def after(self, step: int, losses: Iterable[float]) -> str:
        """The warning to show after `step`; "" if there is none.

        Args:
            losses: of the steps since the last call, in nats.
        """
        self._losses.extend(losses)
        if self._spoken or step < 2 * self.classes or not guessing(self._losses, self.classes):
            return ""
        self._spoken = True
        loss, chance = median(self._losses), math.log(self.classes)
        return (
            f"the loss has been around {loss:.4g} for {ALARM_STEPS} steps; the loss of guessing is "
            f"ln({self.classes}) = {chance:.4g}; dropout's noise may hide the differences between "
            "images: start again in another workdir, with smaller initial biases, a larger std "
            "(for net alexnet, config.net.init=original) or config.net.dropout=0"
        )


def guessing(losses: Sequence[float], classes: int) -> bool:
    """Whether the median of at least ALARM_STEPS losses is at least 99% of ln(classes).

    There is no upper bound: noise keeps the loss of an untrained net above ln(classes). It takes
    the median because the first losses of a net that does learn may be huge.
    """
    return len(losses) >= ALARM_STEPS and median(losses) >= (1 - TOLERANCE) * math.log(classes)


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
    """Turns DivergedError into a UserError, with details in `<workdir>/diverged.json`.

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
        own = first == now  # else a milestone's, or another kind of schedule's
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
        raise UserError(
            f"{error.what} at step {step} (epoch {epoch:.2f}, training images "
            f"{some([str(number) for number in examples], 3)}, listed in {workdir / FILE}): "
            f"{DIVERGED}; {again} with {smaller} (here {now:g}) starts again {then}"
        ) from None
