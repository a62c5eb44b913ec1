"""The most probable classes of photos.

    python -m alexnet.predict --workdir=DIR photo.jpg ... [--views=centre|ten_crop|nine_crop]
        [--checkpoint=best|last|STEP] [--top=5] [--json]

A workdir is enough; its dataset is not needed. --workdir also takes a .safetensors that
`alexnet.convert` wrote with --names=own. --json prints {"photo.jpg": [["class", 0.9], ...]}.
"""

import json
import sys
from collections.abc import Sequence

from alexnet.cli import count, path, run, typed, values
from alexnet.errors import UserError

OPTIONS = {
    "workdir": (None, "the folder of the run, or a .safetensors of this project"),
    "views": ("centre", "of each photo: centre, ten_crop or nine_crop"),
    "checkpoint": ("best", "best on the validation images, last, or the number of a step"),
    "top": ("5", "how many classes are printed for each photo"),
    "json": ("false", "true, or just --json: print JSON for other programs"),
}


def main(argv: Sequence[str]) -> None:
    """Prints the classes of each photo."""
    photos = [argument for argument in argv if not argument.startswith("--")]
    flags = ["--json=true" if argument == "--json" else argument for argument in argv]
    options = values([flag for flag in flags if flag.startswith("--")], OPTIONS)
    workdir = path("workdir", options["workdir"])
    if not photos:
        raise UserError("which photos? name one or more files")
    top, as_json = count("top", options["top"]), typed("json", options["json"], False)
    from alexnet.inference.loading import load  # imports JAX, which the checks do not need
    from alexnet.workdir import checkpoint

    net = load(workdir, checkpoint.which(options["checkpoint"]))
    best = net.top(photos, top, options["views"])
    if as_json:
        print(json.dumps(dict(zip(photos, best, strict=True)), indent=1))
        return
    for photo, classes in zip(photos, best, strict=True):
        print(photo)
        for name, probability in classes:
            print(f"  {probability:7.2%}  {name}")


if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
