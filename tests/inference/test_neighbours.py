"""Nearest rows are those of scipy's whole matrix of distances."""

import time

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from alexnet.inference import neighbours


@pytest.mark.parametrize("chunk", [1, 8 * 50 * 7, 2**26])
@pytest.mark.parametrize("count", [1, 6, 200])
def test_the_nearest_are_those_of_cdist(monkeypatch, chunk, count):
    monkeypatch.setattr(neighbours, "CHUNK", chunk)
    random = np.random.default_rng(0)
    queries = random.normal(size=(7, 50)).astype(np.float32)
    rows = random.normal(size=(1000, 50)).astype(np.float32)
    indices, distances = neighbours.nearest_rows(queries, rows, count)
    expected = cdist(queries.astype(float), rows.astype(float))
    order = np.argsort(expected, axis=1)[:, :count]
    np.testing.assert_array_equal(indices, order)
    np.testing.assert_allclose(distances, np.take_along_axis(expected, order, 1), rtol=1e-12)


def test_small_distances_between_large_numbers_are_exact():
    rows = np.full((5, 300), 1e4)
    rows[:, 0] += [3e-3, 0, 2e-3, 1e-3, 5]
    indices, distances = neighbours.nearest_rows(rows[1:2], rows, 4)
    assert indices.tolist() == [[1, 3, 2, 0]]
    np.testing.assert_allclose(distances, [[0, 1e-3, 2e-3, 3e-3]], rtol=1e-6)


def test_equally_near_rows_come_in_their_order():
    rows = np.zeros((6, 3))
    rows[4] = 1
    assert neighbours.nearest_rows(rows[:1], rows, 5)[0].tolist() == [[0, 1, 2, 3, 5]]
    places = np.random.default_rng(0).integers(0, 4, 60)
    indices, _ = neighbours.nearest_rows(np.zeros((1, 1)), places[:, None], 60)
    assert indices.tolist() == [sorted(range(60), key=lambda row: places[row])]


def test_without_queries_there_are_no_neighbours():
    indices, distances = neighbours.nearest_rows(np.zeros((0, 3)), np.ones((4, 3)), 2)
    assert indices.shape == distances.shape == (0, 2)


@pytest.mark.slow
def test_sixty_thousand_images_take_seconds(tmp_path):
    """fc7 of a training set of CIFAR's size and more: a file of a gigabyte."""
    random = np.random.default_rng(0)
    file = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (60_000, 4096))
    for start in range(0, 60_000, 10_000):
        file[start : start + 10_000] = random.normal(size=(10_000, 4096))
    began = time.perf_counter()
    rows = np.load(tmp_path / "x.npy", mmap_mode="r")
    indices, _ = neighbours.nearest_rows(file[::7500], rows, 6)
    assert time.perf_counter() - began < 20
    assert indices[:, 0].tolist() == list(range(0, 60_000, 7500))
