"""The command line: `--config=configs/X.py[:variant]`, `--config.a.b=value`, `--name=value`.

The syntax is that of ml_collections' config_flags, but every mistake is one clear line, also those
that it passes over in silence: stray arguments, repeated flags, `--config.a value`.
"""

import ast
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from alexnet import config as configs
from alexnet.errors import Interrupted, UserError, nearest


def run(command: Callable[[], None]) -> None:
    """Runs a command; a UserError becomes one line on stderr and exit status 2."""
    try:
        command()
    except UserError as error:
        print(error.line(), file=sys.stderr)
        sys.exit(2)
    except Interrupted as stopped:
        sys.exit(128 + stopped.number)
    except KeyboardInterrupt:
        sys.exit(130)


def parse(
    argv: Sequence[str], options: Mapping[str, str | None], kinds: configs.Kinds
) -> tuple[ConfigDict, dict[str, str]]:
    """The config with its overrides, and the command's other options.

    Args:
        argv: without the program's name.
        options: the command's own options and their defaults; None means required.
        kinds: `alexnet.training.setup.KINDS`.

    Raises:
        UserError: for any mistake in them.
    """
    given = arguments(argv)
    file = given.pop("config", None)
    if file is None:
        raise UserError("which config? add --config=configs/digits.py, or another file there")
    found, overrides = dict(options), {}
    for name, text in given.items():
        if name in options:
            found[name] = text
        elif name.startswith("config."):
            overrides[name.removeprefix("config.")] = text
        else:
            known = ["config", *options]
            raise UserError(f"--{name}: no such option{nearest(name, known)}")
    config = configs.load(file, kinds)
    override(config, overrides, kinds)
    for name, value in found.items():
        if value is None:
            raise UserError(f"--{name} is missing: add --{name}=...")
    return config, found


def override(config: ConfigDict, texts: Mapping[str, str], kinds: configs.Kinds) -> None:
    """`configs.apply_overrides` of text, which gets the type of what it replaces.

    Raises:
        UserError: for an unknown key (naming the nearest) or a value of another type.
    """
    chosen = {key: text for key, text in texts.items() if key in kinds}
    configs.apply_overrides(config, chosen, kinds)  # they say which settings and types there are
    values = {}
    for key, text in texts.items():
        section, name = configs.place(config, key)
        values[key] = typed(f"config.{key}", text, section[name])
    configs.apply_overrides(config, values, kinds)


def arguments(argv: Sequence[str], known: Iterable[str] | None = None) -> dict[str, str]:
    """`--name=value` arguments as a dict.

    Raises:
        UserError: for a stray, valueless or repeated one, or one that is not among `known`.
    """
    found = {}
    for argument in argv:
        name, equals, value = argument.removeprefix("--").partition("=")
        if not argument.startswith("--"):
            raise UserError(f"stray argument {argument!r}: write --name=value, without a space")
        if not equals:
            raise UserError(f"{argument}: write {argument}=value, without a space")
        if name in found:
            raise UserError(f"--{name} is given twice; keep one")
        if known is not None and name not in known:
            raise UserError(f"--{name}: no such option{nearest(name, known)}")
        found[name] = value
    return found


def count(name: str, text: str, least: int = 1) -> int:
    """The whole number that `--name=text` gives.

    Raises:
        UserError: if it is none, or less than `least`.
    """
    if not text.isdecimal() or int(text) < least:
        raise UserError(f"--{name}={text}: expected a whole number of at least {least}")
    return int(text)


def typed(name: str, text: str, old: Any) -> Any:
    """The value of `--name=text`, of the type of the value `old` that it replaces.

    Raises:
        UserError: if it has another type.
    """
    try:
        match old:
            case bool():
                return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
            case int():
                return int(text)
            case float():
                value = float(text)
                if not math.isfinite(value):
                    raise ValueError
                return value
            case tuple() | list():
                value = ast.literal_eval(text)
                if not isinstance(value, tuple | list):
                    raise ValueError
                return tuple(value)
    except (KeyError, TypeError, ValueError, SyntaxError):
        raise UserError(f"--{name}={text}: expected {configs.expected(old)}") from None
    return text
