"""A net's table as text: what `python -m alexnet.nets` prints."""

from alexnet.models.table import (
    Activation,
    Conv,
    Dense,
    Dropout,
    Local,
    Net,
    Norm,
    Pool,
    Row,
    Weighted,
    layers,
    padding,
)
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
        table.append((row.name, _what(net, row), output, *(f"{n:,}" if n else "" for n in sizes)))
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


def _what(net: Net, row: Row) -> str:
    split = f", {net.towers} x {{}}" if net.towers > 1 else ""
    reads = ", reads all towers" if net.towers > 1 and getattr(row, "reads", "") == "all" else ""
    match row:
        case Conv():
            before, after = padding(row)
            pad = f" pad {before}" if before == after else f" pad {before}+{after}"
            stride = f" stride {row.stride}" if row.stride > 1 else ""
            per_tower = split.format(row.kernels // net.towers)
            pad = pad if before + after else ""
            return f"conv {row.size}x{row.size}{stride}{pad}{per_tower}{reads}"
        case Local():
            per_tower = split.format(row.kernels // net.towers)
            return f"local {row.size}x{row.size} pad {row.pad}{per_tower}{reads}"
        case Dense():
            return f"fully connected{reads}"
        case Activation():
            return row.kind
        case Norm():
            return (
                f"response norm over {row.size} maps{reads}"
                if row.over == "maps"
                else (f"response norm over {row.size}x{row.size} pixels")
            )
        case Pool():
            return f"{row.kind} pool {row.size}x{row.size} stride {row.stride}"
        case Dropout():
            return f"dropout {row.rate}"
