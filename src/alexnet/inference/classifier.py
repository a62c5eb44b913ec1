"""Trained weights at work: photos in, classes, probabilities and features out.

    net = load("runs/digits")
    net.top(["cat.jpg", array], 5)

A workdir stands alone: nothing here needs the dataset but `evaluate`.
"""

import dataclasses
import functools
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from alexnet import config as configs
from alexnet.data import augment
from alexnet.data.augment import VIEWS, Augmentation
from alexnet.data.statistics import Statistics
from alexnet.errors import UserError, choice, nearest
from alexnet.formats import weights
from alexnet.inference.photos import Photo, several, square
from alexnet.kernels.choose import choose, compiler_options
from alexnet.models import network
from alexnet.models.describe import describe, describe_html
from alexnet.models.network import PLAIN, Kernels
from alexnet.models.table import Net
from alexnet.training import dataset, forward
from alexnet.workdir import log, record

BATCH = 32  # images that go through the net at once


@dataclasses.dataclass(frozen=True, eq=False)
class About:
    """All of a classifier but its weights.

    Attributes:
        classes: by name, in the order of their numbers; () if they are not known.
        image_size: side of the squares that photos become before they are cropped, in pixels.
        source: the workdir or file.
        step: the checkpoint's; None from a file.
    """

    config: ConfigDict
    net: Net
    classes: tuple[str, ...]
    augmentation: Augmentation
    statistics: Statistics | None
    image_size: int
    source: Path
    step: int | None
    epoch: float

    @functools.cached_property
    def programs(self) -> dict[Any, Any]:
        """What was compiled."""
        return {}

    def __eq__(self, other: object) -> bool:
        """Whether it is the same function of the weights: then two pytrees go together."""
        if not isinstance(other, About):
            return NotImplemented
        same = (self._function == other._function) and (self.classes == other.classes)
        mine, theirs = self.statistics, other.statistics
        if not same or mine is None or theirs is None:
            return same and mine is theirs
        return all(np.array_equal(a, b) for a, b in zip(mine, theirs, strict=True))

    def __hash__(self) -> int:
        return hash(self._function)

    @property
    def _function(self) -> tuple[Any, ...]:
        return self.net, self.augmentation, self.image_size


