"""The results of runs, read from their workdirs or from result files.

A result file is JSON with a run's config, dataset, curve, errors, time, versions and commit.
Workdirs of earlier versions lack some of that; a file COMMIT beside them may name their commit.
"""

import dataclasses
import json
import os
import re
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from alexnet import config as configs
from alexnet import files
from alexnet.errors import UserError, local_path, one_line
from alexnet.sweeps import plan
from alexnet.sweeps.experiment import ELSEWHERE, FROM_ARM, Arm, Experiment
from alexnet.training import health
from alexnet.training.health import DIVERGED
from alexnet.workdir import log, migrations, record

FORMAT = "alexnet result"
COMMIT = "COMMIT"
TYPES = {  # of a result file
    "name": str,
    "seed": int,
    "config": dict,
    "last": dict,
    "best": dict,
    "curve": dict,
    "dataset": dict,
    "about": dict,
    "of": list,
}


@dataclasses.dataclass(frozen=True)
class Result:
    """A run, or an evaluation of several.

    Attributes:
        name: the name of its folder.
        config: settings by dotted name, as this version writes them, without the seed.
        views, of: the views of an evaluation, and the runs that it averages.
        curve: columns of the log, {"training": {"epoch": [...], ...}, "validation": {...}}.
        last, best: {"epoch", "loss", "top1_error", "top5_error"}: of the last checkpoint, and of
            the one with the lowest error; errors are fractions.
        dataset: its name, and the known digests of its images.
        about: seconds, commit, versions, device, cores; None if unknown.
        failure: why the run failed, in a few words; it has no errors then. "" if it did not.
        finished: whether it has trained for all its epochs; result files hold no others.
    """

    name: str
    seed: int
    config: Mapping[str, Any]
    last: Mapping[str, Any]
    best: Mapping[str, Any]
    curve: Mapping[str, Mapping[str, list]]
    dataset: Mapping[str, Any]
    about: Mapping[str, Any]
    views: str = ""
    of: Sequence[str] = ()
    failure: str = ""
    finished: bool = True

    def to_json(self) -> dict[str, Any]:
        """The content of a result file, without any paths on this machine."""
        config = dict(self.config) | _without_paths(self.config) | {"data.data_dir": ""}
        found = dataclasses.asdict(dataclasses.replace(self, config=configs.nested(config)))
        found["config"] = {"version": migrations.VERSION} | found["config"]
        found["dataset"]["name"] = dataset(self.dataset["name"])
        left_out = {"finished"} if self.failure else {"finished", "failure"}
        return {"format": FORMAT} | {key: found[key] for key in found if key not in left_out}


def read_results(directory: str | os.PathLike) -> list[dict[str, Any]]:
    """A row for each finished run in a folder of sweeps, runs or results: plain values.

    `pandas.DataFrame(read_results("runs/lrn"))` has the columns name, experiment, scale, arm, seed,
    dataset, epochs, top1_error, top5_error, loss (of the last checkpoint), best_top1_error,
    seconds, commit, views, and config.X for each setting X. Errors are fractions, 0 to 1.

    Raises:
        UserError: if there is no finished run.
    """
    path = local_path("directory", os.fspath(directory))
    found = read([path]).results
    arms = [(one, arm) for one in experiments([path]) for arm in one.arms.values()]
    rows = []
    for result in found:
        experiment, arm = next(
            ((one, arm) for one, arm in arms if matches(result, arm)), (None, None)
        )
        rows.append(
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
            }
            | {f"config.{key}": value for key, value in result.config.items()}
        )
    return rows


@dataclasses.dataclass(frozen=True)
class Found:
    """The runs in some folders.

    Attributes:
        results: those that count; see `read`.
        failed: those that failed, as results without errors.
        unfinished: the paths of all others.
    """

    results: list[Result]
    failed: list[Result]
    unfinished: list[str]


def read(paths: Sequence[Path], begun: bool = False) -> Found:
    """The runs, evaluations and result files in some folders and their sub-folders.

    Args:
        begun: whether a run counts once it has been validated; else it must have finished.

    Raises:
        UserError: if no run counts.
    """
    found: list[Result] = []
    unfinished = []
    for path in paths:
        if not path.exists():
            raise UserError(f"{path}: no such folder or file")
        if path.is_file():
            one = from_file(path)
            if one is None:
                raise UserError(f"{path} is no result file")
            found.append(one)
        for folder, names in _walk(path):
            if "config.json" not in names and plan.EVALUATION not in names:
                found += [one for name in names if (one := from_file(folder / name))]
                continue
            make = from_workdir if "config.json" in names else from_evaluation
            if one := make(folder, begun):
                found.append(one)
            else:
                unfinished.append(str(folder))
    results = [one for one in found if not one.failure]
    failed = [one for one in found if one.failure]
    if not results:
        counts = {"begun": len(unfinished), "failed": len(failed)}
        others = ", ".join(f"{count} {words}" for words, count in counts.items() if count)
        what = "run that has been validated" if begun else "finished run"
        raise UserError(f"{', '.join(map(str, paths))}: no {what}{others and f' ({others})'}")
    return Found(results, failed, unfinished)


