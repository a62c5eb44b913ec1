"""An experiment as data: claims, and the arms that test them; `definition` reads it from a file."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from alexnet import config as configs
from alexnet.errors import UserError
from alexnet.sweeps.essence import essence, folder
from alexnet.workdir import record

ERROR = "top1_error"  # the metric of most experiments
TOP5 = "top5_error"  # of the same, on request; see `Experiment.by_top5`
EPOCHS_TO = "epochs to a training error of "  # the metric of the others; an error follows
DEMONSTRATION = "digits"  # the scale that gets no verdicts


@dataclasses.dataclass(frozen=True)
class Claim:
    """What is claimed about an arm.

    Attributes:
        claim: in a few words.
        paper, log: the numbers as the paper and the authors' code or its web pages give them.
        effect: the claimed difference from the baseline, in points of top-1 error; for epochs, the
            factor; None if no number is claimed.
        between: the differences that the claim's words allow, where these are not exact: (1.5, 2.5)
            for "about 2", (1.0, None) for "more than 1"; None if only the effect is claimed.
        effect_top5: the claimed difference in points of top-5 error; None if no number is claimed.
        direction: if no number is claimed, +1 for a higher metric and -1 for a lower one.
        target: the claimed top-1 error in per cent, for an arm that is compared with no other.
        caveat: what a reader of the verdict should know, in a few words.
        tests: False if this scale cannot test the claim, for the reason in `caveat`: then the
            verdict is "cannot tell", whatever the runs say.
    """

    claim: str
    paper: str = ""
    log: str = ""
    effect: float | None = None
    between: tuple[float | None, float | None] | None = None
    effect_top5: float | None = None
    direction: int = 0
    target: float | None = None
    caveat: str = ""
    tests: bool = True


@dataclasses.dataclass(frozen=True)
class Arm:
    """A way to train, or to evaluate what other arms have trained.

    Attributes:
        config: the config but for its seed; an evaluation has that of the first arm it evaluates.
        overrides: as the file or the command line gives them; "config" is among them only in a
            sweep without a file whose configs vary.
        views: of each image, in an evaluation; see `alexnet.data.augment.VIEWS`.
        of: {arm: how many of its nets are averaged}; empty for an arm that trains.
        starts_from: the arm whose run it starts from, or "".
    """

    name: str
    config: ConfigDict
    overrides: Mapping[str, Any]
    views: str = "centre"
    of: Mapping[str, int] = dataclasses.field(default_factory=dict)
    starts_from: str = ""

    @functools.cached_property
    def essence(self) -> dict[str, Any]:
        """The settings that define its runs; see `alexnet.sweeps.essence`."""
        return essence(configs.plain(self.config))


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One claim, or a few, at one scale.

    Attributes:
        title: the first line of the file's docstring.
        arms: by name, the baseline first.
        seeds: how many are planned.
        metric: `top1_error`, `top5_error`, or "epochs to a training error of 0.25".
        source: the file and scale, and the command line's settings; "" for a sweep without a file.
    """

    name: str
    scale: str
    title: str
    arms: Mapping[str, Arm]
    claims: Mapping[str, Claim]
    seeds: int
    metric: str = ERROR
    source: str = ""

    @property
    def baseline(self) -> str:
        """The arm that the others are compared with."""
        return next(iter(self.arms))

    @property
    def judges(self) -> bool:
        """Whether its claims get verdicts: at every scale but the demonstration."""
        return self.scale != DEMONSTRATION

    @property
    def counts_epochs(self) -> bool:
        """Whether its arms are compared by epochs rather than by errors."""
        return self.metric.startswith(EPOCHS_TO)

    def by_top5(self) -> "Experiment":
        """The same, compared by top-5 errors; itself if it counts epochs."""
        if self.counts_epochs:
            return self
        claims = {
            name: dataclasses.replace(claim, effect=claim.effect_top5, between=None, target=None)
            for name, claim in self.claims.items()
        }
        return dataclasses.replace(self, metric=TOP5, claims=claims)

    def to_json(self) -> dict[str, Any]:
        """The experiment as plain values."""
        found = dataclasses.asdict(dataclasses.replace(self, arms={}))
        found["arms"] = [
            {
                **{field.name: getattr(arm, field.name) for field in dataclasses.fields(arm)},
                "config": record.versioned(arm.config),
                "overrides": dict(arm.overrides),
                "of": dict(arm.of),
            }
            for arm in self.arms.values()
        ]
        return found

    @classmethod
    def from_json(cls, found: Mapping[str, Any], where: str = "a plan") -> "Experiment":
        """The experiment that `to_json` of this or an earlier version wrote to the file `where`."""
        arms = [
            Arm(**{**arm, "config": record.current(arm["config"], where)}) for arm in found["arms"]
        ]
        claims = {name: Claim(**claim) for name, claim in found["claims"].items()}
        return cls(**{**found, "arms": {arm.name: arm for arm in arms}, "claims": claims})


def check_distinct(arms: Mapping[str, Arm], where: str) -> None:
    """Raises UserError if results would not tell two arms that train apart; see `essence`."""
    known: dict[str, dict[str, Any]] = {}
    folders: dict[str, str] = {}
    for name, arm in arms.items():
        if (first := folders.setdefault(folder(name), name)) != name:
            raise UserError(
                f"{where}: the runs of {first!r} and {name!r} would have the same folders: "
                "rename one of these arms"
            )
        if arm.of:
            continue
        known[name] = arm.essence
        first = next(other for other, made in known.items() if made == known[name])
        if first == name:
            continue
        differ = [key for key, *_ in configs.differences(arms[first].config, arm.config)]
        if not differ:
            raise UserError(
                f"{where}: the arms {first!r} and {name!r} have the same settings: nothing to "
                "compare"
            )
        raise UserError(
            f"{where}: the arms {first!r} and {name!r} differ only in config.{', '.join(differ)}: "
            "alexnet compare would take their runs for repetitions; train them in different "
            "workdirs"
        )
