"""The command line: `--config=configs/X.py[:variant]`, `--config.a.b=value`, `--name=value`.

The syntax is that of ml_collections' config_flags, but every mistake gets one clear line, even what
config_flags ignores: stray arguments, repeated flags, `--config.a value`.

A command lists its options in a dict OPTIONS, from which its arguments are parsed and its help is
printed. The help on settings comes from the docstrings of the functions that take them.
"""

from __future__ import annotations

import ast
import functools
import inspect
import math
import os
import shlex
import sys
import textwrap
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from alexnet import config as configs
from alexnet import errors
from alexnet.errors import Interrupted, UserError, local_path, nearest
from alexnet.text import allowed, documented

if TYPE_CHECKING:
    from ml_collections import ConfigDict

OWN_HELP = ("nets", "roofline")  # their help on a net also lists the net's options
DIGITS = 19  # digits in the largest 64-bit integer

# A command's options: {name: (default, meaning)}. An option whose default is None is required.
Options = Mapping[str, tuple[str | None, str]]


def run(command: Callable[[], None]) -> None:
    """Runs a command; a UserError becomes one line on stderr and exit status 2.

    So does a failure of the machine, such as a full disk or too little memory. If the reader of the
    output stops early, as `head` does, the command ends silently.
    """
    for stream in (sys.stdout, sys.stderr):  # for names that the terminal cannot show
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        command()
    except UserError as error:
        print(error.line(), file=sys.stderr)
        sys.exit(2)
    except Interrupted as stopped:
        sys.exit(128 + stopped.number)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # So that the flush at exit does not fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + 13)  # as if by SIGPIPE
    except Exception as error:
        if not (line := errors.circumstance(error)):
            raise
        print(f"error: {line}", file=sys.stderr)
        sys.exit(2)


def parse(
    argv: Sequence[str], options: Options, default: ConfigDict | None = None
) -> tuple[ConfigDict, dict[str, str]]:
    """The config with its overrides, and the command's other options.

    With --help it prints every setting of the config, and ends the process.

    Args:
        argv: without the program's name.
        options: the command's own; "config" may be among them.
        default: the config if `argv` names none; it is changed.

    Raises:
        UserError: for any mistake in the arguments.
    """
    given = arguments(
        switched([one for one in argv if not asks_help([one])], options), usual=options
    )
    file = given.pop("config", None)
    found, overrides = {}, {}
    for name, text in given.items():
        if name.startswith("config."):
            overrides[name.removeprefix("config.")] = text
        else:
            found[name] = text
    if file:
        from alexnet.training.settings import load_config  # imports JAX: not for mistakes

        config = load_config(file)
    elif default is not None:
        config = default
    else:
        raise UserError("which config? add --config=configs/digits.py, or another file of configs/")
    for name in found:
        if name not in options:
            raise UserError(f"--{name}: no such option{_meant(name, config, options)}")
    override(config, overrides)
    if asks_help(argv):
        print(config_help(file or "the file", config))
        sys.exit(0)
    return config, complete(found, {name: options[name] for name in options if name != "config"})


def _meant(name: str, config: ConfigDict, options: Options) -> str:
    """What to write for an option that a command lacks: a setting of that name, or the nearest."""
    settings = configs.flat(config.to_dict())
    meant = [key for key in settings if name in (key, key.rpartition(".")[2])]
    if len(meant) == 1:
        return f"; to change the setting, write --config.{meant[0]}=..."
    return nearest(name, ["config", *options])


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


def changed_settings(
    argv: Sequence[str], sections: Sequence[str]
) -> tuple[list[str], dict[str, str]]:
    """(the other arguments, the settings of a trained run that are changed, as text by key).

    Args:
        sections: of the config, whose settings do not change how the run was trained.

    Raises:
        UserError: for a setting of another section.
    """
    settings = arguments([part for part in argv if part.startswith("--config.")])
    texts = {name.removeprefix("config."): text for name, text in settings.items()}
    for key in texts:
        if key.partition(".")[0] not in sections:
            raise UserError(
                f"--config.{key}: how a run was trained cannot change now, only settings of "
                + " and ".join(f"--config.{section}" for section in sections)
            )
    return [part for part in argv if not part.startswith("--config.")], texts


def data_dir(text: str, changed: Mapping[str, str]) -> dict[str, str]:
    """What --data_dir changes, in the form of `changed_settings`; {} if `text` is empty.

    Raises:
        UserError: if `changed` has another data_dir.
    """
    if not text:
        return {}
    if "data.data_dir" in changed:
        raise UserError("--data_dir is --config.data.data_dir: write one of them")
    return {"data.data_dir": str(path("data_dir", text))}


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


def override(config: ConfigDict, texts: Mapping[str, str]) -> None:
    """Applies overrides given as text; each gets the type of the value that it replaces.

    Raises:
        UserError: as `config.apply_overrides` does, or for text that does not fit the type.
    """
    from alexnet.training.settings import KINDS

    chosen = {key: text for key, text in texts.items() if key in KINDS}
    configs.apply_overrides(config, chosen, KINDS)  # first: they decide which settings there are
    configs.apply_overrides(config, typed_overrides(config, texts), KINDS)


def typed_overrides(config: ConfigDict, texts: Mapping[str, str]) -> dict[str, Any]:
    """The overrides, converted to the settings' types. Raises UserError."""
    values = {}
    for key, text in texts.items():
        section, name = configs.place(config, key)
        values[key] = typed(f"config.{key}", text, section[name])
    return values


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


def count(name: str, text: str, least: int = 1) -> int:
    """The whole number that `--name=text` gives.

    Raises:
        UserError: if it is not a whole number, is less than `least` or has too many digits.
    """
    if not (text.isdecimal() and len(text) < DIGITS and int(text) >= least):
        most = f" and fewer than {DIGITS} digits" if len(text) >= DIGITS else ""
        raise UserError(f"--{name}={text}: expected a whole number of at least {least}{most}")
    return int(text)


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


# --- Help -----------------------------------------------------------------------------------------


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
    file = Path(__file__).with_name(f"{command}.py")
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
