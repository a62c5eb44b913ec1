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
    count = len(predictions)
    p_NK = np.full((count, len(CLASSES)), 0.05)
    p_NK[np.arange(count), predictions] = 0.75

    def read(split, numbers):
        return np.zeros((len(numbers), 4, 4, 3), np.uint8), LABELS[numbers]

    row = {"notes": ["some are missing"], "top1_error": 0.25}
    outcome = Outcome(row, np.log(p_NK), LABELS[:count])
    store = SimpleNamespace(read=read, files=lambda split: ())
    return SimpleNamespace(
        outcome=outcome,
        classes=CLASSES,
        net=SimpleNamespace(about=SimpleNamespace(step=1234, when="step 1,234 (epoch 5.50)")),
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


@pytest.fixture
def shown(monkeypatch) -> list:
    """What Figure 4's halves would show: (image, label, best or near)."""
    found = []
    for name in ("draw_predictions", "draw_neighbours"):
        monkeypatch.setattr(figure_4, name, lambda figure, several: found.extend(several))
    blank = Drawing(b"", b"")
    monkeypatch.setattr(pictures, "drawn", lambda draw, height: draw(None) or blank)
    return found


def test_bars_are_probabilities_the_largest_first(shown):
    some = subject(LABELS)
    pictures.predictions(some)
    assert len(shown) == 8
    for number, example in zip(pictures.chosen(some), shown, strict=True):
        own = CLASSES[LABELS[number]]
        others = [name for name in CLASSES if name != own][:4]  # of equal ones, the lower first
        assert (example.label, [name for name, _ in example.best]) == (own, [own, *others])
        assert [p for _, p in example.best] == pytest.approx([0.75, 0.05, 0.05, 0.05, 0.05])


def test_the_surest_mistakes_are_those_with_the_most_probable_wrong_labels(shown):
    predictions = LABELS.copy()
    wrong = [3, 10, 20, 21, 30, 31, 40, 41, 50, 51]  # two more than are shown
    predictions[wrong] = (LABELS[wrong] + 1) % 6
    some = subject(predictions)
    for place, number in enumerate(wrong):  # the later ones surer, but for image 3; labels, too
        p = 0.5 + 0.01 * place if number != 3 else 0.9
        some.outcome.log_probs_NK[number, predictions[number]] = np.log(p)
        some.outcome.log_probs_NK[number, LABELS[number]] = np.log(0.3 - 0.01 * place)
    some.splits.run.store.files = lambda split: [f"{split}/{n}.jpg" for n in range(60)]
    part = pictures.surest(some)
    order = [3, 51, 50, 41, 40, 31, 30, 21]
    assert [example.label for example in shown] == [CLASSES[LABELS[number]] for number in order]
    assert [example.best[0][0] for example in shown] == [CLASSES[predictions[n]] for n in order]
    [table] = part.tables
    assert [row[0] for row in table.rows] == [f"validation/{number}.jpg" for number in order]
    own, taken_for = CLASSES[LABELS[51]], CLASSES[predictions[51]]
    assert table.rows[1] == ("validation/51.jpg", own, taken_for, "59.0%")
    assert part.text.startswith(
        "Of the 10 misclassified validation images, the 8 whose wrong label"
    )
    assert part.text.endswith("\nSome are missing.")
    some.splits.run.store.files = lambda split: ()
    assert pictures.surest(some).tables[0].rows[1][0] == "number 51"


def test_few_mistakes_are_all_shown(shown):
    predictions = LABELS.copy()
    predictions[7] = 0
    part = pictures.surest(subject(predictions))
    assert part.text.startswith("The 1 misclassified validation image at step 1,234 (epoch 5.50).")
    assert len(shown) == 1


def test_without_mistakes_there_is_nothing_to_show(shown):
    part = pictures.surest(subject(LABELS))
    assert part.text == "No validation image is misclassified.\nSome are missing."
    assert (part.figures, part.tables, shown) == ((), (), [])


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
    about = SimpleNamespace(statistics=variances, step=7, when="step 7 (epoch 0.50)")
    classifier = SimpleNamespace(net=own, params={"conv1": {"kernel": kernel}}, about=about)
    part = pictures.filters(SimpleNamespace(net=classifier))
    assert part.text.startswith(f"The {4 * towers} filters of conv1 at step 7 (epoch 0.50).")
    assert f"Here it is {' and '.join(['0.00'] * towers)}." in part.text
    assert ("The training images are grey" in part.text) == grey
    assert [shown.title for shown in part.figures] == [title]


def test_imported_weights_are_said_to_be_imported():
    some = subject(LABELS)
    some.net.about = SimpleNamespace(step=0, when="as imported")
    text = pictures.predictions(some).text
    assert "the first label of the net as imported is right for 8 of them" in text


def test_a_class_without_images_is_named_as_it_has_no_error():
    some = subject(LABELS)
    assert "Without validation images" not in pictures.mistakes(some).text
    some.classes = (*CLASSES, "g", "h")
    wider = np.pad(some.outcome.log_probs_NK, ((0, 0), (0, 2)), constant_values=-9)
    some.outcome = some.outcome._replace(log_probs_NK=wider)
    text = pictures.mistakes(some).text
    assert "\nWithout validation images, and so without an error: g, h.\n" in text


@pytest.mark.parametrize(
    ("count", "more"),
    [
        (12, "; numbers are images"),
        (13, ""),
        (400, ""),
        (401, "; a point is the largest of 2 x 2"),
    ],
)
def test_the_caption_of_the_matrix_says_what_shades_and_numbers_are(count, more):
    some = subject(LABELS)
    some.classes = tuple(map(str, range(count)))
    caption = "Confusion matrix: shades are shares of each class, stretched to show small ones"
    assert pictures.mistakes(some).figures[0].title == caption + more


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
    predictions = LABELS[:55].copy()  # ten images of class 0, and nine of class 5
    predictions[np.flatnonzero(LABELS[:55] == 2)[:5]] = 5
    some = subject(predictions)
    some.classes = tuple(map(str, range(21)))
    frequent, table = pictures.mistakes(some).tables
    # of the images of class 2, not of those taken for 2 or 5, nor of those of class 5
    assert frequent.rows == [("2", "5", "5", "55.6%")]
    assert (table.title, table.folded) == ("All 21 classes", True)
    assert table.rows[:2] == [("2", "9", "55.6%"), ("0", "10", "0.0%")]
    assert table.rows[6:] == [(str(number), "0", "-") for number in range(6, 21)]
