"""From a config to a run: what training, evaluation and notebooks share."""

import contextlib
import dataclasses
import functools
import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any, Literal, TypeVar, get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from alexnet import config as configs
from alexnet.data import augment, pipeline, prepare
from alexnet.data.augment import VIEWS, Augmentation
from alexnet.data.statistics import Statistics
from alexnet.data.store import Store
from alexnet.devices import mesh as meshes
from alexnet.errors import UserError, choice, require
from alexnet.kernels.choose import KERNELS, Choice, choose, compiler_options
from alexnet.models import network
from alexnet.models.build import NETS, build
from alexnet.models.table import Net
from alexnet.text import counted
from alexnet.training import dispatch, evaluation, forward, memory, optimizer, schedule
from alexnet.training.evaluation import evaluate
from alexnet.training.placement import state_shardings
from alexnet.training.programs import Programs
from alexnet.training.schedule import SCHEDULES, Hyperparameters, Schedule
from alexnet.training.step import (
    Batch,
    EvalStep,
    TrainState,
    TrainStep,
    key_of,
    make_eval_step,
    make_init,
    make_train_step,
)
from alexnet.workdir.checkpoint import Checkpoints
from alexnet.workdir.record import Progress

# Settings that choose a function; the rest of their section holds its arguments.
KINDS = {
    "net.name": configs.Kind(build, NETS, filled_in=("classes",)),
    "optimizer.name": configs.Kind(
        optimizer.build, optimizer.OPTIMIZERS, filled_in=("params", "decay", "rates")
    ),
    "schedule.kind": configs.Kind(schedule.build, SCHEDULES, filled_in=("epochs",)),
}
Precision = Literal["float32", "tf32"]
PRECISIONS: dict[Precision, str] = {"float32": "float32", "tf32": "tensorfloat32"}  # by our names
Fetch = Literal["step", "log"]
MOST_STEPS = 2**31  # the state counts steps in an int32
Dtype = Literal["float32", "bfloat16"]

