"""Parts with pictures, on predictions made up: the words and numbers beside the figures."""

from types import SimpleNamespace

import numpy as np
import pytest

from alexnet.figures import confusion, figure_4
from alexnet.figures.style import Drawing
from alexnet.models.build import build
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

    outcome = Outcome({"notes": ["some are missing"], "top1_error": 0.25}, np.log(p_NK), LABELS)
    store = SimpleNamespace(read=read)
    return SimpleNamespace(
        outcome=outcome,
        classes=CLASSES,
        net=SimpleNamespace(about=SimpleNamespace(step=1234, epoch=5.5)),
        splits=SimpleNamespace(
            run=SimpleNamespace(store=store), notes=lambda split: [f"other {split} images"]
        ),
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
    part = pictures.predictions(subject(predictions))
    assert part.text.startswith(
        "8 of the 60 validation images, drawn at random; the first label of the net at step 1,234 "
        f"(epoch 5.50) is right for {8 - wrong} of them."
    )
    assert part.text.endswith("\nSome are missing.")
    assert "the 5 labels that the net finds most probable" in part.figures[0].title
    assert drawn == [figure_4.predictions_height(8)]
    assert not part.wide  # it stands beside the neighbours


def test_it_counts_which_neighbours_have_the_class_of_their_image(monkeypatch, drawn):
    some = subject(LABELS)
    some.net.net = build("pocket", classes=6)
    own = LABELS[pictures.chosen(some)]

    def nearest(splits, images, count, split, row):
        """All of the image's own class, but one."""
        assert (split, row) == ("train", "relu7")
        names = [[CLASSES[label]] * (count - 1) + [CLASSES[label - 1]] for label in own]
        return [[SimpleNamespace(image=None, label=name) for name in line] for line in names]

    monkeypatch.setattr(pictures.features, "nearest", nearest)
    part = pictures.neighbours(some)
    assert (
        "40 of 48 neighbours have the class of their image" in part.text
    )  # 6 each, as in Figure 4
    assert "outputs of relu7" in part.text
    assert "at step 1,234 (epoch 5.50)" in part.text
    assert part.text.endswith("\nOther train images.")
    assert not part.wide


@pytest.mark.parametrize(
    ("net", "title"),
    [("alexnet", "First-layer filters, tower above tower"), ("pocket", "First-layer filters")],
)
@pytest.mark.parametrize(
    ("variances", "grey"), [((3000, 0.1, 0.1), True), ((1, 1e-3, 0), False), ((3000, 90, 0), False)]
)
def test_filters_of_grey_images_are_said_to_be_grey(net, title, variances, grey, drawn):
    towers, own = (2 if net == "alexnet" else 1), build(net, classes=6)
    kernel = np.full((towers, 5, 5, 3, 4), 0.5)
    variances = SimpleNamespace(eigenvalues=np.float32(variances))
    about = SimpleNamespace(statistics=variances, step=7, epoch=0.5)
    classifier = SimpleNamespace(net=own, params={"conv1": {"kernel": kernel}}, about=about)
    part = pictures.filters(SimpleNamespace(net=classifier))
    assert part.text.startswith(f"The {4 * towers} filters of conv1 at step 7 (epoch 0.50).")
    assert f"Here it is {' and '.join(['0.00'] * towers)}." in part.text
    assert ("The training images are grey" in part.text) == grey
    assert [shown.title for shown in part.figures] == [title]


def test_the_table_of_mistakes_has_the_ten_most_frequent(drawn):
    predictions = LABELS.copy()
    for label in range(6):
        places = np.flatnonzero(label == LABELS)
        predictions[places[:3]] = (label + 1) % 6
        predictions[places[3:5]] = (label + 2) % 6
    made = pictures.mistakes(subject(predictions))
    assert made.text.endswith("\nSome are missing.")
    [table] = made.tables
    assert table.rows[0] == ("a", "b", "3", "30.0%")
    assert [row[2] for row in table.rows] == ["3"] * 6 + ["2"] * 4
    assert drawn[1] == confusion.worst_height(6)
    assert pictures.mistakes(subject(LABELS)).tables == []


@pytest.mark.parametrize(
    ("count", "title"),
    [
        (20, "Error of each class (and its images)"),
        (21, "Error of each class (and its images), the 20 worst of 21"),
    ],
)
def test_the_errors_of_many_classes_are_those_of_the_worst(count, title):
    some = subject(LABELS)
    some.classes = tuple(map(str, range(count)))
    made = pictures.mistakes(some)
    assert made.figures[1].title == title
    assert bool(made.tables) == (count > 20)


def test_a_table_has_the_errors_of_all_classes_if_they_are_many():
    predictions = LABELS.copy()
    predictions[np.flatnonzero(LABELS == 2)[:5]] = 0
    some = subject(predictions)
    some.classes = tuple(map(str, range(21)))
    _, table = pictures.mistakes(some).tables
    assert (table.title, table.folded) == ("All 21 classes", True)
    assert table.rows[:2] == [("2", "10", "50.0%"), ("0", "10", "0.0%")]
    assert table.rows[6:] == [(str(number), "0", "-") for number in range(6, 21)]
