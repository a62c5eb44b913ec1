"""The confusion matrix, against scikit-learn and by hand."""

import numpy as np
import pytest
from sklearn import metrics

from alexnet.figures import confusion

LABELS = np.random.default_rng(0).integers(0, 5, 300)
PREDICTIONS = np.where(np.random.default_rng(1).random(300) < 0.6, LABELS, (LABELS * 3 + 1) % 7)


def test_the_matrix_is_scikit_learns():
    found = confusion.matrix(LABELS, PREDICTIONS, 7)
    expected = metrics.confusion_matrix(LABELS, PREDICTIONS, labels=range(7))
    np.testing.assert_array_equal(found, expected)
    assert found[5:].sum() == 0  # classes without images
    assert found[:, 5:].sum() > 0


def test_the_error_of_a_class_is_what_recall_lacks():
    errors = confusion.class_errors(confusion.matrix(LABELS, PREDICTIONS, 7))
    recall = metrics.recall_score(
        LABELS, PREDICTIONS, labels=range(7), average=None, zero_division=np.nan
    )
    np.testing.assert_allclose(errors, 1 - recall)
    assert np.isnan(errors).tolist() == [False] * 5 + [True] * 2


@pytest.mark.parametrize(
    ("most", "expected"), [(1, [(2, 0, 9)]), (9, [(2, 0, 9), (0, 1, 4), (1, 2, 4)])]
)
def test_the_most_frequent_mistakes(most, expected):
    counts = np.array([[50, 4, 0], [0, 60, 4], [9, 0, 70]])
    assert confusion.confusions(counts, most) == expected


def test_no_mistakes():
    assert confusion.confusions(np.diag([3, 4]), 5) == []
