"""The average of several nets' predictions (Table 2: "5 CNNs", "7 CNNs*")."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from alexnet.errors import UserError
from alexnet.inference.splits import Splits
from alexnet.training import evaluation


class Ensemble:
    """A weighted mean of softmax outputs, on the host: float64, 8 bytes x images x classes.

    Attributes:
        nets: how many were added; the arrays exist from the first one on.
    """

    log_probs_NK: np.ndarray
    labels_N: np.ndarray

    def __init__(self) -> None:
        self.nets = 0
        self._images: set[str] = set()

    def add(
        self,
        name: str,
        weight: float,
        batches: Sequence[tuple[np.ndarray, np.ndarray]],
        images: str = "",
    ) -> None:
        """Adds one net's (log_probs_BK, labels_B), where label -1 is padding.

        The weights of all nets must sum to 1. Logarithms represent probabilities that are too small
        for a float. Raises UserError if the images, by a digest of them, or the labels differ from
        those of earlier nets; "" stands for an unknown digest.
        """
        self._images |= {images} - {""}
        log_probs_NK, labels_N = evaluation.joined(batches)
        weighted_NK = log_probs_NK + np.log(np.float64(weight))
        if self.nets == 0:
            self.log_probs_NK, self.labels_N = weighted_NK, labels_N
        elif np.array_equal(self.labels_N, labels_N) and len(self._images) <= 1:
            np.logaddexp(self.log_probs_NK, weighted_NK, out=self.log_probs_NK)
        else:
            raise UserError(f"{name} was shown other images than the nets before it: not averaged")
        self.nets += 1

    def evaluate(
        self, name: str, weight: float, splits: Splits, split: str, views: str
    ) -> dict[str, Any]:
        """Evaluates a net and adds it; returns its own row, as `Classifier.evaluate` does."""
        batches: list[tuple[np.ndarray, np.ndarray]] = []
        row = splits.evaluate(split, views, batches)
        self.add(name, weight, batches, splits.run.store.contents.get(split, ""))
        return row

    def means(self) -> evaluation.Means:
        """Loss and errors of the average."""
        sums = jax.jit(evaluation.sums)(self.log_probs_NK.astype(np.float32), self.labels_N)
        return evaluation.means(sums)
