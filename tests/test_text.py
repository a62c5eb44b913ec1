"""alexnet.text, by hand."""

from typing import Literal

import pytest

from alexnet import text


def test_names_to_the_left_figures_to_the_right():
    lines = [("layer", "what", "ms"), ("conv1", "", "12.5"), ("a", "conv", "")]
    assert text.aligned(lines, names=2) == [
        "layer  what    ms",
        "conv1        12.5",
        "a      conv",
    ]


def test_every_line_of_a_table_has_all_its_columns():
    with pytest.raises(ValueError, match="shorter"):
        text.aligned([("layer", "ms"), ("conv1",)])


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 runs"), (1, "1 run"), (2, "2 runs"), (1234, "1,234 runs")]
)
def test_a_count_agrees_with_its_noun(count, words):
    assert text.counted(count, "run") == words


def test_the_first_difference_is_named_in_the_order_of_what_was_expected():
    expected = {"conv1": (3, 4), "fc8": (5,)}
    assert text.difference(dict(reversed(expected.items())), "file", expected, "net") == ""
    said = text.difference({"fc8": (6,), "fc9": (1,)}, "file", expected, "net")
    assert said == "conv1 is missing in file and (3, 4) in net"
    said = text.difference({"conv1": (3, 4), "fc8": (6,)}, "file", expected, "net")
    assert said == "fc8 is (6,) in file and (5,) in net"
    said = text.difference({**expected, "fc9": (1,)}, "file", expected, "net")
    assert said == "fc9 is (1,) in file and missing in net"


@pytest.mark.parametrize(
    ("names", "most", "count", "said"),
    [
        ("ab", 3, None, "a, b"),
        ("abc", 3, None, "a, b, c"),
        ("abcd", 3, None, "a, b, c and 1 more"),
        ("abcd", 3, 2003, "a, b, c and 2,000 more"),
        ("", 3, None, ""),
    ],
)
def test_some_names_and_how_many_more(names, most, count, said):
    assert text.some(names, most, count) == said


@pytest.mark.parametrize(
    ("name", "shown"),
    [("a b.png", "a b.png"), ("犬", "犬"), ("a\nb", "a\\nb"), ("\udcff", "\\xff")],
)
def test_a_name_that_no_terminal_shows_is_escaped(name, shown):
    assert text.printable(name) == shown


def test_words_that_an_argument_allows():
    def f(a: int, b: Literal["x", "y"], c: Literal["z"] = "z", d: str = "x"):
        """Nothing."""

    assert text.allowed(f) == {"b": ("x", "y"), "c": ("z",)}
