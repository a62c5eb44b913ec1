"""The networks, written down as tables with the paper's names, and the edits that make ablations.

The paper's networks, its ablations, the authors' 2012 runs and their CIFAR-10 nets differ by rows
only.

    python -m alexnet.nets alexnet --towers=1      prints a table with shapes and sizes
"""

import dataclasses
import inspect
import sys
from collections.abc import Callable, Sequence
from typing import Any

from alexnet.cli import arguments, run, typed
from alexnet.errors import UserError, nearest
from alexnet.models import frameworks
from alexnet.models.table import (
    Activation,
    Conv,
    Dense,
    Dropout,
    Local,
    Net,
    Norm,
    Pool,
    Reads,
    Row,
    Weighted,
    describe,
    layers,
)

ACTIVATIONS = ("relu", "tanh", "sigmoid", "none")


def alexnet(
    *,
    classes: int,
    preset: str = "original",
    init: str = "",
    towers: int = 2,
    image_size: int = 224,
    kernels: Sequence[int] = (96, 256, 384, 384, 256),
    hidden: Sequence[int] = (4096, 4096),
    communicate: bool = True,
    overlapping_pool: bool = True,
    sixth_conv: int = 0,
) -> Net:
    """The paper's network (section 3.5), in two readings.

    Args:
        preset: "paper", the text; or "original", the source's `layers/layers-145.cfg`: conv1 is
            normalised before its ReLU, which follows pool1; alpha is divided by n; conv2 gets a
            second, same-map norm; conv3-5 start from a standard deviation of .03.
        init: "paper", "original" or "caffe" (bvlc_alexnet's fillers); "" is the preset's own.
        towers: 2 as in the paper, or 1: the same layers, unsplit.
        kernels: of conv1..conv5; the one-GPU net (`layers-145-half.cfg`) has towers=1 and
            (48, 128, 192, 192, 256).
        hidden: neurons of fc6, fc7.
        communicate: whether conv3, fc6 and fc7 read both towers. `layers-150.cfg` does not, with
            conv2 of 320 kernels and fc6 of 8192 neurons.
        overlapping_pool: False is `layers-147.cfg`: 2x2 windows, conv2 pad 1, conv5 pad 0.
        sixth_conv: kernels of conv6 over pool5 (run 146: 256); 0 leaves it out.
    """
    _choice("net.preset", preset, ("paper", "original"))
    init = init or preset
    _choice("net.init", init, ("paper", "original", "caffe"))
    lists = {"kernels": (kernels, 5, "conv1..conv5"), "hidden": (hidden, 2, "fc6, fc7")}
    for key, (values, count, of) in lists.items():
        if [type(value) for value in values] != [int] * count:
            raise UserError(f"config.net.{key}={values!r}: expected {count} whole numbers, of {of}")
    across: Reads = "all" if communicate else "own"
    middle_std = 0.03 if init == "original" else 0.01  # conv3..conv6
    hidden_std = 0.005 if init == "caffe" else 0.01
    one = 0.1 if init == "caffe" else 1.0  # "we initialized the neuron biases ... with 1"
    divided = preset == "original"
    z, s = (3, 2) if overlapping_pool else (2, 2)

    def norm(name: str) -> Norm:
        return Norm(name, size=5, k=2.0, alpha=1e-4, beta=0.75, alpha_divided=divided)

    conv1 = Conv("conv1", kernels[0], 11, stride=4, pad=(0, 3))
    relu1, norm1, pool1 = Activation("relu1"), norm("norm1"), Pool("pool1", z, s)
    first = (conv1, relu1, norm1, pool1) if preset == "paper" else (conv1, norm1, pool1, relu1)
    second = (
        Conv("conv2", kernels[1], 5, pad=2 if overlapping_pool else 1, bias=one),
        Activation("relu2"),
        norm("norm2"),
        # scale .001, pow .75 in layer-params-145.cfg; the additive constant of the same-map
        # kernel is not published there and taken as cuda-convnet's 1
        *((Norm("cnorm2", 5, k=1.0, alpha=1e-3, over="space"),) if preset == "original" else ()),
        Pool("pool2", z, s),
    )
    middle = (
        Conv("conv3", kernels[2], 3, pad=1, reads=across, std=middle_std),
        Activation("relu3"),
        Conv("conv4", kernels[3], 3, pad=1, std=middle_std, bias=one),
        Activation("relu4"),
        Conv("conv5", kernels[4], 3, pad=int(overlapping_pool), std=middle_std, bias=one),
        Activation("relu5"),
        Pool("pool5", z, s),
    )
    sixth = (
        Conv("conv6", sixth_conv, 3, pad=1, reads="all", std=middle_std, bias=one),
        Activation("relu6"),
    )
    full = (
        Dense("fc6", hidden[0], reads=across, std=hidden_std, bias=one),
        Activation("relu_fc6" if sixth_conv else "relu6"),
        Dropout("drop6"),
        Dense("fc7", hidden[1], reads=across, std=hidden_std, bias=one),
        Activation("relu7"),
        Dropout("drop7"),
        Dense("fc8", classes),
    )
    rows = (*first, *second, *middle, *(sixth if sixth_conv else ()), *full)
    return Net(f"alexnet ({preset})", image_size, classes, towers, rows)


