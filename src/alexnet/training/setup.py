"""From a config to the functions and arrays of a run: what training and evaluation share."""

import dataclasses
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from alexnet import config as configs
from alexnet.data import pipeline, prepare
from alexnet.data.augment import Augmentation
from alexnet.data.statistics import Statistics
from alexnet.data.store import Store
from alexnet.devices import mesh as meshes
from alexnet.devices import runtime
from alexnet.errors import UserError, choice, nearest, require
from alexnet.models import network
from alexnet.models.build import NETS, build
from alexnet.models.table import Net
from alexnet.training import metrics, optimizer
from alexnet.training.schedule import SCHEDULES, Schedule
from alexnet.training.schedule import build as build_schedule
from alexnet.training.step import Apply, TrainState, init_state, make_train_step, state_shardings

SETTINGS = (
    *("seed", "batch_size", "epochs", "data", "net", "augment", "optimizer", "schedule", "mesh"),
    *("init_from", "init_layers", "dtype", "accumulate", "conv_chunk", "log_every"),
    "checkpoint_every",
)
# Settings that choose a function; the rest of their section are its arguments.
KINDS = {
    "net.name": configs.Kind(build, NETS, filled_in=("classes",)),
    "schedule.kind": configs.Kind(build_schedule, SCHEDULES, filled_in=("epochs",)),
}


@dataclasses.dataclass(frozen=True)
class Run:
    """A config made real."""

    config: ConfigDict
    store: Store  # the prepared images
    net: Net
    mesh: Mesh
    augmentation: Augmentation
    apply: Apply
    shardings: TrainState  # of the state
    statistics: Statistics  # on the devices


def assemble(config: ConfigDict) -> Run:
    """Opens the data, builds the net and the mesh.

    Raises:
        UserError: for whatever in the config cannot be.
    """
    check_settings(config)
    require("batch_size", config.batch_size, config.batch_size >= 1, "must be at least 1")
    store = configs.call(prepare.ensure, "data", config.data)
    net = configs.call(build, "net", config.net, classes=len(store.classes))
    if net.image_size > store.image_size:
        raise UserError(
            f"net {net.name} sees {net.image_size} pixels, more than the stored "
            f"{store.image_size} (config.data.image_size)"
        )
    augmentation = configs.call(Augmentation, "augment", config.augment, crop=net.image_size)
    mesh = configs.call(
        meshes.make, "mesh", config.mesh, towers=net.towers, batch_size=config.batch_size
    )
    parts = config.accumulate * mesh.shape["data"]
    if config.accumulate < 1 or config.batch_size % parts:
        raise UserError(
            f"config.accumulate={config.accumulate}: the batch of {config.batch_size} images does "
            f"not divide into so many parts on {mesh.shape['data']} device(s)"
        )
    batch_size = config.batch_size // config.accumulate
    tuning = runtime.tuning(config.conv_chunk, mesh, batch_size, net.image_size)
    choice("dtype", config.dtype, ("float32", "bfloat16"))
    apply = network.on_mesh(net, mesh, jnp.dtype(config.dtype), tuning)
    shardings = state_shardings(mesh, network.params_specs(net))
    statistics = jax.device_put(store.statistics, meshes.replicated(mesh))
    return Run(config, store, net, mesh, augmentation, apply, shardings, statistics)


@dataclasses.dataclass(frozen=True)
class Learning:
    """What training needs beside a `Run`."""

    shapes: network.Params  # of the parameters
    schedule: Schedule  # the learning rates
    fresh: Callable[[], TrainState]  # step 0
    train_step: Callable[..., tuple[TrainState, metrics.Sums]]  # jitted: see `make_train_step`


def learning(run: Run) -> Learning:
    """The config's optimiser and schedule, as the functions that train the run's net.

    Raises:
        UserError: for settings of either that cannot be.
    """
    config = run.config

    def init(key):
        return network.init(run.net, key)

    shapes = jax.eval_shape(init, jax.random.key(0))
    schedule = configs.call(build_schedule, "schedule", config.schedule, epochs=config.epochs)
    schedule(0.0, [], shapes)  # a mistake in it shows now rather than at its epoch
    sgd = configs.call(optimizer.momentum_sgd, "optimizer", config.optimizer, params=shapes)

    def fresh() -> TrainState:
        return init_state(init, sgd, run.shardings, config.seed)

    train_step = make_train_step(
        run.apply,
        sgd,
        run.augmentation,
        run.mesh,
        run.shardings,
        config.seed,
        config.accumulate,
    )
    return Learning(shapes, schedule, fresh, train_step)


def check_settings(config: ConfigDict) -> None:
    """Raises UserError for a setting that is missing or unknown."""
    for name in {*config, *SETTINGS}:
        if name not in config:
            raise UserError(f"config.{name} is missing")
        if name not in SETTINGS:
            raise UserError(f"config.{name}: no such setting{nearest(name, SETTINGS)}")


def train_batches(run: Run, start_step: int) -> Iterator[dict[str, jax.Array]]:
    """Endless batches on the devices, from the one that step `start_step` takes."""
    part, parts = meshes.process_rows(run.mesh)
    batches = pipeline.train_batches(
        run.store,
        batch_size=run.config.batch_size,
        seed=run.config.seed,
        start_step=start_step,
        part=part,
        parts=parts,
    )
    return meshes.put(run.mesh, batches)


def put_params(run: Run, params: dict[str, dict[str, np.ndarray]]) -> network.Params:
    """Parameters from a checkpoint, in their place on the mesh.

    Raises:
        UserError: if they are not those of the config's net.
    """
    network.check(run.net, params, "the checkpoint")
    return put_layers(run, params)


def put_layers(run: Run, layers: dict[str, dict[str, np.ndarray]]) -> network.Params:
    """Parameters of some layers, in their place on the mesh."""
    return {name: jax.device_put(layers[name], run.shardings.params[name]) for name in layers}
