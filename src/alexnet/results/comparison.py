"""Compares arms with their baseline, and gives verdicts on the paper's claims."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from alexnet.data.recipe import FOLDER
from alexnet.errors import UserError, nearest
from alexnet.results import arms, curve, notes, statistics
from alexnet.results.arms import Runs
from alexnet.results.result import Result
from alexnet.results.statistics import CANNOT_TELL, Estimate
from alexnet.sweeps.essence import arm_of, folder
from alexnet.sweeps.experiment import EPOCHS_TO, Claim, Experiment
from alexnet.text import some
from alexnet.workdir.record import DIVERGED

TARGET_POINTS = 1.0  # published errors, such as 26%, are rounded to this; 14.2% is judged alike


@dataclasses.dataclass(frozen=True)
class Row:
    """The runs of an arm, and their difference from the baseline.

    Attributes:
        values: each seed's error in per cent, or epochs; None for a run that diverged or never
            reached the training error.
        against: the difference from the arm's target if it has one, else from the baseline, in
            points or, for epochs, as the logarithm of a factor; None without any.
        verdict: "" if there is nothing to judge.
        base: for each seed, the baseline's value that the arm's is compared with; for an average of
            nets, the mean over its members that are runs of the baseline.
        failed: how many of its runs failed; they have no values.
        lost: whether runs diverged or never reached the training error, or averages share nets, so
            that the others cannot decide about the claim.
    """

    arm: str
    overrides: Mapping[str, Any]
    values: Mapping[int, float | None]
    against: Estimate | None
    claim: Claim | None
    verdict: str
    base: Mapping[int, float | None]
    failed: int = 0
    lost: bool = False

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
        run_notes: how the runs differ beyond their arms' settings: commits, devices, cores; a run
            of the baseline counts if it has a partner.
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
        return self.experiment.counts_epochs

    def dataset_of(self, row: Row) -> str:
        """The dataset of an arm, which may differ from the baseline's."""
        return _dataset(self.experiment, row.arm)

    def effect(self, row: Row) -> float | None:
        """The claimed difference, as `Row.against` measures it."""
        return _effect(self.experiment, row.claim)

    def missed(self, row: Row) -> str:
        """How a decided row's interval misses the claimed size: "larger", "smaller" or ""."""
        return _missed(row, self.experiment)

    def judged(self) -> list[Row]:
        """The rows whose difference from the baseline can be tested, and has enough pairs.

        Those with too large a spread count, too: leaving them out would be a choice by the results.
        """
        return [
            row
            for row in self.rows
            if row.verdict
            and row.against
            and row.against.n >= statistics.LEAST
            and not row.has_target
            and not row.lost
            and (row.claim is None or row.claim.tests)
        ]


def tables(
    found: Sequence[Result],
    experiments: Sequence[Experiment],
    metric: str = "last",
    baseline: str = "",
    error: str = "top1",
) -> list[Table]:
    """A table for each experiment that has runs, and one for all other runs on each dataset.

    If only one arm of an experiment has runs, and another table shows them, it gets no table.

    Args:
        found: finished runs; runs that failed, or are missing, are noted; an arm with a run that
            has only begun gets no verdict.
        metric: the errors of the "last" checkpoint or of the "best", with which no evaluation is
            compared.
        baseline: the arm to compare with, in place of the experiments' own; claims about
            differences are then left out. An experiment without such an arm keeps its own.
        error: "top1" or "top5"; claims are then about the top-5 error.

    Raises:
        UserError: if there is no such baseline; if runs on one dataset saw different images; if two
            runs of one config and seed differ.
    """
    made = [
        (experiment.by_top5() if error == "top5" else experiment, runs)
        for experiment, runs in arms.placed(found, experiments)
    ]
    if baseline and not any(baseline in runs for _, runs in made):
        names = list(dict.fromkeys(name for _, runs in made for name in runs))
        raise UserError(
            f"no such arm: choose one of {some(names, 8)}{nearest(baseline, names)}",
            f"baseline={baseline}",
        )
    compared = [arms.ids(runs) for _, runs in made if sum(map(bool, runs.values())) > 1]
    shown = set().union(*compared)
    return [
        _table(experiment, runs, metric, baseline)
        for experiment, runs in made
        if arms.ids(runs) in compared or not arms.ids(runs) <= shown
    ]


