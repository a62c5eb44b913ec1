"""Compares arms with their baseline, and gives verdicts on the paper's claims."""

import dataclasses
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from alexnet import config as configs
from alexnet.errors import UserError, nearest
from alexnet.sweeps import plan, results, statistics
from alexnet.sweeps.experiment import EPOCHS_TO, ERROR, Arm, Claim, Experiment
from alexnet.sweeps.results import Result
from alexnet.sweeps.statistics import CANNOT_TELL, Estimate
from alexnet.text import counted

TARGET_POINTS = 1.0  # published errors, such as 26%, are rounded to this


@dataclasses.dataclass(frozen=True)
class Row:
    """The runs of an arm, and their difference from the baseline.

    Attributes:
        values: each seed's error in per cent, or epochs; None for a run that diverged or never
            reached the training error.
        against: the difference from the arm's target if it has one, else from the baseline, in
            points or, for epochs, as the logarithm of a factor; None without any.
        verdict: "" if there is nothing to judge.
        failed: how many of its runs failed; they have no values.
    """

    arm: str
    overrides: Mapping[str, Any]
    values: Mapping[int, float | None]
    against: Estimate | None
    claim: Claim | None
    verdict: str
    failed: int = 0

    @property
    def known(self) -> list[float]:
        """The values that are numbers."""
        return [value for value in self.values.values() if value is not None]

    @property
    def mean(self) -> float | None:
        """The mean of the known values."""
        return float(np.mean(self.known)) if self.known else None

    @property
    def std(self) -> float | None:
        """The sample standard deviation of the known values; None if there is only one."""
        return float(np.std(self.known, ddof=1)) if len(self.known) > 1 else None

    @property
    def has_target(self) -> bool:
        """Whether an error is claimed, rather than a difference from the baseline."""
        return self.claim is not None and self.claim.target is not None


@dataclasses.dataclass(frozen=True)
class Table:
    """The arms of an experiment that have runs, the baseline first.

    Attributes:
        arm_notes: which arms lack values, partners or the baseline's images, or have runs that
            failed or have not finished.
        run_notes: in what the runs differ that arms do not name: commits, devices, cores; a run of
            the baseline counts if it has a partner.
    """

    experiment: Experiment
    dataset: str
    rows: list[Row]
    arm_notes: list[str]
    run_notes: list[str]

    @property
    def notes(self) -> list[str]:
        """What a reader should know about the runs."""
        return [*self.arm_notes, *self.run_notes]

    @property
    def ratio(self) -> bool:
        """Whether arms differ by a factor rather than by points."""
        return self.experiment.metric != ERROR

    def judged(self) -> list[Row]:
        """The rows whose difference from the baseline could get a verdict."""
        return [
            row
            for row in self.rows
            if row.verdict
            and row.against
            and row.against.n >= statistics.LEAST
            and not row.has_target
        ]


def tables(
    found: Sequence[Result],
    experiments: Sequence[Experiment],
    metric: str = "last",
    baseline: str = "",
) -> list[Table]:
    """A table for each experiment that has runs, and one for all other runs.

    If only one arm of an experiment has runs, and another table shows them, it gets no table.

    Args:
        found: finished runs; runs that failed are noted; an arm with a run that has only begun gets
            no verdict.
        metric: the errors of the "last" checkpoint or of the "best", with which no evaluation is
            compared.
        baseline: the arm to compare with, in place of the experiments' own; claims about
            differences are then left out.

    Raises:
        UserError: if there is no such baseline; if runs on one dataset saw different images; if two
            runs of one config and seed differ; if the other runs use different datasets.
    """
    made = placed(found, experiments)
    compared = [_ids(runs) for _, runs in made if sum(map(bool, runs.values())) > 1]
    shown = set().union(*compared)
    return [
        _table(experiment, runs, metric, baseline)
        for experiment, runs in made
        if _ids(runs) in compared or not _ids(runs) <= shown
    ]


def _ids(runs: Mapping[str, list[Result]]) -> set[int]:
    return {id(result) for several in runs.values() for result in several}


