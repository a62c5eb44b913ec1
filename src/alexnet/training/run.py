"""A run: what a config describes, ready to train and to evaluate."""

import contextlib
import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from alexnet.data import augment, pipeline
from alexnet.data.augment import VIEWS, Augmentation
from alexnet.data.statistics import Statistics
from alexnet.data.store import Store
from alexnet.devices import mesh as meshes
from alexnet.errors import choice
from alexnet.kernels.choose import compiler_options
from alexnet.models import network
from alexnet.models.table import Net
from alexnet.training import dispatch, evaluation, forward
from alexnet.training.schedule import Hyperparameters, Schedule
from alexnet.training.settings import PRECISIONS
from alexnet.training.step import (
    Batch,
    EvalStep,
    TrainState,
    begin,
    key_of,
    make_eval_step,
    make_init,
    make_train_step,
)
from alexnet.training.watch import memory
from alexnet.workdir.checkpoint import Checkpoints
from alexnet.workdir.record import Progress

T = TypeVar("T")
Layer = Mapping[str, jax.Array | np.ndarray]  # {"kernel": [towers, ...], "bias": [towers, ...]}
Layers = Mapping[str, Layer]


@dataclasses.dataclass(frozen=True, eq=False)
class Parts:
    """What a config describes, but for the images.

    Attributes:
        shapes: the parameters' shapes.
        how: the net's dtype and kernels, as `forward.on_mesh` takes them.
    """

    net: Net
    mesh: Mesh
    augmentation: Augmentation
    schedule: Schedule
    optimizer: optax.GradientTransformationExtraArgs
    shapes: network.Params
    how: Mapping[str, Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Run(Parts):
    """What a config describes, ready to train and to evaluate.

    Attributes:
        store: the prepared images.
        shardings: the state's shardings.
        statistics: the training set's statistics, on the devices.
        key: the source of the steps' randomness (crops, noise, dropout), on the devices.
        programs: the jitted functions by name, perhaps made by another run; see `programs`.
    """

    config: ConfigDict
    store: Store
    shardings: TrainState
    statistics: Statistics
    key: jax.Array
    programs: dict[str, Any]
    _sent: dict[str, Any] = dataclasses.field(default_factory=dict, init=False)

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

    def check_memory(self) -> None:
        """Raises UserError if a training step cannot fit into the devices' memory."""
        config, size = self.config, self.store.image_size
        sizes = config.batch_size, size, config.dtype, config.accumulate
        memory.check(self.net, *sizes, **self.mesh.shape)

    def fresh(self, layers: Layers | None = None) -> TrainState:
        """The state at step 0; the parameters of `layers` replace those drawn from the seed.

        Args:
            layers: by default, those that the run takes from `config.init_from`, if it is set.

        Raises:
            UserError: if training cannot fit into memory; as `fine_tune.read_layers`.
        """
        from alexnet.training.start import fine_tune  # which imports this file

        if layers is None:
            layers, _ = fine_tune.read_layers(self)
        self.check_memory()
        init = functools.partial(network.init, self.net)
        program = self._program("init", lambda: make_init(init, self.optimizer, self.shardings))
        state = program(key_of(self.config.seed))
        return state._replace(params=state.params | self.put(layers))

    def restore(self, checkpoints: Checkpoints) -> tuple[TrainState, int, Progress] | None:
        """(state, step, progress) of the last good checkpoint, or None if there is none."""
        shapes = jax.eval_shape(functools.partial(begin, optimizer=self.optimizer), self.shapes)
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
        program = self._program(
            f"train {len(batches)}",
            lambda: dispatch.make_train_steps(
                self.train_program,
                self.shardings,
                compiler_options(self.mesh, self.config.cuda_graphs),
            ),
        )
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

        Raises:
            UserError: for a split that the dataset lacks.
        """
        choice("split", split, self.store.counts)
        program = self._eval_program(views)
        part, parts = meshes.process_rows(self.mesh)
        size = self.config.batch_size // self.config.accumulate
        batches = pipeline.eval_batches(self.store, split, batch_size=size, part=part, parts=parts)
        with self.precision():
            return evaluation.evaluate(
                lambda batch: program(params, batch, self.statistics),
                meshes.put(self.mesh, batches),
                self.store.counts[split],
                keep,
                stop,
            )

    def loss(self, params: network.Params, batch: Batch) -> float:
        """The mean loss of one batch, computed as in validation."""
        program = self._eval_program("centre")
        with self.precision():
            sums = [
                program(params, part, self.statistics)[0]
                for part in meshes.parts(self.mesh, self.config.accumulate, batch)
            ]
        return evaluation.means(functools.reduce(evaluation.add, sums)).loss

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
    def train_program(self) -> jax.stages.Wrapped:
        """The jitted step: f(state, batch, hyperparameters, statistics, key)."""
        return self._program(
            "train",
            lambda: make_train_step(
                forward.training(self.net, self.mesh, self.augmentation, **self.how),
                self.optimizer,
                self.shardings,
                functools.partial(meshes.parts, self.mesh, self.config.accumulate),
                compiler_options(self.mesh, self.config.cuda_graphs),
            ),
        )

    def _eval_program(self, views: str) -> EvalStep:
        return self._program(
            views,
            lambda: make_eval_step(
                forward.evaluation(self.net, self.mesh, self.augmentation, views, **self.how),
                VIEWS[views],
                compiler_options(self.mesh),
            ),
        )

    def _program(self, name: str, make: Callable[[], T]) -> T:
        if name not in self.programs:
            self.programs[name] = make()
        return self.programs[name]
