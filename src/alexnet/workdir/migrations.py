"""Turns the configs of earlier versions into today's, by one table of changes.

A file's config carries the version that wrote it; without that, it is of version 0. Whoever adds or
drops a setting raises VERSION and adds a line to CHANGES, so that every workdir stays readable.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from alexnet import config as configs
from alexnet.errors import UserError

# The setting that chooses a section's function, whose arguments are the section's other settings.
CHOOSES = {"net": "net.name", "optimizer": "optimizer.name", "schedule": "schedule.kind"}


@dataclasses.dataclass(frozen=True)
class Added:
    """A new setting; `value` gives what earlier runs did.

    Attributes:
        choice: the net, update rule or schedule that has the setting; "" if all have it.
    """

    key: str
    value: Any
    choice: str = ""


@dataclasses.dataclass(frozen=True)
class Retired:
    """A setting that is gone: runs with its `default` can be resumed, others can only be read."""

    key: str
    default: Any


@dataclasses.dataclass(frozen=True)
class Dropped:
    """A setting that is gone and changed results by rounding at most: its value is forgotten."""

    key: str


Change = Added | Retired | Dropped

VERSION = 8
CHANGES: tuple[tuple[int, Change], ...] = (
    # Krizhevsky's "One weird trick" (2014): fully-connected layers divided over the batch's devices
    (1, Retired("mesh.hybrid", False)),
    # Every net has these now; before, nets without dropout or norms lacked them.
    (2, Added("net.dropout", 0.5)),
    (2, Added("net.norm", True)),
    # replaced by `kernels`
    (3, Dropped("conv_chunk")),
    (3, Added("kernels", "auto")),
    (3, Added("precision", "float32")),
    (3, Added("optimizer.name", "momentum")),
    (4, Added("data.encoding", "auto")),
    (5, Added("wandb_project", "")),
    # The pocket net now has the ablations of the paper's net.
    (6, Added("net.preset", "", choice="pocket")),
    (6, Added("net.init", "", choice="pocket")),
    (6, Added("net.kernels", [32, 64, 96, 96, 64], choice="pocket")),
    (6, Added("net.hidden", [256, 256], choice="pocket")),
    (6, Added("net.communicate", True, choice="pocket")),
    (6, Added("net.overlapping_pool", True, choice="pocket")),
    (6, Added("net.sixth_conv", 0, choice="pocket")),
    (7, Added("steps_per_dispatch", 1)),
    (7, Added("fetch", "step")),
    (8, Added("cuda_graphs", False)),
)


def migrated(
    found: Mapping[str, Any],
    where: str,
    version: int = VERSION,
    changes: tuple[tuple[int, Change], ...] = CHANGES,
) -> tuple[dict[str, Any], list[str]]:
    """(a file's settings after every change since its version, a line for each setting lost).

    A retired setting whose value is not its default is lost: the run can be read, but not resumed.

    Args:
        found: nested dicts, as JSON gives them.
        where: what to call the file in a line or an error.

    Raises:
        UserError: for a config of a later version.
    """
    config, lost = configs.flat(found), []
    written = config.pop("version", 0)
    if written > version:
        raise UserError(
            f"{where} was written by a later version of this program ({written}, this is "
            f"{version}): update this program"
        )
    for number, change in changes:
        if number <= written:
            continue
        match change:
            case Added(key, value, choice):
                section = key.partition(".")[0]
                if not choice or config.get(CHOOSES[section]) == choice:
                    config.setdefault(key, value)
            case Dropped(key):
                config.pop(key, None)
            case Retired(key, default):
                value = config.pop(key, default)
                if value != default:
                    lost.append(
                        f"{where} has config.{key}={value!r}; this version has {default!r} only"
                    )
    return configs.nested(config), lost
