"""What a workdir says of its run: `config.json`, and how far each checkpoint has come."""

import dataclasses
import json
import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from alexnet.errors import UserError
from alexnet.locks import lock
from alexnet.workdir import migrations

RUN = "run"  # in config.json, beside the settings


@dataclasses.dataclass(frozen=True)
class Progress:
    """A checkpoint's metadata: how far the run had come.

    Attributes:
        epoch: epochs done.
        validation_errors: top-1 error, a fraction, of each validation so far.
        classes: by name, in the order of their numbers; none for imported weights, which name none.
        window: the log's row under way: (steps, sums over them of loss, top-1 and top-5 error).
            Earlier versions ended a row at every checkpoint and saved none.
        due: whether the step is yet to be validated: the run was asked to stop before that.
    """

    epoch: float = 0.0
    validation_errors: tuple[float, ...] = ()
    classes: tuple[str, ...] = ()
    window: tuple[float, ...] = ()
    due: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> "Progress":
        """What an earlier or this version has saved."""
        return cls(
            epoch=found["epoch"],
            validation_errors=tuple(found.get("validation_errors", ())),
            classes=tuple(found.get("classes", ())),
            window=tuple(found.get("window", ())),
            due=found.get("due", False),
        )


class Validation(NamedTuple):
    """What a validation found; None where that is unknown.

    Attributes:
        error: top-1, a fraction.
        loss: mean, in nats; unknown in checkpoints of earlier versions.
    """

    error: float | None
    loss: float | None = None


def best(validations: Mapping[int, Validation]) -> int | None:
    """The step of the lowest error, of equal ones that of the lowest loss, of those the first.

    Losses do not decide where one of them is unknown. None if no error is known.
    """
    errors = {step: found.error for step, found in validations.items() if found.error is not None}
    lowest = min(errors.values(), default=None)
    equal = sorted(step for step, error in errors.items() if error == lowest)
    if any(validations[step].loss is None for step in equal):
        return equal[0]
    return min(equal, key=lambda step: validations[step].loss, default=None)


def write_json(value: Any, path: Path) -> None:
    """Writes a file that is never half there."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(value, indent=2) + "\n")
    os.replace(partial, path)


def save_config(config: ConfigDict, workdir: Path) -> None:
    """Writes `<workdir>/config.json`, with the id of the run there, or of a new one."""
    run = run_of(workdir) or secrets.token_hex(8)
    write_json(versioned(config) | {RUN: run}, workdir / "config.json")


def run_of(workdir: Path) -> str:
    """The id of the run in a workdir, by which its checkpoints know it; "" if it has none yet."""
    try:
        return json.loads((workdir / "config.json").read_text()).get(RUN, "")
    except (OSError, ValueError, AttributeError):
        return ""


def save_evaluation(row: dict[str, Any], workdir: Path) -> None:
    """Puts a row into `<workdir>/evaluation.json`, in place of one of the same kind.

    Rows have split, views, checkpoint, top1_error, top5_error, loss, count.
    """
    path, kind = workdir / "evaluation.json", ("split", "views", "checkpoint", "dataset")
    row = {key: value for key, value in row.items() if key != "notes"}
    with (workdir / ".evaluation.lock").open("w") as file:  # several may evaluate at once
        lock(file)
        rows = json.loads(path.read_text()) if path.exists() else []
        rows = [other for other in rows if any(other[key] != row[key] for key in kind)]
        write_json([*rows, row], path)


def saved_config(workdir: Path, resume: bool = False) -> ConfigDict:
    """The config of the run in `workdir`, as this version would have written it.

    Raises:
        UserError: if there is no run, or one that this version can read but not `resume`.
    """
    path = workdir / "config.json"
    if not path.is_file():
        raise UserError(f"{workdir} holds no run (no config.json): train one there first")
    return current(json.loads(path.read_text()), str(path), resume)


def versioned(config: ConfigDict) -> dict[str, Any]:
    """What files hold of a config: its settings and the version that `current` needs."""
    return {"version": migrations.VERSION} | config.to_dict()


def current(found: dict[str, Any], where: str, resume: bool = False) -> ConfigDict:
    """The config that an earlier or this version has put into a file.

    Settings that this version has no more are reported on stderr.

    Raises:
        UserError: if there are any and the run is to be resumed.
    """
    settings = {key: value for key, value in found.items() if key != RUN}
    config, lost = migrations.migrated(settings, where)
    for line in lost:
        if resume:
            raise UserError(f"{line}: resume with the version that wrote it")
        print(line, file=sys.stderr)
    return ConfigDict(config).lock()