@jax.tree_util.register_pytree_node_class
class Classifier:
    """A net with its weights, as a pytree whose leaves are `params`."""

    def __init__(self, params: network.Params, about: About):
        self.params, self.about = params, about

    def tree_flatten(self):
        """For jax: it goes through jit, grad and vmap as its parameters do."""
        return (self.params,), self.about

    @classmethod
    def tree_unflatten(cls, about: About, children):
        """The inverse."""
        return cls(*children, about)

    @property
    def config(self) -> ConfigDict:
        """The run's, locked."""
        return self.about.config

    @property
    def classes(self) -> tuple[str, ...]:
        """By name, in the order of their numbers; the numbers if the names are not known."""
        return self.about.classes or tuple(map(str, range(self.net.classes)))

    @property
    def net(self) -> Net:
        """The table of its layers."""
        return self.about.net

    @property
    def history(self) -> list[dict[str, Any]]:
        """A row for each validation: step, epoch, loss, top1_error, top5_error, count."""
        return log.read_history(self.about.source)

    def __repr__(self) -> str:
        return f"{self._title()}\n{describe(self.net)}"

    def _repr_html_(self) -> str:
        return describe_html(self.net, self._title())

    def _title(self) -> str:
        about = self.about
        when = "" if about.step is None else f", step {about.step} (epoch {about.epoch:.2f})"
        return f"{about.source}{when}"

    # --- Pure functions -----------------------------------------------------------------------

    def logits(
        self, images_BSSC: jax.Array, views: str = "centre", view: jax.Array | int = 0
    ) -> jax.Array:
        """float32 [B, K] of one view of uint8 squares of `about.image_size` pixels.

        Of plain operations, open to grad and jvp.
        """
        return self._logits(images_BSSC, views, view, PLAIN)

    def _logits(self, images_BSSC, views, view, kernels: Kernels) -> jax.Array:
        about = self.about
        f = forward.evaluation(self.net, None, about.augmentation, views, kernels=kernels)
        return f(self.params, images_BSSC, about.statistics, view)

    def activations(self, images_BSSC: jax.Array) -> network.Activations:
        """Every row's output by name, of the centre view; all towers' maps side by side."""
        x = augment.evaluation_inputs(images_BSSC, self.about.augmentation, self.about.statistics)
        logits, seen = network.apply(self.net, self.params, x)
        return seen | {self.net.rows[-1].name: logits}

    # --- Photos -------------------------------------------------------------------------------

    def predict(self, photos: Photo | Iterable[Photo], views: str = "centre") -> np.ndarray:
        """Probabilities, float32 [B, K], averaged over `views`: centre, ten_crop or nine_crop.

        Raises:
            UserError: for a photo that cannot be read.
        """
        choice("views", views, tuple(VIEWS))

        def probabilities(net: Classifier, images_BSSC: jax.Array, view: jax.Array) -> jax.Array:
            kernels = choose("auto", None, images_BSSC.shape[0], net.net.image_size)
            return jax.nn.softmax(net._logits(images_BSSC, views, view, kernels))

        program, found = self._program(views, probabilities), []
        for batch, count in self._batches(photos):
            total = sum(program(self.params, batch, np.int32(view)) for view in range(VIEWS[views]))
            found.append(np.asarray(total)[:count] / np.float32(VIEWS[views]))
        return np.concatenate(found)

    def top(
        self, photos: Photo | Iterable[Photo], count: int = 5, views: str = "centre"
    ) -> list[list[tuple[str, float]]]:
        """For each photo its most probable classes and their probabilities, the best first."""
        best = []
        for p_K in self.predict(photos, views):
            order = np.argsort(-p_K, kind="stable")[:count]
            best.append([(self.classes[k], float(p_K[k])) for k in order])
        return best

    def features(
        self, photos: Photo | Iterable[Photo], rows: str | Sequence[str]
    ) -> np.ndarray | dict[str, np.ndarray]:
        """What a row gives for the centre view, [B, ...]; of several rows a dict by name.

        Raises:
            UserError: for a row that the net has not.
        """
        names = (rows,) if isinstance(rows, str) else tuple(rows)
        known = [row.name for row in self.net.rows]
        for name in names:
            if name not in known:
                raise UserError(
                    f"net {self.net.name} has no layer {name!r}{nearest(name, known)}", "rows"
                )

        def chosen(net: Classifier, images_BSSC: jax.Array) -> list[jax.Array]:
            seen = net.activations(images_BSSC)
            return [seen[name] for name in names]

        program = self._program(names, chosen)
        parts = [
            [np.asarray(seen)[:count] for seen in program(self.params, batch)]
            for batch, count in self._batches(photos)
        ]
        found = [np.concatenate(part) for part in zip(*parts, strict=True)]
        return found[0] if isinstance(rows, str) else dict(zip(names, found, strict=True))

    def filters(self, row: str = "conv1") -> np.ndarray:
        """A convolution's kernels, float32 [kernels, height, width, maps], tower after tower."""
        known = [r.name for r in self.net.weighted]
        if row not in known:
            near = nearest(row, known)
            raise UserError(f"net {self.net.name} has no kernels {row!r}{near}", "row")
        kernel = np.asarray(self.params[row]["kernel"])
        if kernel.ndim != 5:
            raise UserError(f"{row} of net {self.net.name} is no convolution", "row")
        return np.concatenate([np.moveaxis(tower, -1, 0) for tower in kernel])

    # --- Datasets and files -------------------------------------------------------------------

    def evaluate(
        self,
        split: str = "validation",
        views: str = "centre",
        overrides: Mapping[str, Any] | None = None,
        keep: list | None = None,
    ) -> dict[str, Any]:
        """Loss and errors over a split of the run's dataset, every example exactly once.

        Args:
            overrides: of settings, such as {"data.data_dir": ..., "mesh.data": 2}.
            keep: see `alexnet.training.evaluation.evaluate`.

        Returns:
            split, views, checkpoint, top1_error, top5_error, loss, count, and in `notes` lines
            about what was compared.

        Raises:
            UserError: if the dataset has other classes, or no such split.
        """
        # Of all this package, opening datasets takes longest to import.
        from alexnet.training.setup import KINDS, setup

        choice("views", views, tuple(VIEWS))
        config = self.config.copy_and_resolve_references()
        # On the devices at hand, however many it was trained on.
        anywhere = {"mesh.data": 0, "mesh.tower": 0, "accumulate": 1}
        configs.apply_overrides(config, anywhere | dict(overrides or {}), KINDS)
        then = self._trained_on()
        run = setup(config, then)
        dataset.check_classes(self.about.source, self.about.classes, run.store.classes)
        choice("split", split, tuple(run.store.counts))
        network.check(run.net, self.params, str(self.about.source))
        notes = [] if dataset.is_known(then) else [dataset.UNKNOWN]
        notes += [
            f"warning: not the images that {self.about.source} was trained with: {line}"
            for line in dataset.changed(then, run.store, [split])
        ]
        means = run.evaluate(run.put(jax.device_get(self.params)), split, views, keep)
        row = {"split": split, "views": views, "checkpoint": self.about.step}
        return row | means._asdict() | {"dataset": run.store.name, "notes": notes}

    def export(self, path: str | os.PathLike, names: str = "own") -> None:
        """Writes the net as .safetensors or .stablehlo; see `alexnet.convert`.

        Raises:
            UserError: if that cannot be, or the file exists.
        """
        target = Path(path).expanduser()
        if target.exists():
            raise UserError("exists: delete it, or choose another name", f"target={target}")
        weights.check_target(target, names)
        weights.check_names(target, names, self.config.net.name)
        statistics = self.about.statistics
        content = weights.content(
            target,
            names,
            self.net,
            jax.device_get(self.params),
            {"config": record.versioned(self.config), "class_names": list(self.about.classes)},
            {} if statistics is None else statistics._asdict(),
            self._crops,
        )
        partial = target.with_name(target.name + ".partial")
        try:
            partial.write_bytes(content)
            os.replace(partial, target)  # never half a file
        except OSError as error:
            raise UserError(f"cannot write there: {error.strerror}", f"target={target}") from None

    def _crops(self):
        """images uint8 [b, net's size, net's size, 3] -> logits, with the central mean image."""
        statistics = self.about.statistics
        if statistics is not None:
            central = augment.centre(statistics.mean_HWC, self.net.image_size)
            statistics = statistics._replace(mean_HWC=central)
        f = forward.evaluation(self.net, None, self.about.augmentation)
        return lambda images_BHWC: f(self.params, images_BHWC, statistics, 0)

    def _trained_on(self):
        return dataset.remembered(self.about.source) if self.about.source.is_dir() else None

    # --- Batches ------------------------------------------------------------------------------

    def _program(self, key: Any, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function(net, ...)` compiled, of (params, ...); once for each key."""
        if key not in self.about.programs:

            def program(params, *arrays):
                return function(Classifier(params, self.about), *arrays)

            options = compiler_options(None)
            self.about.programs[key] = jax.jit(program, compiler_options=options)
        return self.about.programs[key]

    def _batches(self, photos: Photo | Iterable[Photo]) -> Iterator[tuple[np.ndarray, int]]:
        """(uint8 squares, how many of them are photos): few sizes of batches, few programs.

        One batch at a time, and one of none where there are no photos.
        """
        size = self.about.image_size
        squares = (square(photo, size) for photo in several(photos))
        batch = list(itertools.islice(squares, BATCH))
        while True:
            padded = np.zeros((1 << max(0, len(batch) - 1).bit_length(), size, size, 3), np.uint8)
            for place, pixels in zip(padded, batch, strict=False):
                place[:] = pixels
            yield padded, len(batch)
            if not (batch := list(itertools.islice(squares, BATCH))):
                return
