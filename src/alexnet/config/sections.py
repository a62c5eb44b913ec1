"""A section of a config is the keyword arguments of one function."""

from __future__ import annotations

import contextlib
import inspect
import math
import numbers
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeVar, get_args, get_origin

import numpy as np

from alexnet import errors
from alexnet.config.tree import is_section
from alexnet.errors import UserError, nearest

Made = TypeVar("Made")


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


@contextlib.contextmanager
def within(section: str) -> Iterator[None]:
    """Lets an error about an argument name the setting `config.<section>.<argument>`."""
    try:
        yield
    except UserError as error:
        raise error.within(f"config.{section}") if error.argument else error from None


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
        fitting = isinstance(value, fits) or (annotation is Mapping and is_section(value))
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
            raise UserError(f"{called} has no such option{nearest(name, known)}", name)
    check_types(function, options, "")
