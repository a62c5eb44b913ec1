"""Parts that are mostly pictures: Figures 3 and 4, and the confusion matrix."""

from collections.abc import Sequence

import numpy as np

from alexnet.data.synsets import in_words
from alexnet.figures import confusion, figure_3, figure_4
from alexnet.figures.style import Drawing, drawn
from alexnet.inference import features
from alexnet.models.filters import as_rgb, colour_selectivity, first_convolution
from alexnet.reports.part import Part, Shown, Table
from alexnet.reports.subject import SPLIT, Subject
from alexnet.text import counted, some

EXAMPLES, LABELS, NEIGHBOURS = 8, 5, 6  # as in the paper, whose right half has 5 images
CONFUSIONS, SUREST = 10, 8
GREY = 1e-3  # images are grey if the second colour variance is less than this times the first


def filters(subject: Subject) -> Part:
    """The first layer's filters, and their colour selectivity."""
    net = subject.net
    name = first_convolution(net.net)
    kernel = as_rgb(np.asarray(net.params[name]["kernel"]), net.net)
    numbers = [f"{colour:.2f}" for colour in colour_selectivity(kernel)]
    text = (
        f"The {kernel.shape[0] * kernel.shape[-1]} filters of {name}{_when(subject)}. Grey is "
        "a weight of zero; all filters share one scale.\n"
        "Colour selectivity is the share of a filter's squared weights that is not grey, averaged "
        "over a tower. A filter of brightness alone scores 0, random weights score 0.67. "
        f"Here it is {' and '.join(numbers)}."
    )
    statistics = net.about.statistics
    if statistics is not None and statistics.eigenvalues[1] < GREY * statistics.eigenvalues[0]:
        text += "\nThe training images are grey: any colour is left over from the initial weights."
    drawing = drawn(lambda figure: figure_3.draw(figure, kernel), figure_3.height(kernel))
    title = "First-layer filters" + (", tower above tower" if len(kernel) > 1 else "")
    return Part(text=text, figures=[Shown("filters", title, drawing)])


def _when(subject: Subject) -> str:
    """Which checkpoint a picture is of: " at step 14 (epoch 2.09)" or " as imported"."""
    about = subject.net.about
    return f" at {about.when}" if about.step else f" {about.when}"


def _noted(text: str, notes: Sequence[str]) -> str:
    """The text, and a paragraph for each note on the images."""
    return "\n".join([text, *(f"{note[:1].upper()}{note[1:]}." for note in notes)])


def chosen(subject: Subject) -> list[int]:
    """The numbers of some validation images, drawn at random, but the same for all runs."""
    count = len(subject.outcome.labels_N)
    return sorted(np.random.default_rng(0).permutation(count)[:EXAMPLES].tolist())


def predictions(subject: Subject) -> Part:
    """Some validation images and their most probable labels."""
    outcome = subject.outcome
    examples = _examples(subject, chosen(subject))
    right = sum(example.best[0][0] == example.label for example in examples)
    text = (
        f"{len(examples)} of the {len(outcome.labels_N):,} validation images, drawn at random; "
        f"the first label of the net{_when(subject)} is right for {right} of them. The bar of "
        "an image's own class is blue."
    )
    text = _noted(text, outcome.row["notes"])
    best = len(examples[0].best)
    title = f"Validation images, and the {best} labels that the net finds most probable"
    shown = [Shown("predictions", title, _with_bars(examples))]
    return Part(text=text, figures=shown, wide=False)


def _examples(subject: Subject, numbers: Sequence[int]) -> list[figure_4.Example]:
    """Validation images with their most probable labels."""
    outcome, classes = subject.outcome, subject.classes
    images, labels = subject.splits.run.store.read(SPLIT, numbers)
    examples = []
    for image, label, log_p_K in zip(images, labels, outcome.log_probs_NK[numbers], strict=True):
        order = np.argsort(-log_p_K, kind="stable")[:LABELS]
        best = [(classes[k], float(np.exp(log_p_K[k]))) for k in order]
        examples.append(figure_4.Example(image, classes[label], best))
    return examples


def _with_bars(examples: Sequence[figure_4.Example]) -> Drawing:
    return drawn(
        lambda figure: figure_4.draw_predictions(figure, examples),
        figure_4.predictions_height(len(examples)),
    )


