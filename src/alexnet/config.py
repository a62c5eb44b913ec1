"""Reads a config file, `configs/X.py[:variant]`, and calls functions with a config's sections.

A file's `get_config` returns layers: a dict of every setting and then dicts of overrides, all with
dotted keys, such as {"net.norm": False}. A variant, an arm of a sweep and `--config.net.norm=false`
are all such overrides. A file may also return a ConfigDict.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import inspect
import json
import math
import numbers
import os
import runpy
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args, get_origin

import numpy as np

from alexnet import errors
from alexnet.errors import UserError, local_path, nearest, one_line

if TYPE_CHECKING:  # imported inside functions: not every command needs it
    import ml_collections

CHOSEN = "_chosen"  # attribute of a config: see `remember_choices`
REQUIRED = inspect.Parameter.empty  # stands for the default of a required argument
Made = TypeVar("Made")


@dataclasses.dataclass(frozen=True)
class Kind:
    """A setting that chooses a function; the rest of its section holds that function's arguments.

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
        """The settings that come with a choice, each with its default or REQUIRED.

        Raises:
            UserError: if there is no such choice for the setting `key`.
        """
        errors.choice(f"config.{key}", choice, self.choices)
        functions = (self.build, self.choices[choice])
        parameters = [p for f in functions for p in inspect.signature(f).parameters.values()]
        left_out = {*self.filled_in, key.rpartition(".")[2]}
        return {
            p.name: p.default
            for p in parameters
            if p.kind is not p.VAR_KEYWORD and p.name not in left_out
        }


# {"net.name": Kind}. Callers pass it, as this file must not import the nets.
Kinds = Mapping[str, Kind]


def in_checkout(folder: str) -> str:
    """Where this checkout has the folder "configs" or "experiments"; words, if it has none."""
    there = Path(__file__).parents[2] / folder
    return str(there) if there.is_dir() else f"{folder}/ of a clone: an installed package has none"


def load(file_and_variant: str, kinds: Kinds) -> ml_collections.ConfigDict:
    """The config of a file and variant, locked.

    Args:
        kinds: `alexnet.training.settings.KINDS`.

    Raises:
        UserError: if there is no such file or variant, or the file or an override is invalid.
    """
    import ml_collections

    file, _, variant = file_and_variant.partition(":")
    path = local_path("--config", file)
    if not os.path.isfile(path):
        near = nearest(path.stem, [other.stem for other in path.parent.glob("*.py")])
        raise UserError(f"{path}: no such file; the configs are in {in_checkout('configs')}{near}")
    if path.suffix == ".json":
        raise UserError(
            f"{path} is no config file; if it is a run's record, alexnet train --workdir="
            f"{path.parent} goes on with it"
        )
    with siblings_importable(path.resolve().parent):
        get_config = run_file(path).get("get_config")
        if not callable(get_config):
            raise UserError(f"{path}: it defines no get_config()")
        parameters = [p.default for p in inspect.signature(get_config).parameters.values()]
        if variant and not parameters:
            raise UserError(f"{file_and_variant}: this config has no variants")
        if not variant and parameters[:1] == [REQUIRED]:
            raise UserError(f"{path}: it needs a variant: write --config={path}:VARIANT")
        with blamed_on(path, variant):
            found = get_config(variant) if variant else get_config()
    if isinstance(found, ml_collections.FrozenConfigDict):
        found = ml_collections.ConfigDict(found)
    if isinstance(found, ml_collections.ConfigDict):
        return _whole(found.lock(), file_and_variant, kinds)
    layers = [found] if isinstance(found, Mapping) else found
    if not _are_settings(layers):
        code = getattr(get_config, "__code__", None)
        where = f"{path}, line {code.co_firstlineno}" if code else str(path)
        raise UserError(
            f"{where}: get_config() returns {_short(found)}; it must return dicts of settings"
        )
    everything, *layers = layers
    try:
        config = ml_collections.ConfigDict(nested(everything)).lock()
        for overrides in layers:
            apply_overrides(config, overrides, kinds)
    except UserError as error:
        raise UserError(f"{file_and_variant}: {error}") from None
    return _whole(config, file_and_variant, kinds)


def _whole(
    config: ml_collections.ConfigDict, where: str, kinds: Kinds
) -> ml_collections.ConfigDict:
    """The config. Raises UserError if it lacks what others depend on, as without BASE."""
    for key in ("data.name", *kinds) if kinds else ():
        section, _, name = key.partition(".")
        if section not in config or (_is_section(config[section]) and name not in config[section]):
            raise UserError(
                f"{where}: it has no config.{key}: let the list that get_config() returns begin "
                "with BASE, from configs/base.py"
            )
    return config