def _table(
    experiment: Experiment, placed: Mapping[str, list[Result]], metric: str, baseline: str
) -> Table:
    first = baseline if baseline in placed else experiment.baseline
    order = [first, *(name for name in placed if name != first)]
    runs = {name: arms.by_seed(placed[name]) for name in order}
    arms.check_images(runs, experiment)
    values = {
        name: {seed: _value(one, experiment, metric) for seed, one in of.results.items()}
        for name, of in runs.items()
    }
    datasets = {name: experiment.arms[name].config.data.name for name in order}
    of_last = [name for name in order if metric == "best" and runs[name].evaluated]
    rows = []
    for name in order:
        if not runs[name].results and not runs[name].failures:
            continue
        claim, against, base = experiment.claims.get(name), None, {}
        if claim is not None and claim.target is None and first != experiment.baseline:
            claim = None  # it is about a difference from the experiment's own baseline
        if name not in of_last:
            if claim is not None and claim.target is not None:
                reached = [value for value in values[name].values() if value is not None]
                against = _estimate([value - claim.target for value in reached])
            elif name != first and first not in of_last and datasets[name] == datasets[first]:
                base = _base(runs[name], values[_alike(name, first, runs, experiment)], first)
                against = _paired(values[name], base, experiment.counts_epochs)
        arm, failed = experiment.arms[name], len(runs[name].failures)
        row = Row(name, arm.overrides, values[name], against, claim, "", base, failed)
        if not runs[name].begun and (row.has_target or not runs[first].begun):
            lost = _lost(row, first, runs, experiment)
            verdict = _verdict(experiment, against, claim, lost)
            row = dataclasses.replace(row, verdict=verdict, lost=lost)
        rows.append(row)
    free = [row.arm for row in rows if row.has_target]
    elsewhere = [
        row.arm for row in rows if datasets[row.arm] != datasets[first] and not row.has_target
    ]
    here = {name: of for name, of in runs.items() if name not in elsewhere}
    used = _compared(here, first, experiment)
    about_arms = [
        *notes.caveats({row.arm: row.claim for row in rows}),
        *notes.images(elsewhere, first),
        *notes.never(values, runs, experiment),
        *notes.guessing(runs),
        *notes.equal({row.arm: row.against for row in rows if not row.has_target}, first),
        *notes.partners(values, first, {*free, *elsewhere}),
        *notes.unfinished(runs),
        *notes.unplanned({row.arm: runs[row.arm] for row in rows if row.claim}, experiment),
        *notes.too_few(_needed(rows, experiment)),
        *notes.sizes({row.arm: _missed(row, experiment) for row in rows}),
        *notes.failures(runs),
        *notes.changed(runs),
        *notes.shared(runs),
        *notes.intervals(used, experiment),
        *notes.of_last(of_last),
        *notes.views({row.arm: _alike(row.arm, first, runs, experiment) for row in rows}, first),
    ]
    return Table(experiment, _dataset(experiment, first), rows, about_arms, notes.machines(used))


def _dataset(experiment: Experiment, arm: str) -> str:
    """The name of an arm's dataset, or "folder"."""
    name = experiment.arms[arm].config.data.name
    return "folder" if name.startswith(FOLDER) else name


def _compared(runs: Mapping[str, Runs], first: str, experiment: Experiment) -> list[Result]:
    """All runs of some arms, except runs of the `first` that have no partner in another arm.

    If no other arm has runs, or an error of the first is claimed, all its runs.
    """
    claim = experiment.claims.get(first)
    if claim and claim.target is not None:
        return [result for of in runs.values() for result in of.results.values()]
    partners = {
        partner
        for name, of in runs.items()
        for seed, result in of.results.items()
        for partner in (() if name == first else _partners(seed, result, first))
    }
    return [
        result
        for name, of in runs.items()
        for seed, result in of.results.items()
        if name != first or seed in partners or not partners
    ]


def _value(result: Result, experiment: Experiment, which: str) -> float | None:
    if experiment.counts_epochs:
        return curve.epochs_to(result, float(experiment.metric.removeprefix(EPOCHS_TO)))
    error = (result.last if which == "last" else result.best)[experiment.metric]
    return None if error is None else 100 * error


def _alike(name: str, first: str, runs: Mapping[str, Runs], experiment: Experiment) -> str:
    """The arm whose values an arm is compared with: the `first`, or its evaluation of these views.

    Ten crops of another arm are compared with ten crops of the first, not with its centre crop.
    """
    arm = experiment.arms[name]
    if not arm.of or arm.of == {first: 1}:
        return first
    alike = (
        other
        for other in runs
        if (experiment.arms[other].of, experiment.arms[other].views) == ({first: 1}, arm.views)
    )
    return next(alike, first)


def _partners(seed: int, result: Result, first: str) -> list[int]:
    """The seeds of the `first` arm's runs that a run of another arm is compared with.

    Its own seed; for an average, those of its nets that are of the first arm.
    """
    several = result.of if len(result.of) > 1 else ()
    nets = [int(name.rpartition("-")[2]) for name in several if arm_of(name) == folder(first)]
    return nets or [seed]


