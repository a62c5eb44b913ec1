"""What figures hold, read from their lines, bars and texts rather than from their pixels."""

import io
import math

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from alexnet.figures import ablation, confusion, curves, examples, filters, race, style
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
    np.testing.assert_array_equal(mean.get_xdata(), [23, 23])
    assert np.mean(mean.get_ydata()) == pytest.approx(1)
    assert [text.get_text() for text in axes.texts] == ["a (n = 1)", "b (n = 3)"]


@pytest.mark.parametrize(("epochs", "shown"), [(False, float), (True, math.exp)])
def test_a_difference_is_a_dot_in_its_interval_if_that_is_known(epochs, shown):
    arms = [Arm("a", [1.0]), Arm("b", [1.0], 0.5), Arm("c", [1.0], 0.25, -0.5, 1.0)]
    axes = drawn(ablation.draw_differences, arms, epochs)
    none, *lines = [line.get_xydata().tolist() for line in axes.lines]
    assert {x for x, _ in none} == {shown(0)}
    assert lines == [[[shown(0.5), 1]], [[shown(-0.5), 2], [shown(1.0), 2]], [[shown(0.25), 2]]]


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
    assert colours == ["C0", "C0", "C1", "C1", "C0", "C0"]  # training and validation
    assert curves.MOST == len(style.LIGHT["colours"]) == len(style.DARK["colours"])


def test_training_fades_behind_validation_where_curves_are_many():
    few, many = (drawn(curves.draw, [curve("a")] * n, "loss").lines for n in (3, 4))
    assert many[0].get_alpha() < few[0].get_alpha() < 1
    assert many[1].get_linewidth() < few[1].get_linewidth()


@pytest.mark.parametrize(("loss", "scale"), [(4.0, "linear"), (4.5, "log")])
def test_a_loss_that_falls_far_has_a_logarithmic_axis(loss, scale):
    axes = drawn(curves.draw, [curve("a", loss)], "loss")
    assert axes.get_yscale() == scale
    assert axes.get_xlim()[0] == 0


@pytest.mark.parametrize("count", [1, 2, 3])
def test_images_are_square_and_their_bars_beside_them(count):
    best = [("a", 1.0), ("b", 0.5), ("c", 0.25)]
    some = [examples.Example(IMAGE, "b", best)] * count
    height = examples.predictions_height(count)
    axes = drawn(examples.draw_predictions, some, height=height)
    assert_units_are_square(axes)
    assert inches(axes) == pytest.approx((style.WIDTH, height))
    bars = [bar.get_bbox() for bar in axes.patches]
    assert len(axes.images) * len(best) == len(bars) == 3 * count
    for number, image in enumerate(axes.images):
        left, right, bottom, top = image.get_extent()
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
    rows = [examples.Row(IMAGE, "a", [(IMAGE, "a"), (IMAGE, "b"), (IMAGE, "a")])] * 2
    axes = drawn(examples.draw_neighbours, rows, height=examples.neighbours_height(rows))
    assert_units_are_square(axes)
    extents = [image.get_extent() for image in axes.images]
    assert len(extents) == 8
    assert max(right for _, right, _, _ in extents) < axes.get_xlim()[1]
    frames = [(patch.get_x(), patch.get_y()) for patch in axes.patches]
    assert frames == [(extents[i][0], extents[i][3]) for i in (2, 6)]


@pytest.mark.parametrize("shape", [(2, 11, 11, 3, 48), (1, 5, 5, 3, 8)])
def test_filters_are_square_and_inside_the_figure(shape):
    kernel_THWCO = np.random.default_rng(0).normal(size=shape)
    axes = drawn(filters.draw, kernel_THWCO, height=filters.height(kernel_THWCO))
    assert_units_are_square(axes)
    box = axes.get_position()
    assert 0 < box.x0 < box.x1 < 1
    assert 0 < box.y0 < box.y1 < 1
    chosen = first_layer.colour_selectivity(kernel_THWCO)
    for text, colour in zip(axes.texts, chosen, strict=True):
        assert text.get_text().endswith(f"\n{colour:.2f}")


def test_a_racer_is_named_once_and_drawn_in_the_same_way_in_every_run():
    line = [(0.5, 0.6), (1.0, 0.25)]
    axes = drawn(race.draw, {"ReLU": [line, line], "tanh": [line]})
    goal, *runs = axes.lines
    assert set(goal.get_ydata()) == {0.25}
    assert [(run.get_linestyle(), run.get_color()) for run in runs] == [
        *[("-", "C0")] * 2,
        ("--", "C1"),
    ]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["ReLU", "tanh"]
    assert axes.get_xlim()[0] == 0


def test_pictures_have_neither_ticks_nor_frame():
    axes = Figure().subplots()
    style.bare(axes)
    assert len(axes.get_xticks()) == len(axes.get_yticks()) == 0
    assert not any(spine.get_visible() for spine in axes.spines.values())


def test_a_png_says_nothing_of_what_drew_it():
    png = style.drawn(lambda figure: None, 1).light
    assert "Software" not in Image.open(io.BytesIO(png)).info
