"""Numbers, paths and other values from the text that an option or a setting gives."""

from __future__ import annotations

import ast
import math
import os
import shlex
from pathlib import Path
from typing import Any

from alexnet import config as configs
from alexnet.errors import UserError, local_path

DIGITS = 19  # digits in the largest 64-bit integer


def count(name: str, text: str, least: int = 1) -> int:
    """The whole number that `--name=text` gives.

    Raises:
        UserError: if it is not a whole number, is less than `least` or has too many digits.
    """
    if not (text.isdecimal() and len(text) < DIGITS and int(text) >= least):
        most = f" and fewer than {DIGITS} digits" if len(text) >= DIGITS else ""
        raise UserError(f"--{name}={text}: expected a whole number of at least {least}{most}")
    return int(text)


def path(name: str, text: str) -> Path:
    """The path that `--name=text` gives, with its `~` expanded.

    Raises:
        UserError: if it is empty, a URL or a bad path.
    """
    if not text:
        raise UserError(f"--{name}= is empty: write --{name}=PATH")
    return local_path(f"--{name}", text)


def csv_file(name: str, text: str) -> Path | None:
    """The file of `--name=text`, or None if it is empty; refused if it cannot be written later.

    Raises:
        UserError: if its name does not end in .csv, or no file can be written there.
    """
    if not text:
        return None
    file = path(name, text)
    if file.suffix.lower() != ".csv":
        raise UserError(f"--{name}={file}: write a name that ends in .csv")
    if not file.parent.is_dir():
        raise UserError(f"--{name}={file}: there is no folder {file.parent}")
    if file.is_dir():
        raise UserError(f"--{name}={file}: that is a folder")
    if not os.access(file.parent, os.W_OK):
        raise UserError(f"--{name}={file}: no file can be written in {file.parent}")
    return file


def typed(name: str, text: str, old: Any) -> Any:
    """The value of `--name=text`, which has the type of `old`, the value it replaces.

    Raises:
        UserError: if the text does not fit that type.
    """
    try:
        match old:
            case bool():
                return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
            case int():
                if len(text) > DIGITS:
                    raise ValueError
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
    except (KeyError, TypeError, ValueError, SyntaxError, RecursionError, MemoryError):
        long = type(old) is int and len(text) > DIGITS
        most = f" of at most {DIGITS} digits" if long else ""
        kind = configs.expected(old)
        if isinstance(old, tuple) and old:  # a shell needs the quotes
            kind = f"a tuple such as {shlex.quote(f'--{name}={old}')}"
        raise UserError(f"--{name}={text}: expected {kind}{most}") from None
    return text
