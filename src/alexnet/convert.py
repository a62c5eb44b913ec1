"""Imports the weights of other frameworks' AlexNets into a run, and exports a run's weights.

    python -m alexnet.convert --config=configs/imagenet.py:torchvision \\
        --source=alexnet.safetensors --workdir=runs/torchvision [--config.a.b=value]
    python -m alexnet.convert --source=ours.safetensors --workdir=runs/ours
    python -m alexnet.convert --workdir=runs/torchvision --target=net.stablehlo \\
        [--checkpoint=best|last|STEP] [--names=own|torchvision]

A source is a .caffemodel (for the variants caffe_alexnet and caffenet), a .pth, .pt or .safetensors
of torchvision's alexnet (for torchvision), or a .safetensors that this command wrote, which holds
its own config, classes and mean image. The new workdir holds a run at step 0: evaluate its
checkpoint "last", or train it. The dataset need not be prepared.

A target is a .safetensors or a .stablehlo. The .safetensors holds the arrays under the names of
`alexnet.models.network` ("conv1.kernel"), the class names and the mean image; `alexnet.load` reads
it without a workdir. With --names=torchvision it holds the arrays under torchvision's names and in
its shapes, and the class names as JSON in its metadata ("classes"). The .stablehlo is a program
that contains the weights (see `alexnet.formats.stablehlo`). It takes RGB images of the net's size:
scale the shorter side of a photo to `config.data.image_size`, and take the central square.
"""

import hashlib
import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from alexnet import config as configs
from alexnet.cli import arguments, asks_help, parse, path, run, values
from alexnet.data.augment import Augmentation
from alexnet.data.statistics import Statistics
from alexnet.errors import UserError, require
from alexnet.formats import weights
from alexnet.inference.loading import check_same_net, fitting, load, prepared
from alexnet.models import table
from alexnet.models.build import build
from alexnet.text import some
from alexnet.training import optimizer, schedule
from alexnet.training.settings import check_fits, check_settings, class_count, remaining
from alexnet.training.start import dataset
from alexnet.training.step import begin
from alexnet.workdir import checkpoint, record
from alexnet.workdir.provenance import provenance
from alexnet.workdir.record import Progress

IN, OUT = ("config", "source", "workdir"), ("workdir", "target", "checkpoint", "names")
OPTIONS = {
    "workdir": (None, "the folder of the run, made with --source, read with --target"),
    "config": (
        "",
        "with --source: a file and the variant for the source's net; our .safetensors have theirs",
    ),
    "source": ("", "the file to read weights from"),
    "target": ("", "the file to write; its suffix chooses the format"),
    "checkpoint": ("best", "with --target: best, last or the number of a step"),
    "names": ("own", "with --target: the names of the arrays, own or torchvision"),
}


def main(argv: Sequence[str]) -> None:
    """Imports a --source or exports to a --target."""
    if asks_help(argv):
        parse(argv, OPTIONS)
    given = arguments(argv)
    if ("source" in given) == ("target" in given):
        raise UserError("give either --source=FILE, to read weights, or --target=FILE, to write")
    if "source" in given:
        source = path("source", given["source"])
        if not (os.path.isfile(source) and os.access(source, os.R_OK)):
            raise UserError(f"--source={source}: no such file, or it cannot be read")
        weights.check_suffix(source)
        own = None if given.get("config") else own_config(source)
        config, options = parse(argv, {name: OPTIONS[name] for name in IN}, own)
        import_weights(config, source, path("workdir", options["workdir"]))
        return
    options = values(argv, {name: OPTIONS[name] for name in OUT})
    workdir, target = (path(name, options[name]) for name in ("workdir", "target"))
    weights.check_target(target, options["names"])
    net = load(workdir, checkpoint.which(options["checkpoint"]))
    net.export(target, options["names"])
    size = target.stat().st_size
    print(f"{target}: net {net.net.name}, {len(net.classes)} classes, {size:,} bytes")
    if target.suffix == ".stablehlo":
        sides = f"{net.about.image_size} pixels, take the central {net.net.image_size}"
        print(f"it reads RGB photos: scale their shorter side to {sides}")


