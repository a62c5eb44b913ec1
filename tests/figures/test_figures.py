"""Figures are drawn whatever the names and numbers, in two sets of colours, without a display."""

import functools
import io
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
from PIL import Image

from alexnet.figures import ablation, confusion, curves, figure_1, figure_3, figure_4, style
from alexnet.figures.ablation import Arm
from alexnet.figures.style import DARK, LIGHT, WIDTH, drawn, short

ODD = ("<b>", 'a "quote"', "$x^2$", "日本", "two\nlines", "a" * 300, "", "\\frac{")
RANDOM = np.random.default_rng(0)
DPI = 60


@pytest.fixture(autouse=True)
def coarsely(monkeypatch):
    """Figures in fewer pixels than readers get."""
    monkeypatch.setattr(style, "DPI", DPI)


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def rgb(colour: str) -> list[int]:
    return [int(colour[i : i + 2], 16) for i in (1, 3, 5)]


def image() -> np.ndarray:
    return RANDOM.integers(0, 256, (12, 12, 3), np.uint8)


def rows_of_a_log(scale: float) -> list[dict]:
    losses = [{"epoch": e / 10, "train/loss": scale / (e + 1)} for e in (1, 2)]
    train = [row | {"train/top1_error": 0.5} for row in losses]
    return [*train, {"epoch": 1.0, "validation/loss": None, "validation/top1_error": 0.25}]


EXAMPLE = figure_4.Example(image(), ODD[0], [(name, 0.2) for name in ODD])
COUNTS = RANDOM.integers(0, 9, (8, 8)) * (np.arange(8) != 3)[:, None]  # a class without images
FIGURES = {
    "filters": (figure_3.draw, RANDOM.normal(size=(2, 5, 5, 3, 20))),
    "a race": (figure_1.draw, {ODD[0]: [[(0.5, 0.6), (1, 0.3)]] * 2, ODD[2]: [[(0.5, 0.9)]]}),
    "one dead tower": (figure_3.draw, np.zeros((1, 3, 3, 3, 4))),
    "predictions": (figure_4.draw_predictions, [EXAMPLE] * 3),
    "neighbours": (
        figure_4.draw_neighbours,
        [figure_4.Row(image(), "a", [(image(), "a"), (image(), "b")])] * 2,
    ),
    "confusion": (confusion.draw, COUNTS, ODD),
    "many classes": (confusion.draw, np.eye(40), [str(k) for k in range(40)]),
    "worst": (confusion.draw_worst, COUNTS, ODD),
    "errors": (ablation.draw_values, [Arm(ODD[2], [0.1]), Arm(ODD[5], [0.1, 0.2])]),
    "differences": (
        ablation.draw_differences,
        [Arm("a", [0.1]), Arm(ODD[5], [0.1], 0.1), Arm("c", [0.1], 0.1, 0.0, 0.2)],
    ),
    "curve": (curves.draw, [curves.Curve("a", rows_of_a_log(9))], "top1_error"),
    "many curves": (
        curves.draw,
        [curves.Curve(f"{name}{i}", rows_of_a_log(9)) for name in ODD for i in (1, 2)],
        "loss",
    ),
    "no curve": (curves.draw, [curves.Curve("a", [])], "loss"),
}


@pytest.mark.parametrize("name", FIGURES)
def test_it_is_drawn_in_light_and_dark(name):
    draw, *arguments = FIGURES[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = drawn(lambda figure: draw(figure, *arguments), 2.5)
    for png, theme in zip(found, (LIGHT, DARK), strict=True):
        shown = pixels(png)
        assert shown.shape == (2.5 * DPI, WIDTH * DPI, 3)
        for corner in (shown[0, 0], shown[0, -1], shown[-1, -1]):
            assert corner.tolist() == rgb(theme["paper"])
        assert len(np.unique(shown.reshape(-1, 3), axis=0)) > 3


def test_the_pictures_are_the_images_and_filters():
    red = np.zeros((1, 3, 3, 3, 1))
    red[..., 0, :] = 1
    shown = pixels(drawn(functools.partial(figure_3.draw, kernel_THWCO=red), 3).light)
    assert (shown == (255, 128, 128)).all(-1).mean() > 0.3
    blue = np.full((9, 9, 3), (10, 20, 200), np.uint8)
    own = figure_4.Example(blue, "a", [("a", 0.75), ("b", 0.1)])
    light = drawn(lambda figure: figure_4.draw_predictions(figure, [own] * 2), 1.36).light
    assert (pixels(light) == (10, 20, 200)).all(-1).mean() > 0.15


def test_a_bar_is_as_long_as_its_class_is_probable():
    lengths = []
    for probability in (0.25, 0.5, 1.0):
        one = figure_4.Example(image(), "a", [("", 0.0), ("a", probability)])
        empty = one._replace(best=[("", 0.0), ("a", 0.0)])
        with_bar, without = (
            pixels(drawn(functools.partial(figure_4.draw_predictions, examples=[x]), 1.4).light)
            for x in (one, empty)
        )
        columns = (with_bar != without).any((0, 2))
        lengths.append(columns.sum())
    assert lengths[1] / lengths[2] == pytest.approx(0.5, abs=0.06)
    assert lengths[0] / lengths[2] == pytest.approx(0.25, abs=0.06)


def test_nothing_covers_the_data():
    found = []

    def draw(figure):
        axes = figure.subplots()
        axes.bar([0], [1], label="bar")
        found.append((axes, axes.legend()))

    drawn(draw, 1)
    axes, legend = found[0]
    assert [name for name, spine in axes.spines.items() if spine.get_visible()] == [
        "left",
        "bottom",
    ]
    assert axes.get_xgridlines()[0].get_visible()
    assert axes.xaxis.get_zorder() < axes.patches[0].get_zorder()  # the grid is behind the bar
    assert not legend.get_frame().get_visible()


def test_a_dollar_is_a_dollar():
    found = []
    drawn(lambda figure: found.extend(figure.text(0, 0, text) for text in ("$x$", "x")), 1)
    dollars, without = (text.get_window_extent().width for text in found[:2])
    assert dollars > 1.5 * without


def test_points_leave_out_what_is_no_number_and_are_per_cent():
    rows = [
        {"epoch": 0.5, "train/loss": 2.0, "train/top1_error": 0.5},
        {"epoch": 1.0, "train/loss": None, "train/top1_error": 0.25},
        {"epoch": 1.0, "validation/loss": 1.5, "validation/top1_error": 0.125},
    ]
    assert curves.points_of(rows, "train/top1_error") == [(0.5, 50), (1.0, 25)]
    assert curves.points_of(rows, "train/loss") == [(0.5, 2.0)]
    assert curves.points_of(rows, "validation/top1_error") == [(1.0, 12.5)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("short", "short"), ("a\n b", "a b"), ("0123456", "0123456"), ("0123456789", "012345…")],
)
def test_long_names_are_cut_to_one_line(text, expected):
    assert short(text, 7) == expected


def test_no_display_and_no_pyplot():
    code = (
        "import sys; from alexnet.figures import curves, style; "
        "style.drawn(lambda figure: curves.draw(figure, [], 'loss'), 1); "
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    environment = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "MPLBACKEND")}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
