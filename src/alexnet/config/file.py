"""A config file, `configs/X.py[:variant]`: read, and checked for what every config needs."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alexnet.config.overrides import REQUIRED, Kinds, apply_overrides
from alexnet.config.script import blamed_on, run_file, siblings_importable
from alexnet.config.tree import is_section, nested
from alexnet.errors import UserError, local_path, nearest

if TYPE_CHECKING:
    import ml_collections


def load(file_and_variant: str, kinds: Kinds) -> ml_collections.ConfigDict:
    """The config of a file and variant, locked.

    Args:
        kinds: `alexnet.training.settings.KINDS`.

    Raises:
        UserError: if there is no such file or variant, or the file or an override is invalid.
    """
    import ml_collections

    file, _, variant = file_and_variant.partition(":")
    path = local_path("--config", file)
    if not os.path.isfile(path):
        near = nearest(path.stem, [other.stem for other in path.parent.glob("*.py")])
        raise UserError(f"{path}: no such file; the configs are in {in_checkout('configs')}{near}")
    if path.suffix == ".json":
        raise UserError(
            f"{path} is no config file; if it is a run's record, alexnet train --workdir="
            f"{path.parent} goes on with it"
        )
    with siblings_importable(path.resolve().parent):
        get_config = run_file(path).get("get_config")
        if not callable(get_config):
            raise UserError(f"{path}: it defines no get_config()")
        parameters = [p.default for p in inspect.signature(get_config).parameters.values()]
        if variant and not parameters:
            raise UserError(f"{file_and_variant}: this config has no variants")
        if not variant and parameters[:1] == [REQUIRED]:
            raise UserError(f"{path}: it needs a variant: write --config={path}:VARIANT")
        with blamed_on(path, variant):
            found = get_config(variant) if variant else get_config()
    if isinstance(found, ml_collections.FrozenConfigDict):
        found = ml_collections.ConfigDict(found)
    if isinstance(found, ml_collections.ConfigDict):
        return _whole(found.lock(), file_and_variant, kinds)
    layers = [found] if isinstance(found, Mapping) else found
    if not _are_settings(layers):
        code = getattr(get_config, "__code__", None)
        where = f"{path}, line {code.co_firstlineno}" if code else str(path)
        raise UserError(
            f"{where}: get_config() returns {_short(found)}; it must return dicts of settings"
        )
    everything, *layers = layers
    try:
        config = ml_collections.ConfigDict(nested(everything)).lock()
        for overrides in layers:
            apply_overrides(config, overrides, kinds)
    except UserError as error:
        raise UserError(f"{file_and_variant}: {error}") from None
    return _whole(config, file_and_variant, kinds)


def _whole(
    config: ml_collections.ConfigDict, where: str, kinds: Kinds
) -> ml_collections.ConfigDict:
    """The config. Raises UserError if it lacks what others depend on, as without BASE."""
    for key in ("data.name", *kinds) if kinds else ():
        section, _, name = key.partition(".")
        if section not in config or (is_section(config[section]) and name not in config[section]):
            raise UserError(
                f"{where}: it has no config.{key}: let the list that get_config() returns begin "
                "with BASE, from configs/base.py"
            )
    return config


def _are_settings(layers: Any) -> bool:
    """Whether these are valid layers: dicts whose keys are text, the first not empty."""
    return (
        isinstance(layers, tuple | list)
        and bool(layers)
        and all(isinstance(layer, Mapping) for layer in layers)
        and all(isinstance(key, str) for layer in layers for key in layer)
        and bool(layers[0])
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def in_checkout(folder: str) -> str:
    """Where this checkout has the folder "configs" or "experiments"; words, if it has none."""
    there = Path(__file__).parents[3] / folder
    return str(there) if there.is_dir() else f"{folder}/ of a clone: an installed package has none"
