"""Parts with pictures, on predictions made up: the words and numbers beside the figures."""

from types import SimpleNamespace

import numpy as np
import pytest

from alexnet.figures import confusion, examples
from alexnet.figures.style import Drawing
from alexnet.reports import pictures
from alexnet.reports.subject import Outcome

CLASSES = ("a", "b", "c", "d", "e", "f")
LABELS = np.arange(60) % 6


def subject(predictions: np.ndarray) -> SimpleNamespace:
    """A run that gives each image's class in `predictions` the largest probability."""
    p_NK = np.full((len(LABELS), len(CLASSES)), 0.05)
    p_NK[np.arange(len(LABELS)), predictions] = 0.75

    def read(split, numbers):
        return np.zeros((len(numbers), 4, 4, 3), np.uint8), LABELS[numbers]

    outcome = Outcome({"notes": ["some are missing"]}, np.log(p_NK), LABELS)
    store = SimpleNamespace(read=read)
    return SimpleNamespace(
        outcome=outcome,
        net=SimpleNamespace(classes=CLASSES),
        splits=SimpleNamespace(run=SimpleNamespace(store=store)),
    )


@pytest.fixture(autouse=True)
def drawn(monkeypatch) -> list[float]:
    """The heights of figures that would be drawn."""
    found = []
    blank = Drawing(b"", b"")
    monkeypatch.setattr(pictures, "drawn", lambda draw, height: found.append(height) or blank)
    return found


@pytest.mark.parametrize("wrong", [0, 3, 8])
def test_it_counts_which_of_the_shown_images_are_right(wrong, monkeypatch, drawn):
    predictions = LABELS.copy()
    shown = pictures.chosen(subject(predictions))
    assert len(set(shown)) == 8
    predictions[shown[:wrong]] = (LABELS[shown[:wrong]] + 1) % 6
    part = pictures.figure_4_left(subject(predictions))
    assert part.text.startswith(
        "8 of the 60 validation images, drawn at random; the net's first label is right for "
        f"{8 - wrong} of them."
    )
    assert part.text.endswith("\nSome are missing.")
    assert "the 5 labels that the net finds most probable" in part.figures[0].title
    assert drawn == [examples.predictions_height(8)]


def test_the_table_of_mistakes_has_the_ten_most_frequent(drawn):
    predictions = LABELS.copy()
    for label in range(6):
        places = np.flatnonzero(label == LABELS)
        predictions[places[:3]] = (label + 1) % 6
        predictions[places[3:5]] = (label + 2) % 6
    [table] = pictures.mistakes(subject(predictions)).tables
    assert table.rows[0] == ("a", "b", "3", "30.0%")
    assert [row[2] for row in table.rows] == ["3"] * 6 + ["2"] * 4
    assert drawn[1] == confusion.worst_height(6)
    assert pictures.mistakes(subject(LABELS)).tables == []
