"""`--name=value` arguments: read strictly, and given the type of what they replace."""

import ast
import math
from collections.abc import Iterable, Sequence
from typing import Any

from alexnet.errors import UserError, nearest


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
    except (KeyError, ValueError, SyntaxError):
        kind = {bool: "true or false", int: "a whole number", float: "a number"}.get(
            type(old), f"a tuple such as {old or '((20, 0.001),)'}"
        )
        raise UserError(f"--{name}={text}: expected {kind}") from None
    return text
