"""Compares arms with their baseline, and gives verdicts on the paper's claims."""

import dataclasses
from collections.abc import Mapping, Sequence

from alexnet.comparison import arms, notes, pairs, verdicts
from alexnet.comparison.table import Row, Table, dataset_of, missed, needed
from alexnet.errors import UserError, nearest
from alexnet.results import curve
from alexnet.results.result import Result
from alexnet.sweeps.experiment import EPOCHS_TO, Experiment
from alexnet.text import some


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
    ratio, rows = experiment.counts_epochs, []
    for name in order:
        if not runs[name].results and not runs[name].failures:
            continue
        claim, against, base = experiment.claims.get(name), None, {}
        if claim is not None and claim.target is None and first != experiment.baseline:
            claim = None  # it is about a difference from the experiment's own baseline
        if name not in of_last:
            if claim is not None and claim.target is not None:
                reached = [value for value in values[name].values() if value is not None]
                against = pairs.estimate([value - claim.target for value in reached])
            elif name != first and first not in of_last and datasets[name] == datasets[first]:
                other = pairs.alike(name, first, runs, experiment)
                base = pairs.base(runs[name], values[other], first)
                against = pairs.difference(values[name], base, ratio)
        arm, failed = experiment.arms[name], len(runs[name].failures)
        row = Row(name, arm.overrides, values[name], against, claim, "", base, failed)
        if not runs[name].begun and (row.has_target or not runs[first].begun):
            lost = pairs.lost(row, first, runs, experiment)
            verdict = verdicts.verdict(against, claim, ratio, lost) if experiment.judges else ""
            row = dataclasses.replace(row, verdict=verdict, lost=lost)
        rows.append(row)
    free = [row.arm for row in rows if row.has_target]
    elsewhere = [
        row.arm for row in rows if datasets[row.arm] != datasets[first] and not row.has_target
    ]
    here = {name: of for name, of in runs.items() if name not in elsewhere}
    used = pairs.compared(here, first, experiment)
    too_few = {
        row.arm: (count, not row.has_target) for row in rows if (count := needed(row, ratio))
    }
    views_of = {
        row.arm: pairs.alike(row.arm, first, runs, experiment) for row in rows if not row.has_target
    }
    about_arms = [
        *notes.caveats({row.arm: row.claim for row in rows}),
        *notes.images(elsewhere, first),
        *notes.never(values, runs, experiment),
        *notes.guessing(runs),
        *notes.equal({row.arm: row.against for row in rows if not row.has_target}, first),
        *notes.partners(values, first, {*free, *elsewhere}),
        *notes.unfinished(runs),
        *notes.unplanned({row.arm: runs[row.arm] for row in rows if row.claim}, experiment),
        *notes.too_few(too_few),
        *notes.sizes({row.arm: missed(row, ratio) for row in rows}),
        *notes.failures(runs),
        *notes.changed(runs),
        *notes.shared(runs),
        *notes.intervals(used, experiment),
        *notes.of_last(of_last),
        *notes.views(views_of, first),
    ]
    return Table(experiment, dataset_of(experiment, first), rows, about_arms, notes.machines(used))


def _value(result: Result, experiment: Experiment, which: str) -> float | None:
    if experiment.counts_epochs:
        return curve.epochs_to(result, float(experiment.metric.removeprefix(EPOCHS_TO)))
    error = (result.last if which == "last" else result.best)[experiment.metric]
    return None if error is None else 100 * error
