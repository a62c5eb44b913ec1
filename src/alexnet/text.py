"""Text in columns, for the commands that print tables."""

from collections.abc import Sequence


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
