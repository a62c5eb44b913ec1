"""Makes a dataset ready: downloads what TFDS can, and stores each image as the paper did.

python -m alexnet.prepare cifar10
"""

import argparse

from alexnet.cli import run
from alexnet.data import store
from alexnet.data.prepare import prepare


def main() -> None:
    """Reads the arguments, prepares and prints what there is."""
    parser = argparse.ArgumentParser(prog="python -m alexnet.prepare", description=__doc__)
    parser.add_argument("name", help="digits, folder:/path, or any TFDS name of labelled images")
    parser.add_argument("--image_size", type=int, help="default 256; 32 if the images are small")
    parser.add_argument("--data_dir", default="", help="default $TFDS_DATA_DIR or TFDS's own")
    parser.add_argument("--quality", type=int, default=store.QUALITY, help="of JPEG; 0: raw pixels")
    made = prepare(**vars(parser.parse_args()))
    counts = ", ".join(f"{count:,} {split}" for split, count in made.counts.items())
    names = ", ".join(made.classes[:10]) + (", ..." if len(made.classes) > 10 else "")
    print(f"{made.path}: {counts} images; {len(made.classes)} classes: {names}")


if __name__ == "__main__":
    run(main)
