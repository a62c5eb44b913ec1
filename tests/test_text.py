"""alexnet.text, by hand."""

from alexnet import text


def test_names_to_the_left_figures_to_the_right():
    lines = [("layer", "what", "ms"), ("conv1", "", "12.5"), ("a", "conv", "")]
    assert text.aligned(lines, names=2) == [
        "layer  what    ms",
        "conv1        12.5",
        "a      conv",
    ]


def test_the_first_difference_is_named_in_the_order_of_what_was_expected():
    expected = {"conv1": (3, 4), "fc8": (5,)}
    assert text.difference(dict(reversed(expected.items())), "file", expected, "net") == ""
    said = text.difference({"fc8": (6,), "fc9": (1,)}, "file", expected, "net")
    assert said == "conv1 is missing in file and (3, 4) in net"
    said = text.difference({"conv1": (3, 4), "fc8": (6,)}, "file", expected, "net")
    assert said == "fc8 is (6,) in file and (5,) in net"
    said = text.difference({**expected, "fc9": (1,)}, "file", expected, "net")
    assert said == "fc9 is (1,) in file and missing in net"
