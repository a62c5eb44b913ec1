"""The result of a run or an evaluation, read from its workdir.

Workdirs of earlier versions lack some of what a result tells; a file COMMIT beside them may name
their commit.
"""

import dataclasses
import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alexnet import config as configs
from alexnet import files
from alexnet.errors import UserError
from alexnet.logs import metrics
from alexnet.results import curve
from alexnet.results.result import THEN, Result
from alexnet.sweeps import plan
from alexnet.workdir import provenance, record
from alexnet.workdir.record import DIVERGED, Validation

COMMIT = "COMMIT"


def from_workdir(folder: Path, begun: bool = False) -> Result:
    """A run's result; without errors if it failed, or has not finished.

    Args:
        begun: whether a run that has not finished has errors once it has been validated.

    Raises:
        UserError: for a log or config that is damaged, or of a later version.
    """
    config = record.saved_config(folder)
    rows = metrics.read_log(folder) if (folder / metrics.FILE).is_file() else []
    history = metrics.validations(rows)
    flat, finished = configs.plain(config), plan.finished(history, config.epochs)
    seed, dataset = flat.pop("seed"), {"name": flat["data.name"], "contents": {}}
    failure = "" if finished else _failure(folder)
    nothing: dict[str, Any] = {}
    empty = Result(
        *(folder.name, seed, flat, nothing, nothing, nothing, dataset, nothing),
        failure=failure,
        finished=False,
        place=str(folder),
    )
    if failure or not history or not (finished or begun):
        return empty
    rows_by_step = {row["step"]: row for row in history}
    step = record.best(
        {step: Validation(row["top1_error"], row["loss"]) for step, row in rows_by_step.items()}
    )
    best = history[0] if step is None else rows_by_step[step]  # None: no error is a number
    commands = _trained(provenance.commands(folder))
    versions = [one.get("versions") or {} for one in commands]
    try:
        info = files.read_json(folder / "dataset/info.json", dict, "restore or delete it")
    except FileNotFoundError:  # an earlier version's
        info = {}
    return dataclasses.replace(
        empty,
        last=history[-1],
        best=best,
        curve=curve.of_rows(rows),
        dataset=dataset | {"contents": info.get("contents", {})},
        about={
            "seconds": rows[-1]["seconds"],
            "commit": _all(commands, "commit") or _commit(folder),
            "versions": {key: _all(versions, key) for one in versions for key in one} or None,
            **{key: _all(commands, key) for key in ("device", "cores")},
            **_changed(commands),
        },
        finished=finished,
    )


def _failure(folder: Path) -> str:
    """Why an unfinished run failed, in a few words without paths; "" if it did not."""
    if (folder / record.DIVERGENCE).is_file():
        commands = provenance.commands(folder) or [{}]
        outcome = commands[-1].get("outcome", DIVERGED)  # None if it trains again
        if DIVERGED in str(outcome):
            return DIVERGED
    if not (folder / plan.FAILURE).is_file():
        return ""
    line = re.sub(r"\S*/\S*", "...", plan.failure(folder))
    return DIVERGED if DIVERGED in line else textwrap.shorten(line, 80) or "no reason is known"


def _trained(commands: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The commands that trained the run as it is: all later ones began after their first step."""
    return [
        one
        for number, one in enumerate(commands, 1)
        if one.get("trains", True)
        and all(one.get("start", 0) < later.get("start", math.inf) for later in commands[number:])
    ]


def _all(commands: Sequence[Mapping[str, Any]], key: str) -> Any:
    """What all commands that trained a run noted: one value, or several in words."""
    values = list(dict.fromkeys(one[key] for one in commands if one.get(key)))
    return THEN.join(map(str, values)) if len(values) > 1 else next(iter(values), None)


def _changed(commands: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """{"changed": the settings that were changed while the run was trained}, or {}."""
    keys = dict.fromkeys(key for one in commands for key in one.get("changes") or ())
    return {"changed": list(keys)} if keys else {}


def from_evaluation(folder: Path, begun: bool = False) -> Result | None:
    """The result of an evaluation by `worker.evaluate`; None if its first run does not count.

    None as well if the runs that it evaluated are gone, were replaced or have trained further.
    """
    path = folder / plan.EVALUATION
    found = files.read_sealed(path, f"delete {folder}")
    try:
        home = folder.resolve().parent
        if not plan.is_of_these(found, home):
            return None
        first = from_workdir(home / found["of"][0], begun)
        if not first.counts:
            return None
        errors = {key: found[key] for key in ("loss", "top1_error", "top5_error", "count")}
        last = {**first.last, **errors}
        return dataclasses.replace(
            first,
            name=folder.name,
            place=str(folder),
            last=last,
            best=last,
            curve={},
            about={**first.about, "seconds": None, "commit": found["commit"]},
            views=found["views"],
            of=tuple(found["of"]),
        )
    except (LookupError, TypeError, AttributeError):
        raise UserError(f"{path} is damaged: delete {folder}") from None


def _commit(folder: Path) -> str | None:
    path = folder.parent / COMMIT
    return path.read_text().strip() if path.is_file() else None
