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
from alexnet.training import dataset, optimizer, schedule
from alexnet.training.programs import Programs
from alexnet.training.run import Run
from alexnet.training.settings import check_fits, check_settings, config_of, remaining
from alexnet.training.step import key_of, state_shardings

MOST_STEPS = 2**31  # the state counts steps in an int32


def setup(
    config: ConfigDict | str | os.PathLike,
    trained_on: Statistics | None = None,
    programs: Programs | None = None,
    known: Store | None = None,
) -> Run:
    """Opens the data, builds the net, the mesh, the optimiser and the schedule.

    Args:
        config: a config, or the name of its file, as for `load_config`.
        trained_on: the mean image and colour PCA of the images when the run began; they are used
            even if the images have changed. None takes those of the dataset at hand.
        programs: those of earlier runs, to which this one adds its own.
        known: what a run that goes on remembers of its dataset: while the store holds these images,
            a folder that has changed since is left alone.

    Raises:
        UserError: for an impossible setting.
    """
    config = config_of(config)
    check_settings(config)
    config = configs.absolute(config)
    store = configs.call(prepare.kept, "data", config.data, known=known) if known else None
    store = store or configs.call(prepare.ensure, "data", config.data)
    statistics = trained_on or store.statistics
    if len(statistics.mean_HWC) != store.image_size:
        raise UserError(
            f"the run was trained on images of {len(statistics.mean_HWC)} pixels",
            f"config.data.image_size={store.image_size}",
        )
    net = configs.call(build, "net", config.net, classes=len(store.classes))
    check_fits(net, store.image_size)
    augmentation = configs.call(Augmentation, "augment", config.augment, crop=net.image_size)
    mesh = configs.call(
        meshes.make, "mesh", config.mesh, towers=net.towers, batch_size=config.batch_size
    )
    meshes.process_rows(mesh)  # raises for a mesh that the processes cannot share
    processes.check_same(dataset.digests(store))
    parts = config.accumulate * mesh.shape["data"]
    if config.accumulate < 1 or config.batch_size % parts:
        raise UserError(
            f"the batch of {config.batch_size} images does not divide into {parts} parts of equal "
            f"size, {config.accumulate} on each of {counted(mesh.shape['data'], 'device')}",
            f"config.accumulate={config.accumulate}",
        )
    steps = config.epochs * store.counts["train"] / config.batch_size
    require("config.epochs", config.epochs, steps < MOST_STEPS, f"{steps:.3g} steps are too many")
    shapes = jax.eval_shape(functools.partial(network.init, net), jax.random.key(0))
    named = remaining(config, "schedule")
    rates = configs.call(schedule.build, "schedule", named, epochs=config.epochs)
    # A mistake in an event shows now rather than at its epoch.
    configs.call(rates, "schedule", {}, epoch=0.0, errors=[], layers=shapes)
    rule = configs.call(optimizer.build, "optimizer", remaining(config, "optimizer"), params=shapes)
    replicated = meshes.replicated(mesh)
    kernels = choose(config.kernels, mesh, config.batch_size // config.accumulate, net.image_size)
    return Run(
        config=config,
        store=store,
        net=net,
        mesh=mesh,
        augmentation=augmentation,
        schedule=rates,
        optimizer=rule,
        shapes=shapes,
        shardings=state_shardings(rule, shapes, meshes.by_tower(mesh, shapes), replicated),
        how={"dtype": jnp.dtype(config.dtype), "kernels": kernels},
        statistics=jax.device_put(statistics, replicated),
        key=meshes.put_key(mesh, key_of(config.seed)),
        programs=(Programs() if programs is None else programs).of(config, net, mesh),
    )
