"""Reads a config file, `configs/X.py[:variant]`, and calls functions with a config's sections.

A file's `get_config` returns layers: a dict of every setting and then dicts of overrides, all with
dotted keys, such as {"net.norm": False}. A variant, an arm of a sweep and `--config.net.norm=false`
are such overrides alike. A file may also return a ConfigDict.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import inspect
import json
import math
import os
import runpy
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alexnet import errors
from alexnet.errors import UserError, local_path, nearest

if TYPE_CHECKING:  # else functions import it: what reads no config need not have it
    import ml_collections

REQUIRED = inspect.Parameter.empty  # stands for the default of an argument that has none


@dataclasses.dataclass(frozen=True)
class Kind:
    """A setting that chooses a function; the rest of its section are that function's arguments.

    Attributes:
        build: the function that is called with the whole section; its own arguments are settings
            as well.
        choices: the functions by name.
        filled_in: arguments that the program fills in.
    """

    build: Callable[..., Any]
    choices: Mapping[str, Callable[..., Any]]
    filled_in: Sequence[str] = ()

    def defaults(self, key: str, choice: str) -> dict[str, Any]:
        """The settings that come with a choice and their defaults, or REQUIRED.

        Raises:
            UserError: if there is no such choice for the setting `key`.
        """
        errors.choice(f"config.{key}", choice, tuple(self.choices))
        functions = (self.build, self.choices[choice])
        parameters = [p for f in functions for p in inspect.signature(f).parameters.values()]
        left_out = {*self.filled_in, key.rpartition(".")[2]}
        return {
            p.name: p.default
            for p in parameters
            if p.kind is not p.VAR_KEYWORD and p.name not in left_out
        }


Kinds = Mapping[
    str, Kind
]  # {"net.name": ...}; this file may not import the nets, so callers pass it


def load(file_and_variant: str, kinds: Kinds) -> ml_collections.ConfigDict:
    """The config of a file and variant, locked.

    Args:
        kinds: `alexnet.training.setup.KINDS`.

    Raises:
        UserError: if there is no such file or variant, or an override in it cannot be.
    """
    import ml_collections

    file, _, variant = file_and_variant.partition(":")
    file = str(local_path("--config", file))
    if not Path(file).is_file():
        raise UserError(f"{file}: no such file; the configs are in configs/")
    with _siblings_importable(Path(file).resolve().parent):
        try:
            get_config = runpy.run_path(file).get("get_config")
        except ModuleNotFoundError as error:
            raise UserError(
                f"{file}: it imports {error.name}, neither beside it nor installed"
            ) from None
        if get_config is None:
            raise UserError(f"{file}: it defines no get_config()")
        if variant and not inspect.signature(get_config).parameters:
            raise UserError(f"{file_and_variant}: this config has no variants")
        try:
            found = get_config(variant) if variant else get_config()
        except (KeyError, ValueError) as error:
            reason = error.args[0] if isinstance(error, KeyError) and error.args else error
            raise UserError(f"{file_and_variant}: {reason}") from None
    if isinstance(found, ml_collections.ConfigDict):
        return found.lock()
    if not isinstance(found, Mapping | Sequence) or not found:
        raise UserError(f"{file}: get_config() returns {found!r}; it needs dicts of settings")
    everything, *layers = [found] if isinstance(found, Mapping) else found
    config = ml_collections.ConfigDict(nested(everything)).lock()
    try:
        for overrides in layers:
            apply_overrides(config, overrides, kinds)
    except UserError as error:
        raise UserError(f"{file_and_variant}: {error}") from None
    return config


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


def apply_overrides(
    config: ml_collections.ConfigDict, overrides: Mapping[str, Any], kinds: Kinds
) -> None:
    """Sets `config.a.b` for each key "a.b", in any order.

    Settings that choose a function come first. Another choice RESETS the section to the new
    function's defaults, even for names that both functions have: the old value was meant for the
    old function. Only settings without a default, such as `schedule.rate`, keep their value. The
    same choice resets nothing.

    Raises:
        UserError: for an unknown key (naming the nearest) or a value of another type.
    """
    for key in kinds:
        if key in overrides:
            _choose(config, key, overrides, kinds[key])
    for key, value in overrides.items():
        section, name = place(config, key)
        section[name] = _like(section[name], key, value)


def _choose(
    config: ml_collections.ConfigDict, key: str, overrides: Mapping[str, Any], kind: Kind
) -> None:
    section, name = place(config, key)
    choice, old = overrides[key], section.to_dict()
    if choice == old[name]:
        return
    prefix = key.removesuffix(name)
    fresh = {name: choice} | kind.defaults(key, choice)
    for option, default in fresh.items():
        if default is REQUIRED:
            fresh[option] = old.get(option, overrides.get(prefix + option, REQUIRED))
            if fresh[option] is REQUIRED:
                raise UserError(f"set config.{prefix}{option} as well", f"config.{key}={choice!r}")
    with section.unlocked():
        for option in old:
            del section[option]
        section.update(fresh)


def _like(old: Any, key: str, value: Any) -> Any:
    """`value`, which must be of the type of the value that it replaces; 1 will do for 1.0."""
    if _is_section(old):
        inside = ", ".join(f"config.{key}.{part}" for part in old) or "nothing"
        raise UserError(f"a section; set what is in it: {inside}", f"config.{key}={value}")
    match old, value:
        case (bool(), bool()) | (str(), str()) | (None, _):
            return value
        case (bool(), _) | (_, bool()):
            pass
        case int(), int():
            return value
        case float(), int() | float() if math.isfinite(value):
            return float(value)
        case tuple() | list(), tuple() | list():
            return tuple(value)
    raise UserError(f"expected {expected(old)}", f"config.{key}={value!r}")


def expected(old: Any) -> str:
    """What may replace a value, in words."""
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    return words.get(type(old), f"a tuple such as {old or '((20, 0.001),)'}")


def place(config: ml_collections.ConfigDict, key: str) -> tuple[ml_collections.ConfigDict, str]:
    """The section of `config.a.b.c` for key "a.b.c", and the name in it.

    Raises:
        UserError: for an unknown key, naming the nearest.
    """
    *sections, name = key.split(".")
    section = config
    for depth, part in enumerate(sections):
        if part not in section or not _is_section(section[part]):
            raise _no_setting(config, key, ".".join(sections[: depth + 1]))
        section = section[part]
    if name not in section:
        raise _no_setting(config, key, key)
    return section, name


def _is_section(value: Any) -> bool:
    import ml_collections

    return isinstance(value, ml_collections.ConfigDict)


def _no_setting(config: ml_collections.ConfigDict, key: str, unknown: str) -> UserError:
    close = nearest(key, flat(config.to_dict()))
    return UserError(f"the config has no {unknown!r}{close}", f"config.{key}")


def call(function: Callable[..., Any], section: str, config: Mapping[str, Any], **more) -> Any:
    """Calls `function` with a section of the config as its keyword arguments.

    Args:
        section: its name; "" is the whole config.
        more: arguments that the program fills in.

    Raises:
        UserError: for a key that `function` does not take, one that it lacks, or one that the
            program fills in; what `function` says of an argument is said of `config.<section>`.
    """
    section = f"config.{section}" if section else "config"
    parameters = inspect.signature(function).parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for name in config:
        key = f"{section}.{name}"
        if name in more:
            raise UserError("the program fills this in; remove it", f"{key}={config[name]!r}")
        if name not in parameters and not takes_any:
            raise UserError(f"no such setting{nearest(name, parameters)}", key)
    arguments = dict(config) | more
    for name, parameter in parameters.items():
        plain = parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        if plain and parameter.default is parameter.empty and name not in arguments:
            raise UserError("missing", f"{section}.{name}")
    try:
        return function(**arguments)
    except UserError as error:
        name = error.argument.partition("=")[0]
        if not name or name in more:
            raise
        raise error.within(section) from None


def absolute(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """A copy whose paths mean the same in every directory."""
    config = config.copy_and_resolve_references()
    kind, colon, path = config.data.name.partition(":")
    if kind == "folder" and colon:
        config.data.name = f"folder:{_absolute('data.name', path)}"
    config.data.data_dir = _absolute("data.data_dir", config.data.data_dir)
    config.init_from = _absolute("init_from", config.init_from)
    return config


def _absolute(key: str, path: str) -> str:
    return os.path.abspath(errors.local_path(f"config.{key}", path)) if path else ""


def differences(
    old: ml_collections.ConfigDict, new: ml_collections.ConfigDict
) -> list[tuple[str, Any, Any]]:
    """(key, old value, new value) wherever two configs differ; None stands for no such key."""
    flat_old, flat_new = (flat(json.loads(json.dumps(c.to_dict()))) for c in (old, new))
    keys = [*flat_old, *(key for key in flat_new if key not in flat_old)]
    return [
        (key, flat_old.get(key), flat_new.get(key))
        for key in keys
        if flat_old.get(key) != flat_new.get(key)
    ]


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} as {"a.b": 1}."""
    found = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    """{"a.b": 1} as {"a": {"b": 1}}."""
    tree = {}
    for key, value in settings.items():
        *sections, name = key.split(".")
        section = tree
        for part in sections:
            section = section.setdefault(part, {})
        section[name] = value
    return tree