def placed(
    found: Sequence[Result], experiments: Sequence[Experiment]
) -> list[tuple[Experiment, dict[str, list[Result]]]]:
    """Each experiment with runs, and its runs by arm; the other runs form one more experiment.

    Failed runs make no arm of that last experiment, but are among those of the same config.

    Raises:
        UserError: if these other runs use different datasets.
    """
    made, used = [], set()
    for experiment in experiments:
        runs = {
            name: [result for result in found if results.matches(result, arm)]
            for name, arm in experiment.arms.items()
        }
        if any(runs.values()):
            made.append((experiment, runs))
            used |= _ids(runs)
    rest = [result for result in found if id(result) not in used]
    counted = [result for result in rest if not result.failure]
    if not counted:
        return made
    last, groups = _grouped(counted)
    for group in groups.values():
        group += [result for result in rest if result.failure and _same(group[0], result)]
    return [*made, (last, groups)]


def _table(
    experiment: Experiment, placed: Mapping[str, list[Result]], metric: str, baseline: str
) -> Table:
    first = baseline or experiment.baseline
    if first not in placed:
        raise UserError(f"no such arm{nearest(first, placed)}", f"baseline={first}")
    order = [first, *(name for name in placed if name != first)]
    runs = {name: _by_seed([one for one in placed[name] if not one.failure]) for name in order}
    failed = {name: _failures(placed[name], runs[name]) for name in order}
    begun = {
        name: [seed for seed, result in seeds.items() if not result.finished]
        for name, seeds in runs.items()
    }
    base_dataset = experiment.arms[first].config.data.name
    values = {
        name: {seed: _value(result, experiment.metric, metric) for seed, result in seeds.items()}
        for name, seeds in runs.items()
    }
    of_last = [
        name
        for name, seeds in runs.items()
        if metric == "best" and any(result.views for result in seeds.values())
    ]
    rows, elsewhere = [], []
    for name in order:
        arm, claim = experiment.arms[name], experiment.claims.get(name)
        if claim is not None and claim.target is None and first != experiment.baseline:
            claim = None  # it is about a difference from the experiment's own baseline
        if not runs[name] and not failed[name]:
            continue
        same, against = arm.config.data.name == base_dataset, None
        if claim is not None and claim.target is not None:
            reached = [value for value in values[name].values() if value is not None]
            against = _estimate([value - claim.target for value in reached])
        elif name != first and same and first not in of_last:
            against = _paired(values[name], values[first], experiment.metric != ERROR)
        if name in of_last:
            against = None
        verdict = _verdict(experiment, against, claim)
        row = Row(name, arm.overrides, values[name], against, claim, verdict, len(failed[name]))
        if begun[name] or (begun[first] and not row.has_target):
            row = dataclasses.replace(row, verdict="")
        rows.append(row)
        if not same and not row.has_target:
            elsewhere.append(name)
    _check_images(runs, experiment)
    dataset = base_dataset.partition(":")[0]
    unpaired = [row.arm for row in rows if row.has_target]
    arm_notes = _arm_notes(values, first, elsewhere, unpaired, experiment.metric)
    arm_notes += [*_lost_notes(begun, failed), *_shared_notes(runs)]
    if of_last:
        names = _listed(of_last)
        arm_notes.append(f"{names}: evaluations are of the last checkpoint: not compared")
    paired = {seed for name in order[1:] for seed in runs[name]} or runs[first].keys()
    compared = [
        result
        for name, seeds in runs.items()
        for seed, result in seeds.items()
        if name != first or seed in paired
    ]
    return Table(experiment, dataset, rows, arm_notes, _run_notes(compared))


def _failures(runs: Sequence[Result], others: Mapping[int, Result]) -> dict[int, str]:
    """By seed, why runs failed; a seed among the `others` is left out, as it did not fail again."""
    found = {run.seed: run.failure for run in runs if run.failure and run.seed not in others}
    return dict(sorted(found.items()))


