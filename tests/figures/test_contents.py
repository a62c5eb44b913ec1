"""What figures hold, read from their lines, bars and texts rather than from their pixels."""

import io
import math

import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from PIL import Image

from alexnet.figures import ablation, confusion, curves, figure_1, figure_3, figure_4, style
from alexnet.figures.ablation import Arm
from alexnet.figures.curves import Curve
from alexnet.models import filters as first_layer

IMAGE = np.zeros((4, 4, 3), np.uint8)


def drawn(draw, *arguments, height: float = 3.0) -> Axes:
    """The axes that `draw` draws, in a figure as wide as those of reports."""
    figure = Figure((style.WIDTH, height), layout="constrained")
    FigureCanvasAgg(figure)
    draw(figure, *arguments)
    figure.draw_without_rendering()
    [axes] = figure.axes
    return axes


def inches(axes: Axes) -> tuple[float, float]:
    """Width and height of the axes."""
    box = axes.get_position()
    return box.width * axes.figure.get_figwidth(), box.height * axes.figure.get_figheight()


def place_of(text: Text) -> Bbox:
    """Where a text of drawn axes stands, in the units of the data."""
    return text.get_window_extent().transformed(text.axes.transData.inverted())


def assert_units_are_square(axes: Axes) -> None:
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    width, height = inches(axes)
    assert (right - left) / width == pytest.approx((bottom - top) / height)


def test_an_arm_has_a_dot_for_each_run_around_its_place_and_a_line_at_the_mean():
    axes = drawn(ablation.draw_values, [Arm("a", [10.0]), Arm("b", [20.0, 22.0, 27.0])])
    alone, _, dots, mean = axes.lines
    np.testing.assert_array_equal(alone.get_xydata(), [[10, 0]])
    np.testing.assert_array_equal(dots.get_xdata(), [20, 22, 27])
    below, middle, above = dots.get_ydata()
    assert below < middle == 1 < above
    assert 1 - below == pytest.approx(above - 1)
    assert above - below < 0.5  # far from the other arms' dots
    np.testing.assert_array_equal(mean.get_xdata(), [23, 23])
    assert np.mean(mean.get_ydata()) == pytest.approx(1)
    assert [text.get_text() for text in axes.texts] == ["a (n = 1)", "b (n = 3)"]


def test_many_runs_share_the_room_of_an_arm():
    axes = drawn(ablation.draw_values, [Arm(name, [20.0] * 40) for name in "ab"])
    for place, dots in enumerate(axes.lines[::2]):
        heights = dots.get_ydata()
        assert place - 0.32 < min(heights) < max(heights) < place + 0.32


@pytest.mark.parametrize(
    ("count", "epochs", "label"), [(1, False, "top-1 error, %"), (9, True, "epochs")]
)
def test_each_arm_has_room_for_its_name_above_its_line(count, epochs, label):
    arms = [Arm("arm", [1.0, 2.0])] * count
    axes = drawn(ablation.draw_values, arms, epochs, height=ablation.height(arms))
    assert axes.get_xlabel() == label
    bottom, top = axes.get_ylim()
    for place, text in enumerate(axes.texts):
        name, line = place_of(text), axes.lines[2 * place + 1]
        over = top if place == 0 else max(axes.lines[2 * place - 1].get_ydata())
        assert over < name.y1 < name.y0 < min(line.get_ydata()) < bottom
        assert name.y0 - name.y1 > 0.2  # as tall as a fifth of the arm's room, or more
    assert not axes.spines["left"].get_visible()  # the names are the axis


@pytest.mark.parametrize(
    ("epochs", "shown", "label"),
    [(False, float, "difference, points"), (True, math.exp, "factor")],
)
def test_a_difference_is_a_dot_in_its_interval_if_that_is_known(epochs, shown, label):
    arms = [Arm("a", [1.0]), Arm("b", [1.0], 0.5), Arm("c", [1.0], 0.25, -0.5, 1.0)]
    axes = drawn(ablation.draw_differences, arms, epochs)
    none, *lines = [line.get_xydata().tolist() for line in axes.lines]
    assert {x for x, _ in none} == {shown(0)}
    assert lines == [[[shown(0.5), 1]], [[shown(-0.5), 2], [shown(1.0), 2]], [[shown(0.25), 2]]]
    assert [text.get_text()[0] for text in axes.texts] == ["a", "b", "c"]
    assert axes.get_xlabel() == label


