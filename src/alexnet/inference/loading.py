"""Trained weights from a workdir, a file of this or another framework, or a loop of one's own."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
from ml_collections import ConfigDict

from alexnet import config as configs
from alexnet.data.augment import Augmentation
from alexnet.data.recipe import Recipe
from alexnet.data.statistics import Statistics
from alexnet.data.store import Store, load_store
from alexnet.devices import runtime
from alexnet.errors import UserError, local_path
from alexnet.formats import layout, weights
from alexnet.inference.classifier import About, Classifier
from alexnet.models import network
from alexnet.models.build import build
from alexnet.models.table import Net
from alexnet.training.settings import KINDS, check_fits, config_of
from alexnet.training.start import dataset
from alexnet.workdir import checkpoint as checkpoints
from alexnet.workdir import record

if TYPE_CHECKING:  # loads what a prediction does not need
    from alexnet.training.run import Run

OWN = Path("weights of your own")  # their source, as messages call it


def load(
    source: str | os.PathLike,
    checkpoint: checkpoints.Which = "best",
    config: ConfigDict | str | os.PathLike | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Classifier:
    """Loads the net of a run, or of a file of weights.

    Compiled programs are cached between processes, in ~/.cache/alexnet unless you have set JAX's
    `jax_compilation_cache_dir`.

    Args:
        source: a workdir, or a .safetensors, .caffemodel, .pth or .pt.
        checkpoint: of a workdir: best (the last, if none was validated), last, or a step.
        config: for a file: the config of its net, such as "configs/imagenet.py:torchvision"; a
            .safetensors of this project contains its config.
        overrides: of the config's settings, such as {"data.data_dir": ...} if the data have moved.

    Raises:
        UserError: if `source` does not exist, or is damaged; for a mistake in the other arguments.
    """
    runtime.cache_compilations()
    path = local_path("source", os.fspath(source))
    if not os.path.exists(path):
        raise UserError(f"{path}: no such workdir or file")
    if path.suffix == ".stablehlo":
        raise UserError(f"{path} is a program: read it with jax.export.deserialize, and call it")
    if path.is_dir():
        if config is not None:
            raise UserError("a run has its own: change its settings with overrides", "config")
        return _from_workdir(path, checkpoint, overrides or {})
    if checkpoint != "best":
        raise UserError(f"{path} holds a single net", f"checkpoint={checkpoint!r}")
    return _from_file(path, config, overrides or {})


def classifier(run: "Run", params: network.Params) -> Classifier:
    """The net of a run with weights from your own training loop; it has no history.

    `export` keeps them in a file, which `load` reads.

    Args:
        params: as `run.fresh().params` or the state of a step has them.
    """
    network.check(run.net, params, "params")
    arrays: layout.Params = jax.device_get(params)
    statistics = jax.device_get(run.statistics)
    about = run.config, run.net, run.store.classes, statistics, OWN
    return _classifier(arrays, *about, trained_on=run.store)


def _from_workdir(
    workdir: Path, which: checkpoints.Which, overrides: Mapping[str, Any]
) -> Classifier:
    config = record.saved_config(workdir)
    configs.apply_overrides(config, overrides, KINDS)
    step, params, progress = checkpoints.load_step(workdir, which)
    trained_on = dataset.remembered(workdir)
    known = trained_on or prepared(config)
    classes = progress.classes
    if not classes and known and progress.class_count in (0, len(known.classes)):
        classes = known.classes
    net = _net(config, params, len(classes) or progress.class_count)
    network.check(net, params, str(workdir))
    statistics = _statistics(config, known, workdir)
    about = config, net, classes, statistics, workdir, step, progress.epoch
    return _classifier(params, *about, trained_on=trained_on)


def _from_file(
    path: Path, config: ConfigDict | str | os.PathLike | None, overrides: Mapping[str, Any]
) -> Classifier:
    found = weights.about(path)
    if config is None and not found:
        weights.check_suffix(path)
        raise UserError(
            f"{path} does not say which net these weights are of: load it with config=, such as "
            "configs/imagenet.py:torchvision, or make it a run with alexnet convert --source"
        )
    chosen = record.current(found["config"], str(path)) if config is None else config_of(config)
    chosen = chosen.copy_and_resolve_references()  # the caller's stays as it is
    configs.apply_overrides(chosen, overrides, KINDS)
    classes = weights.class_names(path)

    def make_net(classes: int) -> Net:
        return configs.call(build, "net", chosen.net, classes=classes)

    net, params, kept = weights.read_weights(
        path, chosen.net.name, make_net, lambda exported: check_same_net(exported, chosen, path)
    )
    # A file that holds everything loads also where the dataset's folder cannot be read.
    whole = classes and (kept or chosen.augment.mean == "pixel")
    known = None if whole else prepared(chosen)
    classes = fitting(classes, known, net.classes)
    statistics = Statistics(**kept) if kept else _statistics(chosen, known, path)
    return _classifier(params, chosen, net, classes, statistics, path)


def _classifier(
    params: layout.Params,
    config: ConfigDict,
    net: Net,
    classes: tuple[str, ...],
    statistics: Statistics | None,
    source: Path,
    step: int | None = None,
    epoch: float = 0.0,
    trained_on: Store | None = None,
) -> Classifier:
    if statistics is not None and len(statistics.mean_HWC) != config.data.image_size:
        raise UserError(
            f"the mean image of {source} is {len(statistics.mean_HWC)} pixels wide: keep that size",
            f"config.data.image_size={config.data.image_size}",
        )
    check_fits(net, config.data.image_size)
    about = About(
        config=config,
        net=net,
        classes=classes,
        augmentation=configs.call(Augmentation, "augment", config.augment, crop=net.image_size),
        statistics=statistics,
        image_size=config.data.image_size,
        source=source,
        step=step,
        epoch=epoch,
        trained_on=trained_on,
    )
    return Classifier(jax.device_put(params), about)


def check_same_net(exported: dict[str, Any], config: ConfigDict, source: Path) -> None:
    """Raises UserError if this project exported a file with another net than that of `config`.

    Nets with the same shapes may compute different things.
    """
    saved = record.current(exported, str(source))
    for key, old, new in configs.differences(saved, config, "net."):
        raise UserError(f"{source} was exported with config.{key}={old!r}, not {new!r}")


def prepared(config: ConfigDict) -> Store | None:
    """The store of the config's dataset, if it is prepared."""
    return load_store(configs.call(Recipe, "data", config.data).path)


def fitting(names: tuple[str, ...], known: Store | None, count: int) -> tuple[str, ...]:
    """The `names` of a file if they are as many as its classes, else the store's, else ()."""
    found = (names, known.classes if known else ())
    return next((one for one in found if len(one) == count), ())


def _net(config: ConfigDict, params: layout.Params, classes: int) -> Net:
    net = configs.call(build, "net", config.net, classes=classes or 1000)
    if classes:
        return net
    towers, outputs = params[net.rows[-1].name]["bias"].shape  # classes unknown: count outputs
    return configs.call(build, "net", config.net, classes=towers * outputs)


def _statistics(config: ConfigDict, known: Store | None, where: Path) -> Statistics | None:
    if config.augment.mean == "pixel":
        return None
    if known is None:
        raise UserError(
            f"{where} keeps no mean image, and dataset {config.data.name!r} is not prepared at "
            f"{config.data.image_size} pixels: prepare it "
            f"({configs.call(Recipe, 'data', config.data).command})"
        )
    return known.statistics
