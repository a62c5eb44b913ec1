"""Reads the weights of other frameworks' AlexNets into a run, and writes a run's for others.

    python -m alexnet.convert --config=configs/imagenet.py:torchvision \\
        --source=alexnet.safetensors --workdir=runs/torchvision [--config.a.b=value]
    python -m alexnet.convert --workdir=runs/torchvision --target=net.stablehlo \\
        [--checkpoint=best|last|STEP] [--names=own|torchvision]

A source is a .caffemodel (for the variants caffe_alexnet and caffenet), a .pth, .pt or .safetensors
of torchvision's alexnet (for torchvision), or a .safetensors that this command wrote. The new
workdir holds a run before its first step: evaluate its "last" checkpoint, or train it on. The
dataset need not be prepared.

A target is a .safetensors, of arrays as `alexnet.models.network` has them ("conv1.kernel") or under
torchvision's names and with its shapes; or a .stablehlo, which takes images and needs no weights
beside it (see `alexnet.formats.stablehlo`). Its image size is the net's: of larger images, take the
central crop.
"""

import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from alexnet import config as configs
from alexnet import nets
from alexnet.cli import arguments, parse, run
from alexnet.data import prepare
from alexnet.data.augment import Augmentation, evaluation_inputs
from alexnet.data.store import open_store
from alexnet.errors import UserError
from alexnet.formats import caffe, layout, safetensors, stablehlo, torchvision
from alexnet.models import network, table
from alexnet.training import optimizer
from alexnet.training.setup import KINDS, check_settings
from alexnet.training.step import TrainState
from alexnet.workdir import checkpoint

OURS = "alexnet"  # the metadata of our own .safetensors: {"config": ..., "classes": ...} as JSON
EXPORT = {"workdir": None, "target": None, "checkpoint": "best", "names": "own"}


def main(argv: Sequence[str]) -> None:
    """Imports a --source or exports to a --target."""
    given = arguments(argv)
    if ("source" in given) == ("target" in given):
        raise UserError("add either --source=FILE, to read weights, or --target=FILE, to write")
    if "source" in given:
        config, options = parse(argv, {"source": None, "workdir": None}, KINDS)
        import_weights(config, Path(options["source"]), Path(options["workdir"]))
        return
    options = EXPORT | arguments(argv, EXPORT)
    if options["workdir"] is None:
        raise UserError("which run? add --workdir=DIR")
    step = checkpoint.which(options["checkpoint"])
    export_weights(Path(options["workdir"]), Path(options["target"]), step, options["names"])


# --- In -------------------------------------------------------------------------------------------


