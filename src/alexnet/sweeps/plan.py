"""The runs of a sweep: their names, their configs and their states."""

import contextlib
import dataclasses
import itertools
import os
import re
import zlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from ml_collections import ConfigDict

from alexnet import cli, files
from alexnet import config as configs
from alexnet.data.recipe import without_place
from alexnet.errors import UserError, one_line
from alexnet.logs import metrics
from alexnet.sweeps.essence import run_name
from alexnet.sweeps.experiment import Arm, Experiment, check_distinct
from alexnet.training.settings import KINDS
from alexnet.workdir import provenance, record
from alexnet.workdir.record import ELSEWHERE

State = Literal["new", "begun", "running", "done", "failed", "left out"]
FAILURE = "failure.txt"  # why a run failed, in a line
OUTPUT = "output.txt"  # what a run printed
EVALUATION = "evaluation.json"
CONFIG = "config"  # among the settings of a product: the config file
QUEUE = "slurm"  # the folder in a sweep's workdir that holds its jobs


@dataclasses.dataclass(frozen=True)
class Item:
    """A run, or an evaluation of runs.

    Attributes:
        name: the name of its folder in the sweep's workdir.
        config: with its seed.
        views: of an evaluation.
        needs: the items to be done first: the runs that an evaluation averages, or the run that
            another starts from.
    """

    name: str
    arm: str
    config: ConfigDict
    views: str = ""
    needs: tuple[str, ...] = ()

    @property
    def trains(self) -> bool:
        """Whether it is a run."""
        return not self.views


def items(experiment: Experiment, seeds: Sequence[int], workdir: Path) -> list[Item]:
    """The items of an experiment, seed by seed, so that whole pairs are done early."""
    found: list[Item | None] = []
    for seed, arm in itertools.product(seeds, experiment.arms.values()):
        found += [_evaluation(arm, seed, seeds)] if arm.of else [_training(arm, seed, workdir)]
    return [item for item in found if item is not None]


def _training(arm: Arm, seed: int, workdir: Path) -> Item:
    config = arm.config.copy_and_resolve_references()
    configs.apply_overrides(config, {"seed": seed}, KINDS)
    needs: tuple[str, ...] = ()
    if arm.starts_from:
        origin = run_name(arm.starts_from, seed)
        needs, config.init_from = (origin,), str(workdir / origin)
    return Item(run_name(arm.name, seed), arm.name, configs.absolute(config), needs=needs)


def _evaluation(arm: Arm, seed: int, seeds: Sequence[int]) -> Item | None:
    """The evaluation that averages the nets of `seed` and the next seeds; None if they are too few.

    No net is in two averages: averages of 5 nets begin at every fifth seed, and others give None.
    """
    place = seeds.index(seed)
    group, rest = divmod(place, next(iter(arm.of.values())))
    if rest:
        return None
    members = []
    for other, count in arm.of.items():
        part = seeds[group * count : (group + 1) * count]
        if len(part) < count:
            return None
        members += [run_name(other, one) for one in part]
    name = run_name(arm.name, seed)
    return Item(name, arm.name, arm.config, arm.views, needs=tuple(members))


def shared(items: Sequence[Item], workdir: Path, queued: Collection[str] = ()) -> list[Item]:
    """The items, without runs that have the very config of another one, in the workdir or before.

    A run that another item needs keeps its name, and so does one that has its own folder.

    Args:
        queued: the names of runs that may not have a folder yet, but will.
    """
    own = {item.name for item in items if (workdir / item.name / "config.json").is_file()}
    fixed = own.union(queued, *(item.needs for item in items))
    known = _others(workdir, {item.name for item in items})
    for item in items:
        if item.trains and item.name in fixed:
            known.setdefault(_identity(item.config), item.name)
    found: dict[str, Item] = {}
    for item in items:
        name = item.name
        if item.trains and name not in fixed:
            name = known.setdefault(_identity(item.config), name)
        if name == item.name or name not in found:  # its own item describes a run best
            found[name] = dataclasses.replace(item, name=name)
    return list(found.values())


def _others(workdir: Path, names: set[str]) -> dict[str, str]:
    """The workdir's runs under other names, such as of an arm that was renamed, by identity.

    Imported weights, which no command has trained, are none.
    """
    found: dict[str, str] = {}
    for path in sorted(workdir.glob("*/config.json")):
        if path.parent.name not in names:
            with contextlib.suppress(UserError):  # damaged: no run of this sweep
                saved = configs.absolute(record.saved_config(path.parent, resume=True))
                commands = provenance.commands(path.parent)
                if any(command.get("trains", True) for command in commands):
                    found.setdefault(_identity(saved), path.parent.name)
    return found


def _identity(config: ConfigDict) -> str:
    """The settings that a run's numbers depend on, with its seed."""
    flat = configs.plain(config)
    return repr(sorted((key, x) for key, x in flat.items() if not key.startswith(ELSEWHERE)))