@pytest.mark.parametrize("epochs", [False, True])
def test_a_claim_is_a_diamond_and_its_verdict_a_word_and_a_colour(epochs):
    shown = math.exp if epochs else float
    base, told = Arm("base", [1.0]), ("supported", "contradicted", "cannot tell", "")
    arms = [Arm(word, [1.0], 0.25, -0.5, 1.0, claimed=0.5, verdict=word) for word in told]
    axes = drawn(ablation.draw_differences, [base, *arms], epochs)
    diamonds = [line for line in axes.lines if line.get_marker() == "D"]
    assert [line.get_xydata().tolist() for line in diamonds] == [
        [[shown(0.5), place]] for place in range(1, 5)
    ]
    assert axes.get_xlabel().endswith("; ◇: claimed")
    names = [text.get_text() for text in axes.texts]
    assert names == [
        "base (n = 1)",
        *(f"{word} (n = 1): {word}" for word in told[:3]),
        " (n = 1)",
    ]
    colours = [line.get_color() for line in axes.lines if line.get_marker() == "o"]
    assert colours[2] == colours[3]
    assert len(set(colours)) == 3
    intervals = [line.get_color() for line in axes.lines[1:] if line.get_marker() == "None"]
    assert intervals == colours


def test_a_difference_has_the_number_of_its_pairs_and_the_values_that_of_the_runs():
    arm = Arm("a", [1.0, 2.0, 3.0], 0.5, 0.1, 0.9, pairs=2)
    for draw, n in ((ablation.draw_differences, 2), (ablation.draw_values, 3)):
        [name] = drawn(draw, [arm]).texts
        assert name.get_text() == f"a (n = {n})"


def test_the_axis_names_the_diamond_only_if_there_is_one():
    arms = [Arm("no pairs yet", [1.0], claimed=2.0), Arm("a", [1.0], 0.5)]
    axes = drawn(ablation.draw_differences, arms)
    assert axes.get_xlabel() == "difference, points"


def test_a_long_name_leaves_an_ablation_as_wide_as_a_short_one():
    short, long = (
        inches(drawn(ablation.draw_values, [Arm(name, [1.0, 2.0])]))[0] for name in ("a", "a" * 90)
    )
    assert long == pytest.approx(short)


def test_a_number_in_the_matrix_stands_out_from_its_colour():
    axes = drawn(confusion.draw, np.array([[9, 1], [0, 4]]), ["a", "b"])
    paper, ink = axes.get_facecolor(), axes.xaxis.label.get_color()
    found = {text.get_text(): to_hex(text.get_color()) for text in axes.texts}
    assert found == {"9": to_hex(paper), "1": to_hex(ink), "4": to_hex(paper)}


def test_shades_are_shares_of_a_class_and_no_grid_crosses_them():
    counts = np.array([[0, 1, 0], [0, 0, 0], [1, 0, 3]])  # one image; none; four
    with matplotlib.rc_context({"axes.grid": True}):
        axes = drawn(confusion.draw, counts, "abc")
    [image] = axes.images
    np.testing.assert_array_equal(image.get_array(), [[0, 1, 0], [0, 0, 0], [0.25, 0, 0.75]])
    assert to_hex(image.cmap(0.0)) == to_hex(axes.get_facecolor())
    assert to_hex(image.cmap(1.0)) == to_hex("C0")
    assert not any(line.get_visible() for line in (*axes.get_xgridlines(), *axes.get_ygridlines()))


@pytest.mark.parametrize(
    ("classes", "named", "counted"),
    [(12, True, True), (13, True, False), (30, True, False), (31, False, False)],
)
def test_names_and_numbers_stand_where_there_is_room(classes, named, counted):
    names = [f"class {k}" for k in range(classes)]
    figure = Figure()
    confusion.draw(figure, np.eye(classes, dtype=int), names)
    [axes] = figure.axes
    assert len(axes.texts) == (classes if counted else 0)
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert ([text.get_text() for text in labels] == names) == named


