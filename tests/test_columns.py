"""alexnet.columns, by hand."""

from alexnet import columns


def test_names_to_the_left_figures_to_the_right():
    lines = [("layer", "what", "ms"), ("conv1", "", "12.5"), ("a", "conv", "")]
    assert columns.aligned(lines, names=2) == [
        "layer  what    ms",
        "conv1        12.5",
        "a      conv",
    ]