def cc2(*, classes: int, image_size: int = 224) -> Net:
    """The author's later net in one tower (cuda-convnet2, `layers/layers-223-1gpu.cfg`).

    Its 61,100,840 parameters are those of torchvision's `alexnet`. The -7 of fc8's biases is about
    -ln(1000), for a logistic output; behind a softmax it changes nothing.
    """
    rows = (
        Conv("conv1", 64, 11, stride=4, pad=(0, 3)),
        Norm("norm1"),
        Pool("pool1"),
        Activation("relu1"),
        Conv("conv2", 192, 5, pad=2, bias=1.0),
        Activation("relu2"),
        Norm("norm2"),
        Pool("pool2"),
        Conv("conv3", 384, 3, pad=1, std=0.03),
        Activation("relu3"),
        Conv("conv4", 256, 3, pad=1, std=0.03, bias=1.0),
        Activation("relu4"),
        Conv("conv5", 256, 3, pad=1, std=0.03, bias=1.0),
        Pool("pool5"),
        Activation("relu5"),
        Dense("fc6", 4096, bias=1.0),
        Activation("relu6"),
        Dropout("drop6"),
        Dense("fc7", 4096, bias=1.0),
        Activation("relu7"),
        Dropout("drop7"),
        Dense("fc8", classes, bias=-7.0),
    )
    return Net("cuda-convnet2", image_size, classes, 1, rows)


def pocket(*, classes: int = 10, towers: int = 2, image_size: int = 28) -> Net:
    """AlexNet for small images and small machines: the same rows, fewer and smaller kernels.

    It is not in the paper. Its layers carry the paper's names, so that what one tries here
    (`remove=conv4`, `activation=tanh`, `norm=False`) reads the same on the real one.
    """
    rows = (
        Conv("conv1", 32, 5, pad=2, std=0.01),
        Activation("relu1"),
        Norm("norm1"),
        Pool("pool1"),
        Conv("conv2", 64, 5, pad=2, std=0.05, bias=0.1),
        Activation("relu2"),
        Norm("norm2"),
        Pool("pool2"),
        Conv("conv3", 96, 3, pad=1, reads="all", std=0.05),
        Activation("relu3"),
        Conv("conv4", 96, 3, pad=1, std=0.05, bias=0.1),
        Activation("relu4"),
        Conv("conv5", 64, 3, pad=1, std=0.05, bias=0.1),
        Activation("relu5"),
        Pool("pool5"),
        Dense("fc6", 256, std=0.05, bias=0.1),
        Activation("relu6"),
        Dropout("drop6"),
        Dense("fc7", 256, std=0.05, bias=0.1),
        Activation("relu7"),
        Dropout("drop7"),
        Dense("fc8", classes, std=0.05),
    )
    return Net("pocket alexnet", image_size, classes, towers, rows)


def cifar_80sec(*, classes: int = 10, image_size: int = 32) -> Net:
    """cuda-convnet's "26% error in 80 seconds" (`layers-80sec.cfg`)."""
    return Net("cifar 80sec", image_size, classes, 1, (*_quick_convs(), *_quick_head(classes)))


