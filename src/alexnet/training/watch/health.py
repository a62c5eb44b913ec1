"""A run's health: doubtful settings, and a loss that does not fall."""

import math
from collections import deque
from collections.abc import Iterable, Sequence
from statistics import median

from alexnet.training.run import Run

ALARM_STEPS = 200  # that a loss may stay at that of guessing
ADAMS_RATE = 0.002  # twice adamw's usual rate
TOLERANCE = 0.01  # of ln(classes)


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
