"""The settings of a config that the command line changes."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from alexnet import config as configs
from alexnet.cli.converters import path, typed
from alexnet.cli.help import asks_help, config_help
from alexnet.cli.options import Options, arguments, complete, switched
from alexnet.errors import UserError, nearest

if TYPE_CHECKING:
    from ml_collections import ConfigDict


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
