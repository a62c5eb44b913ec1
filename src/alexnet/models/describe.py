"""A net's table as text: what `python -m alexnet.nets` prints."""

from alexnet.models.table import Net, Weighted, layers
from alexnet.text import aligned


def describe(net: Net) -> str:
    """The table as text: what each row is, its output over all towers, and its sizes."""
    table = [("layer", "what", "output", "neurons", "parameters", "multiply-adds")]
    traced = layers(net)
    for layer in traced:
        row = layer.row
        weighted = isinstance(row, Weighted)
        *space, channels = layer.output_shape
        total = net.classes if row is net.rows[-1] else channels * net.towers
        sizes = (layer.neurons, layer.parameters, layer.multiply_adds) if weighted else (0, 0, 0)
        output = "x".join(map(str, (*space, total)))
        figures = (f"{n:,}" if n else "" for n in sizes)
        table.append((row.name, row.sentence(net.towers), output, *figures))
    weighted = [layer for layer in traced if isinstance(layer.row, Weighted)]
    inputs = net.image_size**2 * 3
    totals = (
        sum(layer.neurons for layer in weighted),
        sum(layer.parameters for layer in weighted),
        sum(layer.multiply_adds for layer in weighted),
    )
    table.append(("total", "", "", *(f"{n:,}" for n in totals)))
    text = aligned(table, names=3)
    rule = "-" * max(map(len, text))
    towers = f"{net.towers} towers" if net.towers > 1 else "1 tower"
    order = f" {net.pixels.order}" if net.pixels.order != "RGB" else ""
    title = (
        f"{net.name}: {towers}, input {net.image_size}x{net.image_size}x3{order} "
        f"({inputs:,} numbers), {net.classes} classes"
    )
    return "\n".join([title, rule, text[0], rule, *text[1:-1], rule, text[-1]])
