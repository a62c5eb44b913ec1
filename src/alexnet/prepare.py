"""Makes a dataset ready: downloads what TFDS can, and stores each image as the paper did.

    python -m alexnet.prepare cifar10 [--image_size=32] [--data_dir=DIR] [--quality=95]

Training prepares by itself what needs no download.
"""

import sys
from collections.abc import Sequence

from alexnet.cli import asks_help, command_help, count, positional, run, values
from alexnet.data.prepare import prepare

OPTIONS = {
    "name": (None, "digits, folder:/path, or any TFDS name of labelled images; may stand first"),
    "image_size": ("", "side of the stored squares, in pixels; else 256, or 32 for small images"),
    "data_dir": ("", "where datasets are prepared; else $TFDS_DATA_DIR or TFDS's own place"),
    "quality": ("95", "of the JPEGs that are stored, 1 to 100; 0 stores raw pixels"),
}


def main(argv: Sequence[str]) -> None:
    """Prepares the dataset and prints what there is."""
    if asks_help(argv):
        print(command_help(__doc__, OPTIONS))
        return
    name, flags = positional(argv)
    options = values([f"--name={name}", *flags] if name else flags, OPTIONS)
    size = options["image_size"]
    made = prepare(
        options["name"],
        options["data_dir"],
        count("image_size", size) if size else None,
        count("quality", options["quality"], least=0),
    )
    counts = ", ".join(f"{number:,} {split}" for split, number in made.counts.items())
    names = ", ".join(made.classes[:10]) + (", ..." if len(made.classes) > 10 else "")
    print(f"{made.path}: {counts} images; {len(made.classes)} classes: {names}")


if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