def neighbours(subject: Subject) -> Part:
    """The same validation images, and the training images nearest to them."""
    net, store = subject.net, subject.splits.run.store
    row = features.hidden_row(net.net)
    images, labels = store.read(SPLIT, chosen(subject))
    found = features.nearest(subject.splits, images, NEIGHBOURS, "train", row)
    rows = [
        figure_4.Row(
            image, subject.classes[label], [(one.image, in_words(one.label)) for one in near]
        )
        for image, label, near in zip(images, labels, found, strict=True)
    ]
    drawing = drawn(
        lambda figure: figure_4.draw_neighbours(figure, rows), figure_4.neighbours_height(rows)
    )
    same = sum(label == own.label for own in rows for _, label in own.near)
    total = sum(len(own.near) for own in rows)
    text = (
        f"Nearest by the L2 distance of the outputs of {row}, which the last layer reads,"
        f"{_when(subject)}. "
        f"{same} of {total} neighbours have the class of their image; the others have a frame."
    )
    text = _noted(text, subject.splits.notes("train"))
    title = "Validation images, and the training images nearest to each"
    shown = [Shown("neighbours", title, drawing)]
    return Part(text=text, figures=shown, wide=False)


def mistakes(subject: Subject) -> Part:
    """The confusion matrix, the errors of classes, and the most frequent mistakes."""
    outcome, classes = subject.outcome, subject.classes
    predictions_N = outcome.log_probs_NK.argmax(1)
    counts_KK = confusion.matrix(outcome.labels_N, predictions_N, len(classes))
    matrix = drawn(lambda figure: confusion.draw(figure, counts_KK, classes), 4.6)
    worst = drawn(
        lambda figure: confusion.draw_worst(figure, counts_KK, classes),
        confusion.worst_height(len(classes)),
    )
    title = "Error of each class (and its images)"
    if len(classes) > confusion.WORST:
        title += f", the {confusion.WORST} worst of {len(classes)}"
    side = confusion.block(len(classes))
    shades = "Confusion matrix: shades are shares of each class, stretched to show small ones"
    if len(classes) <= confusion.COUNTED:
        shades += "; numbers are images"
    if side > 1:
        shades += f"; a point is the largest of {side} x {side}"
    rows = [
        (classes[i], classes[j], f"{count:,}", f"{count / counts_KK[i].sum():.1%}")
        for i, j, count in confusion.confusions(counts_KK, CONFUSIONS)
    ]
    header = ("class", "taken for", "images", "share of the class")
    text = (
        f"Counted on the {len(outcome.labels_N):,} validation images, centre view,"
        f"{_when(subject)}: top-1 error {outcome.row['top1_error']:.2%}."
    )
    if unseen := [classes[k] for k in np.flatnonzero(counts_KK.sum(1) == 0)]:
        text += f"\nWithout validation images, and so without an error: {some(unseen, 10)}."
    figures = [
        Shown("confusion", shades, matrix),
        Shown("class_errors", title, worst),
    ]
    tables = [Table(header, rows, 2, "The most frequent")] if rows else []
    if len(classes) > confusion.WORST:
        tables.append(_each_class(counts_KK, classes))
    return Part(text=_noted(text, outcome.row["notes"]), figures=figures, tables=tables)


def surest(subject: Subject) -> Part:
    """The misclassified validation images whose wrong label is the most probable."""
    outcome = subject.outcome
    wrong = np.flatnonzero(outcome.log_probs_NK.argmax(1) != outcome.labels_N)
    numbers = wrong[np.argsort(-outcome.log_probs_NK[wrong].max(1), kind="stable")][:SUREST]
    if not len(numbers):
        return Part(text=_noted("No validation image is misclassified.", outcome.row["notes"]))
    files = subject.splits.run.store.files(SPLIT)
    examples, rows = _examples(subject, numbers.tolist()), []
    for number, example in zip(numbers, examples, strict=True):
        name = files[number] if files else f"number {number:,}"
        taken_for, p = example.best[0]
        rows.append((name, example.label, taken_for, f"{p:.1%}"))
    mistakes = counted(len(wrong), "misclassified validation image")
    which = f"The {mistakes}"
    if len(wrong) > SUREST:
        which = f"Of the {mistakes}, the {SUREST} whose wrong label has the largest probability"
    text = (
        f"{which}{_when(subject)}. Wrong labels in the dataset are often among them. alexnet "
        "evaluate --predictions=FILE.csv lists every image."
    )
    title = "Misclassified images, and the labels that the net finds most probable"
    return Part(
        text=_noted(text, outcome.row["notes"]),
        figures=[Shown("surest", title, _with_bars(examples))],
        tables=[Table(("image", "class", "taken for", "probability"), rows, 3)],
    )


def _each_class(counts_KK: np.ndarray, classes: Sequence[str]) -> Table:
    """Every class, those with the largest errors first, those without images last."""
    errors_K, images_K = confusion.class_errors(counts_KK), counts_KK.sum(1)
    rows = [
        (classes[k], f"{images_K[k]:,}", f"{errors_K[k]:.1%}" if images_K[k] else "-")
        for k in np.argsort(-errors_K, kind="stable")
    ]
    return Table(("class", "images", "error"), rows, 1, f"All {len(classes):,} classes", True)
