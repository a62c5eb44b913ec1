"""Uses trained weights: photos in; classes, probabilities and features out.

    net = load("runs/digits")
    net.top(["cat.jpg", array], 5)

A workdir is enough: only `evaluate`, `dataset_features` and `nearest` need the dataset.
"""

import dataclasses
import functools
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

import jax
import numpy as np
from ml_collections import ConfigDict

from alexnet.data import augment, synsets
from alexnet.data.augment import VIEWS, Augmentation
from alexnet.data.statistics import Statistics
from alexnet.data.store import Store
from alexnet.errors import UserError, choice, nearest, require
from alexnet.inference.photos import Photo, squares
from alexnet.kernels.choose import choose, compiler_options
from alexnet.logs import metrics
from alexnet.models import network
from alexnet.models.describe import describe, describe_html
from alexnet.models.filters import as_rgb
from alexnet.models.network import PLAIN, Kernels
from alexnet.models.table import Net
from alexnet.training import forward
from alexnet.training.programs import Programs
from alexnet.training.settings import PRECISIONS

if TYPE_CHECKING:
    from alexnet.inference.features import Neighbour
    from alexnet.inference.splits import Splits

BATCH = 32  # images that go through the net at once

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, eq=False)
class About:
    """Everything about a classifier but its weights.

    Attributes:
        classes: the names, in the order of the class numbers; () if they are not known.
        image_size: side of the squares that photos become before they are cropped, in pixels.
        source: the workdir or file; for weights of one's own loop, words.
        step: of the checkpoint; None for other weights.
        trained_on: the images, unless the source tells.
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
    trained_on: Store | None = None

    @property
    def named(self) -> tuple[str, ...]:
        """The classes; those of ImageNet for a net of it that has no names; () if not known."""
        return self.classes or synsets.implied(self.config.data.name, self.net.classes)

    @property
    def when(self) -> str:
        """Which checkpoint of the run it is, in words; "" for other weights."""
        if self.step is None:
            return ""
        # Training saves no step 0
        return f"step {self.step:,} (epoch {self.epoch:.2f})" if self.step else "as imported"

    @functools.cached_property
    def programs(self) -> dict[Any, Any]:
        """The compiled programs by key."""
        return {}

    @functools.cached_property
    def evaluations(self) -> Programs:
        """The programs that evaluate splits."""
        return Programs()

    def __eq__(self, other: object) -> bool:
        """Whether both are the same function of the weights: then JAX can combine the pytrees."""
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


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Classifier:
    """A net with its weights; it passes through jit, grad and vmap as its parameters do."""

    params: network.Params
    about: About = dataclasses.field(metadata={"static": True})

    @property
    def config(self) -> ConfigDict:
        """The run's config, locked."""
        return self.about.config

    @property
    def classes(self) -> tuple[str, ...]:
        """The names, in the order of the class numbers; the numbers if no names are known.

        A net of ImageNet that was imported without names has them in the order of their ids, as in
        torchvision and Caffe.
        """
        return self.about.named or tuple(map(str, range(self.net.classes)))

    @property
    def net(self) -> Net:
        """The table of its layers."""
        return self.about.net

    @property
    def history(self) -> list[dict[str, Any]]:
        """A row for each validation: step, epoch, loss, top1_error, top5_error, count.

        Empty for weights that were imported, read from a file, or trained in a loop of one's own.
        """
        logged = (self.about.source / metrics.FILE).is_file()
        return metrics.read_history(self.about.source) if logged else []

    def __repr__(self) -> str:
        return f"{self._title()}\n{describe(self.net)}"

    def _repr_html_(self) -> str:
        return describe_html(self.net, self._title())

    def _title(self) -> str:
        about = self.about
        return f"{about.source}, {about.when}" if about.when else str(about.source)

    # --- Pure functions -----------------------------------------------------------------------

    def logits(
        self,
        images_BSSC: jax.Array,
        views: str = "centre",
        view: jax.Array | int = 0,
        kernels: Kernels = PLAIN,
    ) -> jax.Array:
        """Logits, float32 [B, K], for one view of squares, `about.image_size` pixels wide.

        Pixels are uint8, or floats from 0 to 255. The plain operations can be differentiated by
        grad and jvp.

        Args:
            view: which of the `views`: from 0 to 9 for ten_crop, the mirrored ones last.

        Raises:
            UserError: for images of another size, or an unknown view.
        """
        about = self.about
        self._check_size(images_BSSC)
        choice("views", views, VIEWS)
        if isinstance(view, int):  # else it may be unknown yet, inside jit
            require("view", view, 0 <= view < VIEWS[views], f"{views} has {VIEWS[views]}, from 0")
        f = forward.evaluation(self.net, None, about.augmentation, views, kernels=kernels)
        return f(self.params, images_BSSC, about.statistics, view)

    def activations(self, images_BSSC: jax.Array, kernels: Kernels = PLAIN) -> network.Activations:
        """The output of each row of the net's table by name (conv1, ...), for the centre view.

        float32 [B, H, W, C], or [B, neurons] from fc6 on; the towers' maps are side by side.
        Images and errors are those of `logits`.
        """
        self._check_size(images_BSSC)
        x = augment.evaluation_inputs(images_BSSC, self.about.augmentation, self.about.statistics)
        return network.apply(self.net, self.params, x, kernels=kernels)[1]

    def _check_size(self, images_BSSC: jax.Array) -> None:
        """Raises UserError if the images have no mean image and no centre of the right size."""
        size = self.about.image_size
        shape, expected = tuple(images_BSSC.shape), (size, size, 3)
        needs = f"expected (images, {size}, {size}, 3); predict and features resize photos"
        require("images_BSSC.shape", shape, len(shape) == 4 and shape[1:] == expected, needs)

    # --- Photos -------------------------------------------------------------------------------

    def predict(self, photos: Photo | Iterable[Photo], views: str = "centre") -> np.ndarray:
        """Probabilities, float32 [B, K], averaged over `views`: centre, ten_crop or nine_crop.

        Raises:
            UserError: for a photo that cannot be read.
        """
        choice("views", views, VIEWS)

        def probabilities(net: Classifier, images_BSSC: jax.Array, view: jax.Array) -> jax.Array:
            return jax.nn.softmax(net.logits(images_BSSC, views, view, net._kernels(images_BSSC)))

        program, found = self._program(views, probabilities), []
        for batch, count in self._batches(photos):
            batch = jax.device_put(batch)  # once for all views
            total = sum(program(self.params, batch, np.int32(view)) for view in range(VIEWS[views]))
            found.append(np.asarray(total)[:count] / np.float32(VIEWS[views]))
        return np.concatenate(found)

    def top(
        self, photos: Photo | Iterable[Photo], count: int = 5, views: str = "centre"
    ) -> list[list[tuple[str, float]]]:
        """For each photo, its most probable classes and their probabilities, best first."""
        require("count", count, count >= 1, "must be at least 1")
        best = []
        for p_K in self.predict(photos, views):
            order = np.argsort(-p_K, kind="stable")[:count]
            best.append([(self.classes[k], float(p_K[k])) for k in order])
        return best

    @overload
    def features(self, photos: Photo | Iterable[Photo], rows: str) -> np.ndarray: ...

    @overload
    def features(
        self, photos: Photo | Iterable[Photo], rows: list[str] | tuple[str, ...]
    ) -> dict[str, np.ndarray]: ...

    def features(
        self, photos: Photo | Iterable[Photo], rows: str | Sequence[str]
    ) -> np.ndarray | dict[str, np.ndarray]:
        """A row's output for the centre view, float32 [B, ...]; for several, a dict by name.

        Raises:
            UserError: for a row that the net lacks.
        """
        names = (rows,) if isinstance(rows, str) else tuple(rows)
        program = self.rows_program(names)
        parts = [
            [np.asarray(seen)[:count] for seen in program(self.params, batch)]
            for batch, count in self._batches(photos)
        ]
        found = [np.concatenate(part) for part in zip(*parts, strict=True)]
        return found[0] if isinstance(rows, str) else dict(zip(names, found, strict=True))

    def filters(self, row: str = "conv1") -> np.ndarray:
        """A convolution's kernels, float32 [kernels, height, width, maps], tower by tower.

        The maps of an image are red, green and blue, also for a net that reads them in Caffe's
        order.

        Raises:
            UserError: for a row that the net lacks, or that is no convolution.
        """
        known = [r.name for r in self.net.weighted]
        if row not in known:
            near = nearest(row, known)
            raise UserError(f"net {self.net.name} has no kernels {row!r}{near}", "row")
        kernel = np.asarray(self.params[row]["kernel"])
        if kernel.ndim != 5:
            raise UserError(f"{row} of net {self.net.name} is not a convolution", "row")
        if row == known[0] and kernel.shape[3] == 3:
            kernel = as_rgb(kernel, self.net)
        return np.concatenate([np.moveaxis(tower, -1, 0) for tower in kernel])

    # --- Datasets and files -------------------------------------------------------------------

    def evaluate(
        self,
        split: str = "validation",
        views: str = "centre",
        overrides: Mapping[str, Any] | None = None,
        keep: list | None = None,
    ) -> dict[str, Any]:
        """Loss and errors over a split of the run's dataset, counting every example once.

        Args:
            overrides: of settings, such as {"data.data_dir": ..., "mesh.data": 2}.
            keep: see `alexnet.training.evaluation.evaluate`.

        Returns:
            split, views, checkpoint, top1_error, top5_error, loss, count, dataset, and notes: lines
            on views that tell little, on how the images differ from those of the training run, and
            on a checkpoint that these very images have chosen.

        Raises:
            UserError: if the dataset is not there, has other classes or lacks the split.
        """
        splits = self.splits(overrides)
        row = splits.evaluate(split, views, keep)
        row["notes"] += splits.chosen(split)
        return row

    def dataset_features(
        self, split: str = "train", row: str = "", overrides: Mapping[str, Any] | None = None
    ) -> np.ndarray:
        """A row's output for every image in a split of the run's dataset, centre view.

        Features are kept in `<workdir>/features`, and computed once for these weights and images.

        Args:
            row: its name; "" is what the last layer reads, such as fc7 after its ReLU.
            overrides: as for `evaluate`.

        Returns:
            float32 [images, ...], in the order of the split; if they are kept, an np.memmap, which
            reads its file on use.

        Raises:
            UserError: if there is no such row, split or dataset.
        """
        from alexnet.inference.features import dataset_features

        return dataset_features(self.splits(overrides), split, row)

    def nearest(
        self,
        photos: Photo | Iterable[Photo],
        count: int = 6,
        split: str = "train",
        row: str = "",
        overrides: Mapping[str, Any] | None = None,
    ) -> list[list["Neighbour"]]:
        """For each photo, the nearest images in a split of the run's dataset, nearest first.

        The distance is L2 between a row's outputs (Figure 4, right). Arguments and errors are those
        of `dataset_features`, which is called first.

        Returns:
            For each photo, `count` tuples (index, distance, label, image, file); fewer if the split
            is smaller.
        """
        from alexnet.inference.features import nearest

        return nearest(self.splits(overrides), photos, count, split, row)

    def splits(
        self, overrides: Mapping[str, Any] | None = None, programs: Programs | None = None
    ) -> "Splits":
        """The run's dataset, opened; overrides and errors are those of `evaluate`.

        Nets that differ in their weights only can share compiled `programs`.
        """
        # Imported late: opening datasets needs slow imports, which photos do not.
        from alexnet.inference.splits import Splits

        return Splits(self, overrides, programs or self.about.evaluations)

    def export(self, target: str | os.PathLike, names: str = "own") -> None:
        """Writes the net as .safetensors or .stablehlo; see `alexnet.convert`.

        Raises:
            UserError: if the net has no such form, or the file exists.
        """
        from alexnet.inference.export import export

        export(self, Path(target).expanduser(), names)

    # --- Batches ------------------------------------------------------------------------------

    def rows_program(
        self, names: Sequence[str]
    ) -> Callable[[network.Params, np.ndarray], list[jax.Array]]:
        """f(params, images_BSSC) -> the outputs of these rows for the centre view, compiled.

        Raises:
            UserError: for a row that the net lacks.
        """
        for name in names:
            self.check_row(name, "rows")

        def chosen(net: Classifier, images_BSSC: jax.Array) -> list[jax.Array]:
            seen = net.activations(images_BSSC, net._kernels(images_BSSC))
            return [seen[name] for name in names]

        return self._program(tuple(names), chosen)

    def check_row(self, name: str, argument: str) -> None:
        """Raises UserError if the net has no such row."""
        known = [row.name for row in self.net.rows]
        if name not in known:
            raise UserError(
                f"net {self.net.name} has no layer {name!r}{nearest(name, known)}", argument
            )

    def _kernels(self, images_BSSC: jax.Array) -> Kernels:
        return choose("auto", None, images_BSSC.shape[0], self.net.image_size)

    def _program(self, key: Any, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function(net, ...)` as a compiled function of (params, ...), one for each key."""
        if key not in self.about.programs:

            def program(params: network.Params, *arrays: jax.Array) -> Any:
                return function(Classifier(params, self.about), *arrays)

            options = compiler_options(None)
            self.about.programs[key] = self.precise(jax.jit(program, compiler_options=options))
        return self.about.programs[key]

    def precise(self, function: Callable[..., T]) -> Callable[..., T]:
        """The function, traced with the precision of float32 products that the run was set to."""
        return jax.default_matmul_precision(PRECISIONS[self.config.precision])(function)

    def _batches(self, photos: Photo | Iterable[Photo]) -> Iterator[tuple[np.ndarray, int]]:
        """(uint8 squares, how many of them are photos), in a few sizes: few programs are compiled.

        Batches are made one at a time; without photos there is a single, empty one.
        """
        size = self.about.image_size
        found = squares(photos, size)
        batch = list(itertools.islice(found, BATCH))
        while True:
            padded = np.zeros((1 << max(0, len(batch) - 1).bit_length(), size, size, 3), np.uint8)
            for place, pixels in zip(padded, batch, strict=False):
                place[:] = pixels
            yield padded, len(batch)
            if not (batch := list(itertools.islice(found, BATCH))):
                return
