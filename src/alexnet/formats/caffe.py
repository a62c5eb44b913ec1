"""Caffe's .caffemodel: the layers of a NetParameter message (`caffe.proto`) with their weights."""

from pathlib import Path

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory

from alexnet import files
from alexnet.errors import UserError, one_line
from alexnet.models.table import Net

NETS = ("caffe_alexnet", "caffenet")
_LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")
NAMES = {name: name for name in _LAYERS}  # the same as here

_FIELD = descriptor_pb2.FieldDescriptorProto
# Message -> field -> (number, type): the part of caffe.proto that is read here. Packed numbers are
# read as bytes: 60 million Python floats would take minutes.
_MESSAGES = {
    "BlobShape": {"dim": (1, _FIELD.TYPE_INT64)},
    "BlobProto": {
        "num": (1, _FIELD.TYPE_INT32),
        "channels": (2, _FIELD.TYPE_INT32),
        "height": (3, _FIELD.TYPE_INT32),
        "width": (4, _FIELD.TYPE_INT32),
        "data": (5, _FIELD.TYPE_BYTES),
        "shape": (7, "BlobShape"),
    },
    "V1LayerParameter": {"name": (4, _FIELD.TYPE_STRING), "blobs": (6, "BlobProto")},
    "LayerParameter": {"name": (1, _FIELD.TYPE_STRING), "blobs": (7, "BlobProto")},
    "NetParameter": {"layers": (2, "V1LayerParameter"), "layer": (100, "LayerParameter")},
}
_REPEATED = {"dim", "blobs", "layers", "layer"}


def read_caffemodel(path: Path) -> tuple[dict[str, np.ndarray], list[str]]:
    """({"conv1.weight": float32, "conv1.bias": ...}, the names of all layers in their order).

    Reads files of today's Caffe and those with the older `layers`. Raises UserError for a file
    that is damaged or not Caffe's.
    """
    net, content = _net_parameter(), files.read_bytes(path)
    try:
        net.ParseFromString(content)
    except message.DecodeError as error:
        raise UserError(f"{path} is damaged, or not a .caffemodel: {one_line(error)}") from None
    layers = [*net.layers, *net.layer]
    if not any(layer.blobs for layer in layers):
        raise UserError(f"{path} is not a .caffemodel: it has no layer with weights")
    arrays = {}
    for layer in layers:
        for number, blob in enumerate(layer.blobs):
            part = ("weight", "bias")[number] if number < 2 else f"blob {number}"
            arrays[f"{layer.name}.{part}"] = _array(blob, f"{layer.name}.{part}", path)
    return arrays, [layer.name for layer in layers]


def check_order(net: Net, names: list[str], path: Path) -> None:
    """Raises UserError if the file's layers come in another order than the net's.

    caffe_alexnet and caffenet have weights of the same shapes: only this order tells their files
    apart.
    """
    rows = [row.name for row in net.rows]
    found = [name for name in dict.fromkeys(names) if name in rows]
    for name, expected in zip(found, [row for row in rows if row in found], strict=True):
        if name != expected:
            raise UserError(
                f"{path} has {name} before {expected}, but net {net.name} has {expected} before "
                f"{name}; choose another variant: {' or '.join(NETS)}"
            )


def _array(blob: message.Message, name: str, path: Path) -> np.ndarray:
    values = np.frombuffer(blob.data[: len(blob.data) // 4 * 4], "<f4").astype(np.float32)
    shape = tuple(blob.shape.dim) or (blob.num, blob.channels, blob.height, blob.width)
    if np.prod(shape) != values.size:
        raise UserError(f"{path}: {name} is damaged: {values.size} numbers for shape {shape}")
    if name.endswith(".bias"):
        return values
    # In files older than `shape`, fully-connected weights have two leading axes of 1.
    return values.reshape(shape[2:] if shape[:2] == (1, 1) else shape)


def _net_parameter() -> message.Message:
    file = descriptor_pb2.FileDescriptorProto(name="caffe.proto", package="caffe", syntax="proto2")
    for message_name, fields in _MESSAGES.items():
        described = file.message_type.add(name=message_name)
        for name, (number, kind) in fields.items():
            label = _FIELD.LABEL_REPEATED if name in _REPEATED else _FIELD.LABEL_OPTIONAL
            field = described.field.add(name=name, number=number, label=label)
            if isinstance(kind, str):
                field.type, field.type_name = _FIELD.TYPE_MESSAGE, f".caffe.{kind}"
            else:
                field.type = kind
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("caffe.NetParameter"))()
