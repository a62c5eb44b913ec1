"""Result files: JSON with a run's config, dataset, curve, errors, time, versions and commit."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alexnet import config as configs
from alexnet import files
from alexnet.errors import UserError, one_line
from alexnet.results.result import FORMAT, Result, settings
from alexnet.workdir import record

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
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        return None
    found = files.unsealed(found, str(path), "restore or delete it")
    files.check_fields(found, TYPES, str(path), "restore or delete it")
    found.pop("format")
    flat = configs.plain(record.current(found["config"] | {"seed": found["seed"]}, str(path)))
    flat.pop("seed")
    try:
        return Result(**{**found, "config": flat, "of": tuple(found["of"]), "place": str(path)})
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
