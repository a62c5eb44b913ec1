"""Images per second read from disk, decoded and shuffled, ready for the device.

    python experiments/benchmarks/input.py [--images=2000] [--size=256] [--batch=128]

This script draws photos of smooth noise, whose JPEG files are as large as those of ImageNet, and
prepares them as a folder dataset of JPEGs in a temporary place. It then runs only training's input
pipeline, for two epochs, and times the second.
"""

import sys
import tempfile
import time
from pathlib import Path

import checkout  # noqa: F401  before the package
import numpy as np
from PIL import Image

from alexnet.cli import count, run, values
from alexnet.data import pipeline, prepare
from alexnet.data.recipe import Recipe

OPTIONS = {
    "images": ("2000", "how many photos"),
    "size": ("256", "side of the stored squares, in pixels"),
    "batch": ("128", "images a batch"),
}


def draw(folder: Path, images: int) -> None:
    """Photos of two classes, 500x375 as most of ImageNet's are."""
    random = np.random.default_rng(0)
    for number in range(images):
        coarse = random.integers(0, 256, (24, 32, 3), np.uint8)
        photo = Image.fromarray(coarse).resize((500, 375), Image.Resampling.BICUBIC)
        grain = random.integers(-12, 13, (375, 500, 3))
        pixels = np.clip(np.asarray(photo) + grain, 0, 255).astype(np.uint8)
        place = folder / ("a", "b")[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / f"{number}.jpg", quality=90)


def main(argv: list[str]) -> None:
    options = values(argv, OPTIONS)
    images, size, batch = (count(name, options[name]) for name in ("images", "size", "batch"))
    with tempfile.TemporaryDirectory() as folder:
        draw(Path(folder) / "photos", images)
        recipe = Recipe(f"folder:{folder}/photos", folder, size, encoding="jpeg")
        store = prepare.ensure(recipe)
        steps = max(1, store.counts["train"] // batch)
        batches = pipeline.train_batches(store, batch_size=batch, seed=0)
        for _ in range(steps):
            next(batches)
        start = time.perf_counter()
        for _ in range(steps):
            next(batches)
        rate = steps * batch / (time.perf_counter() - start)
    print(f"input: {rate:,.0f} images/s of {size}x{size} JPEG, batches of {batch}")


if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
