"""What a workdir records about its run: config, evaluations, and progress at each checkpoint."""

import dataclasses
import hashlib
import json
import re
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from alexnet import config as configs
from alexnet import files
from alexnet.errors import UserError
from alexnet.locks import lock
from alexnet.workdir import migrations

# Settings that every version has had
ALWAYS = {"seed": int, "batch_size": int, "epochs": float, "net.name": str, "data.name": str}
# Settings that change results by rounding at most, or name places: a run may go on with others.
ELSEWHERE = (
    *("data.data_dir", "checkpoint_every", "log_every", "mesh.", "kernels"),
    *("accumulate", "cuda_graphs", "fetch", "steps_per_dispatch", "wandb_project"),
)
MEND_CONFIG = (
    "restore it, or make the run again in a new workdir and copy its config.json (provenance.json "
    "has the command of a run that was trained)"
)
MEND_EVALUATION = "delete it, and evaluate again"
SEAL = "sha256"  # the digest of the settings in config.json
STEP = re.compile("0|[1-9][0-9]*")  # the name of a checkpoint, which is a folder in `checkpoints`
DIVERGED = "training diverged"  # by these words in its files, results know such a run
DIVERGENCE = "diverged.json"  # in the workdir of a run that diverged: where, and on which images
SWEEP = "sweeps"  # a folder in that of a sweep, which `sweeps.plan` writes
KIND = ("split", "views", "checkpoint", "dataset", "images")  # what tells evaluations apart
# In config.json, beside the settings: the run's id, and that of the run whose weights it began with
RUN, ORIGIN = "run", "origin"


@dataclasses.dataclass(frozen=True)
class Progress:
    """A checkpoint's metadata: how far the run had come.

    Attributes:
        epoch: epochs done.
        validation_errors: top-1 error, a fraction, of each validation so far.
        classes: by name, in the order of their numbers; () for imported weights that name none.
        window: the unfinished row of the log: (steps, then the sums of loss, top-1 and top-5 error
            over these steps). Earlier versions ended a row at every checkpoint and saved no window.
        due: whether this step still needs its validation, because the run was stopped before it.
        class_count: the number of classes, for weights that name none; 0 if unknown.
    """

    epoch: float = 0.0
    validation_errors: tuple[float, ...] = ()
    classes: tuple[str, ...] = ()
    window: tuple[float, ...] = ()
    due: bool = False
    class_count: int = 0

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> "Progress":
        """The progress that this or an earlier version has saved."""
        known = {field.name for field in dataclasses.fields(cls)}
        return cls(**{key: configs.tuples(one) for key, one in found.items() if key in known})


class Validation(NamedTuple):
    """The results of a validation; an unknown one is None.

    Attributes:
        error: top-1, a fraction.
        loss: mean, in nats; unknown in checkpoints of earlier versions.
    """

    error: float | None
    loss: float | None = None


def best(validations: Mapping[int, Validation]) -> int | None:
    """The step with the lowest error; ties go to the lowest loss, then to the first step.

    If any tied step's loss is unknown, the first step wins. None if no error is known.
    """
    errors = {step: found.error for step, found in validations.items() if found.error is not None}
    lowest = min(errors.values(), default=None)
    equal = sorted(step for step, error in errors.items() if error == lowest)
    losses = {step: loss for step in equal if (loss := validations[step].loss) is not None}
    if len(losses) < len(equal):
        return equal[0]
    return min(losses, key=losses.__getitem__, default=None)


def save_config(config: ConfigDict, workdir: Path, anew: bool = False) -> None:
    """Writes `<workdir>/config.json`; keeps the run's id and its origin's, or notes new ones.

    Args:
        anew: whether the run is another than the one there.
    """
    run, start = "" if anew else run_of(workdir), config.get("init_from", "")
    origin = origin_of(workdir) if run else start and run_of(Path(start))
    found = config.to_dict()
    version = {"version": migrations.VERSION}
    about = version | {SEAL: _seal(found), RUN: run or secrets.token_hex(8)}
    files.write_json(about | ({ORIGIN: origin} if origin else {}) | found, workdir / "config.json")


def run_of(workdir: Path) -> str:
    """The id of a workdir's run, which the run's checkpoints carry; "" if there is none yet."""
    return _noted(workdir, RUN)


def origin_of(workdir: Path) -> str:
    """The id of the run whose weights a workdir's run began with; "" if none or unknown."""
    return _noted(workdir, ORIGIN)


