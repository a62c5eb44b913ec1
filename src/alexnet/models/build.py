"""Builds a net by its name, and changes its rows for ablations.

The paper's networks, its ablations, the authors' 2012 runs and cuda-convnet's CIFAR-10 nets are all
tables of the same kinds of rows.
"""

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from alexnet import config as configs
from alexnet.errors import UserError, choice, nearest, require
from alexnet.models import alexnet, cuda_convnet, frameworks
from alexnet.models.table import (
    Activation,
    Dense,
    Dropout,
    Net,
    Nonlinearity,
    Norm,
    Row,
    Weighted,
    check,
)

MakeNet = Callable[..., Net]  # f(*, classes, image_size and the net's own options)
NETS: dict[str, MakeNet] = {
    "alexnet": alexnet.alexnet,
    "cc2": cuda_convnet.cc2,
    "pocket": alexnet.pocket,
    "cifar_80sec": cuda_convnet.cifar_80sec,
    "cifar_19pct": cuda_convnet.cifar_19pct,
    "cifar_18pct": cuda_convnet.cifar_18pct,
    "cifar_conv_local_13pct": cuda_convnet.cifar_conv_local_13pct,
    "cifar_conv_local_11pct": cuda_convnet.cifar_conv_local_11pct,
    "torchvision_alexnet": frameworks.torchvision_alexnet,
    "caffe_alexnet": frameworks.caffe_alexnet,
    "caffenet": frameworks.caffenet,
}

USUAL = 0.5  # the rate of dropout in the paper and in all nets here


def build(
    name: str,
    *,
    classes: int = 1000,
    activation: Nonlinearity = "relu",
    norm: bool = True,
    dropout: float = 0.5,
    remove: str = "",
    **options,
) -> Net:
    """A named net with the common ablations applied; `config.net` holds these arguments.

    Args:
        name: which of the nets that `alexnet.nets` shows.
        classes: how many classes the last layer tells apart.
        activation: the function in place of every ReLU (Figure 1).
        norm: False leaves out every response norm, also over pixels (the authors' run 148).
        dropout: the rate of every dropout layer; 0 leaves dropout out, 0.5 keeps a layer's own
            rate, which is 0.5 in all nets here.
        remove: rows to drop by name, separated by commas, such as "conv4" or "conv3,conv4";
            removing a layer also removes its nonlinearity and dropout.
        options: the net's own arguments. All nets have `image_size`, and some `towers`:
        image_size: side of the square that the net sees, in pixels.
        towers: 2 as in the paper, or 1: the same layers, unsplit.

    Raises:
        UserError: for an unknown name or option, or a table whose shapes cannot fit.
    """
    choice("name", name, NETS)
    common = {"classes": classes, "activation": activation, "norm": norm}
    configs.check_types(build, common | {"dropout": dropout, "remove": remove}, "")
    configs.check_options(f"net {name}", NETS[name], options)
    probability = 0 <= dropout < 1
    require("dropout", dropout, probability, "a probability from 0 up to, not including, 1")
    for option in ("towers", "image_size"):
        value = options.get(option, 1)
        require(option, value, value >= 1, "must be at least 1")
    net = NETS[name](classes=classes, **options)
    if not isinstance(net, Net):
        raise UserError(f"NETS[{name!r}] returned {type(net).__name__}, not a Net")
    if dropout not in (0, USUAL) and not any(isinstance(row, Dropout) for row in net.rows):
        raise UserError(f"net {name} has no dropout layer: leave it at 0.5", f"dropout={dropout}")
    if not norm and not any(isinstance(row, Norm) for row in net.rows):
        raise UserError(f"net {name} has no response norm to leave out", "norm=False")
    rows: list[Row] = []
    for row in net.rows:
        if isinstance(row, Activation) and row.kind == "relu":
            called = row.name.replace("relu", activation)
            row = dataclasses.replace(row, name=called, kind=activation)
        elif isinstance(row, Dropout) and dropout != USUAL:
            row = dataclasses.replace(row, rate=dropout)
        rows.append(row)
    # The names of nonlinearities are those that the table shows, or those without `activation`.
    parts = [part.strip() for part in remove.split(",")]
    known = [row.name for row in rows]
    renamed = {
        part: part if part in known else part.replace("relu", activation) for part in parts if part
    }
    rows = _removed(rows, renamed, net.name)
    rows = [row for row in rows if dropout or not isinstance(row, Dropout)]
    rows = [row for row in rows if norm or not isinstance(row, Norm)]
    net = dataclasses.replace(net, rows=tuple(rows))
    if remove and (not rows or rows[-1].name != known[-1]):
        raise UserError(
            f"net {net.name} must end in a layer with {classes} outputs, one per class: keep it",
            f"remove={remove!r}",
        )
    check(net)
    return net


def list_nets() -> tuple[str, ...]:
    """The names that `build` knows."""
    return tuple(NETS)


def defaults(name: str) -> dict[str, Any]:
    """A net's options and their defaults: the arguments of `build` and of the net's function."""
    if name not in NETS:
        known = f"choose one of {', '.join(NETS)}{nearest(name, NETS)}"
        raise UserError(f"no net is called {name!r}: {known}")
    parameters = [p for f in (build, NETS[name]) for p in inspect.signature(f).parameters.values()]
    return {p.name: p.default for p in parameters if p.default is not p.empty}


def _removed(rows: Sequence[Row], names: Mapping[str, str], net: str) -> list[Row]:
    """The rows without some; `names` are {as the user writes it: as the row is called}."""
    known = [row.name for row in rows]
    gone = {*names.values()}
    removed: Row | None = None
    for written, name in names.items():
        if name not in known:
            near = nearest(written, known)
            raise UserError(f"net {net} has no layer {written!r}{near}", "remove")
    for row in rows:
        # A layer's nonlinearity and dropout are the ones before the next layer: in `original`,
        # norm1 and pool1 stand between conv1 and its ReLU.
        if isinstance(row, Weighted):
            removed = row if row.name in gone else None
        elif isinstance(row, Dropout) and not isinstance(removed, Dense):
            continue  # of the next layer's inputs, as drop5 of torchvision's
        elif row.belongs_to_layer and removed:
            gone.add(row.name)
    return [row for row in rows if row.name not in gone]
