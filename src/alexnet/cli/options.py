"""A command's options: `--name=value` arguments, and what is wrong with others."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence

from alexnet.errors import UserError, nearest

# A command's options: {name: (default, meaning)}. An option whose default is None is required.
Options = Mapping[str, tuple[str | None, str]]


def values(argv: Sequence[str], options: Options) -> dict[str, str]:
    """A command's options: those given, and the defaults of the others.

    Raises:
        UserError: for any mistake in the arguments.
    """
    return complete(arguments(switched(argv, options), options), options)


def split(argv: Sequence[str], options: Options) -> tuple[list[str], dict[str, str]]:
    """(the arguments that are not options, a command's options).

    Raises:
        UserError: for any mistake in the options.
    """
    flags = [argument for argument in argv if argument.startswith("--")]
    for flag in flags:  # as other commands have it
        if flag.startswith("--workdir=") and "workdir" not in options:
            folder = flag.partition("=")[2]
            raise UserError(f"--workdir: no such option; write the folder alone: {folder}")
    return [argument for argument in argv if not argument.startswith("--")], values(flags, options)


def switches(options: Options) -> set[str]:
    """The options that are false by default, and need no value: `--json` is `--json=true`."""
    return {f"--{name}" for name, (default, _) in options.items() if default == "false"}


def switched(argv: Sequence[str], options: Options) -> list[str]:
    """The arguments with the value "true" for `switches` without one."""
    bare = switches(options)
    return [f"{argument}=true" if argument in bare else argument for argument in argv]


def complete(given: Mapping[str, str], options: Options) -> dict[str, str]:
    """`values` for options that are already parsed."""
    found = {}
    for name, (default, _) in options.items():
        value = given.get(name, default)
        if value is None:
            raise UserError(f"--{name} is missing: add --{name}=...")
        found[name] = value
    return found


def ten_crop(argv: Sequence[str]) -> list[str]:
    """The arguments, with --ten_crop spelled out as --views=ten_crop."""
    return ["--views=ten_crop" if argument == "--ten_crop" else argument for argument in argv]


def positional(argv: Sequence[str]) -> tuple[str, Sequence[str]]:
    """(the first argument that is not an option, or ""; the rest)."""
    place = next((n for n, argument in enumerate(argv) if not argument.startswith("-")), None)
    return ("", argv) if place is None else (argv[place], [*argv[:place], *argv[place + 1 :]])


def arguments(
    argv: Sequence[str], known: Iterable[str] | None = None, usual: Iterable[str] = ()
) -> dict[str, str]:
    """`--name=value` arguments as a dict.

    Args:
        usual: options that a stray argument may be meant for, beside the `known`.

    Raises:
        UserError: for an argument that is stray, repeated, without a value or not among `known`.
    """
    found = {}
    for argument in argv:
        name, equals, value = argument.removeprefix("--").partition("=")
        if not argument.startswith("--"):
            meant = _dashed(argument, {*(known or ()), *usual})
            raise UserError(f"stray argument {argument!r}: write {meant}")
        if known is not None and name not in known:
            words = [*known, *(("ten_crop",) if "views" in known else ())]
            raise UserError(f"--{name}: no such option{nearest(name, words)}")
        setting = name.startswith("config.")
        if not equals and usual and not setting and name not in usual:
            raise UserError(f"{argument}: no such option{nearest(name, usual)}")
        if not equals:
            raise UserError(f"{argument}: write {argument}=value, without a space")
        if name in found:
            raise UserError(f"--{name} is given twice; keep one")
        found[name] = value
    return found


def _dashed(argument: str, known: Collection[str]) -> str:
    """The option that a stray argument was meant to be."""
    if argument.startswith("-"):
        return f"-{argument}"
    if "=" in argument:
        return f"--{argument}"
    if "config" in known and ".py" in argument:
        return f"--config={argument}"
    if "workdir" in known and os.path.isdir(argument):
        return f"--workdir={argument}"
    return "--name=value, without a space"
