"""From a config to a run: opens the data, builds the net, and checks that all fits together."""

import functools
import os

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from alexnet import config as configs
from alexnet.data import prepare
from alexnet.data.augment import Augmentation
from alexnet.data.statistics import Statistics
from alexnet.data.store import Store
from alexnet.devices import mesh as meshes
from alexnet.devices import processes
from alexnet.errors import UserError, require
from alexnet.kernels.choose import choose
from alexnet.models import network
from alexnet.models.build import build
from alexnet.text import counted
from alexnet.training import optimizer, schedule
from alexnet.training.programs import Programs
from alexnet.training.run import Parts, Run
from alexnet.training.settings import (
    check_fits,
    check_settings,
    class_count,
    config_of,
    recipe_of,
    remaining,
)
from alexnet.training.start import dataset
from alexnet.training.step import key_of, state_shardings

MOST_STEPS = 2**31  # the state counts steps in an int32
SOME = 1000  # classes of a net that is built before its dataset's are known


def setup(
    config: ConfigDict | str | os.PathLike,
    programs: Programs | None = None,
    known: Store | None = None,
    statistics: Statistics | None = None,
) -> Run:
    """Opens the data, builds the net, the mesh, the optimiser and the schedule.

    Args:
        config: a config, or the name of its file, as for `load_config`.
        programs: those of earlier runs, to which this one adds its own.
        known: what a run that goes on remembers of its dataset: while the store holds these images,
            a folder that has changed since is left alone.
        statistics: the mean image and colour PCA to use, whatever the images are; None takes those
            of `known`, or of the dataset at hand.

    Raises:
        UserError: for an impossible setting.
    """
    config = config_of(config)
    check_settings(config)
    config = configs.absolute(config)
    # Mistakes show before a dataset is prepared, which may take hours.
    classes = class_count(config)
    parts = assemble(config, classes or SOME)
    with recipe_of(config) as recipe:
        store = (prepare.kept(recipe, known) if known else None) or prepare.ensure(recipe)
    statistics = statistics or (known or store).statistics
    if len(statistics.mean_HWC) != store.image_size:
        raise UserError(
            f"the run was trained on images of {len(statistics.mean_HWC)} pixels: keep that size",
            f"config.data.image_size={store.image_size}",
        )
    processes.check_same(dataset.digests(store))
    if len(store.classes) != (classes or SOME):
        parts = assemble(config, len(store.classes))
    steps = config.epochs * store.counts["train"] / config.batch_size
    require("config.epochs", config.epochs, steps < MOST_STEPS, f"{steps:.3g} steps are too many")
    by_tower, replicated = meshes.by_tower(parts.mesh, parts.shapes), meshes.replicated(parts.mesh)
    return Run(
        config=config,
        store=store,
        **vars(parts),
        shardings=state_shardings(parts.optimizer, parts.shapes, by_tower, replicated),
        statistics=jax.device_put(statistics, replicated),
        key=meshes.put_key(parts.mesh, key_of(config.seed)),
        programs=(Programs() if programs is None else programs).of(config, parts.net, parts.mesh),
    )


def assemble(config: ConfigDict, classes: int) -> Parts:
    """Builds the net, the mesh, the optimiser and the schedule; opens and writes nothing.

    Raises:
        UserError: for an impossible setting.
    """
    net = configs.call(build, "net", config.net, classes=classes)
    check_fits(net, config.data.image_size)
    augmentation = configs.call(Augmentation, "augment", config.augment, crop=net.image_size)
    mesh = configs.call(
        meshes.make, "mesh", config.mesh, towers=net.towers, batch_size=config.batch_size
    )
    meshes.process_rows(mesh)  # raises for a mesh that the processes cannot share
    parts = config.accumulate * mesh.shape["data"]
    if config.accumulate < 1 or config.batch_size % parts:
        raise UserError(
            f"the batch of {config.batch_size} images does not divide into {parts} parts of equal "
            f"size, {config.accumulate} on each of {counted(mesh.shape['data'], 'device')}",
            f"config.accumulate={config.accumulate}",
        )
    shapes = jax.eval_shape(functools.partial(network.init, net), jax.random.key(0))
    named = remaining(config, "schedule")
    rates = configs.call(schedule.build, "schedule", named, epochs=config.epochs)
    # A mistake in an event shows now rather than at its epoch.
    configs.call(rates, "schedule", {}, epoch=0.0, errors=[], layers=shapes)
    rule = configs.call(optimizer.build, "optimizer", remaining(config, "optimizer"), params=shapes)
    kernels = choose(config.kernels, mesh, config.batch_size // config.accumulate, net.image_size)
    how = {"dtype": jnp.dtype(config.dtype), "kernels": kernels}
    return Parts(net, mesh, augmentation, rates, rule, shapes, how)
