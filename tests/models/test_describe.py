"""A net's table as text and as HTML, for a net that is counted by hand."""

import re

import pytest

from alexnet.models import table
from alexnet.models.describe import describe, describe_html

ROWS = (
    table.Conv("conv1", 4, 2, std=0.1),
    table.Activation("relu1"),
    table.Dense("fc2", 3, std=0.1),
)


def net(towers: int = 1, **more) -> table.Net:
    return table.Net("a <small> net", 3, 3, towers, ROWS, **more)


def cells(row: str) -> list[tuple[str, str]]:
    """(alignment, text)"""
    return re.findall(r'<t[dh] style="text-align:(\w+)">([^<]*)</t[dh]>', row)


def test_rows_have_their_outputs_and_weighted_ones_their_sizes():
    head, *body, total = (cells(row) for row in describe_html(net()).split("<tr>")[1:])
    assert [row[0][1] for row in body] == ["conv1", "relu1", "fc2"]
    numbers = [[text for _, text in row[2:]] for row in (*body, total)]
    assert numbers == [
        ["2x2x4", "16", "52", "192"],  # 4 * (12 + 1) parameters, 16 * 12 products
        ["2x2x4", "", "", ""],
        ["3", "3", "51", "48"],
        ["", "19", "103", "240"],
    ]
    for row in (head, *body, total):
        assert [align for align, _ in row] == ["left"] * 3 + ["right"] * 3


@pytest.mark.parametrize(
    ("made", "title"),
    [
        (net(), "1 tower, input 3x3x3 (27 numbers), 3 classes"),
        (net(2), "2 towers, input 3x3x3 (27 numbers), 3 classes"),
        (net(pixels=table.Pixels(order="BGR")), "1 tower, input 3x3x3 BGR (27 numbers), 3 classes"),
    ],
)
def test_a_title_says_what_a_net_reads(made, title):
    assert describe(made).splitlines()[0] == f"a <small> net: {title}"
    assert f">a &lt;small&gt; net: {title}</caption>" in describe_html(made)
    assert f">mine<br>a &lt;small&gt; net: {title}</caption>" in describe_html(made, "mine")


def test_the_text_has_the_numbers_of_the_html():
    lines = describe(net()).splitlines()
    width = max(map(len, lines[1:]))
    assert [n for n, line in enumerate(lines) if line == "-" * width] == [1, 3, 7]
    words = [word for _, word in cells(describe_html(net())) if word]
    assert " ".join(lines[2:3] + lines[4:7] + lines[8:]).split() == " ".join(words).split()