def _quick_head(classes: int) -> tuple[Row, ...]:
    return (Dense("fc64", 64, std=0.1), Activation("relu4"), Dense("fc10", classes, std=0.1))


def _quick_convs(same_map_norm: bool = False) -> tuple[Row, ...]:
    """The three convolutions that the 80sec, 19pct and 18pct nets share."""

    def norm(name: str) -> tuple[Row, ...]:
        row = Norm(name, size=3, k=1.0, alpha=5e-5, beta=0.75, over="space")
        return (row,) if same_map_norm else ()

    return (
        Conv("conv1", 32, 5, pad=2, std=1e-4),
        Pool("pool1"),
        Activation("relu1"),
        *norm("norm1"),
        Conv("conv2", 32, 5, pad=2),
        Activation("relu2"),
        Pool("pool2", kind="avg"),
        *norm("norm2"),
        Conv("conv3", 64, 5, pad=2),
        Activation("relu3"),
        Pool("pool3", kind="avg"),
    )


def cifar_19pct(*, classes: int = 10, image_size: int = 32) -> Net:
    """cuda-convnet's "19% error" (`layers-19pct.cfg`); without decay it fits Figure 1."""
    return Net("cifar 19pct", image_size, classes, 1, (*_quick_convs(), Dense("fc10", classes)))


def cifar_18pct(*, classes: int = 10, image_size: int = 32) -> Net:
    """The 19pct net with same-map response norms after pools 1 and 2 (`layers-18pct.cfg`)."""
    rows = (*_quick_convs(same_map_norm=True), Dense("fc10", classes))
    return Net("cifar 18pct", image_size, classes, 1, rows)


def cifar_conv_local_13pct(*, classes: int = 10, image_size: int = 24) -> Net:
    """Two convolutions, two locally-connected layers (`layers-conv-local-13pct.cfg`)."""
    rows = (
        Conv("conv1", 64, 5, pad=2, std=1e-4),
        Activation("relu1"),
        Pool("pool1"),
        Conv("conv2", 64, 5, pad=2),
        Activation("relu2"),
        Pool("pool2"),
        *_local_head(classes, first=32),
    )
    return Net("cifar conv-local-13pct", image_size, classes, 1, rows)


def cifar_conv_local_11pct(*, classes: int = 10, image_size: int = 24) -> Net:
    """The paper's "four-layer CNN" of section 3.3: 13% error without norm, 11% with it.

    `layers-conv-local-11pct.cfg`; its additive constant is cuda-convnet's default of 1.
    """

    def norm(name: str) -> Norm:
        return Norm(name, size=9, k=1.0, alpha=1e-3, beta=0.75)

    rows = (
        Conv("conv1", 64, 5, pad=2, std=1e-4),
        Activation("relu1"),
        Pool("pool1"),
        norm("norm1"),
        Conv("conv2", 64, 5, pad=2),
        Activation("relu2"),
        norm("norm2"),
        Pool("pool2"),
        *_local_head(classes, first=64),
    )
    return Net("cifar conv-local-11pct", image_size, classes, 1, rows)


def _local_head(classes: int, first: int) -> tuple[Row, ...]:
    return (
        Local("local3", first, 3, pad=1),
        Activation("relu3"),
        Local("local4", 32, 3, pad=1),
        Activation("relu4"),
        Dense("fc10", classes),
    )


NETS: dict[str, Callable[..., Net]] = {
    "alexnet": alexnet,
    "cc2": cc2,
    "pocket": pocket,
    "cifar_80sec": cifar_80sec,
    "cifar_19pct": cifar_19pct,
    "cifar_18pct": cifar_18pct,
    "cifar_conv_local_13pct": cifar_conv_local_13pct,
    "cifar_conv_local_11pct": cifar_conv_local_11pct,
    "torchvision_alexnet": frameworks.torchvision_alexnet,
    "caffe_alexnet": frameworks.caffe_alexnet,
    "caffenet": frameworks.caffenet,
}