@pytest.mark.parametrize(("names", "angle"), [("abc", 0), (["ab", "abc", "b"], 90)])
def test_long_names_below_the_matrix_are_vertical(names, angle):
    figure = Figure()
    confusion.draw(figure, np.eye(3, dtype=int), names)
    [axes] = figure.axes
    assert {text.get_rotation() for text in axes.get_xticklabels()} == {angle}
    assert {text.get_rotation() for text in axes.get_yticklabels()} == {0}


def test_a_large_matrix_shows_the_largest_share_of_each_block():
    counts_KK = np.eye(1000, dtype=int)
    counts_KK[7, 998] = 1
    axes = drawn(confusion.draw, counts_KK, [str(k) for k in range(1000)])
    shown = np.asarray(axes.images[0].get_array())
    assert confusion.block(1000) == 3
    assert shown.shape == (334, 334)
    assert shown[2, 332] == 0.5  # one of the two images of class 7
    assert (np.diag(shown)[3:] == 1).all()
    assert confusion.block(400) == confusion.block(2) == 1


def test_the_worst_classes_are_bars_from_the_top_and_a_line_is_the_mean_of_all():
    counts_KK = np.array([[9, 1, 0, 0], [0, 0, 0, 0], [1, 0, 1, 0], [0, 150, 300, 1050]])
    axes = drawn(confusion.draw_worst, counts_KK, "abcd")  # errors of .1, none, .5 and .3
    assert [it.get_text() for it in axes.get_yticklabels()] == ["c (2)", "d (1,500)", "a (10)"]
    bars = [bar.get_bbox() for bar in axes.patches]
    np.testing.assert_allclose([(bar.x0, bar.x1) for bar in bars], [(0, 50), (0, 30), (0, 10)])
    edges = [edge for bar in bars for edge in (bar.y0, bar.y1)]
    bottom, top = axes.get_ylim()
    assert top < edges[0]
    assert edges == sorted(edges)  # no bar reaches into another
    assert edges[-1] < bottom
    [line] = axes.lines
    np.testing.assert_allclose(line.get_xdata(), 30)
    assert axes.get_xlabel() == "top-1 error, %; the line is the mean over classes"


def test_the_worst_classes_take_a_line_each_up_to_twenty():
    heights = [confusion.worst_height(classes) for classes in (5, 6, 20, 21, 1000)]
    assert heights[0] < heights[1] < heights[2] == heights[3] == heights[4]


def curve(name: str, loss: float = 1.0) -> Curve:
    rows = [{"epoch": 1.0, "train/loss": loss}, {"epoch": 2.0, "train/loss": 1.0}]
    return Curve(name, [*rows, {"epoch": 2.0, "validation/loss": loss}])


@pytest.mark.parametrize(
    ("names", "legend"),
    [
        ("a", None),
        ("aa", None),  # two runs of an arm
        ("ab", ["a", "b"]),
        ("abcdefg", [*"abcdefg"]),
        ("abcdefghi", [*"abcdef", "g and 2 more"]),
    ],
)
def test_curves_of_several_names_have_a_legend(names, legend):
    figure = drawn(curves.draw, [curve(name) for name in names], "loss").figure
    assert [[text.get_text() for text in one.get_texts()] for one in figure.legends] == (
        [] if legend is None else [legend]
    )


def test_a_curve_has_the_colour_of_its_name():
    axes = drawn(curves.draw, [curve(name) for name in "aba"], "loss")
    colours = [line.get_color() for line in axes.lines]
    assert colours == ["C0", "C0", "C1"] * 2  # training, and validation on top
    assert curves.MOST == len(style.LIGHT["colours"]) == len(style.DARK["colours"])


def test_curves_beyond_the_legend_have_the_colour_of_its_last_line():
    figure = drawn(curves.draw, [curve(name) for name in "abcdefghi"], "loss").figure
    colours = [line.get_color() for line in figure.axes[0].lines[:9]]
    assert colours == [*(f"C{n}" for n in range(7)), "C6", "C6"]
    [legend] = figure.legends
    assert legend.get_lines()[-1].get_color() == "C6"


