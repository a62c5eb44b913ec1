"""A net's table as text and as HTML."""

import html

from alexnet.models.table import Net, Weighted
from alexnet.text import aligned, counted

HEADER = ("layer", "what", "output", "neurons", "parameters", "multiply-adds")
NAMES = 3  # the first three columns are words, the others numbers


def describe(net: Net) -> str:
    """What `python -m alexnet.nets` prints."""
    text = aligned([HEADER, *_rows(net), _totals(net)], names=NAMES)
    rule = "-" * max(map(len, text))
    return "\n".join([_title(net), rule, text[0], rule, *text[1:-1], rule, text[-1]])


def describe_html(net: Net, title: str = "") -> str:
    """The same table for notebooks, under an optional title."""

    def line(cells: tuple[str, ...], tag: str) -> str:
        aligns = ["left" if i < NAMES else "right" for i in range(len(cells))]
        inside = "".join(
            f'<{tag} style="text-align:{align}">{html.escape(cell)}</{tag}>'
            for cell, align in zip(cells, aligns, strict=True)
        )
        return f"<tr>{inside}</tr>"

    rows = "".join(line(row, "td") for row in _rows(net))
    caption = "<br>".join(html.escape(part) for part in (title, _title(net)) if part)
    return (
        f'<table><caption style="text-align:left">{caption}</caption>'
        f"<thead>{line(HEADER, 'th')}</thead><tbody>{rows}</tbody>"
        f"<tfoot>{line(_totals(net), 'th')}</tfoot></table>"
    )


def _rows(net: Net) -> list[tuple[str, ...]]:
    """What each row is, its output over all towers, and its sizes."""
    rows = []
    for layer in net.layers:
        row = layer.row
        *space, channels = layer.output_shape
        total = net.classes if row is net.rows[-1] else channels * net.towers
        sizes = (layer.neurons, layer.parameters, layer.multiply_adds)
        figures = (f"{n:,}" if n and isinstance(row, Weighted) else "" for n in sizes)
        output = "x".join(map(str, (*space, total)))
        rows.append((row.name, row.sentence(net.towers), output, *figures))
    return rows


def _totals(net: Net) -> tuple[str, ...]:
    weighted = [layer for layer in net.layers if isinstance(layer.row, Weighted)]
    sizes = [(layer.neurons, layer.parameters, layer.multiply_adds) for layer in weighted]
    return ("total", "", "", *(f"{sum(column):,}" for column in zip(*sizes, strict=True)))


def _title(net: Net) -> str:
    towers = counted(net.towers, "tower")
    order = f" {net.pixels.order}" if net.pixels.order != "RGB" else ""
    inputs = net.image_size**2 * 3
    return (
        f"{net.name}: {towers}, input {net.image_size}x{net.image_size}x3{order} "
        f"({inputs:,} numbers), {net.classes} classes"
    )
