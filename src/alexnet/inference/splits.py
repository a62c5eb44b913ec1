"""Evaluates and reads the splits of a classifier's dataset."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from alexnet import config as configs
from alexnet.data import pipeline
from alexnet.data.augment import VIEWS
from alexnet.errors import choice
from alexnet.models import network
from alexnet.training.programs import Programs
from alexnet.training.settings import KINDS
from alexnet.training.setup import setup
from alexnet.training.start import dataset

if TYPE_CHECKING:
    from alexnet.inference.classifier import Classifier

BATCH = 128  # images that go through the net at once for features
MOST = 1024  # and in an evaluation, if the run was trained with larger batches on many devices


class Splits:
    """A classifier with the dataset that its run was trained on, on the devices at hand.

    Attributes:
        run: set up as if to train further; its store has the images.
    """

    def __init__(
        self,
        net: "Classifier",
        overrides: Mapping[str, Any] | None = None,
        programs: Programs | None = None,
    ):
        """Opens the dataset.

        Args:
            overrides: of settings, such as {"data.data_dir": ..., "mesh.data": 2}.
            programs: those of other nets, for nets that differ in their weights only.

        Raises:
            UserError: if the dataset is not there, or has other classes.
        """
        self.net = net
        source = net.about.source
        config = net.config.copy_and_resolve_references()
        # On all devices here, however many the run was trained on.
        batch_size = min(config.batch_size // config.accumulate, MOST)
        anywhere = {"mesh.data": 0, "mesh.tower": 0, "accumulate": 1, "batch_size": batch_size}
        configs.apply_overrides(config, anywhere | dict(overrides or {}), KINDS)
        self._then = net.about.trained_on
        self.run = setup(config, programs, statistics=net.about.statistics)
        # Of an old import, `net.net.classes` may count the last layer's unused outputs, too.
        now, count = self.run.store.classes, net.net.classes
        dataset.check_classes(source, net.about.named, now, count if count < len(now) else 0)
        network.check(self.run.net, net.params, str(source))

    def notes(self, split: str) -> list[str]:
        """Lines on how the split's images differ from the training run's, as far as is known."""
        source = self.net.about.source
        unknown = [] if dataset.is_known(self._then) else [dataset.unknown(source, self._then)]
        return unknown + [
            f"warning: not the images that {source} was trained with: {line}"
            for line in self.changed(split)
        ]

    def changed(self, split: str) -> list[str]:
        """The split, if its images are not the training run's, as far as is known; else nothing."""
        if self._then is None or split not in self._then.counts:  # such as a test split since then
            return []
        return dataset.changed(self._then, self.run.store, [split])

    def chosen(self, split: str) -> list[str]:
        """A line if these very images chose the checkpoint: it is the best on them, not the last.

        Nothing if they may be others than the training run's.
        """
        if split != "validation" or self.notes(split):
            return []
        history, step = self.net.history, self.net.about.step
        least = min((row["top1_error"] for row in history), default=0.0)
        best = [row["step"] for row in history[:-1] if row["top1_error"] == least]
        if step not in best or step == history[-1]["step"]:
            return []
        line = f"step {step:,} was chosen by its error on these very images, the lowest of "
        return [line + f"{len(history)} validations: quote the error of the last checkpoint"]

    def evaluate(
        self, split: str = "validation", views: str = "centre", keep: list | None = None
    ) -> dict[str, Any]:
        """See `Classifier.evaluate`."""
        choice("views", views, VIEWS)
        params = self.run.put(jax.device_get(self.net.params))
        means = self.run.evaluate(params, split, views, keep)
        assert means is not None  # only `stop` would end it early
        row = {"split": split, "views": views, "checkpoint": self.net.about.step}
        notes = [*about_views(self.net, views), *self.notes(split)]
        about = {"dataset": self.run.store.name, "notes": notes}
        return row | means.row() | about

    def batches(self, split: str) -> Iterator[tuple[np.ndarray, int]]:
        """(uint8 squares [BATCH, S, S, 3], how many of them are images), in order."""
        for batch in pipeline.eval_batches(self.run.store, split, batch_size=BATCH):
            yield batch["image"], int((batch["label"] >= 0).sum())


def about_views(net: "Classifier", views: str) -> list[str]:
    """Lines on views that a net was not trained for, or that are all the same."""
    if views == "centre":
        return []
    lines, source = [], net.about.source
    if views == "ten_crop" and not net.config.augment.flip:
        lines.append(
            f"{source} never saw reflections (config.augment.flip=False), but half of the ten "
            "crops are reflections"
        )
    if net.about.image_size == net.net.image_size:
        whole = f"{source} sees images whole, in {net.net.image_size} pixels"
        but = " but for reflections" if views == "ten_crop" else ""
        lines.append(f"{whole}: all crops are equal{but}")
    return lines
