"""The most probable classes of photos.

    python -m alexnet.predict --workdir=DIR photo.jpg|FOLDER ... [--ten_crop]
        [--views=centre|ten_crop|nine_crop] [--checkpoint=best|last|STEP] [--top=5] [--json]
        [--predictions=FILE.csv]

Of a folder, every image in it and its sub-folders is a photo. A workdir is enough; its dataset is
not needed. --workdir also takes a .safetensors that
`alexnet.convert` wrote with --names=own. --json prints {"photo.jpg": [["class", 0.9], ...]}, with
the dataset's class names; for ImageNet, these are WordNet ids. Without --json, they are printed in
words as well.
"""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from alexnet.cli import count, csv_file, path, run, split, ten_crop, typed
from alexnet.devices.cores import in_order
from alexnet.errors import UserError
from alexnet.text import counted, say

if TYPE_CHECKING:
    import numpy as np

OPTIONS = {
    "workdir": (None, "the folder of the run, or a .safetensors of this project"),
    "views": ("centre", "of each photo: centre, ten_crop (also --ten_crop) or nine_crop"),
    "checkpoint": ("best", "best on the validation images, last, or the number of a step"),
    "top": ("5", "how many classes are printed for each photo"),
    "predictions": ("", "a CSV file to write instead: each photo's classes and probabilities"),
    "json": ("false", "true, or just --json: print JSON for other programs"),
}


def main(argv: Sequence[str]) -> None:
    """Prints the classes of each photo."""
    photos, options = split(ten_crop(argv), OPTIONS)
    workdir = path("workdir", options["workdir"])
    if not photos:
        raise UserError("which photos? name one or more files or folders")
    table = csv_file("predictions", options["predictions"])
    top, as_json = count("top", options["top"]), typed("json", options["json"], False)
    from alexnet.data.progress import shown
    from alexnet.data.synsets import in_words
    from alexnet.inference.classifier import BATCH  # imports JAX, which the checks do not need
    from alexnet.inference.loading import load
    from alexnet.inference.photos import photos_in
    from alexnet.inference.predictions import write_photos
    from alexnet.inference.splits import about_views
    from alexnet.workdir import checkpoint

    photos = [
        photo
        for place in photos
        for photo in (photos_in(Path(place)) if os.path.isdir(place) else [place])
    ]
    net = load(workdir, checkpoint.which(options["checkpoint"]))
    for note in about_views(net, options["views"]):
        say(note)
    bad: dict[str, UserError] = {}
    every: list[tuple[str, list[tuple[str, float]]]] = []
    parts = [photos[start : start + BATCH] for start in range(0, len(photos), BATCH)]
    for part in shown(parts, "photos", len(photos), len, quiet=table is None):
        best = net.top(squares(part, net.about.image_size, bad), top, options["views"])
        found = list(zip([photo for photo in part if photo not in bad], best, strict=True))
        every += found
        for photo, classes in () if as_json or table else found:  # what is done is shown
            print(photo)
            for name, probability in classes:
                word = in_words(name)
                also = f" ({name})" if word != name else ""
                print(f"  {probability:7.2%}  {word}{also}", flush=True)
    if table:
        write_photos(table, every, min(top, len(net.classes)))
        lost = f"; {counted(len(bad), 'photo')} could not be read" if bad else ""
        say(f"{counted(len(every), 'prediction')} in {table}{lost}")
    if as_json:
        print(json.dumps(dict(every), indent=1), flush=True)
    if bad:
        *others, last = bad.values()
        for error in others:
            print(error.line(), file=sys.stderr)
        raise last


def squares(photos: Sequence[str], size: int, bad: dict[str, UserError]) -> "Iterator[np.ndarray]":
    """What the net reads of each photo; the errors of those that cannot be read go to `bad`."""
    from alexnet.inference.photos import square

    def attempt(photo: str) -> "np.ndarray | UserError":
        try:
            return square(photo, size)
        except UserError as error:
            return error

    for photo, found in zip(photos, in_order(attempt, photos), strict=True):
        if isinstance(found, UserError):
            bad[photo] = found
        else:
            yield found


if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
