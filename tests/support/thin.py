"""The frameworks' nets with few kernels, random weights as their files hold them, and such files.

Nothing here comes from alexnet.formats: shapes, names and messages are written down again.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from alexnet.models import frameworks
from alexnet.models.table import Conv, Dense, Net

Arrays = dict[str, np.ndarray]

KERNELS = {"conv1": 8, "conv2": 12, "conv3": 16, "conv4": 12, "conv5": 8, "fc6": 12, "fc7": 10}
FC = {"fc6": (12, 8 * 2 * 2), "fc7": (10, 12)}
TORCHVISION = {
    "features.0": (8, 3, 11, 11),
    "features.3": (12, 8, 5, 5),
    "features.6": (16, 12, 3, 3),
    "features.8": (12, 16, 3, 3),
    "features.10": (8, 12, 3, 3),
    "classifier.1": FC["fc6"],
    "classifier.4": FC["fc7"],
}
CAFFE = {
    "conv1": (8, 3, 11, 11),
    "conv2": (12, 8 // 2, 5, 5),
    "conv3": (16, 12, 3, 3),
    "conv4": (12, 16 // 2, 3, 3),
    "conv5": (8, 12 // 2, 3, 3),
    **FC,
}
SIDES = {"torchvision_alexnet": 95, "caffe_alexnet": 99, "caffenet": 99}  # maps of 23, 11, 5, 2
_TAIL = ("conv3", "relu3", "conv4", "relu4", "conv5", "relu5", "pool5", "fc6", "relu6", "drop6")
ORDER = {
    "caffe_alexnet": (
        *("data", "conv1", "relu1", "norm1", "pool1", "conv2", "relu2", "norm2", "pool2"),
        *(*_TAIL, "fc7", "relu7", "drop7", "fc8", "loss"),
    ),
    "caffenet": (
        *("data", "conv1", "relu1", "pool1", "norm1", "conv2", "relu2", "pool2", "norm2"),
        *(*_TAIL, "fc7", "relu7", "drop7", "fc8", "loss"),
    ),
}


def thin(name: str) -> Callable[..., Net]:
    """`alexnet.models.frameworks`' net of this name, for images of `SIDES`."""

    def net(*, classes: int, image_size: int = SIDES[name]) -> Net:
        full = getattr(frameworks, name)(classes=classes, image_size=image_size)
        rows = [
            dataclasses.replace(row, kernels=KERNELS[row.name])
            if isinstance(row, Conv)
            else dataclasses.replace(row, neurons=KERNELS[row.name])
            if isinstance(row, Dense) and row.name in KERNELS
            else row
            for row in full.rows
        ]
        return dataclasses.replace(full, rows=tuple(rows))

    return net


def weights(name: str, classes: int = 7) -> Arrays:
    """float32, under which every layer matters: norms divide, half of the ReLUs are off."""
    random = np.random.default_rng(0)
    torch = name == "torchvision_alexnet"
    layers = (TORCHVISION if torch else CAFFE) | {"classifier.6" if torch else "fc8": (classes, 10)}
    found = {}
    for layer, shape in layers.items():
        weight = random.normal(size=shape) / np.sqrt(np.prod(shape[1:]))
        found |= {f"{layer}.weight": weight, f"{layer}.bias": random.normal(size=shape[0])}
    return {layer: array.astype(np.float32) for layer, array in found.items()}


def images(name: str, count: int = 3) -> np.ndarray:
    """uint8, of the net's size."""
    shape = (count, SIDES[name], SIDES[name], 3)
    return np.random.default_rng(1).integers(0, 256, shape, np.uint8)


@functools.cache
def _messages() -> dict[str, type]:
    """caffe.proto's messages, the fields that trained weights need, numbers packed as there."""
    kind = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="written.proto", package="caffe")
    file.syntax = "proto2"
    for name, fields in {
        "BlobShape": [("dim", 1, kind.TYPE_INT64, "packed")],
        "BlobProto": [
            *((name, n, kind.TYPE_INT32, "") for n, name in enumerate(LEGACY_AXES, 1)),
            ("data", 5, kind.TYPE_FLOAT, "packed"),
            ("diff", 6, kind.TYPE_FLOAT, "packed"),
            ("shape", 7, ".caffe.BlobShape", ""),
        ],
        "V1LayerParameter": [
            ("bottom", 2, kind.TYPE_STRING, "repeated"),
            ("name", 4, kind.TYPE_STRING, ""),
            ("type", 5, kind.TYPE_INT32, ""),
            ("blobs", 6, ".caffe.BlobProto", "repeated"),
        ],
        "LayerParameter": [
            ("name", 1, kind.TYPE_STRING, ""),
            ("type", 2, kind.TYPE_STRING, ""),
            ("blobs", 7, ".caffe.BlobProto", "repeated"),
        ],
        "NetParameter": [
            ("name", 1, kind.TYPE_STRING, ""),
            ("layers", 2, ".caffe.V1LayerParameter", "repeated"),
            ("layer", 100, ".caffe.LayerParameter", "repeated"),
        ],
    }.items():
        described = file.message_type.add(name=name)
        for field, number, type_, how in fields:
            label = kind.LABEL_REPEATED if how else kind.LABEL_OPTIONAL
            added = described.field.add(name=field, number=number, label=label)
            added.options.packed = how == "packed"
            if isinstance(type_, str):
                added.type, added.type_name = kind.TYPE_MESSAGE, type_
            else:
                added.type = type_
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"caffe.{name}"))
        for name in ("NetParameter", "BlobProto")
    }


LEGACY_AXES = ("num", "channels", "height", "width")
TYPES = {"conv": "Convolution", "fc": "InnerProduct"}


def caffemodel(arrays: Arrays, order: Iterable[str], old: bool = False) -> bytes:
    """A .caffemodel; `old`: as Caffe wrote it before `layer` and `shape`."""
    net = _messages()["NetParameter"](name="thin")
    for name in order:
        layer = net.layers.add(name=name) if old else net.layer.add(name=name)
        if not old:
            layer.type = TYPES.get(name.rstrip("0123456789"), "Other")
        for part in ("weight", "bias"):
            if f"{name}.{part}" not in arrays:
                continue
            array = arrays[f"{name}.{part}"]
            blob = layer.blobs.add(data=array.ravel(), diff=np.zeros(3))
            if old:
                shape = (1,) * (4 - array.ndim) + array.shape
                for axis, size in zip(LEGACY_AXES, shape, strict=True):
                    setattr(blob, axis, size)
            else:
                blob.shape.dim.extend(array.shape)
    return net.SerializeToString()
