"""Text that several modules share: columns, names, differences, entries of docstrings."""

import contextlib
import inspect
import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args, get_origin

_SECTION = re.compile(r"^(?:Args|Attributes):\n((?:(?: .*)?\n)+)", re.MULTILINE)
_ENTRY = re.compile(r"^    (\w[\w, ]*): (.*(?:\n     .*)*)", re.MULTILINE)


def aligned(lines: Sequence[Sequence[str]], names: int = 1) -> list[str]:
    """A line of text for each line of cells: the first `names` align left, the others right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if number < names else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]


def columns() -> int:
    """The width of a live line: one less than the terminal's, or 79 if that is unknown."""
    return shutil.get_terminal_size((80, 24)).columns - 1


def difference(
    found: Mapping[str, Any], where: str, expected: Mapping[str, Any], where_expected: str
) -> str:
    """Names the first entry in which two mappings differ, such as the shapes of parameters.

    "fc8.bias is missing in net.safetensors and (1, 1000) in net alexnet"; "" if none differs.
    """
    for name in {**expected, **found}:
        if found.get(name) != expected.get(name):
            return (
                f"{name} is {found.get(name, 'missing')} in {where} and "
                f"{expected.get(name, 'missing')} in {where_expected}"
            )
    return ""


def printable(name: str) -> str:
    """A file's name as any terminal can show it; bytes that are not UTF-8 appear as \\xff."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def some(names: Sequence[str], most: int, count: int | None = None) -> str:
    """The first `most` names and how many more there are: "a, b and 3 more".

    Args:
        count: how many there are in all, if `names` does not hold them all.
    """
    shown, more = ", ".join(names[:most]), (count or len(names)) - most
    return f"{shown} and {more:,} more" if more > 0 else shown


def said(overrides: Mapping[str, Any]) -> str:
    """An arm's overrides, as a user writes them."""
    return ", ".join(f"{key}={value!r}" for key, value in overrides.items())


def counted(count: int, noun: str) -> str:
    """A count with its noun, in the singular for one."""
    return f"{count:,} {noun}" + "s" * (count != 1)


def say(line: str) -> None:
    """Prints a line on stderr, unless stderr is closed."""
    with contextlib.suppress(OSError, ValueError):
        print(line, file=sys.stderr, flush=True)


def documented(function: Callable[..., Any]) -> dict[str, str]:
    """{argument: its meaning} from the Google-style docstring of a function or class.

    A class's own docstring wins over those of its bases.
    """
    found: dict[str, str] = {}
    for owner in reversed(getattr(function, "__mro__", (function,))):
        for section in _SECTION.findall(inspect.cleandoc(owner.__doc__ or "") + "\n"):
            for names, meaning in _ENTRY.findall(section):
                found |= dict.fromkeys(names.split(", "), " ".join(meaning.split()))
    return found


def allowed(function: Callable[..., Any]) -> dict[str, tuple[str, ...]]:
    """{argument: its allowed words} for each argument whose type is a Literal."""
    return {
        name: get_args(parameter.annotation)
        for name, parameter in inspect.signature(function).parameters.items()
        if get_origin(parameter.annotation) is Literal
    }