T = TypeVar("T")
Layers = Mapping[str, Mapping[str, jax.Array | np.ndarray]]  # {layer: {"kernel", "bias"}}


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """What a config describes, ready to train and to evaluate.

    Attributes:
        store: the prepared images.
        shapes: the parameters' shapes.
        shardings: the state's shardings.
        how: the net's dtype and kernels, as `forward.on_mesh` takes them.
        statistics: the training set's statistics, on the devices.
        key: the source of the steps' randomness (crops, noise, dropout), on the devices.
        programs: the jitted functions by name, perhaps made by another run; see `programs`.
    """

    config: ConfigDict
    store: Store
    net: Net
    mesh: Mesh
    augmentation: Augmentation
    schedule: Schedule
    optimizer: optax.GradientTransformationExtraArgs
    shapes: network.Params
    shardings: TrainState
    how: Mapping[str, Any]
    statistics: Statistics
    key: jax.Array
    programs: dict[str, Any]

    @property
    def device(self) -> str:
        """What it runs on, such as "2 x cpu"."""
        return f"{self.mesh.size} x {self.mesh.devices.flat[0].device_kind}"

    @functools.cached_property
    def steps(self) -> int:
        """The number of steps of the whole run."""
        epochs = Fraction(str(self.config.epochs))  # 1.1 epochs are 11 tenths, not a little more
        return math.ceil(epochs * self.store.counts["train"] / self.config.batch_size)

    def epoch(self, step: int) -> float:
        """The epochs done after a step."""
        return step * self.config.batch_size / self.store.counts["train"]

    def batches(self, after: int = 0) -> Iterator[tuple[int, Batch]]:
        """(step, its batch on the devices) for every step after `after`."""
        part, parts = meshes.process_rows(self.mesh)
        batches = pipeline.train_batches(
            self.store,
            batch_size=self.config.batch_size,
            seed=self.config.seed,
            start_step=after,
            part=part,
            parts=parts,
        )
        steps = range(after + 1, self.steps + 1)
        return zip(steps, meshes.put(self.mesh, batches), strict=False)

    def fresh(self, layers: Layers | None = None) -> TrainState:
        """The state at step 0; the parameters of `layers` replace those drawn from the seed."""
        init = functools.partial(network.init, self.net)
        program = self._program("init", lambda: make_init(init, self.optimizer, self.shardings))
        state = program(key_of(self.config.seed))
        return state._replace(params=state.params | self.put(layers or {}))

    def restore(self, checkpoints: Checkpoints) -> tuple[TrainState, int, Progress] | None:
        """(state, step, progress) of the last good checkpoint, or None if there is none."""
        shapes = TrainState(
            jax.ShapeDtypeStruct((), jnp.int32),
            self.shapes,
            jax.eval_shape(self.optimizer.init, self.shapes),
        )
        return checkpoints.restore(meshes.shapes(shapes, self.shardings))

    def hyperparameters(self, step: int, errors: Sequence[float] = ()) -> Hyperparameters:
        """A step's hyperparameters, on the devices; `errors` are the validations' top-1 errors."""
        now = self.schedule(self.epoch(step - 1), errors, self.shapes)
        if self._sent.get("now") != now:  # sent to the devices when they change
            on_devices = jax.device_put(now, meshes.replicated(self.mesh))
            self._sent.update(now=now, on_devices=on_devices)
        return self._sent["on_devices"]

    def inputs(self, step: int, batch: Batch) -> jax.Array:
        """What the net reads in a step: float32 [B, crop, crop, 3], as `train_step` makes it."""
        key, _ = jax.random.split(jax.random.fold_in(self.key, step - 1))
        noise_on = jnp.asarray(self.hyperparameters(step).colour_noise)
        return augment.training_inputs(
            batch["image"], key, self.augmentation, self.statistics, noise_on
        )

    def train_step(
        self, state: TrainState, batch: Batch, hyperparameters: Hyperparameters
    ) -> tuple[TrainState, evaluation.Sums]:
        """The state after a step, and sums over its batch; see `step.make_train_step`."""
        with self.precision():
            return self.train_program(state, batch, hyperparameters, self.statistics, self.key)

    def train_steps(
        self,
        state: TrainState,
        batches: Sequence[Batch],
        hyperparameters: Sequence[Hyperparameters],
    ) -> tuple[TrainState, Sequence[evaluation.Sums]]:
        """`train_step` for each batch in turn, as one program; see `dispatch.make_train_steps`."""
        if len(batches) == 1:
            state, sums = self.train_step(state, batches[0], hyperparameters[0])
            return state, [sums]
        program = self._program(f"train {len(batches)}", self._train_steps)
        with self.precision():
            return program(state, batches, hyperparameters, self.statistics, self.key)

    def evaluate(
        self,
        params: network.Params,
        split: str = "validation",
        views: str = "centre",
        keep: list | None = None,
        stop: Callable[[], object] = lambda: False,
    ) -> evaluation.Means | None:
        """Loss and errors over a split; see `evaluation.evaluate`.

        As many images go through the net at once as in training.
        """
        program = self._program(views, lambda: self._eval_program(views))
        part, parts = meshes.process_rows(self.mesh)
        size = self.config.batch_size // self.config.accumulate
        batches = pipeline.eval_batches(self.store, split, batch_size=size, part=part, parts=parts)
        with self.precision():
            return evaluate(
                lambda batch: program(params, batch, self.statistics),
                meshes.put(self.mesh, batches),
                self.store.counts[split],
                keep,
                stop,
            )

    def loss(self, params: network.Params, batch: Batch) -> float:
        """The mean loss of one batch, computed as in validation."""
        program = self._program("centre", lambda: self._eval_program("centre"))
        with self.precision():
            sums = [
                program(params, part, self.statistics)[0]
                for part in meshes.parts(self.mesh, self.config.accumulate, batch)
            ]
        return evaluation.means(jax.tree.map(lambda *each: sum(each), *sums)).loss

    def examples(self, step: int) -> list[int]:
        """The indices of the training images that a step sees."""
        numbers = pipeline.train_examples(self.store.counts["train"], self.config.seed)
        return numbers((step - 1) * self.config.batch_size, self.config.batch_size)

    def put(self, layers: Layers) -> network.Params:
        """Some layers' parameters, placed on the mesh."""
        where = self.shardings.params
        return {name: jax.device_put(layers[name], where[name]) for name in layers}

    def precision(self) -> contextlib.AbstractContextManager:
        """A context that sets the precision of float32 products, where the device has a choice."""
        return jax.default_matmul_precision(PRECISIONS[self.config.precision])

    @property
    def train_program(self) -> TrainStep:
        """The jitted step: f(state, batch, hyperparameters, statistics, key)."""
        return self._program("train", self._train_program)

    def _train_program(self) -> TrainStep:
        return make_train_step(
            forward.training(self.net, self.mesh, self.augmentation, **self.how),
            self.optimizer,
            self.shardings,
            functools.partial(meshes.parts, self.mesh, self.config.accumulate),
            compiler_options(self.mesh),
        )

    def _train_steps(self) -> dispatch.TrainSteps:
        options = compiler_options(self.mesh)
        return dispatch.make_train_steps(self.train_program, self.shardings, options)

    def _eval_program(self, views: str) -> EvalStep:
        logits = forward.evaluation(self.net, self.mesh, self.augmentation, views, **self.how)
        return make_eval_step(logits, VIEWS[views], compiler_options(self.mesh))

    def _program(self, name: str, make: Callable[[], T]) -> T:
        if name not in self.programs:
            self.programs[name] = make()
        return self.programs[name]

    @functools.cached_property
    def _sent(self) -> dict[str, Any]:
        return {}


