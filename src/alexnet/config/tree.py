"""Settings as a tree of sections, and by dotted name: {"a": {"b": 1}} and {"a.b": 1}."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from alexnet.errors import UserError, local_path

if TYPE_CHECKING:  # imported inside functions: not every command needs it
    import ml_collections


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} as {"a.b": 1}."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    """{"a.b": 1} as {"a": {"b": 1}}."""
    tree: dict[str, Any] = {}
    for key, value in settings.items():
        *sections, name = key.split(".")
        section = tree
        for depth, part in enumerate(sections, 1):
            section = section.setdefault(part, {})
            if not isinstance(section, dict):
                whole = ".".join(sections[:depth])
                raise UserError(f"has a value, and so has {key}: keep one", f"config.{whole}")
        if name in section:
            raise UserError(
                f"has a value, and so has {key}.{next(iter(section[name]))}: keep one",
                f"config.{key}",
            )
        section[name] = value
    return tree


def plain(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """A config's settings by dotted name, with tuples as lists."""
    return flat(json.loads(json.dumps(config.to_dict())))


def from_json(found: Mapping[str, Any]) -> ml_collections.ConfigDict:
    """The config that JSON kept as nested dicts, locked; lists are tuples again."""
    import ml_collections

    return ml_collections.ConfigDict(tuples(found)).lock()


def tuples(value: Any) -> Any:
    """A value with its lists as tuples, at any depth: JSON has lists only."""
    if isinstance(value, Mapping):
        return {key: tuples(inner) for key, inner in value.items()}
    return tuple(map(tuples, value)) if isinstance(value, list | tuple) else value


def differences(
    old: ml_collections.ConfigDict, new: ml_collections.ConfigDict, within: str = ""
) -> list[tuple[str, Any, Any]]:
    """(key, old value, new value) wherever two configs differ; None for a missing key.

    Args:
        within: what the keys start with, such as "net.".
    """
    flat_old, flat_new = plain(old), plain(new)
    keys = [*flat_old, *(key for key in flat_new if key not in flat_old)]
    return [
        (key, flat_old.get(key), flat_new.get(key))
        for key in keys
        if key.startswith(within) and flat_old.get(key) != flat_new.get(key)
    ]


def absolute(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """A copy whose paths are absolute."""
    config = config.copy_and_resolve_references()
    kind, colon, path = config.data.name.partition(":")
    if kind == "folder" and colon:
        config.data.name = f"folder:{_absolute('data.name', path)}"
    config.data.data_dir = _absolute("data.data_dir", config.data.data_dir)
    config.init_from = _absolute("init_from", config.init_from)
    return config


def _absolute(key: str, path: str) -> str:
    return os.path.abspath(local_path(f"config.{key}", path)) if path else ""


def is_section(value: Any) -> bool:
    import ml_collections

    return isinstance(value, ml_collections.ConfigDict)
