"""What a run came to, and which arm of an experiment it belongs to."""

import dataclasses
import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from alexnet import config as configs
from alexnet.data.recipe import without_place
from alexnet.sweeps.essence import arm_of, essence, folder, without_places
from alexnet.sweeps.experiment import Arm
from alexnet.workdir import migrations

FORMAT = "alexnet result"
THEN = " then "  # between the commits, or the devices, that trained a run one after the other


@dataclasses.dataclass(frozen=True)
class Result:
    """A run, or an evaluation of several.

    Attributes:
        name: the name of its folder.
        config: settings by dotted name, as this version writes them, without the seed.
        views, of: the views of an evaluation, and the runs that it averages.
        curve: columns of the log, {"training": {"epoch": [...], ...}, "validation": {...}}.
        last, best: {"epoch", "loss", "top1_error", "top5_error"}: of the last checkpoint, and of
            the one with the lowest error; errors are fractions. Empty if the run failed, or has not
            been validated.
        dataset: its name, and the known digests of its images.
        about: seconds, commit, versions, device, cores; None if unknown; see THEN. "changed" names
            settings that were changed while it was trained.
        failure: why the run failed, in a few words; it has no errors then. "" if it did not.
        finished: whether it has trained for all its epochs; result files hold no others but failed
            ones.
        place: the folder or file that it was read from; result files do not keep it.
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
    place: str = ""

    @functools.cached_property
    def essence(self) -> dict[str, Any]:
        """The settings that define it; see `alexnet.sweeps.essence`."""
        return essence(self.config)

    @property
    def counts(self) -> bool:
        """Whether it has errors: it has not failed, and has been validated."""
        return bool(self.last) and not self.failure

    def to_json(self) -> dict[str, Any]:
        """The content of a result file, without any paths on this machine."""
        config = dict(self.config) | without_places(self.config) | {"data.data_dir": ""}
        found = dataclasses.asdict(dataclasses.replace(self, config=configs.nested(config)))
        found["config"] = {"version": migrations.VERSION} | found["config"]
        found["dataset"]["name"] = without_place(self.dataset["name"])
        left_out = {"finished", "place"} | (set() if self.failure else {"failure"})
        return {"format": FORMAT} | {key: found[key] for key in found if key not in left_out}


def matches(result: Result, arm: Arm) -> bool:
    """Whether a result belongs to an arm: the same `essence`, views and averaged runs."""
    if arm.of:
        counts = Counter(map(arm_of, result.of))
        of = {folder(name): count for name, count in arm.of.items()}
        if (counts, result.views) != (of, arm.views):
            return False
    elif result.views:
        return False
    return result.essence == arm.essence


def settings(result: Result) -> dict[str, Any]:
    """The `essence` of a result, and what it is an average of."""
    members = dict(Counter(map(arm_of, result.of)))
    return result.essence | ({"views": result.views, "of": members} if result.views else {})