def test_training_fades_behind_validation_where_curves_are_many():
    few, many, means = (
        drawn(curves.draw, [curve(name) for name in names], "loss").lines
        for names in ("aab", "aabb", "aaaabbbb")
    )
    assert many[0].get_alpha() < few[0].get_alpha() == means[0].get_alpha() < 1
    assert many[-1].get_linewidth() < few[-1].get_linewidth() == means[-1].get_linewidth()
    for lines in (few, many, means):
        assert lines[0].get_linewidth() < lines[-1].get_linewidth()


def test_runs_of_an_arm_become_their_mean_and_a_band_of_validations():
    several = [curve("a", loss) for loss in (1.0, 2.0, 3.0, 6.0)]
    axes = drawn(curves.draw, [*several, curve("b", 2.0)], "loss")
    assert [line.get_xydata().tolist() for line in axes.lines] == [
        [[1, 3], [2, 1]],  # training
        [[1, 2], [2, 1]],
        [[2, 3]],  # validation
        [[2, 2]],
    ]
    [band] = axes.collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == (1, 6)
    assert len(drawn(curves.draw, several[:3], "loss").lines) == 6


def test_runs_that_were_not_logged_alike_have_a_line_each():
    """A mean over other runs at each epoch would jump."""
    shorter = Curve("a", curve("a").rows[:1])
    axes = drawn(curves.draw, [*[curve("a")] * 3, shorter], "loss")
    assert len(axes.lines) == 4 + 3
    assert not axes.collections


@pytest.mark.parametrize(("loss", "scale"), [(4.0, "linear"), (4.5, "log")])
def test_a_loss_that_falls_far_has_a_logarithmic_axis(loss, scale):
    axes = drawn(curves.draw, [curve("a", loss)], "loss")
    assert axes.get_yscale() == scale
    assert axes.get_xlim()[0] == 0
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "loss, nats")


def test_a_logarithmic_axis_has_plain_round_numbers():
    figure = Figure()
    curves.draw(figure, [curve("a", 60.0)], "loss")
    [axes] = figure.axes
    bottom, top = axes.get_ylim()
    labels = [
        text.get_text()
        for tick, text in zip(axes.get_yticks(), axes.get_yticklabels(), strict=True)
        if bottom < tick < top
    ]
    assert labels == ["1", "2", "5", "10", "20", "50"]


def test_errors_begin_at_zero():
    rows = [{"epoch": epoch, "validation/top1_error": 0.5 / epoch} for epoch in (1, 2)]
    figure = Figure()
    curves.draw(figure, [Curve("a", rows)], "top1_error")
    [axes] = figure.axes
    assert axes.get_ylim()[0] == 0
    assert axes.get_ylabel() == "top-1 error, %"


@pytest.mark.parametrize("count", [1, 2, 3])
def test_images_are_square_and_their_bars_beside_them(count):
    best = [("a", 1.0), ("b", 0.5), ("c", 0.25)]
    some = [figure_4.Example(IMAGE, "b", best)] * count
    height = figure_4.predictions_height(count)
    axes = drawn(figure_4.draw_predictions, some, height=height)
    assert_units_are_square(axes)
    assert inches(axes) == pytest.approx((style.WIDTH, height))
    bars = [bar.get_bbox() for bar in axes.patches]
    assert len(axes.images) * len(best) == len(bars) == 3 * count
    assert [text.get_text() for text in axes.texts] == ["b", "a", "b", "c"] * count
    for number, image in enumerate(axes.images):
        left, right, bottom, top = image.get_extent()
        label, *names = map(place_of, axes.texts[4 * number : 4 * number + 4])
        under = axes.images[number - 2].get_extent()[2] if number >= 2 else 0
        assert under < label.y1 < label.y0 < top  # above the image
        assert left <= label.x0 < right
        for name, bar in zip(names, bars[3 * number :], strict=False):
            assert bar.y0 < (name.y0 + name.y1) / 2 < bar.y1
            assert name.x0 > bar.x0
        for place, bar in enumerate(bars[3 * number : 3 * number + 3]):
            assert right < bar.x0 < bar.x1 < axes.get_xlim()[1]
            third = (bottom - top) / 3
            middle = top + (place + 0.5) * third
            assert (bar.y0 + bar.y1) / 2 == pytest.approx(middle, abs=0.05)
            assert abs(bar.y1 - bar.y0) == pytest.approx(third, rel=0.2)
        colours = [to_hex(bar.get_facecolor()) for bar in axes.patches[:3]]
        assert colours[0] == colours[2] != colours[1]  # "b" is right
        assert left < right <= axes.get_xlim()[1]


