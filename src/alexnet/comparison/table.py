"""The rows of a comparison: each arm's runs, and their difference from the baseline."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from alexnet.comparison import statistics, verdicts
from alexnet.comparison.statistics import Estimate
from alexnet.data.recipe import FOLDER
from alexnet.sweeps.experiment import Claim, Experiment


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
        return dataset_of(self.experiment, row.arm)

    def effect(self, row: Row) -> float | None:
        """The claimed difference, as `Row.against` measures it."""
        return verdicts.effect(row.claim, self.ratio)

    def missed(self, row: Row) -> str:
        """How a decided row's interval misses the claimed size: "larger", "smaller" or ""."""
        return missed(row, self.ratio)

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


def dataset_of(experiment: Experiment, arm: str) -> str:
    """The name of an arm's dataset, or "folder"."""
    name = experiment.arms[arm].config.data.name
    return "folder" if name.startswith(FOLDER) else name


def missed(row: Row, ratio: bool) -> str:
    """How a decided row's interval misses the claimed size: "larger", "smaller" or ""."""
    decided = row.verdict in (statistics.SUPPORTED, statistics.CONTRADICTED)
    return verdicts.missed(row.against, row.claim, ratio) if decided else ""


def needed(row: Row, ratio: bool) -> int:
    """How many runs or pairs an undecided row's claim needs; 0 if it has them, or none would do."""
    if row.verdict != statistics.CANNOT_TELL or row.lost or not (row.claim and row.claim.tests):
        return 0
    return verdicts.needed(row.against, row.claim, ratio)