def import_weights(config: ConfigDict, source: Path, workdir: Path) -> None:
    """Makes `workdir` a run of `config` that starts from the weights in `source`.

    Raises:
        UserError: if they are not those of the config's net; then nothing is written.
    """
    check_settings(config)
    checkpoint.check_path(workdir)
    if workdir.exists() and (not workdir.is_dir() or any(workdir.iterdir())):
        raise UserError(f"--workdir={workdir} is there already: choose another")
    if not os.access(source, os.R_OK) or source.is_dir():
        raise UserError(f"--source={source}: no such file, or it cannot be read")
    net, params = read(config, source)
    sgd = configs.call(optimizer.momentum_sgd, "optimizer", config.optimizer, params=params)
    state = TrainState(jnp.zeros((), jnp.int32), jax.tree.map(jnp.asarray, params), None)
    state = state._replace(velocity=sgd.init(state.params))

    workdir = workdir.absolute()
    partial = workdir.with_name(workdir.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a command that was killed
    try:
        partial.mkdir(parents=True)
        configs.save(config, partial)
        with checkpoint.Checkpoints(partial / "checkpoints") as checkpoints:
            checkpoints.save(0, state, {"epoch": 0.0, "validation_errors": []}, error=None)
        os.replace(partial, workdir)
    except OSError as error:
        raise UserError(f"--workdir={workdir}: cannot write there: {error.strerror}") from None
    count = sum(layer.parameters for layer in table.layers(net))
    print(
        f"{source}: {count:,} parameters of net {net.name}, {net.classes} classes, in {workdir}\n"
        f"next: python -m alexnet.evaluate --workdir={workdir} --checkpoint=last"
    )


def read(config: ConfigDict, source: Path) -> tuple[table.Net, layout.Params]:
    """The net of `config`, with as many classes as its dataset has, and its weights in `source`.

    Only the number of classes of a folder that is not prepared is taken from the file.

    Raises:
        UserError: naming the array and both shapes where they do not fit.
    """
    framework, metadata = torchvision, {}
    match source.suffix:
        case ".caffemodel":
            framework = caffe
            arrays, order = caffe.read(source)
        case ".safetensors":
            arrays, metadata = safetensors.read(source)
        case ".pth" | ".pt":
            arrays = torchvision.read(source)
        case _:
            raise UserError(f"--source={source}: end it in .caffemodel, .safetensors, .pth or .pt")
    if OURS in metadata:
        return _ours(config, source, arrays, json.loads(metadata[OURS]))
    if config.net.name not in framework.NETS:
        raise UserError(
            f"{source} is for net {' or '.join(framework.NETS)}, not "
            f"config.net.name={config.net.name!r}: see the variants of configs/imagenet.py"
        )
    last = arrays.get(f"{framework.NAMES['fc8']}.bias", np.empty(1000))
    net = _net(config, last.size)
    found = {name: array.shape for name, array in arrays.items()}
    table.check_shapes(net, layout.shapes(net, framework.NAMES), found, str(source))
    if framework is caffe:
        caffe.check_order(net, order, source)
    return net, layout.ours(net, framework.NAMES, arrays)


def _ours(
    config: ConfigDict, source: Path, arrays: layout.Arrays, exported: dict
) -> tuple[table.Net, layout.Params]:
    """`read` of a file that this command wrote; `exported` is what its metadata say."""
    # Nets with the same shapes may compute different things.
    saved = configs.current(exported["config"], str(source))
    here, there = (ConfigDict({"net": c.net}) for c in (config, saved))
    for key, old, new in configs.differences(there, here):
        raise UserError(f"{source} was exported with config.{key}={old!r}, not {new!r}")
    net = _net(config, exported["classes"])
    params = {}
    for name, array in arrays.items():
        layer, _, part = name.rpartition(".")
        params.setdefault(layer, {})[part] = array
    network.check(net, params, str(source))
    return net, params


def _net(config: ConfigDict, in_file: int) -> table.Net:
    classes = configs.call(prepare.class_count, "data", config.data)
    return configs.call(nets.build, "net", config.net, classes=classes or in_file)


# --- Out ------------------------------------------------------------------------------------------


def export_weights(workdir: Path, target: Path, step: str | int, names: str) -> None:
    """Writes the net in `workdir` to `target`, in the format of its suffix.

    Raises:
        UserError: if that cannot be, or `target` exists.
    """
    if target.exists():
        raise UserError(f"--target={target} exists: delete it, or choose another name")
    if target.suffix not in (".safetensors", ".stablehlo"):
        raise UserError(f"--target={target}: end it in .safetensors or .stablehlo")
    if names not in ("own", "torchvision"):
        raise UserError(f"--names={names}: choose own or torchvision")
    config = configs.saved(workdir)
    renamed = target.suffix == ".safetensors" and config.net.name in torchvision.NETS
    if names == "torchvision" and not renamed:
        raise UserError(f"--names=torchvision: for .safetensors of net {torchvision.NETS[0]} alone")
    classes = configs.call(prepare.class_count, "data", config.data)
    if classes is None:
        raise UserError(f"dataset {config.data.name!r} is not prepared, so its classes are unknown")
    net = configs.call(nets.build, "net", config.net, classes=classes)
    params, _ = checkpoint.load(workdir, step)
    network.check(net, params, str(workdir))

    if target.suffix == ".stablehlo":
        content = stablehlo.content(_classifier(config, net, params), net.image_size)
    elif names == "torchvision":
        content = safetensors.content(
            layout.theirs(net, torchvision.NAMES, params), {"format": "pt"}
        )
    else:
        arrays = {f"{name}.{part}": x for name in params for part, x in params[name].items()}
        about = {"config": configs.versioned(config), "classes": classes}
        content = safetensors.content(arrays, {OURS: json.dumps(about)})
    partial = target.with_name(target.name + ".partial")
    try:
        partial.write_bytes(content)
        os.replace(partial, target)  # never half a file
    except OSError as error:
        raise UserError(f"--target={target}: cannot write there: {error.strerror}") from None
    print(f"{target}: net {net.name}, {classes} classes, {len(content):,} bytes")


def _classifier(config: ConfigDict, net: table.Net, params: layout.Params):
    """images uint8 [b, image_size, image_size, 3] -> logits float32 [b, classes]."""
    side = net.image_size
    how = configs.call(Augmentation, "augment", config.augment, crop=side)
    statistics = None
    if how.mean != "pixel":
        store = configs.call(open_store, "data", config.data)
        start = (store.image_size - side) // 2
        central = slice(start, start + side)
        mean_HWC = store.statistics.mean_HWC[central, central]
        statistics = store.statistics._replace(mean_HWC=mean_HWC)

    def classify(images_BHWC: jax.Array) -> jax.Array:
        logits, _ = network.apply(net, params, evaluation_inputs(images_BHWC, how, statistics))
        return logits

    return classify


if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