def experiments(paths: Sequence[Path]) -> list[Experiment]:
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
    return essence(_flat(arm.config)), arm.views, dict(arm.of)


def _walk(path: Path) -> Iterator[tuple[Path, list[str]]]:
    """Each folder with the names of its files, at any depth, but not inside a run.

    Links are followed, each folder once. The files of `plan.RECORDS` are left out: one may be
    called config.json, and is no run's.
    """
    seen = set()
    for place, inner, names in os.walk(path, followlinks=True):
        folder = Path(place)
        if (real := folder.resolve()) in seen:
            inner.clear()
            continue
        seen.add(real)
        if folder.name == plan.RECORDS and folder != path:
            names = []
        if "config.json" in names:
            inner.clear()
        inner[:] = sorted(name for name in inner if name[0] != ".")
        yield folder, sorted(names)


def workdirs(path: Path) -> list[Path]:
    """The runs in a folder and its sub-folders, finished or not; a run contains itself."""
    return [folder for folder, names in _walk(path) if "config.json" in names]


def from_workdir(folder: Path, begun: bool = False) -> Result | None:
    """A run's result; None if it has not finished or, with `begun`, has not been validated.

    A run that failed has a result without errors.

    Raises:
        UserError: for a log or config that is damaged, or of a later version.
    """
    config = record.saved_config(folder)
    flat, finished = _flat(config), plan.finished(folder, config.epochs)
    if not finished and (failure := _failure(folder)):
        name, seed, dataset = folder.name, flat.pop("seed"), {"name": flat["data.name"]}
        return Result(name, seed, flat, {}, {}, {}, dataset | {"contents": {}}, {}, failure=failure)
    if not (folder / "metrics.jsonl").is_file() or not (finished or begun):
        return None
    rows = log.read_log(folder)
    history = log.read_history(folder)
    if not history:
        return None
    last, best = (
        history[-1],
        min(history, key=lambda row: (_number(row["top1_error"]), row["epoch"])),
    )
    made = last_command(folder)
    info = _json(folder / "dataset/info.json", {})
    return Result(
        name=folder.name,
        seed=flat.pop("seed"),
        config=flat,
        last=last,
        best=best,
        curve=_curve(rows),
        dataset={"name": flat["data.name"], "contents": info.get("contents", {})},
        about={
            "seconds": rows[-1]["seconds"],
            "commit": made.get("commit") or _commit(folder),
            **{key: made.get(key) for key in ("versions", "device", "cores")},
        },
        finished=finished,
    )


def _failure(folder: Path) -> str:
    """Why an unfinished run failed, in a few words without paths; "" if it did not."""
    if (folder / health.FILE).is_file():
        outcome = last_command(folder).get("outcome", DIVERGED)  # None if it trains again
        if DIVERGED in str(outcome):
            return DIVERGED
    path = folder / plan.FAILURE
    if not path.is_file():
        return ""
    line = re.sub(r"\S*/\S*", "...", path.read_text(errors="replace"))
    return DIVERGED if DIVERGED in line else textwrap.shorten(line, 80) or "no reason is known"


def last_command(folder: Path) -> dict[str, Any]:
    """The newest entry of a run's provenance.json; {} without one."""
    path = folder / "provenance.json"
    newest = (_json(path, []) or [{}])[-1]
    if not isinstance(newest, dict):
        raise UserError(f"{path} is damaged (its last entry is {newest!r:.40}): delete it")
    return files.unsealed(newest, str(path), "delete it")


def from_evaluation(folder: Path, begun: bool = False) -> Result | None:
    """The result of an evaluation by `worker.evaluate`; None if its first run does not count."""
    path = folder / plan.EVALUATION
    found = files.read_sealed(path, f"delete {folder}")
    try:
        first = from_workdir(folder.resolve().parent / found["of"][0], begun)
        if first is None or first.failure:
            return None
        errors = {key: found[key] for key in ("loss", "top1_error", "top5_error", "count")}
        last = {**first.last, **errors}
        return dataclasses.replace(
            first,
            name=folder.name,
            last=last,
            best=last,
            curve={},
            about={**first.about, "commit": found["commit"]},
            views=found["views"],
            of=tuple(found["of"]),
        )
    except (LookupError, TypeError, AttributeError):
        raise UserError(f"{path} is damaged: delete {folder}") from None


def from_file(path: Path) -> Result | None:
    """The result in a result file; None for any other file, and for none."""
    if path.suffix != ".json" or path.name[0] == "." or not path.exists():
        return None
    try:
        found = files.read_json(path, object, "restore or delete it")
    except UserError:
        if FORMAT.encode() in files.read_bytes(path):
            raise
        return None
    if not isinstance(found, dict) or found.pop("format", "") != FORMAT:
        return None
    found = files.unsealed({"format": FORMAT} | found, str(path), "restore or delete it")
    files.check_types(found, TYPES, str(path), "restore or delete it")
    found.pop("format")
    flat = _flat(record.current(found["config"] | {"seed": found["seed"]}, str(path)))
    flat.pop("seed")
    try:
        return Result(**{**found, "config": flat, "of": tuple(found["of"])})
    except TypeError as error:  # fields are missing, or unknown
        raise UserError(f"{path} is damaged ({one_line(error)}): restore or delete it") from None


