"""The help: on a command, and on every setting of a config.

The help on settings comes from the docstrings of the functions that take them.
"""

from __future__ import annotations

import ast
import functools
import inspect
import shlex
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from alexnet import errors
from alexnet.cli.options import Options, positional
from alexnet.cli.running import run
from alexnet.text import allowed, documented

if TYPE_CHECKING:
    from ml_collections import ConfigDict

OWN_HELP = ("nets", "roofline")  # their help on a net also lists the net's options


class Setting(NamedTuple):
    """An entry in the help: a setting's current value, its meaning and its allowed words."""

    value: Any
    meaning: str
    words: Sequence[str] = ()


def asks_help(argv: Sequence[str]) -> bool:
    """Whether -h or --help is among the arguments."""
    return not {"-h", "--help"}.isdisjoint(argv)


def help_first(command: str, argv: Sequence[str]) -> None:
    """Prints the help on `alexnet.<command>` and exits, if `argv` asks for it.

    The help is read from the command's source, where OPTIONS is a literal: importing the command
    would take seconds. The command itself prints the help on a net or on a --config.
    """
    file = Path(__file__).parents[1] / f"{command}.py"
    if not file.is_file():
        return
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in tree.body:
        if not isinstance(node, ast.Assign) or ast.unparse(node.targets[0]) != "OPTIONS":
            continue
        options = ast.literal_eval(node.value)
        named = "config" in options and any(part.startswith("--config=") for part in argv)
        own = command in OWN_HELP and positional(argv)[0]
        if asks_help(argv) and not own and not named:
            text = command_help(ast.get_docstring(tree) or "", options)
            run(functools.partial(print, text))  # a reader such as `head` may stop early
            sys.exit(0)


def command_help(doc: str, options: Options) -> str:
    """A command's docstring and its options."""
    settings = {name: Setting(default, meaning) for name, (default, meaning) in options.items()}
    parts = [doc.strip(), "Options and their defaults:", listing(settings)]
    if "config" in options:
        parts.append(
            "--config.a.b=VALUE changes a setting; `alexnet train --config=FILE --help` lists them."
        )
    return "\n\n".join(parts)


def config_help(file: str, config: ConfigDict) -> str:
    """Every setting of a config, section by section."""
    parts = [f"The settings of {file}:"]
    sections: dict[str, dict[str, Setting]] = {}
    for key, setting in config_settings(config).items():
        sections.setdefault(key.rpartition(".")[0], {})[key] = setting
    for section, settings in sections.items():
        parts += [f"{section or 'the whole run'}:", listing(settings, "--config.")]
    return "\n\n".join(parts)


def config_settings(config: ConfigDict) -> dict[str, Setting]:
    """Every setting of a config by its dotted key, those outside the sections first."""
    from alexnet.training.settings import KINDS, SECTIONS

    tree = config.to_dict()
    plain = {name: value for name, value in tree.items() if not isinstance(value, Mapping)}
    found, whole = described(plain, SECTIONS[""]), described(tree, SECTIONS[""])
    functions: dict[str, tuple[Callable[..., Any], ...]] = {
        section: (function,) for section, function in SECTIONS.items()
    }
    words = {}
    for key, kind in KINDS.items():
        section, _, name = key.partition(".")
        if section in tree:
            errors.choice(f"config.{key}", tree[section][name], kind.choices)
            functions[section] = (kind.build, kind.choices[tree[section][name]])
            words[key] = tuple(kind.choices)
    for section in (name for name in whole if name not in plain):
        for name, setting in described(tree[section], *functions.get(section, ())).items():
            key = f"{section}.{name}"
            found[key] = setting._replace(words=words.get(key, setting.words))
    return found


def described(values: Mapping[str, Any], *functions: Callable[..., Any]) -> dict[str, Setting]:
    """The help on `values`, in the order of the functions' parameters; later docstrings win."""
    meanings: dict[str, str] = {}
    words: dict[str, tuple[str, ...]] = {}
    order: list[str] = []
    for function in functions:
        meanings |= documented(function)
        words |= allowed(function)
        order += inspect.signature(function).parameters
    names = [*(name for name in dict.fromkeys(order) if name in values), *values]
    return {
        name: Setting(values[name], meanings.get(name, ""), words.get(name, ()))
        for name in dict.fromkeys(names)
    }


def listing(settings: Mapping[str, Setting], prefix: str = "--") -> str:
    """An entry for each setting: how to write it, and what it means."""
    lines = []
    for name, (value, meaning, words) in settings.items():
        shown = "...    (required)" if value is None else shlex.quote(str(value))
        lines.append(f"  {prefix}{name}={shown}")
        choice = "one of: " + ", ".join(word or repr(word) for word in words) if words else ""
        for text in (meaning, choice):
            lines += textwrap.wrap(text, 96, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return "\n".join(lines)
