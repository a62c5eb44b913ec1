"""Top-1 and top-5 error of a trained run, or of several whose predictions are averaged.

    python -m alexnet.evaluate --workdir=DIR[,DIR,...] [--weights=2,1,...]
        [--ten_crop | --views=centre|ten_crop|nine_crop] [--checkpoint=best|last|STEP]
        [--split=validation|train|test] [--predictions=FILE.csv]
        [--config.data.*=... --config.mesh.*=...]

The softmax outputs of several nets are averaged, equally or by weight. The nets may differ; their
images and classes must be the same. Table 2 of the paper (validation, top-1 / top-5 error), all
with --checkpoint=last --ten_crop:

    1 CNN    40.7 / 18.2   a run of configs/imagenet.py:original
    5 CNNs   38.1 / 16.4   five of them, each with its own --config.seed
    1 CNN*   39.0 / 16.6   a run of configs/imagenet.py:fine_tune
    7 CNNs*  36.7 / 15.4   the five and two of fine_tune
"""

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from alexnet.cli import (
    changed_settings,
    csv_file,
    data_dir,
    path,
    ten_crop,
    typed_overrides,
    values,
)
from alexnet.cli import run as run_command
from alexnet.data.augment import VIEWS
from alexnet.devices import processes, runtime
from alexnet.errors import UserError, choice
from alexnet.inference import predictions as predicted
from alexnet.inference.ensemble import Ensemble
from alexnet.inference.loading import load
from alexnet.text import counted, say
from alexnet.training import evaluation
from alexnet.training.programs import Programs
from alexnet.workdir import checkpoint, record

OPTIONS = {
    "workdir": (None, "the folder of the run, or of several, separated by commas"),
    "weights": ("", "each run's share of the average, such as 2,1; equal by default"),
    "views": ("centre", "of each image: centre, ten_crop (or just --ten_crop), nine_crop"),
    "checkpoint": ("best", "best on the validation images, last, or the number of a step"),
    "split": ("validation", "which images: validation, train or, if there is one, test"),
    "predictions": ("", "a CSV file to write: each image's file, label and most probable classes"),
    "data_dir": ("", "where the dataset is prepared, if no longer where the run found it"),
    "coordinator": ("", "HOST:PORT of process 0, or auto under SLURM, Open MPI, ..."),
    "processes": ("", "how many processes evaluate this run together"),
    "process": ("", "the number of this process, from 0"),
    "cpu_devices": ("", "virtual devices to split the CPU into, to try several on one machine"),
}
PROCESSES = ("coordinator", "processes", "process", "cpu_devices")
# What each process may have, or write, in its own way
OWN = (*PROCESSES, "data_dir", "predictions", "workdir")
DATA_DIR = "data.data_dir"
MAY_CHANGE = ("data", "mesh")


def main(argv: Sequence[str]) -> None:
    """Evaluates and prints a line for each run, and one for their average."""
    if sum(argument.startswith("--workdir=") for argument in argv) > 1:
        raise UserError("--workdir is given twice: separate runs by commas, --workdir=A,B")
    argv, texts = changed_settings(ten_crop(argv), MAY_CHANGE)
    options = values(argv, OPTIONS)
    here = data_dir(options["data_dir"], texts)
    views, split = options["views"], options["split"]
    workdirs = folders(options["workdir"])
    weights = shares(options["weights"], len(workdirs))
    choice("views", views, VIEWS)
    step = checkpoint.which(options["checkpoint"])
    if options["coordinator"] and len(workdirs) > 1:
        raise UserError(
            "--coordinator: several processes cannot average runs; evaluate one run at a time"
        )
    predictions = csv_file("predictions", options["predictions"])
    if options["coordinator"] and predictions:
        raise UserError("--predictions: only one process writes them; leave --coordinator out")
    # Checked before the processes wait for each other: each reports the mistake and ends.
    overrides = [
        typed_overrides(record.saved_config(workdir), texts | here) for workdir in workdirs
    ]
    for workdir in workdirs:
        record.evaluations(workdir)
    processes.join(**{name: options[name] for name in PROCESSES})
    with processes.ends_clearly():
        runtime.cache_compilations()  # first, as it reports a missing device
        asked = {f"--{name}": text for name, text in options.items() if name not in OWN}
        asked |= {f"--config.{key}": text for key, text in texts.items() if key != DATA_DIR}
        runs = [record.run_of(workdir) for workdir in workdirs]
        processes.check_same({**asked, "the run in --workdir": runs})
        evaluate(workdirs, weights, step, split, views, overrides, predictions)


