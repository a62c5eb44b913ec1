"""A run that a page is about; what is expensive is computed once, and only if a part needs it."""

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from alexnet.data.synsets import in_words
from alexnet.inference.classifier import Classifier
from alexnet.inference.loading import load
from alexnet.inference.splits import Splits
from alexnet.logs.metrics import read_log, validations
from alexnet.training import evaluation
from alexnet.training.programs import Programs
from alexnet.workdir import provenance, record
from alexnet.workdir.checkpoint import Which

SPLIT = "validation"


class Outcome(NamedTuple):
    """A net's predictions for every validation image, and the `row` of `Classifier.evaluate`."""

    row: dict[str, Any]
    log_probs_NK: np.ndarray
    labels_N: np.ndarray


@dataclasses.dataclass
class Subject:
    """A run's workdir; its properties are read when first used, and raise UserError on failure.

    Attributes:
        checkpoint: best, last, or a step.
        overrides: of settings, such as where the data are now.
        programs: compiled functions that several runs share.
    """

    workdir: Path
    checkpoint: Which = "best"
    overrides: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    programs: Programs | None = None

    @functools.cached_property
    def config(self) -> ConfigDict:
        """The run's config."""
        return record.saved_config(self.workdir)

    @functools.cached_property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of its metrics.jsonl."""
        return read_log(self.workdir)

    @functools.cached_property
    def history(self) -> list[dict[str, Any]]:
        """A row for each validation."""
        return validations(self.rows)

    @functools.cached_property
    def classes(self) -> tuple[str, ...]:
        """The names of the net's classes, in words; if it has none, those of its dataset."""
        return tuple(map(in_words, self.net.about.classes or self.splits.run.store.classes))

    @functools.cached_property
    def net(self) -> Classifier:
        """The classifier with the checkpoint's weights."""
        return load(self.workdir, self.checkpoint, overrides=self.overrides)

    @functools.cached_property
    def splits(self) -> Splits:
        """The classifier with its dataset."""
        return Splits(self.net, programs=self.programs)

    @functools.cached_property
    def outcome(self) -> Outcome:
        """The predictions for the validation images, centre view."""
        batches: list[tuple[np.ndarray, np.ndarray]] = []
        row = self.splits.evaluate(SPLIT, keep=batches)
        return Outcome(row, *evaluation.joined(batches))

    def release(self) -> None:
        """Frees the memory of the net, its dataset and its predictions."""
        for name in ("net", "splits", "outcome"):
            vars(self).pop(name, None)

    @functools.cached_property
    def chapters(self) -> list[dict[str, Any]]:
        """Its chapters, the entries of provenance.json: one for each command that trained it."""
        return provenance.commands(self.workdir)
