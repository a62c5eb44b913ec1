"""Words that several modules say alike: columns, and where two things differ."""

from collections.abc import Mapping, Sequence
from typing import Any


def aligned(lines: Sequence[Sequence[str]], names: int = 1) -> list[str]:
    """A line of text for each line of cells: the first `names` cells to the left, figures right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if number < names else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]


def difference(
    found: Mapping[str, Any], where: str, expected: Mapping[str, Any], where_expected: str
) -> str:
    """Names the first entry in which two mappings differ, such as the shapes of parameters.

    "fc8.bias is missing in net.safetensors and (1, 1000) in net alexnet"; "" if none differs.
    """
    for name in {**expected, **found}:
        if found.get(name) != expected.get(name):
            return (
                f"{name} is {found.get(name, 'missing')} in {where} and "
                f"{expected.get(name, 'missing')} in {where_expected}"
            )
    return ""