def evaluate(
    workdirs: Sequence[Path],
    weights: Sequence[float],
    step: checkpoint.Which,
    split: str,
    views: str,
    overrides: Sequence[Mapping[str, Any]],
    predictions: Path | None = None,
) -> None:
    """Evaluates each run with its `overrides`: prints and records its errors.

    The errors of an average are printed only. Its predictions, or those of a single run, are
    written to the file `predictions`.
    """
    nets = [
        load(workdir, step, overrides=changes)
        for workdir, changes in zip(workdirs, overrides, strict=True)
    ]
    for net in nets[1:]:
        if net.classes != nets[0].classes:
            raise UserError(
                f"the classes of {workdirs[0]} ({len(nets[0].classes)}) and of {net.about.source} "
                f"({len(net.classes)}) differ in number, name or order: they cannot be averaged"
            )

    first = jax.process_index() == 0
    top5 = "top-5 error {:.2%}, " if len(nets[0].classes) > 5 else ""  # of five it is always 0

    def report(subject: str, row: dict[str, Any]) -> None:
        if not first:
            return
        print(
            f"{subject}, {row['dataset']} {split}, "
            f"{views.replace('_', '-')} ({counted(VIEWS[views], 'view')}): "
            f"top-1 error {row['top1_error']:.2%}, {top5.format(row['top5_error'])}"
            f"loss {row['loss']:.4f}, {counted(row['count'], 'image')}"
        )

    average, programs = Ensemble() if len(nets) > 1 else None, Programs()
    store, kept = None, list[tuple[np.ndarray, np.ndarray]]()
    for workdir, net, weight, changes in zip(workdirs, nets, weights, overrides, strict=True):
        splits = net.splits(changes, programs)
        store = store or splits.run.store
        if average:
            row = average.evaluate(str(workdir), weight, splits, split, views)
        else:
            row = splits.evaluate(split, views, kept if predictions else None)
        for note in row["notes"] if first else ():
            print(note, file=sys.stderr)
        age = f"after {net.about.epoch:.2f} epochs" if net.about.step else net.about.when
        report(f"{workdir} {age}", row)
        for line in splits.chosen(split) if first and step == "best" else ():
            say(f"{line} (--checkpoint=last)")
        if first:
            try:
                images = splits.run.store.contents.get(split, "")
                record.save_evaluation(row | {"images": images}, workdir)
            except OSError as error:
                print(f"not recorded in {workdir}: {error.strerror}", file=sys.stderr)
    if average:
        each = ", ".join(f"{weight:.3g}" for weight in weights)
        report(f"average of {len(nets)} nets (weights {each})", row | average.means().row())
    if predictions and store:
        found = (average.log_probs_NK, average.labels_N) if average else evaluation.joined(kept)
        predicted.write(predictions, store, split, *found)
        say(f"{counted(store.counts[split], 'prediction')} in {predictions}")


def folders(text: str) -> list[Path]:
    """The workdirs of --workdir: several, separated by commas, or one with commas in its name."""
    whole = path("workdir", text)
    return [whole] if whole.is_dir() else [path("workdir", part) for part in text.split(",")]


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
            f"--weights={text}: expected {counted(count, 'number')} above 0, one for each --workdir"
        )
    return [weight / sum(weights) for weight in weights]


if __name__ == "__main__":
    run_command(lambda: main(sys.argv[1:]))