# --- A sweep without a file -----------------------------------------------------------------------


def product(texts: Mapping[str, Sequence[str]]) -> tuple[Experiment, list[int]]:
    """(an experiment with an arm for each combination of values, its seeds).

    Args:
        texts: the values of each setting, as text, and the configs, each FILE[:VARIANT], under
            `CONFIG`. The baseline has the first value of each.

    Raises:
        UserError: for an unknown setting, a value of the wrong type, or a value given twice.
    """
    chosen = texts[CONFIG]
    texts = {CONFIG: chosen, **texts}  # its values vary slowest
    seeds = [cli.count("config.seed", text, least=0) for text in texts.get("seed", ())]
    for key, several in texts.items():
        if len({*several}) < len(several) or (key == "seed" and len({*seeds}) < len(seeds)):
            raise UserError("a value is given twice", f"{_flag(key)}={','.join(several)}")
    texts.pop("seed", None)
    varied = [key for key, several in texts.items() if len(several) > 1]
    letters = os.path.commonprefix(chosen)  # noqa: RUF071  # up to a / or :, not in arms' names
    common = re.sub("[^/:]*$", "", letters)
    arms: dict[str, Arm] = {}
    for combination in itertools.product(*texts.values()):
        settings = dict(zip(texts, combination, strict=True))
        words = settings | {CONFIG: settings[CONFIG].removeprefix(common)}
        name = ",".join(f"{_short(key, varied)}={words[key]}" for key in varied)
        config = configs.load(settings[CONFIG], KINDS)
        try:
            cli.override(config, {key: settings[key] for key in settings if key != CONFIG})
        except UserError as error:
            if not name:
                raise
            raise UserError(f"arm {name!r}: {error}") from None
        values = configs.flat(config.to_dict()) | {CONFIG: settings[CONFIG]}
        overrides = {key: values[key] for key in varied}
        if any(overrides == arm.overrides for arm in arms.values()):  # as for .1 and 0.1
            said = ", ".join(f"{_flag(key)}={value!r}" for key, value in overrides.items())
            raise UserError("a value is given twice", said)
        arms[name or "run"] = Arm(name or "run", config, overrides)
        seeds = seeds or [config.seed]
    check_distinct(arms, ", ".join(chosen))
    same = {key: text for key, [text, *others] in texts.items() if key != CONFIG and not others}
    given = [f"{key}={text}" for key, text in same.items() if not key.startswith(ELSEWHERE)]
    title = ", ".join([*chosen, *given, *([f"values of {', '.join(varied)}"] if varied else [])])
    name = re.sub(r"\W+", "_", "-".join([Path(chosen[0].partition(":")[0]).stem, *varied]))
    return Experiment(name, "", title, arms, {}, len(seeds)), seeds


def _flag(key: str) -> str:
    return key if key == CONFIG else f"config.{key}"


def _short(key: str, keys: Sequence[str]) -> str:
    """The last part of a setting's name if no other has it, else the whole name."""
    last = key.rpartition(".")[2]
    return last if sum(other.rpartition(".")[2] == last for other in keys) == 1 else key


# --- What has been done already -------------------------------------------------------------------


def state(item: Item, workdir: Path, retry: bool = False) -> State:
    """How far an item is: "done", "failed", "begun" or "new".

    Args:
        retry: whether what failed will run again: then it is "begun" or "new", not "failed".

    Raises:
        UserError: if its folder holds another run, or something else.
    """
    folder = workdir / item.name
    if item.views:
        return _evaluated(item, workdir, retry)
    if not (folder / "config.json").is_file():
        begun = (FAILURE, OUTPUT, ".lock", "config.json.partial")  # by a run that was killed
        if strange := [path.name for path in folder.glob("*") if path.name not in begun]:
            raise UserError(f"{folder} holds {strange[0]} but no run: choose another workdir")
        return "failed" if (folder / FAILURE).exists() and not retry else "new"
    saved = configs.absolute(record.saved_config(folder, resume=True))
    moved = None
    for key, old, new in configs.differences(saved, item.config):
        if key.startswith(ELSEWHERE):
            continue
        another = UserError(
            f"{folder} holds a run with config.{key}={old!r}, not {new!r}: choose another workdir, "
            "or delete that folder"
        )
        if not _moved(item, key, old, new):
            raise another
        moved = another
    origin = record.origin_of(folder)
    if item.needs and origin and origin != record.run_of(workdir / item.needs[0]):
        raise UserError(
            f"{folder} began with the weights of a run that is no longer in {item.needs[0]}: "
            "choose another workdir, or delete that folder"
        )
    if _ended_well(folder) and finished(_history(folder), item.config.epochs):
        return "done"
    failed = (folder / FAILURE).exists() and not retry
    if moved and not record.begun(folder) and not failed:
        raise moved  # there is nothing to go on from
    return "failed" if failed else "begun"


