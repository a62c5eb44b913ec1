"""AlexNet as torchvision and Caffe define it; `alexnet.convert` reads their published weights."""

import math

from alexnet.models.table import Activation, Conv, Dense, Dropout, Net, Norm, Pixels, Pool, Row


def torchvision_alexnet(*, classes: int, image_size: int = 224) -> Net:
    """torchvision's `models.alexnet`: the single tower of "One weird trick" (2014), without norms.

    Dropout comes before fc6 and fc7, and is inverted. PyTorch draws weights and biases uniformly
    from +-1/sqrt(inputs); here weights are normal with the same deviation, and biases zero.
    """

    def std(inputs: int) -> float:
        return 1 / math.sqrt(3 * inputs)

    rows = (
        Conv("conv1", 64, 11, stride=4, pad=2, std=std(11 * 11 * 3)),
        Activation("relu1"),
        Pool("pool1"),
        Conv("conv2", 192, 5, pad=2, std=std(5 * 5 * 64)),
        Activation("relu2"),
        Pool("pool2"),
        Conv("conv3", 384, 3, pad=1, std=std(3 * 3 * 192)),
        Activation("relu3"),
        Conv("conv4", 256, 3, pad=1, std=std(3 * 3 * 384)),
        Activation("relu4"),
        Conv("conv5", 256, 3, pad=1, std=std(3 * 3 * 256)),
        Activation("relu5"),
        Pool("pool5"),
        Dropout("drop5", inverted=True),
        Dense("fc6", 4096, std=std(6 * 6 * 256)),
        Activation("relu6"),
        Dropout("drop6", inverted=True),
        Dense("fc7", 4096, std=std(4096)),
        Activation("relu7"),
        Dense("fc8", classes, std=std(4096)),
    )
    deviation = (255 * 0.229, 255 * 0.224, 255 * 0.225)
    return Net("torchvision alexnet", image_size, classes, 1, rows, Pixels(deviation=deviation))


def caffe_alexnet(*, classes: int, image_size: int = 227) -> Net:
    """Caffe's `bvlc_alexnet`: the paper's order of layers; biases of 0.1 where the paper has 1."""
    return _caffe("caffe alexnet", classes, image_size, constant=0.1, pool_first=False)


def caffenet(*, classes: int, image_size: int = 227) -> Net:
    """Caffe's `bvlc_reference_caffenet`: it pools before it normalises."""
    return _caffe("caffenet", classes, image_size, constant=1.0, pool_first=True)


def _caffe(name: str, classes: int, image_size: int, constant: float, pool_first: bool) -> Net:
    """A net of Caffe's; its groups are two towers, `constant` is the bias where the paper has 1."""

    def end(number: int) -> tuple[Row, ...]:  # what follows relu1 and relu2
        # Caffe keeps all maps in one array: its norm, unlike its convolutions, has no groups.
        norm = Norm(f"norm{number}", size=5, k=1.0, alpha=1e-4, beta=0.75, reads="all")
        pool = Pool(f"pool{number}")
        return (pool, norm) if pool_first else (norm, pool)

    rows = (
        Conv("conv1", 96, 11, stride=4),
        Activation("relu1"),
        *end(1),
        Conv("conv2", 256, 5, pad=2, bias=constant),
        Activation("relu2"),
        *end(2),
        Conv("conv3", 384, 3, pad=1, reads="all"),
        Activation("relu3"),
        Conv("conv4", 384, 3, pad=1, bias=constant),
        Activation("relu4"),
        Conv("conv5", 256, 3, pad=1, bias=constant),
        Activation("relu5"),
        Pool("pool5"),
        Dense("fc6", 4096, std=0.005, bias=constant),
        Activation("relu6"),
        Dropout("drop6", inverted=True),
        Dense("fc7", 4096, std=0.005, bias=constant),
        Activation("relu7"),
        Dropout("drop7", inverted=True),
        Dense("fc8", classes),
    )
    return Net(name, image_size, classes, 2, rows, Pixels(order="BGR"))
