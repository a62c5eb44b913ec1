"""Nearest rows are those of scipy's whole matrix of distances."""

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


class Rows:
    """Features that note how many rows are read at a time."""

    def __init__(self, rows: np.ndarray):
        self.rows, self.shape, self.read = rows, rows.shape, []

    def __getitem__(self, which):
        self.read.append(len(self.rows[which]))
        return self.rows[which]


def test_each_row_is_read_once_and_few_at_a_time(monkeypatch):
    """So features that do not fit in memory are read from disk once, whatever the queries."""
    monkeypatch.setattr(neighbours, "CHUNK", 8 * 50 * 100)
    rows = Rows(np.random.default_rng(0).normal(size=(1000, 50)).astype(np.float32))
    indices, _ = neighbours.nearest_rows(rows.rows[::250], rows, 6)
    assert indices[:, 0].tolist() == [0, 250, 500, 750]
    assert rows.read == [100] * 10 + [6] * 4  # then the nearest once more, exactly