def run_file(path: Path) -> dict[str, Any]:
    """The names that a user's Python file defines. Raises UserError, naming the faulty line."""
    source = path.read_bytes()
    if b"\0" in source:
        line = source[: source.index(b"\0")].count(b"\n") + 1
        raise UserError(f"{path}, line {line}: a null byte: the file is damaged, or not Python")
    with blamed_on(path):
        return runpy.run_path(str(path))


@contextlib.contextmanager
def blamed_on(path: Path, variant: str = "") -> Iterator[None]:
    """Turns an error in a user's file, or in a file beside it, into a UserError that says where."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except SyntaxError as error:
        where = f"{error.filename or path}, line {error.lineno}"
        raise UserError(f"{where}: {error.msg}") from None
    except (KeyError, ValueError) as error:
        reason = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
        if not variant or variant not in reason:  # it is about something else
            raise UserError(_blame(path, error)) from None
        raise UserError(f"{path}:{variant}: {reason}") from None
    except (Exception, SystemExit) as error:
        raise UserError(_blame(path, error)) from None


def _blame(path: Path, error: BaseException) -> str:
    """The error, with the last line of its traceback that is in the file or in one beside it."""
    where, folder = str(path), path.resolve().parent

    def beside(file: Path) -> bool:
        """Whether a file is beside the user's, or in a package that is."""
        if folder not in file.parents:
            return False
        top = folder / file.relative_to(folder).parts[0]
        return file.parent == folder or (top / "__init__.py").exists()

    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename == str(path) or beside(Path(frame.filename)):
            where = f"{frame.filename}, line {frame.lineno}"
    if isinstance(error, ModuleNotFoundError):
        return f"{where}: imports {error.name}, which is neither beside this file nor installed"
    return f"{where}: {type(error).__name__}: {one_line(error)}"


