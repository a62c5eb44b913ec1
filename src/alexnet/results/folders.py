"""The results in some folders: of runs, evaluations and result files, at any depth."""

import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from alexnet import config as configs
from alexnet.errors import UserError, local_path
from alexnet.results.file import from_file
from alexnet.results.result import Result, matches
from alexnet.results.run import from_evaluation, from_workdir
from alexnet.sweeps import plan
from alexnet.sweeps.definition import named
from alexnet.sweeps.experiment import Arm, Experiment
from alexnet.workdir import record


def read_results(
    directory: str | os.PathLike, experiments: str | Sequence[str] = ()
) -> list[dict[str, Any]]:
    """A row for each finished run in a folder of sweeps, runs or results: plain values.

    `pandas.DataFrame(read_results("runs/lrn"))` has the columns name, experiment, scale, arm, seed,
    dataset, epochs, top1_error, top5_error, loss (of the last checkpoint), best_top1_error,
    seconds, commit, views, nets (how many are averaged; 1 for a run), and config.X for each setting
    X. Errors are fractions, 0 to 1 (those of `compare_results` are in per cent); settings can be
    grouped by, as lists are tuples, but an evaluation has those of the net that it evaluates, so
    select views and nets first. A run that is an arm of several experiments, such as their common
    baseline, has a row for each.

    Args:
        experiments: whose arms the runs may be, as `compare_results` takes them; by default those
            recorded by the sweeps in the directory.

    Raises:
        UserError: if there is no finished run, or no such experiment.
    """
    path = local_path("directory", os.fspath(directory))
    found = read([path]).results
    arms = [(one, arm) for one in planned(experiments, [path]) for arm in one.arms.values()]
    rows = []
    for result in found:
        own: list[tuple[Experiment | None, Arm | None]] = [
            (one, arm) for one, arm in arms if matches(result, arm)
        ]
        rows += [
            {
                "name": result.name,
                "experiment": experiment.name if experiment else None,
                "scale": experiment.scale if experiment else None,
                "arm": arm.name if arm else None,
                "seed": result.seed,
                "dataset": result.dataset["name"],
                "epochs": result.last["epoch"],
                **{key: result.last[key] for key in ("top1_error", "top5_error", "loss")},
                "best_top1_error": result.best["top1_error"],
                "seconds": result.about.get("seconds"),
                "commit": result.about.get("commit"),
                "views": result.views or "centre",
                "nets": max(len(result.of), 1),
            }
            | {f"config.{key}": configs.tuples(value) for key, value in result.config.items()}
            for experiment, arm in own or [(None, None)]
        ]
    return rows


@dataclasses.dataclass(frozen=True)
class Found:
    """The runs in some folders.

    Attributes:
        results: those that count; see `read`.
        failed: those that failed, as results without errors.
        begun: the other runs that do not count, as results without errors.
        unfinished: the paths of runs and evaluations that have not finished.
        lost: the paths of those that failed and left neither a config nor a result.
    """

    results: list[Result]
    failed: list[Result]
    begun: list[Result]
    unfinished: list[str]
    lost: list[str]

    @property
    def every(self) -> list[Result]:
        """All runs that a table may tell about."""
        return self.results + self.failed + self.begun


def read(paths: Sequence[Path], begun: bool = False) -> Found:
    """The runs, evaluations and result files in some folders and their sub-folders.

    Args:
        begun: whether a run counts once it has been validated; else it must have finished.

    Raises:
        UserError: if no run counts.
    """
    found: list[Result] = []
    unfinished, lost = [], []
    for path in paths:
        if not path.exists():
            raise UserError(f"{path}: no such folder or file")
        if path.is_file():
            one = from_file(path)
            if one is None:
                raise UserError(f"{path} is not a result file")
            found.append(one)
        for folder, names in _walk(path):
            if "config.json" not in names and plan.EVALUATION not in names:
                found += [one for name in names if (one := from_file(folder / name))]
                lost += [str(folder)] if plan.FAILURE in names else []
                continue
            make = from_workdir if "config.json" in names else from_evaluation
            made = make(folder, begun)
            if made is not None:
                found.append(made)
            if made is None or not (made.counts or made.failure):
                unfinished.append(str(folder))
    results = [one for one in found if one.counts]
    failed = [one for one in found if one.failure]
    waiting = [one for one in found if not (one.counts or one.failure)]
    if not results:
        counts = {"begun": len(unfinished), "failed": len(failed) + len(lost)}
        others = ", ".join(f"{count} {words}" for words, count in counts.items() if count)
        what = "run that has been validated" if begun else "finished run"
        raise UserError(f"{', '.join(map(str, paths))}: no {what}{others and f' ({others})'}")
    return Found(results, failed, waiting, unfinished, lost)


def planned(experiments: str | Sequence[str], paths: Sequence[Path]) -> list[Experiment]:
    """The experiments of that name, or of those names; without any, those `recorded`."""
    return named([experiments] if isinstance(experiments, str) else experiments) or recorded(paths)


def recorded(paths: Sequence[Path]) -> list[Experiment]:
    """The experiments that `plan.save` recorded for the sweeps in some folders, at any depth.

    One at the same scale as another, and with some of its arms, is left out.
    """
    found: list[Experiment] = []
    for path in paths:
        saved = [one for folder, _ in _walk(path) for one in plan.saved(folder)]
        for one in saved or plan.saved(path.parent):  # `path` is a run in a sweep
            new = one["experiment"]
            if not any(_covers(old, new) for old in found):
                found = [old for old in found if not _covers(new, old)] + [new]
    return found


def _covers(one: Experiment, other: Experiment) -> bool:
    """Whether an experiment is another at the same scale, perhaps with more arms."""
    ours, theirs = ({name: _settled(arm) for name, arm in e.arms.items()} for e in (one, other))
    same = (one.name, one.scale) == (other.name, other.scale)
    return same and all(ours.get(name) == settled for name, settled in theirs.items())


def _settled(arm: Arm) -> tuple[Any, ...]:
    return arm.essence, arm.views, dict(arm.of)


def _walk(path: Path) -> Iterator[tuple[Path, list[str]]]:
    """Each folder with the names of its files, at any depth, but not inside a run.

    Links are followed, each folder once. The files of `record.SWEEP` are left out: one may be
    called config.json, and is no run's.
    """
    seen = set()
    for place, inner, names in os.walk(path, followlinks=True):
        folder = Path(place)
        if (real := folder.resolve()) in seen:
            inner.clear()
            continue
        seen.add(real)
        if folder.name == record.SWEEP and folder != path:
            names = []
        if "config.json" in names:
            inner.clear()
        inner[:] = sorted(name for name in inner if name[0] != ".")
        yield folder, sorted(names)


def workdirs(path: Path) -> list[Path]:
    """The runs in a folder and its sub-folders, finished or not; a run contains itself."""
    return [folder for folder, names in _walk(path) if "config.json" in names]