def collect(results: Sequence[Result], target: Path) -> list[Path]:
    """Writes a file for each result, with its config's version; returns the files.

    A run's file is replaced, but a failure replaces no other result.

    Raises:
        UserError: before anything is written, if two different runs have one name.
    """
    target.mkdir(parents=True, exist_ok=True)
    kept: dict[Path, Result] = {}
    for result in results:
        path = target / f"{result.name}.json"
        others = [one for one in (kept.get(path), from_file(path)) if one is not None]
        if any((settings(one), one.seed) != (settings(result), result.seed) for one in others):
            raise UserError(
                f"{path} is the file of another run of that name: collect into another folder, or "
                "rename the run's"
            )
        if not result.failure or all(one.failure for one in others):
            kept[path] = result
    for path, result in kept.items():
        with files.whole(path) as partial:
            partial.write_text(_compact(files.sealed(result.to_json())))
    return list(kept)


def _compact(found: Mapping[str, Any]) -> str:
    """JSON with each list on one line."""
    lines = json.dumps(found, indent=1)
    return re.sub(r"\[[^][{}]*\]", lambda part: " ".join(part[0].split()), lines) + "\n"


# --- Which arm a result belongs to ----------------------------------------------------------------


def matches(result: Result, arm: Arm) -> bool:
    """Whether a result belongs to an arm: the same `essence`, views and averaged runs."""
    if arm.of:
        counts = Counter(map(plan.arm_of, result.of))
        of = {plan.folder(name): count for name, count in arm.of.items()}
        if (counts, result.views) != (of, arm.views):
            return False
    elif result.views:
        return False
    return essence(result.config) == essence(_flat(arm.config))


def essence(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that define a run, without its seed and those of `ELSEWHERE`.

    A dataset's folder and the run that it started from are named without their place.
    """
    found = {
        key: value
        for key, value in config.items()
        if not key.startswith(ELSEWHERE) and key not in ("seed", "version")
    }
    return found | _without_paths(found)


def settings(result: Result) -> dict[str, Any]:
    """The `essence` of a result, and what it is an average of."""
    found = essence(result.config)
    members = dict(Counter(map(plan.arm_of, result.of)))
    return found | ({"views": result.views, "of": members} if result.views else {})


def dataset(name: str) -> str:
    """A dataset's name; that of a folder, "folder:/any/place/photos", without its place."""
    kind, colon, path = name.partition(":")
    return kind + colon + Path(path).name


def _without_paths(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that name a dataset and a run: the run's by its arm, not its folder."""
    origin = config.get("init_from", "")
    if origin.startswith(FROM_ARM):
        origin = FROM_ARM + plan.folder(origin.removeprefix(FROM_ARM))
    elif origin:
        origin = FROM_ARM + plan.arm_of(Path(origin).name)
    return {"data.name": dataset(config["data.name"]), "init_from": origin}


# --- Curves ---------------------------------------------------------------------------------------


def epochs_to(result: Result, error: float, window: float = 0.2) -> float | None:
    """Epochs until the training error is at most `error`; None if it never is."""
    return next((epoch for epoch, mean in training_errors(result, window) if mean <= error), None)


def training_errors(result: Result, window: float = 0.2) -> list[tuple[float, float]]:
    """(epoch, top-1 training error) at the log's rows from epoch `window` on, as in Figure 1.

    Each error is the mean over the latest rows that cover at least `window` epochs. By default
    these are 10,000 images of CIFAR-10, for which cuda-convnet printed one error.
    """
    train = result.curve.get("training", {})
    before, rows, means = 0.0, [], []
    for epoch, found in zip(train.get("epoch", ()), train.get("top1_error", ()), strict=True):
        rows.append((epoch - before, found))
        before = epoch
        size = total = 0.0
        for length, value in reversed(rows):
            size, total = size + length, total + length * _number(value)
            if size >= window - 1e-9:
                break
        if size >= window - 1e-9:
            means.append((epoch, total / size))
    return means


def _curve(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, list]]:
    found: dict[str, dict[str, list]] = {}
    for name, prefix in (("training", "train/"), ("validation", "validation/")):
        part = [row for row in rows if f"{prefix}loss" in row]
        found[name] = {key: [row[key] for row in part] for key in ("step", "epoch", "seconds")}
        for key in ("loss", "top1_error", "top5_error"):
            found[name][key] = [row[prefix + key] for row in part]
    return found


def _number(error: float | None) -> float:
    return float("inf") if error is None else error


def _flat(config: ConfigDict) -> dict[str, Any]:
    return configs.flat(json.loads(json.dumps(config.to_dict())))  # tuples as lists


def _json(path: Path, default: Any) -> Any:
    try:
        return files.read_json(path, type(default), "restore or delete it")
    except FileNotFoundError:
        return default


def _commit(folder: Path) -> str | None:
    path = folder.parent / COMMIT
    return path.read_text().strip() if path.is_file() else None
