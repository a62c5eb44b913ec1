"""alexnet.text, by hand."""

from alexnet import text


def test_names_to_the_left_figures_to_the_right():
    lines = [("layer", "what", "ms"), ("conv1", "", "12.5"), ("a", "conv", "")]
    assert text.aligned(lines, names=2) == [
        "layer  what    ms",
        "conv1        12.5",
        "a      conv",
    ]
