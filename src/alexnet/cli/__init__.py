"""The command line: `--config=configs/X.py[:variant]`, `--config.a.b=value`, `--name=value`.

The syntax is that of ml_collections' config_flags, but every mistake gets one clear line, even what
config_flags ignores: stray arguments, repeated flags, `--config.a value`.

A command lists its options in a dict OPTIONS, from which its arguments are parsed and its help is
printed.
"""

from alexnet.cli.converters import count, csv_file, path, typed
from alexnet.cli.help import (
    OWN_HELP,
    asks_help,
    command_help,
    config_settings,
    described,
    help_first,
    listing,
)
from alexnet.cli.options import arguments, positional, split, switches, ten_crop, values
from alexnet.cli.running import run
from alexnet.cli.settings import changed_settings, data_dir, override, parse, typed_overrides

__all__ = [
    "OWN_HELP",
    "arguments",
    "asks_help",
    "changed_settings",
    "command_help",
    "config_settings",
    "count",
    "csv_file",
    "data_dir",
    "described",
    "help_first",
    "listing",
    "override",
    "parse",
    "path",
    "positional",
    "run",
    "split",
    "switches",
    "ten_crop",
    "typed",
    "typed_overrides",
    "values",
]
