"""Top-1 and top-5 error of a trained run.

python -m alexnet.evaluate --workdir=DIR [--ten_crop | --views=centre|ten_crop|nine_crop]
    [--checkpoint=best|last|STEP] [--split=validation|train] [--data_dir=DIR]
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from alexnet import checkpoint, config, platform
from alexnet.augment import VIEWS
from alexnet.errors import UserError, run
from alexnet.options import arguments
from alexnet.run import assemble, make_evaluation, put_params

OPTIONS = {"workdir": None, "views": "centre", "checkpoint": "best", "split": "validation"}


def main(argv: Sequence[str]) -> None:
    """Evaluates and prints one line."""
    argv = ["--views=ten_crop" if argument == "--ten_crop" else argument for argument in argv]
    options = OPTIONS | arguments(argv, OPTIONS)
    workdir, views, split = options["workdir"], options["views"], options["split"]
    if workdir is None:
        raise UserError("which run? add --workdir=DIR")
    if views not in VIEWS:
        raise UserError(f"--views={views}: choose one of {', '.join(VIEWS)}")
    step = checkpoint.which(options["checkpoint"])
    saved = config.saved(Path(workdir))
    platform.cache_compilations()
    params, metadata = checkpoint.load(workdir, step)
    this = assemble(saved)
    if split not in this.store.counts:
        raise UserError(f"--split={split}: choose one of {', '.join(this.store.counts)}")
    means = make_evaluation(this, split, views)(put_params(this, params))
    print(
        f"{workdir} after {metadata['epoch']:.2f} epochs, {this.store.name} {split}, "
        f"{views.replace('_', '-')} ({VIEWS[views]} view{'s' if VIEWS[views] > 1 else ''}): "
        f"top-1 error {means.top1_error:.2%}, top-5 error {means.top5_error:.2%}, "
        f"loss {means.loss:.4f}, {means.count} images"
    )


if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
