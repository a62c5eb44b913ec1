"""The images nearest to some others, by the distance between their features (Figure 4, right)."""

import numpy as np

CHUNK = 64 * 2**20  # bytes of float64 that are compared at once


def nearest_rows(
    queries_QD: np.ndarray, features_ND: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """(indices, L2 distances) of the `count` rows nearest to each query, the nearest first.

    Of equally near rows, those returned keep their order. Rows are compared by |x|^2 - 2qx in
    float64, which orders them by distance. Only some rows are in memory at a time, so `features_ND`
    may be a file larger than memory. The distances returned are computed from the differences,
    which keeps small ones exact.

    Returns:
        int64 and float64 [Q, min(count, N)].
    """
    queries_QD = np.asarray(queries_QD, np.float64)
    total, size = features_ND.shape
    count, width = min(count, total), max(len(queries_QD), size, 1)
    step = max(count, CHUNK // (8 * width), 1)
    best_d, best_i = np.empty((len(queries_QD), 0)), np.empty((len(queries_QD), 0), np.int64)
    for start in range(0, total, step):
        rows_nD = np.asarray(features_ND[start : start + step], np.float64)
        # |q|^2 is the same for all rows: left out.
        squares_Qn = np.einsum("nd,nd->n", rows_nD, rows_nD) - 2 * (queries_QD @ rows_nD.T)
        indices_Qn = np.broadcast_to(start + np.arange(len(rows_nD)), squares_Qn.shape)
        best_d = np.concatenate([best_d, squares_Qn], 1)
        best_i = np.concatenate([best_i, indices_Qn], 1)
        kept = np.argpartition(best_d, min(count, best_d.shape[1]) - 1, axis=1)[:, :count]
        best_d, best_i = np.take_along_axis(best_d, kept, 1), np.take_along_axis(best_i, kept, 1)
    return _exactly(queries_QD, features_ND, best_i)


def _exactly(
    queries_QD: np.ndarray, features_ND: np.ndarray, indices_QK: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The same rows, sorted by distances that are computed from the differences."""
    distances_QK = np.empty(indices_QK.shape)
    for query_D, indices_K, distances_K in zip(queries_QD, indices_QK, distances_QK, strict=True):
        indices_K.sort()
        distances_K[:] = np.linalg.norm(query_D - features_ND[indices_K], axis=1)
    order = np.argsort(distances_QK, axis=1, kind="stable")
    return np.take_along_axis(indices_QK, order, 1), np.take_along_axis(distances_QK, order, 1)