def load_config(file: str, overrides: Mapping[str, Any] | None = None) -> ConfigDict:
    """The config of `file[:variant]` with overrides, such as {"net.remove": "conv4"}.

    Raises:
        UserError: if there is no such file, variant or setting, or a value has the wrong type.
    """
    config = configs.load(str(file), KINDS)
    configs.apply_overrides(config, overrides or {}, KINDS)
    return config


def setup(
    config: ConfigDict | str,
    trained_on: Statistics | None = None,
    programs: Programs | None = None,
) -> Run:
    """Opens the data, builds the net, the mesh, the optimiser and the schedule.

    Args:
        config: or the name of its file, as for `load_config`.
        trained_on: the mean image and colour PCA of the images when the run began; they are used
            even if the images have changed. None takes those of the dataset at hand.
        programs: those of earlier runs, to which this one adds its own.

    Raises:
        UserError: for an impossible setting.
    """
    config = load_config(config) if isinstance(config, str) else config
    check_settings(config)
    config = configs.absolute(config)
    store = configs.call(prepare.ensure, "data", config.data)
    statistics = trained_on or store.statistics
    if len(statistics.mean_HWC) != store.image_size:
        raise UserError(
            f"the run was trained on images of {len(statistics.mean_HWC)} pixels",
            f"config.data.image_size={store.image_size}",
        )
    net = configs.call(build, "net", config.net, classes=len(store.classes))
    if net.image_size > store.image_size:
        raise UserError(
            f"net {net.name} sees {net.image_size} pixels, more than the stored {store.image_size}",
            "config.data.image_size",
        )
    augmentation = configs.call(Augmentation, "augment", config.augment, crop=net.image_size)
    mesh = configs.call(
        meshes.make, "mesh", config.mesh, towers=net.towers, batch_size=config.batch_size
    )
    parts = config.accumulate * mesh.shape["data"]
    if config.accumulate < 1 or config.batch_size % parts:
        raise UserError(
            f"the batch of {config.batch_size} images does not divide into {parts} parts of equal "
            f"size, {config.accumulate} on each of {counted(mesh.shape['data'], 'device')}",
            f"config.accumulate={config.accumulate}",
        )
    memory.check(
        net, config.batch_size, store.image_size, config.dtype, config.accumulate, **mesh.shape
    )
    steps = config.epochs * store.counts["train"] / config.batch_size
    require("config.epochs", config.epochs, steps < MOST_STEPS, f"{steps:.3g} steps are too many")
    shapes = jax.eval_shape(functools.partial(network.init, net), jax.random.key(0))
    rates = configs.call(schedule.build, "schedule", config.schedule, epochs=config.epochs)
    # A mistake in an event shows now rather than at its epoch.
    configs.call(rates, "schedule", {}, epoch=0.0, errors=[], layers=shapes)
    rule = configs.call(optimizer.build, "optimizer", config.optimizer, params=shapes)
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
        shardings=state_shardings(mesh, rule, shapes, network.params_specs(net)),
        how={"dtype": jnp.dtype(config.dtype), "kernels": kernels},
        statistics=jax.device_put(statistics, meshes.replicated(mesh)),
        key=meshes.everywhere(mesh, key_of(config.seed)),
        programs=(Programs() if programs is None else programs).of(config, net, mesh),
    )