def _noted(workdir: Path, key: str) -> str:
    try:
        return json.loads((workdir / "config.json").read_text()).get(key, "")
    except (OSError, ValueError, AttributeError):
        return ""


def begun(workdir: str | Path) -> bool:
    """Whether a run in `workdir` has begun: a checkpoint is there, good or not."""
    return any(STEP.fullmatch(path.name) for path in Path(workdir).glob("checkpoints/*"))


def save_evaluation(row: dict[str, Any], workdir: Path) -> None:
    """Puts a row into `<workdir>/evaluation.json`, in place of one of the same kind.

    Rows have split, views, checkpoint, dataset, images (their digest; rows of earlier versions have
    none), top1_error, top5_error, loss, count.
    """
    path = workdir / "evaluation.json"
    row = {key: value for key, value in row.items() if key != "notes"}
    with (workdir / ".evaluation.lock").open("w") as file:  # several may evaluate at once
        lock(file)
        rows = evaluations(workdir)
        rows = [one for one in rows if any(one.get(key, row[key]) != row[key] for key in KIND)]
        files.write_json([files.sealed(one) for one in (*rows, row)], path)


def evaluations(workdir: Path) -> list[dict[str, Any]]:
    """The rows of `<workdir>/evaluation.json`, if there is one. Raises UserError if damaged."""
    path = workdir / "evaluation.json"
    try:
        rows = files.read_json(path, list, MEND_EVALUATION)
    except FileNotFoundError:
        return []
    found = []
    for number, row in enumerate(rows, 1):
        where = f"{path}, row {number},"
        found.append(files.unsealed(row if isinstance(row, dict) else {}, where, MEND_EVALUATION))
        files.check_fields(found[-1], {"split": str}, where, MEND_EVALUATION)
    return found


def saved_config(workdir: Path, resume: bool = False) -> ConfigDict:
    """The config of the run in `workdir`, as this version would have written it.

    Raises:
        UserError: if there is no run, if its config is damaged or of a later version, or, with
            `resume`, if this version can read the run but not resume it.
    """
    path = workdir / "config.json"
    try:
        found = files.read_json(path, dict, MEND_CONFIG)
    except FileNotFoundError:
        if workdir.is_file():
            make = "python -m alexnet.convert --source makes a run of a file of weights"
            raise UserError(f"{workdir} is a file, not the folder of a run; {make}") from None
        if not workdir.exists():
            raise UserError(f"{workdir} holds no run: there is no such folder") from None
        if (workdir / SWEEP).is_dir():
            runs = f"name its runs, such as {workdir}/baseline-0, or alexnet compare {workdir}"
            raise UserError(f"{workdir} is the folder of a sweep, not of a run: {runs}") from None
        raise UserError(f"{workdir} holds no run (no config.json): train one there first") from None
    seal, version = found.pop(SEAL, None), found.pop("version", 0)
    for key in (RUN, ORIGIN):
        found.pop(key, None)
    if seal not in (None, _seal(found)):  # earlier versions wrote none
        mend = f"{MEND_CONFIG}; or, if you changed the file on purpose, delete {SEAL!r} from it"
        raise UserError(f"{path} is damaged (its digest differs): {mend}")
    return current({"version": version} | found, str(path), resume)


def _seal(found: Mapping[str, Any]) -> str:
    """A digest of a config, however its JSON is written."""
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()


def versioned(config: ConfigDict) -> dict[str, Any]:
    """A config as files store it: its settings, and the version, for `current` to migrate it."""
    return {"version": migrations.VERSION} | config.to_dict()


def current(found: dict[str, Any], where: str, resume: bool = False) -> ConfigDict:
    """The config that this or an earlier version wrote to a file.

    Settings that are lost (see `migrations.migrated`) are reported on stderr.

    Raises:
        UserError: if a setting is lost and `resume` is set, or if the config is damaged or of a
            later version.
    """
    files.check_fields({"version": 0, **found}, {"version": int}, where, MEND_CONFIG)
    try:
        config, lost = migrations.migrated(found, where)
    except UserError as error:
        if not error.argument:  # the config is from a later version
            raise
        raise UserError(f"{where} is damaged ({error}): {MEND_CONFIG}") from None
    files.check_fields(configs.flat(config), ALWAYS, where, MEND_CONFIG)
    for line in lost:
        if resume:
            raise UserError(f"{line}: resume with the version that wrote it")
        print(line, file=sys.stderr)
    return configs.from_json(config)
