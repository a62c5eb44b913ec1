"""Top-1 and top-5 error of a trained run, or of several whose predictions are averaged.

    python -m alexnet.evaluate --workdir=DIR[,DIR,...] [--weights=2,1,...]
        [--ten_crop | --views=centre|ten_crop|nine_crop] [--checkpoint=best|last|STEP]
        [--split=validation|train|test] [--data_dir=DIR]

Of several nets the softmax outputs are averaged, equally or by weight; they may be of any kind, but
the images and classes must be the same. Table 2 of the paper (validation, top-1 / top-5 error):

    1 CNN    40.7 / 18.2   a run of configs/imagenet.py:original, --ten_crop
    5 CNNs   38.1 / 16.4   five of them, each with its own --config.seed
    1 CNN*   39.0 / 16.6   a run of configs/imagenet.py:fine_tune
    7 CNNs*  36.7 / 15.4   the five and two of fine_tune
"""

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alexnet.cli import arguments
from alexnet.cli import run as run_command
from alexnet.data.augment import VIEWS
from alexnet.errors import UserError
from alexnet.inference.classifier import load
from alexnet.inference.ensemble import Ensemble
from alexnet.workdir import checkpoint, record

OPTIONS = {
    "workdir": None,
    "weights": "",
    "views": "centre",
    "checkpoint": "best",
    "split": "validation",
    "data_dir": "",
}


def main(argv: Sequence[str]) -> None:
    """Evaluates and prints a line for each run, and one for their average."""
    argv = ["--views=ten_crop" if argument == "--ten_crop" else argument for argument in argv]
    options = OPTIONS | arguments(argv, OPTIONS)
    views, split = options["views"], options["split"]
    if options["workdir"] is None:
        raise UserError("which run? add --workdir=DIR")
    single = (Path(options["workdir"]) / "config.json").exists()  # a name may have a comma
    workdirs = [options["workdir"]] if single else options["workdir"].split(",")
    weights = shares(options["weights"], len(workdirs))
    if views not in VIEWS:
        raise UserError(f"--views={views}: choose one of {', '.join(VIEWS)}")
    step = checkpoint.which(options["checkpoint"])
    overrides = {"data.data_dir": options["data_dir"]} if options["data_dir"] else {}
    nets = [load(workdir, step) for workdir in workdirs]
    for net in nets[1:]:
        if net.classes != nets[0].classes:
            raise UserError(
                f"{workdirs[0]}: {len(nets[0].classes)} classes and {net.about.source}: "
                f"{len(net.classes)} classes cannot be averaged: they are not the same ones"
            )

    def report(subject: str, row: dict[str, Any]) -> None:
        print(
            f"{subject}, {row['dataset']} {split}, "
            f"{views.replace('_', '-')} ({VIEWS[views]} view{'s' if VIEWS[views] > 1 else ''}): "
            f"top-1 error {row['top1_error']:.2%}, top-5 error {row['top5_error']:.2%}, "
            f"loss {row['loss']:.4f}, {row['count']} images"
        )

    several, average = len(nets) > 1, Ensemble()
    for workdir, net, weight in zip(workdirs, nets, weights, strict=True):
        batches = [] if several else None
        row = net.evaluate(split, views, overrides, batches)
        for note in row["notes"]:
            print(note, file=sys.stderr)
        report(f"{workdir} after {net.about.epoch:.2f} epochs", row)
        record.save_evaluation(row, Path(workdir))
        if several:
            average.add(workdir, weight, batches)
    if several:
        each = ", ".join(f"{weight:.3g}" for weight in weights)
        report(f"average of {len(nets)} nets (weights {each})", row | average.means()._asdict())


def shares(text: str, count: int) -> list[float]:
    """The nets' weights from --weights, divided by their sum; equal if it is ""."""
    if not text:
        return [1 / count] * count
    try:
        weights = [float(part) for part in text.split(",")]
    except ValueError:
        weights = []
    if len(weights) != count or not all(0 < weight < math.inf for weight in weights):
        raise UserError(
            f"--weights={text}: expected {count} number(s) above 0, one for each --workdir"
        )
    return [weight / sum(weights) for weight in weights]


if __name__ == "__main__":
    run_command(lambda: main(sys.argv[1:]))