def _base(of: Runs, values: Mapping[int, float | None], first: str) -> dict[int, float | None]:
    """For each seed of an arm, the mean value of its partners; seeds that lack one are left out."""
    found: dict[int, float | None] = {}
    for seed, result in of.results.items():
        partners = _partners(seed, result, first)
        if all(one in values for one in partners):
            known = [value for one in partners if (value := values[one]) is not None]
            found[seed] = float(np.mean(known)) if len(known) == len(partners) else None
    return found


def _lost(row: Row, first: str, runs: Mapping[str, Runs], experiment: Experiment) -> bool:
    """Whether values or pairs are missing because runs diverged or never reached the error.

    The others say too little then: they are the ones that went well. Averages that share nets are
    not as many as they seem.
    """
    if notes.shared({row.arm: runs[row.arm]}):
        return True
    diverged = _diverged(row.arm, runs, experiment)
    if row.has_target:
        return bool(diverged) or None in row.values.values()
    if any(None in (row.values[seed], other) for seed, other in row.base.items()):
        return True
    if sum(experiment.arms[row.arm].of.values()) > 1:
        return bool(diverged)
    planned = {name: {*runs[name].results, *runs[name].failures} for name in (row.arm, first)}
    there = _diverged(first, runs, experiment)
    return bool(diverged & planned[first] or there & (planned[row.arm] | diverged))


def _diverged(name: str, runs: Mapping[str, Runs], experiment: Experiment) -> set[int]:
    """The seeds of an arm's runs that diverged, or of those that it evaluates or starts from."""
    arm = experiment.arms[name]
    needed = {*arm.of, arm.starts_from} & runs.keys() - {name}
    own = {seed for seed, why in runs[name].failures.items() if why == DIVERGED}
    return own.union(*(_diverged(other, runs, experiment) for other in needed))


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


def _verdict(
    experiment: Experiment, against: Estimate | None, claim: Claim | None, lost: bool
) -> str:
    if claim is None or not experiment.judges or (against is None and not lost):
        return ""
    effect = _effect(experiment, claim)
    if effect is None and not claim.direction and claim.target is None:
        return ""
    if against is None or lost or not claim.tests:
        return CANNOT_TELL
    if claim.target is not None:
        return _reached(against)
    least, _ = _sizes(experiment, claim)
    return statistics.verdict(against, effect, claim.direction, least)


def _effect(experiment: Experiment, claim: Claim | None) -> float | None:
    """The claimed difference, as `Row.against` measures it: for epochs, a factor's logarithm."""
    effect = claim.effect if claim else None
    return math.log(effect) if effect and experiment.counts_epochs else effect


def _sizes(experiment: Experiment, claim: Claim) -> tuple[float, float]:
    """The least and the most that a claimed difference may be, both without their sign."""
    if claim.between is None:
        effect = abs(_effect(experiment, claim) or 0)
        return effect, effect
    measured = math.log if experiment.counts_epochs else float
    low, high = sorted(math.inf if one is None else abs(measured(one)) for one in claim.between)
    return low, high


def _needed(rows: Sequence[Row], experiment: Experiment) -> dict[str, tuple[int, bool]]:
    """{arm: (how many runs its claim needs, whether in pairs)}, where there are too few."""
    found = {}
    for row in rows:
        claim, against = row.claim, row.against
        if row.verdict != CANNOT_TELL or row.lost or claim is None or not claim.tests:
            continue
        effect = TARGET_POINTS if row.has_target else _effect(experiment, claim)
        if not against or statistics.decides(against, effect):
            continue
        if against.std and effect:
            found[row.arm] = statistics.needed(against.std, effect), not row.has_target
        elif against.n < statistics.LEAST:
            found[row.arm] = statistics.LEAST, not row.has_target
    return found


def _missed(row: Row, experiment: Experiment) -> str:
    """How a decided row's interval misses the claimed size: "larger", "smaller" or ""."""
    effect = _effect(experiment, row.claim)
    decided = row.verdict in (statistics.SUPPORTED, statistics.CONTRADICTED)
    if not (decided and row.claim and row.against and effect):
        return ""
    return statistics.excluded(row.against, effect, _sizes(experiment, row.claim))


def _reached(against: Estimate) -> str:
    """The verdict on a target, by where the interval lies.

    "supported" if all of it, and "contradicted" if none of it, lies below or in what rounds to the
    target. Else "cannot tell", as with fewer than 5 runs, or if they could not show a point.
    """
    if against.n < statistics.LEAST or against.low is None or against.high is None:
        return CANNOT_TELL
    if against.smallest is None or against.smallest > TARGET_POINTS:
        return CANNOT_TELL
    if against.low > TARGET_POINTS / 2:
        return statistics.CONTRADICTED
    return statistics.SUPPORTED if against.high <= TARGET_POINTS / 2 else CANNOT_TELL