# --- Edits --------------------------------------------------------------------------------------


def build(
    name: str,
    *,
    classes: int,
    activation: str = "relu",
    norm: bool = True,
    dropout: float = 0.5,
    remove: str = "",
    **options,
) -> Net:
    """A named net with the common ablations applied; `config.net` holds these arguments.

    Args:
        name: one of NETS; `options` are that function's own arguments.
        activation: one of ACTIVATIONS, in place of every ReLU (Figure 1).
        norm: False leaves out every response norm (run 148).
        dropout: the rate of every dropout layer; 0 leaves dropout out.
        remove: rows to drop by name, separated by commas, such as "conv4" or "conv3,conv4"; a
            removed layer takes its own nonlinearity and dropout along.

    Raises:
        UserError: for an unknown name or option, or a table whose shapes cannot fit.
    """
    _choice("net.name", name, tuple(NETS))
    _choice("net.activation", activation, ACTIVATIONS)
    known = inspect.signature(NETS[name]).parameters
    for option in options:
        if option not in known:
            raise UserError(
                f"config.net.{option}: net {name} has no such option{nearest(option, known)}"
            )
    if not 0 <= dropout < 1:
        raise UserError(
            f"config.net.dropout={dropout}: a probability from 0 up to, not including, 1"
        )
    for option, least in (("towers", 1), ("image_size", 1)):
        if option in options and options[option] < least:
            raise UserError(f"config.net.{option}={options[option]}: must be at least {least}")
    net = NETS[name](classes=classes, **options)
    rows = _remove(net, [part.strip() for part in remove.split(",") if part.strip()])
    if not norm:
        rows = [row for row in rows if not isinstance(row, Norm)]
    rows = [
        dataclasses.replace(row, name=row.name.replace("relu", activation), kind=activation)
        if isinstance(row, Activation)
        else dataclasses.replace(row, rate=dropout)
        if isinstance(row, Dropout)
        else row
        for row in rows
        if not (isinstance(row, Dropout) and dropout == 0)
    ]
    net = dataclasses.replace(net, rows=tuple(rows))
    if not rows or not isinstance(rows[-1], Dense) or rows[-1].neurons != classes:
        raise UserError(
            f"net {net.name}: no layer gives the {classes} classes; keep the last layer in "
            f"config.net.remove={remove!r}"
        )
    layers(net)
    return net


def _remove(net: Net, names: Sequence[str]) -> list[Row]:
    known = [row.name for row in net.rows]
    gone, layer_is_gone = set(names), False
    for name in names:
        if name not in known:
            raise UserError(
                f"config.net.remove: net {net.name} has no layer {name!r}{nearest(name, known)}"
            )
    for row in net.rows:
        # A layer's nonlinearity and dropout are those before the next layer: in `original`, norm1
        # and pool1 stand between conv1 and its ReLU.
        if isinstance(row, Weighted):
            layer_is_gone = row.name in gone
        elif isinstance(row, Activation | Dropout) and layer_is_gone:
            gone.add(row.name)
    return [row for row in net.rows if row.name not in gone]


def _choice(key: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        choices = ", ".join(allowed)
        raise UserError(f"config.{key}={value!r}: choose one of {choices}{nearest(value, allowed)}")


def defaults(name: str) -> dict[str, Any]:
    """The options of a net with their defaults: those of `build` and of its own function."""
    _choice("net.name", name, tuple(NETS))
    parameters = [p for f in (build, NETS[name]) for p in inspect.signature(f).parameters.values()]
    options = {p.name: p.default for p in parameters if p.default is not p.empty}
    return {"classes": 1000} | options


def main(argv: Sequence[str]) -> None:
    """Prints the table of the net named first; its options follow as --name=value."""
    if not argv or argv[0].startswith("-"):
        raise UserError(f"which net? write one of {', '.join(NETS)} first")
    name, options = argv[0], defaults(argv[0])
    for key, text in arguments(argv[1:]).items():
        if key not in options:
            raise UserError(f"--{key}: net {name} has no such option{nearest(key, options)}")
        options[key] = typed(key, text, options[key])
    print(describe(build(name, **options)))


if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
