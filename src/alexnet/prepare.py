"""Prepares a dataset: downloads what TFDS can, stores every image once, and says what was found.

    python -m alexnet.prepare cifar10
    python -m alexnet.prepare folder:/path/to/photos [--dry_run] [--json]

A folder of your own has a sub-folder for each class, directly in it or in train/, val/ and test/;
without val/ a tenth is held out. The summary counts the files that are left out; the store lists
them. Training itself prepares any dataset that needs no download or archive.
"""

import json
import sys
from collections.abc import Sequence
from typing import get_args

from alexnet.cli import count, positional, run, typed, values
from alexnet.data.prepare import prepare
from alexnet.data.recipe import Encoding
from alexnet.data.summary import as_json, summary, warnings
from alexnet.errors import choice

OPTIONS = {
    "name": (
        None,
        "digits, folder:/path, held_out:NAME (docs/data.md), or any TFDS dataset; may come first",
    ),
    "image_size": (
        "",
        "side of the stored squares in pixels; by default 256, or 32 for small images",
    ),
    "data_dir": (
        "",
        "where datasets are prepared; by default $TFDS_DATA_DIR or ~/tensorflow_datasets",
    ),
    "quality": ("95", "of the stored JPEGs, 1 to 100; 0 stores raw pixels"),
    "encoding": ("auto", "jpeg or raw; auto stores raw pixels up to 64 a side, JPEGs above"),
    "max_pixels": (
        "",
        "leave out larger images; by default the store's limit, or 178956970 for a new store",
    ),
    "max_bad": (
        "",
        "share of images that may be too large or unreadable; by default the store's, or 0.05",
    ),
    "dry_run": ("false", "true, or just --dry_run: print the summary and write nothing"),
    "json": ("false", "true, or just --json: the summary as JSON, for programs"),
}


def main(argv: Sequence[str]) -> None:
    """Prepares the dataset and prints the summary; progress and warnings go to stderr."""
    name, flags = positional(argv)
    options = values([f"--name={name}", *flags] if name else flags, OPTIONS)
    size, pixels, bad = (options[name] for name in ("image_size", "max_pixels", "max_bad"))
    dry_run = typed("dry_run", options["dry_run"], False)
    made = prepare(
        options["name"],
        options["data_dir"],
        count("image_size", size) if size else None,
        count("quality", options["quality"], least=0),
        choice("encoding", options["encoding"], get_args(Encoding)),
        max_pixels=count("max_pixels", pixels) if pixels else None,
        max_bad=typed("max_bad", bad, 0.0) if bad else None,
        dry_run=dry_run,
    )
    for line in warnings(made):
        print(f"warning: {line}", file=sys.stderr)
    if typed("json", options["json"], False):
        print(json.dumps(as_json(made) | {"dry_run": dry_run}, indent=2))
    else:
        print(summary(made, dry_run))


if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