def _by_seed(runs: Sequence[Result]) -> dict[int, Result]:
    found: dict[int, Result] = {}
    for result in runs:
        other = found.setdefault(result.seed, result)
        if other.last != result.last:
            raise UserError(
                f"{other.name} and {result.name} are two runs of one config and seed with "
                "different results: leave one out"
            )
    return dict(sorted(found.items()))


def _value(result: Result, metric: str, which: str) -> float | None:
    if metric == ERROR:
        error = (result.last if which == "last" else result.best)["top1_error"]
        return None if error is None else 100 * error
    return results.epochs_to(result, float(metric.removeprefix(EPOCHS_TO)))


def _paired(
    ours: Mapping[int, float | None], base: Mapping[int, float | None], ratio: bool
) -> Estimate | None:
    pairs = [
        (value, other)
        for seed, value in ours.items()
        if value is not None and (other := base.get(seed)) is not None
    ]
    return _estimate([math.log(a / b) if ratio else a - b for a, b in pairs])


def _estimate(differences: Sequence[float]) -> Estimate | None:
    return statistics.estimate(differences) if differences else None


def _verdict(experiment: Experiment, against: Estimate | None, claim: Claim | None) -> str:
    if claim is None or against is None or not experiment.judges:
        return ""
    if claim.target is not None:
        return _reached(against)
    effect = claim.effect
    if effect is None and not claim.direction:
        return ""
    if effect is not None and experiment.metric != ERROR:
        effect = math.log(effect)
    return statistics.verdict(against, effect, claim.direction)


def _reached(against: Estimate) -> str:
    """The verdict on a target: contradicted if the whole interval lies above it, else supported.

    "cannot tell" with fewer than 5 runs, or if they could not show a point.
    """
    if against.n < statistics.LEAST or against.smallest is None or against.low is None:
        return CANNOT_TELL
    if against.smallest > TARGET_POINTS:
        return CANNOT_TELL
    return statistics.CONTRADICTED if against.low > 0 else statistics.SUPPORTED


def _arm_notes(
    values: Mapping[str, Mapping[int, float | None]],
    first: str,
    elsewhere: Sequence[str],
    unpaired: Sequence[str],
    metric: str,
) -> list[str]:
    """What a reader should know: of arms trained on other images, without values or partners.

    Args:
        unpaired: the arms that are compared with a claimed error, and so need no partners.
    """
    notes = [f"{name} and {first} saw different images: not compared" for name in elsewhere]
    goal = metric.removeprefix("epochs to ")
    other = "" if metric == ERROR else f" or never reached {goal}"
    never, alone = defaultdict(list), defaultdict(list)
    for name, seeds in values.items():
        never[tuple(seed for seed, value in seeds.items() if value is None)].append(name)
        partners = seeds if name in (*elsewhere, *unpaired) else values[first]
        alone[tuple(seed for seed in seeds if seed not in partners)].append(name)
    for missing, names in never.items():
        if missing:
            notes.append(f"{', '.join(names)} with {_seeds(missing)} diverged{other}")
    for missing, names in alone.items():
        if missing:
            have = "has" if len(names) == 1 else "have"
            notes.append(
                f"{', '.join(names)} {have} {_seeds(missing)}, {first} does not: left out of the "
                "pairs"
            )
    return notes


def _lost_notes(
    begun: Mapping[str, Sequence[int]], failed: Mapping[str, Mapping[int, str]]
) -> list[str]:
    """A note for each arm with runs that have only begun or that failed."""
    notes = [
        f"{name} with {_seeds(seeds)} has not finished: no verdict"
        for name, seeds in begun.items()
        if seeds
    ]
    for name, reasons in failed.items():
        for reason in dict.fromkeys(reasons.values()):
            seeds = [seed for seed, why in reasons.items() if why == reason]
            notes.append(f"{name} with {_seeds(seeds)} failed: {reason}: left out")
    return notes