# --- In -------------------------------------------------------------------------------------------


def own_config(source: Path) -> ConfigDict | None:
    """The config in a file that this command wrote; None for any other file."""
    found = weights.about(source)
    if not found:
        return None
    config = record.current(found["config"], str(source))
    config.init_from, config.init_layers = "", "all"  # the weights are now those of the file
    return config


def import_weights(config: ConfigDict, source: Path, workdir: Path) -> None:
    """Makes `workdir` a run of `config` that starts from the weights in `source`.

    Raises:
        UserError: if the weights do not fit the config's net; then nothing is written.
    """
    check_settings(config)
    if config.init_from:
        raise UserError("the weights are those of --source", "config.init_from")
    config = configs.absolute(config)
    checkpoint.check_path(workdir)
    if workdir.exists() and (not workdir.is_dir() or any(workdir.iterdir())):
        raise UserError(f"--workdir={workdir} already exists: choose another")

    def make_net(in_file: int) -> table.Net:
        return configs.call(build, "net", config.net, classes=class_count(config) or in_file)

    def check_config(exported: dict[str, Any]) -> None:
        check_same_net(exported, config, source)

    known = prepared(config)
    in_file = weights.class_names(source)
    if known:
        dataset.check_classes(source, in_file, known.classes)
    net, params, statistics = weights.read_weights(source, config.net.name, make_net, check_config)
    check_fits(net, config.data.image_size)
    size = len(statistics["mean_HWC"]) if statistics else config.data.image_size
    require(
        "config.data.image_size",
        config.data.image_size,
        size == config.data.image_size,
        f"the mean image in {source} is {size} pixels wide: keep that size",
    )
    names = fitting(in_file, known, net.classes)
    configs.call(Augmentation, "augment", config.augment, crop=net.image_size)
    configs.call(schedule.build, "schedule", remaining(config, "schedule"), epochs=config.epochs)
    rule = configs.call(optimizer.build, "optimizer", remaining(config, "optimizer"), params=params)
    params = jax.tree.map(jnp.asarray, params)
    state = begin(params, rule)

    workdir = Path(os.path.realpath(workdir))  # the folder that a link leads to
    partial = workdir.with_name(workdir.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)  # left by a killed command
    try:
        partial.mkdir(parents=True)
        record.save_config(config, partial)
        about = {"source": str(source.resolve()), "sha256": digest(source)}
        with provenance(partial, device="", enabled=True, start=0, trains=False, **about):
            pass  # nothing is computed
        if statistics:
            dataset.remember_imported(config, names, Statistics(**statistics), partial)
        with checkpoint.Checkpoints(partial / "checkpoints") as checkpoints:
            progress = Progress(classes=names, class_count=net.classes)
            checkpoints.save(0, state, progress, error=None)
            checkpoints.wait()
            if checkpoints.failure:
                raise UserError(f"--workdir={workdir}: cannot save there: {checkpoints.failure}")
        os.replace(partial, workdir)
    except OSError as error:
        raise UserError(f"--workdir={workdir}: cannot write there: {error.strerror}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)  # what a failure left
    count = sum(layer.parameters for layer in net.layers)
    print(f"{source}: {count:,} parameters of net {net.name}, {net.classes} classes, in {workdir}")
    if names and names != in_file:
        print(f"its classes are taken to be those of {config.data.name}: {some(names, 5)}")
    quoted = shlex.quote(str(workdir))
    where = f"--workdir={quoted} --checkpoint=last"
    print(f"next: python -m alexnet.predict {where} PHOTO")
    print(f"      python -m alexnet.evaluate {where}    (needs {config.data.name})")
    print(f"      python -m alexnet.train --workdir={quoted}    (likewise; trains it further)")


def digest(file: Path) -> str:
    """The SHA-256 of a file, as sha256sum prints it."""
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
