"""What a run came to, and which arm of an experiment it belongs to."""

import dataclasses
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from alexnet import config as configs
from alexnet.sweeps import plan
from alexnet.sweeps.experiment import ELSEWHERE, FROM_ARM, Arm
from alexnet.workdir import migrations

FORMAT = "alexnet result"


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


def matches(result: Result, arm: Arm) -> bool:
    """Whether a result belongs to an arm: the same `essence`, views and averaged runs."""
    if arm.of:
        counts = Counter(map(plan.arm_of, result.of))
        of = {plan.folder(name): count for name, count in arm.of.items()}
        if (counts, result.views) != (of, arm.views):
            return False
    elif result.views:
        return False
    return essence(result.config) == essence(flat_config(arm.config))


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


def flat_config(config: ConfigDict) -> dict[str, Any]:
    """A config's settings by dotted name, with tuples as lists."""
    return configs.flat(json.loads(json.dumps(config.to_dict())))