def check_settings(config: ConfigDict) -> None:
    """Raises UserError for a setting that is missing, unknown or impossible."""
    configs.call(check_top_level, "", config)


def check_top_level(
    *,
    seed: int,
    batch_size: int,
    epochs: float,
    data: Mapping[str, Any],
    net: Mapping[str, Any],
    augment: Mapping[str, Any],
    optimizer: Mapping[str, Any],
    schedule: Mapping[str, Any],
    mesh: Mapping[str, Any],
    init_from: str,
    init_layers: str,
    dtype: Dtype,
    precision: Precision,
    kernels: Choice,
    accumulate: int,
    steps_per_dispatch: int,
    fetch: Fetch,
    log_every: int,
    checkpoint_every: int,
    wandb_project: str,
) -> None:
    """Checks the settings outside all sections, and that no section is missing.

    Args:
        seed: of the initial weights, the order of the images, crops, noise and dropout.
        batch_size: images per step, on all devices together.
        epochs: how many times the run sees the training set.
        data, net, augment, optimizer, schedule, mesh: sections, each with one function's arguments.
        init_from: the workdir of a run whose weights this one starts from; "" is none.
        init_layers: which layers it takes from there: all, conv, or names such as conv1,conv2.
        dtype: what the net computes in; bfloat16 is mixed precision.
        precision: of float32 products on GPUs; tf32 is faster, but rounds the factors.
        kernels: how operations are implemented: plain, cpu, gpu, or auto, which suits the device.
        accumulate: parts that a batch is split into, computed one after the other to save memory.
        steps_per_dispatch: steps in one program, for nets that take milliseconds a step on GPUs.
            Results stay the same; compiling takes that many times as long.
        fetch: when the host fetches a step's loss, and notices that it is NaN: step, while the next
            step runs, or log, with the next row of the log or checkpoint.
        log_every: steps between rows of the log.
        checkpoint_every: steps between checkpoints, besides the one at the end of each epoch.
        wandb_project: the Weights & Biases project that tracks the run (pip install wandb); "" is
            none.

    Raises:
        UserError: for an impossible value.
    """
    require("seed", seed, 0 <= seed < 2**32, "from 0 to 2^32 - 1")
    require("epochs", epochs, epochs > 0, "must be more than 0")
    require("batch_size", batch_size, batch_size >= 1, "must be at least 1")
    counts = {"log_every": log_every, "checkpoint_every": checkpoint_every}
    for name, steps in (counts | {"steps_per_dispatch": steps_per_dispatch}).items():
        require(name, steps, steps >= 1, "a number of steps, at least 1")
    choice("dtype", dtype, get_args(Dtype))
    choice("precision", precision, get_args(Precision))
    choice("kernels", kernels, KERNELS)
    choice("fetch", fetch, get_args(Fetch))


SETTINGS = tuple(inspect.signature(check_top_level).parameters)
# The function whose arguments a section holds, unless a setting in it chooses the function; "" is
# the top level.
SECTIONS: dict[str, Callable[..., Any]] = {
    "": check_top_level,
    "data": prepare.ensure,
    "augment": Augmentation,
    "mesh": meshes.make,
}
