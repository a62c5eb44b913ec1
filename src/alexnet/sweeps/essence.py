"""What makes a run that run: its settings, but not its seed or the places of its files."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alexnet.data.recipe import without_place
from alexnet.workdir.record import ELSEWHERE

FROM_ARM = "arm:"  # init_from the run of another arm


def essence(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that define a run, without its seed and those of `ELSEWHERE`.

    A dataset's folder and the run that it started from are named without their place.

    Args:
        config: settings by dotted name, as `alexnet.config.plain` gives them.
    """
    found = {
        key: value
        for key, value in config.items()
        if not key.startswith(ELSEWHERE) and key != "seed"
    }
    return found | without_places(found)


def without_places(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that name a dataset and a run: the run's by its arm, not its folder."""
    origin = config.get("init_from", "")
    if origin.startswith(FROM_ARM):
        origin = FROM_ARM + folder(origin.removeprefix(FROM_ARM))
    elif origin:
        origin = FROM_ARM + arm_of(Path(origin).name)
    return {"data.name": without_place(config["data.name"]), "init_from": origin}


def run_name(arm: str, seed: int) -> str:
    """The folder of a run."""
    return f"{folder(arm)}-{seed}"


def arm_of(run: str) -> str:
    """The arm's part of a run's folder, without the seed; see `folder`."""
    return re.sub(r"-\d+$", "", run)


def folder(arm: str) -> str:
    """An arm's name without characters that a path should not have."""
    return re.sub(r"[^\w.,=+-]", "_", arm)
