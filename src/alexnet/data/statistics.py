"""Mean image (section 2) and colour PCA (4.1) of a training set, gathered in one pass."""

import io
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Statistics(NamedTuple):
    """Of pixels on 0-255. By default, the colour noise uses the eigenvalues' square roots."""

    mean_HWC: np.ndarray  # float32 (S, S, 3): the mean image, per pixel
    eigenvalues: np.ndarray  # float32 (3,): variances of the RGB covariance, descending
    eigenvectors: np.ndarray  # float32 (3, 3): in columns, in the eigenvalues' order

    def save(self, path: Path) -> None:
        np.savez(path, **self._asdict())

    @classmethod
    def from_bytes(cls, saved: bytes) -> "Statistics":
        """Reads what `save` wrote."""
        with np.load(io.BytesIO(saved)) as arrays:
            return cls(**arrays)


class Accumulator:
    """Sums over images of (size, size, 3).

    The sums are whole numbers below 2**53 (for ImageNet, 5e15), so float64 holds them exactly and
    the order of the images, or of merging, does not change a bit of the result.
    """

    def __init__(self, size: int):
        self.count = 0
        self.image_sum_HWC = np.zeros((size, size, 3))
        self.outer_sum = np.zeros((3, 3))

    def add(self, *images_HWC: np.ndarray) -> None:
        """Adds uint8 images. Several at once take less time if small, more memory if large."""
        images_BHWC = np.stack(images_HWC)
        pixels = images_BHWC.reshape(-1, 3).astype(np.float64)
        self.count += len(images_BHWC)
        self.image_sum_HWC += images_BHWC.sum(axis=0, dtype=np.uint32)
        self.outer_sum += pixels.T @ pixels

    def merge(self, other: "Accumulator") -> None:
        self.count += other.count
        self.image_sum_HWC += other.image_sum_HWC
        self.outer_sum += other.outer_sum

    def result(self) -> Statistics:
        """The statistics of at least one image."""
        mean_HWC = self.image_sum_HWC / self.count
        mean = mean_HWC.mean((0, 1))
        height, width, _ = mean_HWC.shape
        covariance = self.outer_sum / (self.count * height * width) - np.outer(mean, mean)
        eigenvalues, eigenvectors = np.linalg.eigh(covariance)
        # Rounding can leave the variance of grey images just below zero.
        eigenvalues = np.maximum(eigenvalues[::-1], 0)
        eigenvectors = eigenvectors[:, ::-1]
        # An eigenvector's sign is arbitrary: its largest component is positive here.
        largest = np.abs(eigenvectors).argmax(axis=0)
        eigenvectors = eigenvectors * np.sign(eigenvectors[largest, range(3)])
        return Statistics(
            mean_HWC.astype(np.float32),
            eigenvalues.astype(np.float32),
            eigenvectors.astype(np.float32),
        )
