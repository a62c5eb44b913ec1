"""How the config that an earlier version wrote becomes today's: one table of changes.

A file's config carries the version that wrote it; files without one are of version 0. Whoever adds,
renames or drops a setting raises VERSION and adds a line to CHANGES, so that no workdir becomes
unreadable for a setting.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from alexnet.errors import UserError


@dataclasses.dataclass(frozen=True)
class Added:
    """A new setting; `value` is what earlier runs did."""

    key: str
    value: Any


@dataclasses.dataclass(frozen=True)
class Renamed:
    """A setting with another name."""

    old: str
    new: str


@dataclasses.dataclass(frozen=True)
class Retired:
    """A setting that is gone: runs that had its `default` go on, others cannot."""

    key: str
    default: Any


Change = Added | Renamed | Retired

VERSION = 2
CHANGES: tuple[tuple[int, Change], ...] = (
    # Krizhevsky's "One weird trick" (2014): fully-connected layers divided over the batch's devices
    (1, Retired("mesh.hybrid", False)),
    # what every net takes is in every config, also of nets without dropout or without norms
    (2, Added("net.dropout", 0.5)),
    (2, Added("net.norm", True)),
)


def migrated(
    found: Mapping[str, Any],
    where: str,
    version: int = VERSION,
    changes: tuple[tuple[int, Change], ...] = CHANGES,
) -> dict[str, Any]:
    """The settings of a file's config, with every change since its version made.

    Args:
        found: nested dicts, as JSON gives them.
        where: what to call the file in an error.

    Raises:
        UserError: for a retired setting with another value than its default, or a config of a later
            version.
    """
    config = _copy(found)
    written = config.pop("version", 0)
    if written > version:
        raise UserError(
            f"{where} was written by a later version of this program ({written}, this is "
            f"{version}): update it"
        )
    for number, change in changes:
        if number <= written:
            continue
        match change:
            case Added(key, value):
                section, name = _place(config, key)
                section.setdefault(name, value)
            case Renamed(old, new):
                section, name = _place(config, old)
                if name in section:
                    value = section.pop(name)
                    section, name = _place(config, new)
                    section[name] = value
            case Retired(key, default):
                section, name = _place(config, key)
                if section.pop(name, default) != default:
                    raise UserError(
                        f"{where} has config.{key}={_get(found, key)!r}, which this version has no "
                        f"more (only {default!r}): use the version that wrote it"
                    )
    return config


def _copy(tree: Any) -> Any:
    if isinstance(tree, Mapping):
        return {key: _copy(value) for key, value in tree.items()}
    return tree


def _place(config: dict[str, Any], key: str) -> tuple[dict[str, Any], str]:
    """The section that `key` is in, made where it is missing, and the key's last part."""
    *sections, name = key.split(".")
    for section in sections:
        config = config.setdefault(section, {})
    return config, name


def _get(config: Any, key: str) -> Any:
    for part in key.split("."):
        config = config[part]
    return config
