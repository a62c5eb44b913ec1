"""Learning rates over time (section 5), per-layer rates, and when the colour noise ends.

A schedule is a pure function of (epochs done, validation errors so far), so that a resumed run
needs nothing but its own history. `config.schedule` holds `kind`, one of SCHEDULES, and that
class's arguments.
"""

import dataclasses
import inspect
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from alexnet import config as configs
from alexnet.errors import UserError, choice, is_number, nearest, require
from alexnet.training.optimizer import LARGEST, Rates


class Hyperparameters(NamedTuple):
    """Arguments of each training step: scalars, so that nothing is recompiled."""

    rates: Rates
    colour_noise: np.float32  # 1 on, 0 off


@dataclasses.dataclass(frozen=True, kw_only=True)
class Schedule:
    """One rate for all kernels, `bias_factor` times it for all biases, and events.

    Attributes:
        rate: the learning rate at the start, eps in the paper.
        bias_factor: the biases' rate divided by the kernels'; 2 in the source.
        bias_drops: False leaves the biases at rate * bias_factor when the kernels' rate drops, as
            run 145 did: the final `layer-params-145.cfg` has epsB .02 beside epsW .00001.
        events: (epoch, name, value), each in force from that epoch on, unless one after it in the
            list sets the same. A layer's name, such as "conv1", sets its kernel's rate to the value
            and its bias's to `bias_factor` times it; 0 freezes the layer. "conv1.kernel" or
            "conv1.bias" sets one of the two rates. "colour_noise" is 1 or 0.
    """

    rate: float
    bias_factor: float = 2.0
    bias_drops: bool = True
    events: Sequence[tuple[float, str, float]] = ()

    def __post_init__(self) -> None:
        """Raises UserError for an impossible value."""
        for name in ("rate", "bias_factor"):
            value = getattr(self, name)
            require(name, value, value >= 0, "must be 0 or more")
            require(name, value, value <= LARGEST, f"must be at most {LARGEST:g}")
        for event in self.events:
            if not _is(event, float, str, float) or not 0 <= event[2] <= LARGEST:
                raise UserError(
                    f"{event!r} is not (epoch, name, value from 0 to {LARGEST:g})",
                    "events",
                )
            if event[1] == "colour_noise" and event[2] not in (0, 1):
                raise UserError(f"{event!r}: colour_noise is 1, on, or 0, off", "events")

    def base_rate(self, epoch: float, errors: Sequence[float]) -> float:
        """The kernels' rate after `epoch` epochs, given the validation top-1 errors so far."""
        return self.rate

    def bias_rate(self, epoch: float, errors: Sequence[float]) -> float:
        """The biases' rate."""
        rate = self.base_rate(epoch, errors) if self.bias_drops else self.rate
        return rate * self.bias_factor

    def __call__(
        self, epoch: float, errors: Sequence[float], layers: Iterable[str]
    ) -> Hyperparameters:
        """The hyperparameters after `epoch` epochs.

        Raises:
            UserError: if an event names a layer that is not among `layers`, or for a rate that is
                negative, huge or not a number.
        """
        rate, bias_rate = self.base_rate(epoch, errors), self.bias_rate(epoch, errors)
        layers = tuple(layers)
        for value in (rate, bias_rate):  # also of a schedule that a user has added
            good = 0 <= value <= LARGEST
            require(f"rate at epoch {epoch:.4g}", value, good, f"must be from 0 to {LARGEST:g}")
        values = {"colour_noise": 1.0}
        for name in layers:
            values |= {f"{name}.kernel": rate, f"{name}.bias": bias_rate}
        for at, name, value in self.events:
            changes = {name: value}
            if f"{name}.kernel" in values:
                changes = {f"{name}.kernel": value, f"{name}.bias": value * self.bias_factor}
            elif name not in values:
                raise UserError(f"the net has no {name!r}{nearest(name, values)}", "events")
            if epoch >= at:
                values |= changes
        rates = {
            name: {part: np.float32(values[f"{name}.{part}"]) for part in ("kernel", "bias")}
            for name in layers
        }
        return Hyperparameters(rates, np.float32(values["colour_noise"]))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Milestones(Schedule):
    """Rates by epoch, as the source's logs note them; without milestones the rate is constant.

    Attributes:
        milestones: (epoch, rate), in force from that epoch on.
    """

    milestones: Sequence[tuple[float, float]] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        for milestone in self.milestones:
            good = _is(milestone, float, float) and 0 <= min(milestone) <= max(milestone) <= LARGEST
            if not good:
                needs = f"(epoch of 0 or more, rate from 0 to {LARGEST:g})"
                raise UserError(f"{milestone!r} is not {needs}", "milestones")
        epochs = [epoch for epoch, _ in self.milestones]
        if epochs != sorted(set(epochs)):
            raise UserError("list them in the order of their epochs, each once", "milestones")

    def base_rate(self, epoch: float, errors: Sequence[float]) -> float:
        current = self.rate
        for at, rate in self.milestones:
            if epoch >= at:
                current = rate
        return current


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plateau(Schedule):
    """Section 5: divides the rate by 10 when the validation error stops improving, three times.

    Attributes:
        factor: the divisor of the rate at each drop.
        drops: how many times the rate drops at most.
        patience: validations in a row without a new best that count as "stopped improving"; the
            text does not say.
        improvement: an error (a fraction of 1) must fall by more than this to be a new best.
    """

    factor: float = 10.0
    drops: int = 3
    patience: int = 5
    improvement: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in (("factor", 1), ("drops", 0), ("patience", 1), ("improvement", 0)):
            value = getattr(self, name)
            require(name, value, value >= least, f"must be at least {least}")

    def base_rate(self, epoch: float, errors: Sequence[float]) -> float:
        best, stale, dropped = float("inf"), 0, 0
        for error in errors:
            if error < best - self.improvement:
                best, stale = error, 0
            else:
                stale += 1
            if stale == self.patience and dropped < self.drops:
                dropped, stale = dropped + 1, 0
        return self.rate / self.factor**dropped


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stepwise(Schedule):
    """cuda-convnet2's `dexp`: rates that fall by one factor at equal intervals.

    Step i of n has the rate rate / divisor^(i / (n - 1)) and lasts up to and including (i + 1) / n
    of the run (`lr.cu`, DiscreteExpParameterSchedule). The biases have their own steps.

    Attributes:
        epochs: the length of the run, `config.epochs`.
        divisor: the last of the rates is rate / divisor.
        steps: how many different rates there are.
        bias_divisor, bias_steps: the same for the biases, whose first rate is rate * bias_factor.
    """

    epochs: float
    divisor: float = 250.0
    steps: int = 4
    bias_divisor: float = 10.0
    bias_steps: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in (("divisor", 1), ("steps", 2), ("bias_divisor", 1), ("bias_steps", 2)):
            value = getattr(self, name)
            require(name, value, value >= least, f"must be at least {least}")

    def base_rate(self, epoch: float, errors: Sequence[float]) -> float:
        return self.rate / self._divisor(epoch, self.divisor, self.steps)

    def bias_rate(self, epoch: float, errors: Sequence[float]) -> float:
        drop = self._divisor(epoch, self.bias_divisor, self.bias_steps) if self.bias_drops else 1
        return self.rate * self.bias_factor / drop

    def _divisor(self, epoch: float, divisor: float, steps: int) -> float:
        progress = epoch / self.epochs
        step = next((i for i in range(steps) if progress <= (i + 1) / steps), steps - 1)
        return divisor ** (step / (steps - 1))


def _is(values: object, *types: type) -> bool:
    """Whether a config's tuple holds these types; float is any finite number."""
    if not isinstance(values, tuple | list) or len(values) != len(types):
        return False
    return all(
        is_number(value) if kind is float else isinstance(value, kind)
        for value, kind in zip(values, types, strict=True)
    )


SCHEDULES: dict[str, type[Schedule]] = {
    "milestones": Milestones,
    "plateau": Plateau,
    "stepwise": Stepwise,
}


def build(kind: str, *, epochs: float, **options) -> Schedule:
    """The schedule of `config.schedule`, for a run of `epochs`.

    Args:
        kind: which schedule the learning rates follow.
        epochs: the length of the run.
        options: the schedule's own arguments.

    Raises:
        UserError: for an unknown kind or option, or an impossible value.
    """
    choice("kind", kind, SCHEDULES)
    configs.check_options(repr(kind), SCHEDULES[kind], options)
    if "epochs" in inspect.signature(SCHEDULES[kind]).parameters:
        options["epochs"] = epochs
    return SCHEDULES[kind](**options)
