"""Overrides: dicts of settings by dotted name, and choices, which reset a section."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from alexnet import errors
from alexnet.config.tree import flat, is_section
from alexnet.errors import UserError, nearest

if TYPE_CHECKING:
    import ml_collections

CHOSEN = "_chosen"  # attribute of a config: see `_remember_choices`
REQUIRED = inspect.Parameter.empty  # stands for the default of a required argument


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
    _remember_choices(config, kinds)


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
    if is_section(old):
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
        if part not in section or not is_section(section[part]):
            raise _no_setting(config, key, ".".join(sections[: depth + 1]))
        section = section[part]
    if name not in section:
        raise _no_setting(config, key, key)
    return section, name


def _no_setting(config: ml_collections.ConfigDict, key: str, unknown: str) -> UserError:
    close = nearest(key, flat(config.to_dict()))
    return UserError(f"the config has no {unknown!r}{close}", f"config.{key}")


def _remember_choices(config: ml_collections.ConfigDict, kinds: Kinds) -> None:
    """Notes the sections of `kinds` as they are, so that `check_choices` can tell."""
    known = {key.partition(".")[0] for key in kinds} & {*config}
    before = {name: config[name].to_dict() for name in known if is_section(config[name])}
    object.__setattr__(config, CHOSEN, before)


def check_choices(config: ml_collections.ConfigDict, kinds: Kinds) -> None:
    """Raises UserError if `config.net.name` was assigned, and its section is still another net's.

    Likewise for the other `kinds`. Copies of a config remember nothing, and are not checked.
    """
    for key, kind in kinds.items():
        where, _, name = key.partition(".")
        before, now = getattr(config, CHOSEN, {}).get(where), config.get(where)
        if not (before and is_section(now)):
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