def note_failure(folder: Path, why: str) -> None:
    """Writes why the run in `folder` failed; on a full disk it does without."""
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        with files.whole(folder / FAILURE) as partial:
            partial.write_text(why + "\n", encoding="utf-8", errors="backslashreplace")


def failure(folder: Path) -> str:
    """What `note_failure` wrote."""
    return (folder / FAILURE).read_text("utf-8", errors="replace").strip()


def _moved(item: Item, key: str, old: str, new: str) -> bool:
    """Whether a setting names the same run or images, which have moved, perhaps with the sweep."""
    if key == "init_from":
        return bool(item.needs) and Path(old).name == Path(new).name
    return (
        key == "data.name"
        and without_place(old) == without_place(new)
        and not os.path.exists(old.partition(":")[2])
    )


def finished(history: Sequence[Mapping[str, Any]], epochs: float) -> bool:
    """Whether the last of a run's validations came after `epochs` epochs or more."""
    return bool(history) and history[-1]["epoch"] >= epochs - 1e-6


def _history(folder: Path) -> list[dict[str, Any]]:
    """A run's validations; [] if there are none."""
    return metrics.read_history(folder) if (folder / metrics.FILE).is_file() else []


def _ended_well(folder: Path) -> bool:
    """Whether a run's last command ended without an error, and so with a last checkpoint."""
    try:
        found = provenance.commands(folder)
    except UserError:  # damaged
        return False
    return bool(found) and found[-1].get("outcome") == "done"


def _evaluated(item: Item, workdir: Path, retry: bool) -> State:
    folder = workdir / item.name
    if (folder / FAILURE).exists():
        return "new" if retry else "failed"
    path = folder / EVALUATION
    if not path.is_file():
        if (folder / "config.json").exists():
            raise UserError(f"{folder} holds a run, not an evaluation: choose another workdir")
        return "new"
    mend = f"delete {folder}"
    found = files.read_sealed(path, mend)
    files.check_fields(found, {"views": str, "of": list}, str(path), mend)
    if (found["views"], tuple(found["of"])) != (item.views, item.needs):
        raise UserError(
            f"{folder} holds another evaluation: choose another workdir, or delete that folder"
        )
    return "done" if is_of_these(found, workdir) else "new"


def is_of_these(evaluation: Mapping[str, Any], workdir: Path) -> bool:
    """Whether the runs that were evaluated are there and have not trained further since.

    Earlier versions did not note the runs, or of the steps the last one only.
    """
    folders = [workdir / name for name in evaluation["of"]]
    runs = [record.run_of(folder) for folder in folders]
    steps = [history[-1]["step"] if history else None for history in map(_history, folders)]
    noted = evaluation.get("steps", [*steps[:-1], evaluation.get("checkpoint", steps[-1])])
    return evaluation.get("runs", runs) == runs and noted == steps


def check_workdir(workdir: Path) -> None:
    """Raises UserError if the folder exists and holds anything but a sweep."""
    if workdir.exists() and not workdir.is_dir():
        raise UserError("a file: choose another name", f"workdir={workdir}")
    if not workdir.is_dir() or (workdir / record.SWEEP).is_dir():
        return
    if others := sorted({path.name for path in workdir.glob("[!.]*")} - {QUEUE}):
        what = "a single run" if "config.json" in others else f"other things ({others[0]!r})"
        raise UserError(f"holds {what}, not a sweep: choose another folder", f"workdir={workdir}")


def save(experiment: Experiment, cores: int, workdir: Path) -> None:
    """Records a plan in `<workdir>/sweeps`."""
    folder = workdir / record.SWEEP
    folder.mkdir(parents=True, exist_ok=True)
    found = {"cores": cores, "experiment": experiment.to_json()}
    name = "-".join(filter(None, (experiment.name, experiment.scale)))
    if not experiment.source:  # other values of the same settings are another plan
        name += f"-{zlib.crc32(repr(sorted(experiment.arms)).encode()):08x}"
    files.write_json(files.sealed(found), folder / f"{name}.json")


def saved(workdir: Path) -> list[dict[str, Any]]:
    """The plans that `save` recorded in a workdir, each with its `Experiment`."""
    found = []
    for path in sorted((workdir / record.SWEEP).glob("*.json")):
        try:
            one = files.read_sealed(path, "delete it")
            files.check_fields(one, {"cores": int, "experiment": dict}, str(path), "delete it")
            experiment = Experiment.from_json(one["experiment"], str(path))
            found.append(one | {"experiment": experiment})
        except UserError:
            raise
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise UserError(f"{path} is damaged ({one_line(error)}): delete it") from None
    return found
