"""The paper's network (section 3.5), as in its text and in its 2012 source, and a small one."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

from alexnet.errors import UserError
from alexnet.models.table import Activation, Conv, Dense, Dropout, Net, Norm, Pool, Reads, Weighted


def alexnet(
    *,
    classes: int,
    preset: Literal["paper", "original"] = "original",
    init: Literal["", "paper", "original", "caffe"] = "",
    towers: int = 2,
    image_size: int = 224,
    kernels: Sequence[int] = (96, 256, 384, 384, 256),
    hidden: Sequence[int] = (4096, 4096),
    communicate: bool = True,
    overlapping_pool: bool = True,
    sixth_conv: int = 0,
) -> Net:
    """The paper's network (section 3.5), in two readings: its text and its source.

    Args:
        preset: "paper" follows the text. "original" follows the source's `layers/layers-145.cfg`:
            norm1 and pool1 come before conv1's ReLU; alpha is divided by n; conv2 gets a second,
            same-map norm; conv3 to conv6 start from a standard deviation of .03.
        init: the initial weights and biases: "paper", "original" or "caffe" (bvlc_alexnet's
            fillers); "" follows the preset.
        towers: 2 as in the paper, or 1: the same layers, unsplit.
        kernels: the numbers of kernels of conv1..conv5; the one-GPU net (`layers-145-half.cfg`) has
            towers=1 and (48, 128, 192, 192, 256).
        hidden: numbers of neurons of fc6 and fc7.
        communicate: whether conv3, fc6 and fc7 read both towers. In `layers-150.cfg` they do not,
            and conv2 has 320 kernels and fc6 has 8192 neurons.
        overlapping_pool: False is `layers-147.cfg`: 2x2 windows, conv2 pad 1, conv5 pad 0.
        sixth_conv: kernels of a conv6 after pool5 (256 in the authors' run 146); 0 leaves it out.
    """
    init = init or preset
    _check_lists(kernels, hidden)
    across: Reads = "all" if communicate else "own"
    middle_std = 0.03 if init == "original" else 0.01  # conv3..conv6
    hidden_std = 0.005 if init == "caffe" else 0.01
    constant = 0.1 if init == "caffe" else 1.0  # section 5: biases "with the constant 1"
    divided = preset == "original"
    z, s = (3, 2) if overlapping_pool else (2, 2)
    conv2_pad, conv5_pad = (2, 1) if overlapping_pool else (1, 0)

    def norm(name: str) -> Norm:
        return Norm(name, size=5, k=2.0, alpha=1e-4, beta=0.75, alpha_divided=divided)

    conv1 = Conv("conv1", kernels[0], 11, stride=4, pad=(0, 3))
    relu1, norm1, pool1 = Activation("relu1"), norm("norm1"), Pool("pool1", z, s)
    first = (conv1, relu1, norm1, pool1) if preset == "paper" else (conv1, norm1, pool1, relu1)
    second = (
        Conv("conv2", kernels[1], 5, pad=conv2_pad, bias=constant),
        Activation("relu2"),
        norm("norm2"),
        # scale .001, pow .75 in layer-params-145.cfg; the same-map norm's additive constant is not
        # published there, so it is cuda-convnet's 1
        *((Norm("cnorm2", 5, k=1.0, alpha=1e-3, over="space"),) if preset == "original" else ()),
        Pool("pool2", z, s),
    )
    middle = (
        Conv("conv3", kernels[2], 3, pad=1, reads=across, std=middle_std),
        Activation("relu3"),
        Conv("conv4", kernels[3], 3, pad=1, std=middle_std, bias=constant),
        Activation("relu4"),
        Conv("conv5", kernels[4], 3, pad=conv5_pad, std=middle_std, bias=constant),
        Activation("relu5"),
        Pool("pool5", z, s),
    )
    sixth = (
        Conv("conv6", sixth_conv, 3, pad=1, reads="all", std=middle_std, bias=constant),
        Activation("relu_conv6"),
    )
    full = (
        Dense("fc6", hidden[0], reads=across, std=hidden_std, bias=constant),
        Activation("relu6"),
        Dropout("drop6"),
        Dense("fc7", hidden[1], reads=across, std=hidden_std, bias=constant),
        Activation("relu7"),
        Dropout("drop7"),
        Dense("fc8", classes),
    )
    rows = (*first, *second, *middle, *(sixth if sixth_conv else ()), *full)
    return Net(f"alexnet ({preset})", image_size, classes, towers, rows)


def pocket(
    *,
    classes: int = 10,
    preset: Literal["", "paper", "original"] = "",
    init: Literal["", "paper", "original", "caffe"] = "",
    towers: int = 2,
    image_size: int = 28,
    kernels: Sequence[int] = (32, 64, 96, 96, 64),
    hidden: Sequence[int] = (256, 256),
    communicate: bool = True,
    overlapping_pool: bool = True,
    sixth_conv: int = 0,
) -> Net:
    """AlexNet for small images and small machines: the same rows, with fewer and smaller kernels.

    It is not in the paper. Its layers have the paper's names, so an ablation
    (`remove=conv4`, `activation=tanh`, `norm=False`) is written as for the paper's net.

    Args:
        preset: "paper" or "original": the rows of that reading; "": the text's rows, but with
            alpha divided by n.
        init: the initial weights and biases, as in "paper", "original" or "caffe"; "" has larger
            standard deviations from conv2 on, as these layers have fewer inputs, and biases of .1.
        towers: 2 as in the paper, or 1: the same layers, unsplit.
        kernels: the numbers of kernels of conv1..conv5.
        hidden: numbers of neurons of fc6 and fc7.
        communicate: whether conv3, fc6 and fc7 read both towers; a conv6 and fc8 always do.
        overlapping_pool: False is 2x2 windows and an unpadded conv5: pooled maps keep their sizes
            at 28 pixels.
        sixth_conv: kernels of a conv6 after pool5; 0 leaves it out.
    """
    net = alexnet(
        classes=classes,
        preset=preset or "paper",
        init=init or "caffe",
        towers=towers,
        image_size=image_size,
        kernels=kernels,
        hidden=hidden,
        communicate=communicate,
        overlapping_pool=overlapping_pool,
        sixth_conv=sixth_conv,
    )
    smaller = {"conv1": {"size": 5, "stride": 1, "pad": 2}, "conv2": {"pad": 2}}
    rows = []
    for row in net.rows:
        changes: dict[str, Any] = smaller.get(row.name, {})
        if isinstance(row, Weighted) and not init and row.name != "conv1":
            changes = changes | {"std": 0.05}
        if isinstance(row, Norm) and not preset:
            changes = {"alpha_divided": True}
        rows.append(dataclasses.replace(row, **changes))
    name = f"pocket alexnet ({preset})" if preset else "pocket alexnet"
    return dataclasses.replace(net, name=name, rows=tuple(rows))


def _check_lists(kernels: Sequence[int], hidden: Sequence[int]) -> None:
    lists = {"kernels": (kernels, 5, "conv1..conv5"), "hidden": (hidden, 2, "fc6, fc7")}
    for key, (values, count, of) in lists.items():
        if [type(value) for value in values] != [int] * count:
            raise UserError(f"expected {count} whole numbers, for {of}", f"{key}={values!r}")
