"""A run's predictions, without the images that pad its last batch."""

from types import SimpleNamespace

import numpy as np
import pytest

from alexnet.errors import UserError
from alexnet.reports.subject import Subject


def test_predictions_are_those_of_all_batches_without_padding(tmp_path):
    log_probs_NK = np.log(np.random.default_rng(0).dirichlet(np.ones(3), 6))
    labels_N = np.array([0, 1, 2, 1, -1, -1])

    def evaluate(split, keep):
        keep += [(log_probs_NK[part], labels_N[part]) for part in (slice(0, 3), slice(3, 6))]
        return {"split": split, "notes": []}

    run = Subject(tmp_path)
    run.splits = SimpleNamespace(evaluate=evaluate)
    assert run.outcome.row == {"split": "validation", "notes": []}
    np.testing.assert_array_equal(run.outcome.log_probs_NK, log_probs_NK[:4])
    np.testing.assert_array_equal(run.outcome.labels_N, [0, 1, 2, 1])


def test_chapters_are_the_entries_of_its_provenance(tmp_path):
    assert Subject(tmp_path).chapters == []
    file = tmp_path / "provenance.json"
    file.write_text('[{"commit": "a"}, {"commit": "b"}]')
    assert Subject(tmp_path).chapters == [{"commit": "a"}, {"commit": "b"}]
    file.write_text('[{"commit": "a"}, 1]')
    with pytest.raises(UserError, match=r"provenance\.json is damaged \(an entry is 1"):
        _ = Subject(tmp_path).chapters