def _are_settings(layers: Any) -> bool:
    """Whether these are valid layers: dicts whose keys are text, the first not empty."""
    return (
        isinstance(layers, tuple | list)
        and bool(layers)
        and all(isinstance(layer, Mapping) for layer in layers)
        and all(isinstance(key, str) for layer in layers for key in layer)
        and bool(layers[0])
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


@contextlib.contextmanager
def siblings_importable(folder: Path) -> Iterator[None]:
    """Lets a config import what is beside it, and forgets these modules afterwards.

    Another folder, or the program that loads the config, may have a module of the same name.
    """
    names = {path.stem for path in folder.glob("*.py")}
    names |= {path.parent.name for path in folder.glob("*/__init__.py")}

    def known() -> list[str]:
        return [name for name in list(sys.modules) if name.partition(".")[0] in names]

    before = {name: sys.modules.pop(name) for name in known()}
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in known():
            del sys.modules[name]
        sys.modules.update(before)


def apply_overrides(
    config: ml_collections.ConfigDict, overrides: Mapping[str, Any], kinds: Kinds
) -> None:
    """Sets `config.a.b` for each key "a.b", in any order.

    Settings that choose a function are applied first. A new choice RESETS the section to the new
    function's defaults, even for names that both functions have: the old value was meant for the
    old function. Only settings without a default, such as `schedule.rate`, keep their value. The
    same choice again resets nothing.

    Raises:
        UserError: for an unknown key or choice, naming the nearest; a value of the wrong type; a
            choice without a setting that it needs.
    """
    for key in kinds:
        if key in overrides:
            _choose(config, key, overrides, kinds[key])
    for key, value in overrides.items():
        section, name = place(config, key)
        section[name] = _like(section[name], key, value)
    remember_choices(config, kinds)


def remember_choices(config: ml_collections.ConfigDict, kinds: Kinds) -> None:
    """Notes the sections of `kinds` as they are, so that `check_choices` can tell."""
    known = {key.partition(".")[0] for key in kinds} & {*config}
    before = {name: config[name].to_dict() for name in known if _is_section(config[name])}
    object.__setattr__(config, CHOSEN, before)


def check_choices(config: ml_collections.ConfigDict, kinds: Kinds) -> None:
    """Raises UserError if `config.net.name` was assigned, and its section is still another net's.

    Likewise for the other `kinds`. Copies of a config remember nothing, and are not checked.
    """
    for key, kind in kinds.items():
        where, _, name = key.partition(".")
        before, now = getattr(config, CHOSEN, {}).get(where), config.get(where)
        if not (before and _is_section(now)):
            continue
        old, new = before.get(name), now.get(name)
        if old is None or new == old or new not in kind.choices:  # a mistake is reported later
            continue
        defaults = kind.defaults(key, new)
        left = [
            f"{option}={value!r}"
            for option, value in now.items()
            if option != name and before.get(option) == value
            if defaults.get(option) not in (value, REQUIRED)
        ]
        if left:
            advice = f"load_config(file, {{{key!r}: {new!r}}})"
            raise UserError(
                f"was assigned, but the section has settings of {old!r} ({', '.join(left[:3])}): "
                f"{advice} gives it those of {new!r}",
                f"config.{key}={new!r}",
            )


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
    """`value`, which must have the type of `old`, which it replaces; an int may replace a float."""
    if _is_section(old):
        inside = ", ".join(f"config.{key}.{part}" for part in old) or "nothing"
        raise UserError(f"a section; set what is in it: {inside}", f"config.{key}={value}")
    if isinstance(value, np.generic):
        value = value.item()
    match old, value:
        case (bool(), bool()) | (str(), str()) | (None, _):
            return value
        case (bool(), _) | (_, bool()):
            pass
        case int(), int():
            return value
        case float(), int() | float() if errors.is_number(value):
            return float(value)
        case tuple() | list(), tuple() | list() if _finite(value):
            return tuple(value)
    raise UserError(f"expected {expected(old)}", f"config.{key}={value!r}")


def _finite(value: Any) -> bool:
    """Whether every number in a value, or in tuples inside it, is finite."""
    if isinstance(value, tuple | list):
        return all(map(_finite, value))
    return not isinstance(value, int | float) or isinstance(value, bool) or errors.is_number(value)


def expected(old: Any) -> str:
    """The kind of value that may replace `old`, in words."""
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    return words.get(type(old), f"a tuple such as {old}" if old else "a tuple")


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


def call(
    function: Callable[..., Made], section: str, config: Mapping[str, Any], **more: Any
) -> Made:
    """Calls `function` with a section of the config as its keyword arguments.

    Args:
        section: its name; "" is the whole config.
        more: arguments that the program fills in.

    Raises:
        UserError: for a key that `function` does not take, a missing one, or one that the program
            fills in. An error about an argument names `config.<section>.<argument>`.
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
    check_types(function, config, section)
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


TYPES = {  # annotation: (types that fit it, its name in messages)
    bool: (bool | np.bool_, "true or false"),
    int: (numbers.Integral, "a whole number"),
    float: (numbers.Real, "a number"),
    str: (str, "text"),
    Mapping: (Mapping, "a section"),
    Sequence: (tuple | list, "a tuple"),
    tuple: (tuple | list, "a tuple"),
    Literal: (str, "text"),
}


def check_types(function: Callable[..., Any], arguments: Mapping[str, Any], section: str) -> None:
    """Raises UserError for an argument that contradicts its annotation in `function`.

    Only the plain types that settings have are checked, and the words of a Literal.
    """
    for name, parameter in inspect.signature(function).parameters.items():
        annotation = get_origin(parameter.annotation) or parameter.annotation
        fits, called = TYPES.get(annotation, (object, ""))
        if name not in arguments or parameter.kind is parameter.VAR_KEYWORD:
            continue
        value, argument = arguments[name], f"{section}{'.' * bool(section)}{name}"
        mistaken = isinstance(value, bool) and annotation in (int, float)
        endless = annotation is float and isinstance(value, float) and not math.isfinite(value)
        fitting = isinstance(value, fits) or (annotation is Mapping and _is_section(value))
        if mistaken or endless or not fitting:
            raise UserError(f"expected {called}", f"{argument}={value!r}")
        if annotation is Literal:
            errors.choice(argument, value, get_args(parameter.annotation))


def check_options(called: str, function: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """Raises UserError for an option that `function` lacks, or one of another type.

    Args:
        called: the function's name in the message.
    """
    known = inspect.signature(function).parameters
    for name in options:
        if name not in known:
            raise UserError(f"{called} has no such option{errors.nearest(name, known)}", name)
    check_types(function, options, "")


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
    return os.path.abspath(errors.local_path(f"config.{key}", path)) if path else ""


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


def plain(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """A config's settings by dotted name, with tuples as lists."""
    return flat(json.loads(json.dumps(config.to_dict())))


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


def tuples(value: Any) -> Any:
    """A value with its lists as tuples, at any depth: JSON has lists only."""
    if isinstance(value, Mapping):
        return {key: tuples(inner) for key, inner in value.items()}
    return tuple(map(tuples, value)) if isinstance(value, list | tuple) else value