def _shared_notes(runs: Mapping[str, Mapping[int, Result]]) -> list[str]:
    """A note for each arm of averages that are not independent, as sweeps of other seeds make."""
    notes = []
    for name, seeds in runs.items():
        members = Counter(member for result in seeds.values() for member in result.of)
        if shared := [member for member, count in members.items() if count > 1]:
            notes.append(f"averages of {name} share {_listed(shared)}: they are not independent")
    return notes


def _run_notes(used: Sequence[Result]) -> list[str]:
    notes = []
    commits = Counter(str(result.about.get("commit") or "unknown") for result in used)
    if len(commits) > 1:
        each = ", ".join(f"{_short(name)} ({count})" for name, count in commits.items())
        notes.append(f"runs of different commits: {each}")
    elif any(name.endswith("+") for name in commits):
        notes.append(f"commit {_short(next(iter(commits)))}: with uncommitted changes")
    devices = Counter(str(result.about["device"]) for result in used if result.about.get("device"))
    if len(devices) > 1:
        each = ", ".join(f"{name} ({count})" for name, count in devices.items())
        notes.append(f"runs on different devices: {each}")
    cores = {result.about.get("cores") for result in used} - {None}
    if len(cores) > 1:
        notes.append(f"runs on different numbers of cores: {_listed(sorted(cores))}")
    return notes


def _check_images(runs: Mapping[str, Mapping[int, Result]], experiment: Experiment) -> None:
    """Raises UserError if runs on one dataset saw different images."""
    seen: dict[Any, tuple[str, str]] = {}
    for arm, seeds in runs.items():
        data = experiment.arms[arm].config.data
        for result in seeds.values():
            for split, digest in result.dataset["contents"].items():
                key = data.name, data.image_size, split
                other, name = seen.setdefault(key, (digest, result.name))
                if other != digest:
                    raise UserError(
                        f"{name} and {result.name} saw different {split} images of {data.name}: "
                        "compare them separately"
                    )


# --- Runs that belong to no experiment ------------------------------------------------------------


def _grouped(found: Sequence[Result]) -> tuple[Experiment, dict[str, list[Result]]]:
    """An experiment with an arm for each config, and its runs.

    The first arm is the one that differs from the others in the fewest settings.
    """
    datasets = Counter(results.dataset(result.config["data.name"]) for result in found)
    if len(datasets) > 1:
        each = ", ".join(f"{name} ({count})" for name, count in datasets.items())
        raise UserError(f"runs of different datasets, {each}: compare them separately")
    groups: list[list[Result]] = []
    for result in found:
        for group in groups:
            if _same(group[0], result):
                group.append(result)
                break
        else:
            groups.append([result])
    settings = [results.settings(group[0]) for group in groups]
    far = [sum(_distance(one, other) for other in settings) for one in settings]
    order = sorted(range(len(groups)), key=lambda place: (far[place], groups[place][0].name))
    middle, arms, placed = settings[order[0]], {}, {}
    for place in order:
        overrides = {
            key: settings[place].get(key)
            for key in {**middle, **settings[place]}
            if settings[place].get(key) != middle.get(key)
        }
        name = plan.arm_of(groups[place][0].name)
        while name in arms:
            name += "'"
        config = configs.nested({**groups[place][0].config, "data.name": next(iter(datasets))})
        arms[name] = Arm(name, ConfigDict(config), overrides)
        placed[name] = groups[place]
    count = sum(len(_by_seed(runs)) for runs in groups)  # a run may have been read twice
    return Experiment("", "", counted(count, "run"), arms, {}, 0), placed


def _same(one: Result, other: Result) -> bool:
    return results.settings(one) == results.settings(other)


def _distance(one: Mapping[str, Any], other: Mapping[str, Any]) -> int:
    return sum(one.get(key) != other.get(key) for key in {**one, **other})


def _short(commit: str) -> str:
    return commit[:7] + "+" * commit.endswith("+") if commit != "unknown" else commit


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' * (len(seeds) > 1)} {_listed(seeds)}"


def _listed(values: Sequence[Any]) -> str:
    return ", ".join(map(str, values))
