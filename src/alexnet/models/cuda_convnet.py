"""Krizhevsky's other nets: cuda-convnet's for CIFAR-10, and AlexNet as cuda-convnet2 has it."""

from alexnet.models.table import Activation, Conv, Dense, Dropout, Local, Net, Norm, Pool, Row


def cifar_80sec(*, classes: int = 10, image_size: int = 32) -> Net:
    """cuda-convnet's "26% error in 80 seconds" (`layers-80sec.cfg`)."""
    rows = (
        *_quick_convs(),
        Dense("fc64", 64, std=0.1),
        Activation("relu4"),
        Dense("fc10", classes, std=0.1),
    )
    return Net("cifar 80sec", image_size, classes, 1, rows)


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
    """cuda-convnet's "19% error" (`layers-19pct.cfg`).

    Without weight decay it matches what the paper says about the net of Figure 1.
    """
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
    """Taken for the "four-layer CNN" of section 3.3: 13% error without norm, 11% with it.

    `layers-conv-local-11pct.cfg`; the norm's additive constant is cuda-convnet's default of 1.
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


def cc2(*, classes: int, image_size: int = 224) -> Net:
    """Krizhevsky's later net in one tower (cuda-convnet2, `layers/layers-223-1gpu.cfg`).

    Like torchvision's `alexnet`, it has 61,100,840 parameters. The -7 of fc8's biases is about
    -ln(1000), for a logistic output; before a softmax it changes nothing.
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
