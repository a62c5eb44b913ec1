"""Statistics of pixels agree with numpy's, and merging them changes no bit."""

import numpy as np
import pytest

from alexnet.data.statistics import Accumulator, Statistics


@pytest.fixture
def images() -> np.ndarray:
    """Images with correlated, unequal channels: (20, 5, 5, 3) uint8."""
    rng = np.random.default_rng(0)
    mixing = np.array([[30, 20, 5], [0, 25, 10], [0, 0, 8]])
    return np.clip(rng.normal(size=(20, 5, 5, 3)) @ mixing + 120, 0, 255).astype(np.uint8)


def accumulate(images: np.ndarray) -> Accumulator:
    accumulator = Accumulator(images.shape[1])
    for image in images:
        accumulator.add(image)
    return accumulator


def test_statistics_are_those_of_plain_numpy(images):
    statistics = accumulate(images).result()
    pixels = images.reshape(-1, 3).astype(np.float64)
    covariance = np.cov(pixels.T, bias=True)
    np.testing.assert_allclose(statistics.mean_HWC, images.mean(0), rtol=1e-6)
    expected = np.linalg.eigh(covariance)[0][::-1]
    np.testing.assert_allclose(statistics.eigenvalues, expected, rtol=1e-5)
    vectors, values = statistics.eigenvectors, statistics.eigenvalues
    np.testing.assert_allclose(vectors @ np.diag(values) @ vectors.T, covariance, atol=1e-3)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(3), atol=1e-6)
    assert (vectors[np.abs(vectors).argmax(0), range(3)] > 0).all()


def test_merging_in_any_order_changes_no_bit(images):
    whole = accumulate(images).result()
    merged = accumulate(images[13:])
    merged.merge(accumulate(images[:13]))
    np.testing.assert_array_equal(merged.result().mean_HWC, whole.mean_HWC)
    np.testing.assert_array_equal(merged.result().eigenvalues, whole.eigenvalues)
    np.testing.assert_array_equal(merged.result().eigenvectors, whole.eigenvectors)


def test_grey_images_have_one_colour_direction():
    grey = np.random.default_rng(1).integers(0, 256, (4, 6, 6, 1), dtype=np.uint8)
    statistics = accumulate(np.repeat(grey, 3, axis=3)).result()
    np.testing.assert_allclose(statistics.eigenvalues, [3 * grey.var(), 0, 0], atol=1e-3)
    assert (statistics.eigenvalues >= 0).all()
    np.testing.assert_allclose(statistics.eigenvectors[:, 0], np.full(3, 3**-0.5), atol=1e-6)


def test_saved_and_loaded(images, tmp_path):
    saved = accumulate(images).result()
    saved.save(tmp_path / "statistics.npz")
    loaded = Statistics.from_bytes((tmp_path / "statistics.npz").read_bytes())
    np.testing.assert_array_equal(loaded.mean_HWC, saved.mean_HWC)
    np.testing.assert_array_equal(loaded.eigenvectors, saved.eigenvectors)
    assert loaded.mean_HWC.dtype == np.float32
