"""Configs: their files, their overrides, and calling functions with their sections.

A file's `get_config` returns layers: a dict of every setting and then dicts of overrides, all with
dotted keys, such as {"net.norm": False}. A variant, an arm of a sweep and `--config.net.norm=false`
are all such overrides. A file may also return a ConfigDict.
"""

from alexnet.config.file import in_checkout, load
from alexnet.config.overrides import Kind, Kinds, apply_overrides, check_choices, expected, place
from alexnet.config.script import run_file, siblings_importable
from alexnet.config.sections import call, check_options, check_types, within
from alexnet.config.tree import absolute, differences, flat, from_json, nested, plain, tuples

__all__ = [
    "Kind",
    "Kinds",
    "absolute",
    "apply_overrides",
    "call",
    "check_choices",
    "check_options",
    "check_types",
    "differences",
    "expected",
    "flat",
    "from_json",
    "in_checkout",
    "load",
    "nested",
    "place",
    "plain",
    "run_file",
    "siblings_importable",
    "tuples",
    "within",
]
