"""Which runs are compared with which: with the first arm's of the same seed, and the same views."""

import math
from collections.abc import Mapping

import numpy as np

from alexnet.comparison import notes, statistics
from alexnet.comparison.arms import Runs
from alexnet.comparison.statistics import Estimate
from alexnet.comparison.table import Row
from alexnet.results.result import Result
from alexnet.sweeps.essence import arm_of, folder
from alexnet.sweeps.experiment import Experiment
from alexnet.workdir.record import DIVERGED


def alike(name: str, first: str, runs: Mapping[str, Runs], experiment: Experiment) -> str:
    """The arm whose values an arm is compared with: the `first`, or its evaluation of these views.

    Ten crops of another arm are compared with ten crops of the first, not with its centre crop.
    """
    arm = experiment.arms[name]
    if not arm.of or arm.of == {first: 1}:
        return first
    others = (
        other
        for other in runs
        if (experiment.arms[other].of, experiment.arms[other].views) == ({first: 1}, arm.views)
    )
    return next(others, first)


def base(of: Runs, values: Mapping[int, float | None], first: str) -> dict[int, float | None]:
    """For each seed of an arm, the mean value of its partners; seeds that lack one are left out."""
    found: dict[int, float | None] = {}
    for seed, result in of.results.items():
        partners = _partners(seed, result, first)
        if all(one in values for one in partners):
            known = [value for one in partners if (value := values[one]) is not None]
            found[seed] = float(np.mean(known)) if len(known) == len(partners) else None
    return found


def difference(
    ours: Mapping[int, float | None], base: Mapping[int, float | None], ratio: bool
) -> Estimate | None:
    """Of an arm's values from their partners', in pairs; None without any pair.

    Args:
        ratio: whether it is the logarithm of a factor.
    """
    pairs = [
        (value, other)
        for seed, value in ours.items()
        if value is not None and (other := base.get(seed)) is not None
    ]
    return estimate([math.log(a / b) if ratio else a - b for a, b in pairs])


def estimate(differences: list[float]) -> Estimate | None:
    """The mean of some differences, with its interval; None without any."""
    return statistics.estimate(differences) if differences else None


def compared(runs: Mapping[str, Runs], first: str, experiment: Experiment) -> list[Result]:
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


def lost(row: Row, first: str, runs: Mapping[str, Runs], experiment: Experiment) -> bool:
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


def _partners(seed: int, result: Result, first: str) -> list[int]:
    """The seeds of the `first` arm's runs that a run of another arm is compared with.

    Its own seed; for an average, those of its nets that are of the first arm.
    """
    several = result.of if len(result.of) > 1 else ()
    nets = [int(name.rpartition("-")[2]) for name in several if arm_of(name) == folder(first)]
    return nets or [seed]


def _diverged(name: str, runs: Mapping[str, Runs], experiment: Experiment) -> set[int]:
    """The seeds of an arm's runs that diverged, or of those that it evaluates or starts from."""
    arm = experiment.arms[name]
    needed = {*arm.of, arm.starts_from} & runs.keys() - {name}
    own = {seed for seed, why in runs[name].failures.items() if why == DIVERGED}
    return own.union(*(_diverged(other, runs, experiment) for other in needed))