def test_neighbours_are_square_and_those_of_another_class_framed():
    rows = [figure_4.Row(IMAGE, "a", [(IMAGE, "a"), (IMAGE, "b"), (IMAGE, "a")])] * 2
    axes = drawn(figure_4.draw_neighbours, rows, height=figure_4.neighbours_height(rows))
    assert_units_are_square(axes)
    extents = [image.get_extent() for image in axes.images]
    assert len(extents) == 8
    assert max(right for _, right, _, _ in extents) < axes.get_xlim()[1]
    assert [text.get_text() for text in axes.texts] == ["image", "nearest training images"]
    for text, (left, _, _, top) in zip(axes.texts, extents, strict=False):
        assert place_of(text).x0 == pytest.approx(left, abs=0.05)
        assert 0 < place_of(text).y1 < place_of(text).y0 < top
    frames = [(patch.get_x(), patch.get_y()) for patch in axes.patches]
    assert frames == [(extents[i][0], extents[i][3]) for i in (2, 6)]


@pytest.mark.parametrize("shape", [(2, 11, 11, 3, 48), (1, 5, 5, 3, 8)])
def test_filters_are_square_and_inside_the_figure(shape):
    kernel_THWCO = np.random.default_rng(0).normal(size=shape)
    axes = drawn(figure_3.draw, kernel_THWCO, height=figure_3.height(kernel_THWCO))
    assert_units_are_square(axes)
    box = axes.get_position()
    assert 0 < box.x0 < box.x1 < 1
    assert 0 < box.y0 < box.y1 < 1
    assert box.width > 0.8  # most of the figure
    chosen = first_layer.colour_selectivity(kernel_THWCO)
    towers = len(kernel_THWCO)
    names = ["tower 1", "tower 2"] if towers == 2 else ["filters"]
    assert [text.get_text() for text in axes.texts] == [
        f"{name}\n{colour:.2f}" for name, colour in zip(names, chosen, strict=True)
    ]
    for tower, text in enumerate(axes.texts):
        beside = text.get_window_extent().transformed(axes.transAxes.inverted())
        assert beside.x1 < 0 < text.get_window_extent().x0  # in the margin
        assert (beside.y0 + beside.y1) / 2 == pytest.approx(1 - (tower + 0.5) / towers, abs=0.02)


def test_lines_between_filters_have_the_colour_of_the_page():
    kernel_THWCO = np.zeros((1, 5, 5, 3, 4))
    for shade in (0, 27, 255):
        figure = Figure(facecolor=(shade / 255,) * 3)
        figure_3.draw(figure, kernel_THWCO)
        picture = figure.axes[0].images[0].get_array()
        assert np.unique(picture[0]) == shade
        assert set(np.unique(picture)) == {shade, 128}  # a weight of zero is grey


def test_a_racer_is_named_once_and_drawn_in_the_same_way_in_every_run():
    line = [(0.5, 0.6), (1.0, 0.25)]
    axes = drawn(figure_1.draw, {"ReLU": [line, line], "tanh": [line]})
    goal, *runs = axes.lines
    assert set(goal.get_ydata()) == {0.25}
    assert [(run.get_linestyle(), run.get_color()) for run in runs] == [
        *[("-", "C0")] * 2,
        ("--", "C1"),
    ]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["ReLU", "tanh"]
    assert goal.get_linewidth() < runs[0].get_linewidth()
    assert axes.get_xlim()[0] == 0
    assert axes.get_ylim() == (0, 0.75)  # as in the paper
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epochs", "training error rate")


def test_pictures_have_neither_ticks_nor_frame():
    axes = Figure().subplots()
    style.bare(axes)
    assert len(axes.get_xticks()) == len(axes.get_yticks()) == 0
    assert not any(spine.get_visible() for spine in axes.spines.values())


def test_a_png_says_nothing_of_what_drew_it():
    png = style.drawn(lambda figure: None, 1).light
    assert "Software" not in Image.open(io.BytesIO(png)).info
