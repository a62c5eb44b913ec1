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

from ml_collections import ConfigDict

from alexnet.cli import arguments
from alexnet.cli import run as run_command
from alexnet.data.augment import VIEWS
from alexnet.data.store import Store
from alexnet.devices import runtime
from alexnet.errors import UserError
from alexnet.inference.ensemble import Ensemble
from alexnet.models import network
from alexnet.training import metrics
from alexnet.training.setup import setup
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
    runtime.cache_compilations()
    saved = [record.saved_config(Path(workdir)) for workdir in workdirs]
    runs = [setup(relocated(one, options["data_dir"])) for one in saved]
    for workdir, run in zip(workdirs, runs, strict=True):
        if split not in run.store.counts:
            raise UserError(f"--split={split}: choose one of {', '.join(run.store.counts)}")
        check_same_images((workdirs[0], workdir), (runs[0].store, run.store), split)
        if views == "ten_crop" and not run.config.augment.flip:
            print(
                f"{workdir} never saw reflections (config.augment.flip=False), which half of the "
                "ten crops are",
                file=sys.stderr,
            )

    def report(subject: str, means: metrics.Means) -> None:
        print(
            f"{subject}, {runs[0].store.name} {split}, "
            f"{views.replace('_', '-')} ({VIEWS[views]} view{'s' if VIEWS[views] > 1 else ''}): "
            f"top-1 error {means.top1_error:.2%}, top-5 error {means.top5_error:.2%}, "
            f"loss {means.loss:.4f}, {means.count} images"
        )

    several, average = len(runs) > 1, Ensemble()
    for workdir, run, weight in zip(workdirs, runs, weights, strict=True):
        params, progress = checkpoint.load_params(workdir, step)
        batches = [] if several else None
        network.check(run.net, params, "the checkpoint")
        means = run.evaluate(run.put(params), split, views, batches)
        report(f"{workdir} after {progress.epoch:.2f} epochs", means)
        if several:
            average.add(workdir, weight, batches)
    if several:
        each = ", ".join(f"{weight:.3g}" for weight in weights)
        report(f"average of {len(runs)} nets (weights {each})", average.means())


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


def relocated(saved: ConfigDict, data_dir: str) -> ConfigDict:
    """The config with its data elsewhere, if they are."""
    if data_dir:
        saved.data.data_dir = data_dir
    return saved


def check_same_images(workdirs: tuple[str, str], stores: tuple[Store, Store], split: str) -> None:
    """Raises UserError unless two runs have the same classes and as many images in `split`."""
    a, b = stores
    if a.classes != b.classes or a.counts[split] != b.counts[split]:
        seen = [
            f"{workdir} ({store.name}: {len(store.classes)} classes, {store.counts[split]} images)"
            for workdir, store in zip(workdirs, stores, strict=True)
        ]
        raise UserError(f"{' and '.join(seen)} cannot be averaged: other classes or images")


if __name__ == "__main__":
    run_command(lambda: main(sys.argv[1:]))
