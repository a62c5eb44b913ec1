"""Reads a config file, `configs/X.py[:variant]`, and calls functions with a config's sections."""

import contextlib
import importlib
import inspect
import json
import os
import runpy
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import ml_collections

from alexnet.errors import UserError, nearest
from alexnet.workdir import migrations


def load(file_and_variant: str) -> ml_collections.ConfigDict:
    """`get_config(variant)` of a config file, locked.

    Raises:
        UserError: if there is no such file or variant.
    """
    file, _, variant = file_and_variant.partition(":")
    if not Path(file).is_file():
        raise UserError(f"--config={file}: no such file; the configs are in configs/")
    with _siblings_importable(Path(file).resolve().parent):
        get_config = runpy.run_path(file).get("get_config")
        if get_config is None:
            raise UserError(f"--config={file}: it defines no get_config()")
        if variant and not inspect.signature(get_config).parameters:
            raise UserError(f"--config={file}:{variant}: this config has no variants")
        try:
            config = get_config(variant) if variant else get_config()
        except (KeyError, ValueError) as error:
            reason = error.args[0] if error.args else error
            raise UserError(f"--config={file}:{variant}: {reason}") from None
    return config.lock()


@contextlib.contextmanager
def _siblings_importable(folder: Path) -> Iterator[None]:
    """Lets a config import those beside it, and forgets them again.

    Another folder may have a file of the same name, and so may the program that loads the config.
    """
    names = {path.stem for path in folder.glob("*.py")}
    before = {name: sys.modules.pop(name) for name in names & sys.modules.keys()}
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in names & sys.modules.keys():
            del sys.modules[name]
        sys.modules.update(before)


def place(config: ml_collections.ConfigDict, key: str) -> tuple[ml_collections.ConfigDict, str]:
    """The section of `config.a.b.c` for key "a.b.c", and the name in it.

    Raises:
        UserError: for an unknown key, naming the nearest.
    """
    *sections, name = key.split(".")
    section = config
    for depth, part in enumerate(sections):
        if part not in section or not isinstance(section[part], ml_collections.ConfigDict):
            raise _no_setting(config, key, ".".join(sections[: depth + 1]))
        section = section[part]
    if name not in section:
        raise _no_setting(config, key, key)
    return section, name


def _no_setting(config: ml_collections.ConfigDict, key: str, unknown: str) -> UserError:
    keys = _flat(config.to_dict())
    close = nearest(key, keys).replace("'", "'--config.", 1)
    return UserError(f"--config.{key}: the config has no {unknown!r}{close}")


def call(function: Callable[..., Any], section: str, config: Mapping[str, Any], **more) -> Any:
    """Calls `function` with a section of the config as its keyword arguments.

    Args:
        more: arguments that the program fills in.

    Raises:
        UserError: for a key that `function` does not take, one that it lacks, or one that the
            program fills in.
    """
    parameters = inspect.signature(function).parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for name in config:
        if name in more:
            raise UserError(
                f"config.{section}.{name}={config[name]!r}: the program fills this in; remove it"
            )
        if name not in parameters and not takes_any:
            raise UserError(f"config.{section}.{name}: no such setting{nearest(name, parameters)}")
    arguments = dict(config) | more
    for name, parameter in parameters.items():
        plain = parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        if plain and parameter.default is parameter.empty and name not in arguments:
            raise UserError(f"config.{section}.{name} is missing")
    return function(**arguments)


def save(config: ml_collections.ConfigDict, workdir: Path) -> None:
    """Writes `<workdir>/config.json`."""
    partial = workdir / "config.json.partial"
    partial.write_text(json.dumps(versioned(config), indent=2) + "\n")
    os.replace(partial, workdir / "config.json")  # never half a file


def saved(workdir: Path) -> ml_collections.ConfigDict:
    """The config of the run in `workdir`, as this version would have written it.

    Raises:
        UserError: if there is no run, or one with a setting that this version has no more.
    """
    path = workdir / "config.json"
    if not path.is_file():
        raise UserError(f"{workdir} holds no run (no config.json); train with --workdir={workdir}")
    return current(json.loads(path.read_text()), str(path))


def versioned(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """What files hold of a config: its settings and the version that `current` needs."""
    return {"version": migrations.VERSION} | config.to_dict()


def current(found: dict[str, Any], where: str) -> ml_collections.ConfigDict:
    """The config that an earlier or this version has put into a file.

    Raises:
        UserError: for a setting that this version has no more.
    """
    return ml_collections.ConfigDict(migrations.migrated(found, where)).lock()


def differences(
    old: ml_collections.ConfigDict, new: ml_collections.ConfigDict
) -> list[tuple[str, Any, Any]]:
    """(key, old value, new value) wherever two configs differ; None stands for no such key."""
    flat_old, flat_new = (_flat(json.loads(json.dumps(c.to_dict()))) for c in (old, new))
    keys = [*flat_old, *(key for key in flat_new if key not in flat_old)]
    return [
        (key, flat_old.get(key), flat_new.get(key))
        for key in keys
        if flat_old.get(key) != flat_new.get(key)
    ]


def _flat(tree: dict, prefix: str = "") -> dict[str, Any]:
    flat = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
