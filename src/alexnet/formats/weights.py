"""A net's weights in a file of one of the formats; its suffix names the format."""

import contextlib
import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from alexnet import files
from alexnet.errors import UserError, choice, one_line
from alexnet.formats import caffe, layout, safetensors, torchvision
from alexnet.models import network
from alexnet.models.build import defaults
from alexnet.models.table import Net
from alexnet.text import difference

SUFFIXES = (".caffemodel", ".safetensors", ".pth", ".pt")
STATISTICS = "statistics"  # prefix in our own files of what is not weights: mean image, PCA
DIGEST = "sha256"  # in the metadata: a digest of the metadata and the arrays
MEND = "export it again"
TYPES = {"config": dict, "classes": int, "class_names": list}
CLASSES = "classes"  # in the metadata, under torchvision's names: the class names as JSON
OURS = "alexnet"  # the metadata of our own .safetensors: {"config": ..., "classes": ...} as JSON


def read_weights(
    source: Path,
    net_name: str,
    make_net: Callable[[int], Net],
    check_config: Callable[[dict[str, Any]], None],
) -> tuple[Net, layout.Params, dict[str, np.ndarray]]:
    """(net, weights, statistics) in `source`: the mean image and colour PCA by name, {} without.

    Args:
        net_name: the net's name in the config.
        make_net: f(number of classes in the file) -> the net, which may have another number.
        check_config: checks the config in one of our own files; raises UserError if it is another
            net's.

    Raises:
        UserError: naming the array and both shapes where they do not fit.
    """
    framework: ModuleType = torchvision
    metadata: dict[str, str] = {}
    order: list[str] = []
    check_suffix(source)
    match source.suffix:
        case ".caffemodel":
            framework = caffe
            arrays, order = caffe.read_caffemodel(source)
        case ".safetensors":
            arrays, metadata = safetensors.read_safetensors(source)
        case _:
            arrays = torchvision.read_pth(source)
    if OURS in metadata:
        exported = _described(source, metadata)
        _check_digest(source, metadata, arrays)
        check_config(exported["config"])
        net = make_net(exported["classes"])
        if net.classes != exported["classes"]:
            raise UserError(
                f"{source} has {exported['classes']} classes, the config's dataset {net.classes}"
                + _other_classes(exported["classes"])
            )
        params: layout.Params = {}
        for name, array in arrays.items():
            layer, _, part = name.rpartition(".")
            params.setdefault(layer, {})[part] = array
        statistics = params.pop(STATISTICS, {})
        network.check(net, params, str(source))
        return net, params, statistics
    if net_name not in framework.NETS:
        raise UserError(
            f"{source} is for net {' or '.join(framework.NETS)}, not {net_name!r}: see the "
            "variants of configs/imagenet.py"
        )
    last = arrays.get(f"{framework.NAMES['fc8']}.bias", np.empty(1000))
    net = make_net(last.size)
    found = {name: array.shape for name, array in arrays.items()}
    expected = layout.shapes(net, framework.NAMES)
    if line := difference(found, str(source), expected, f"net {net.name}"):
        if net.classes != last.size:
            line += _other_classes(last.size)
        raise UserError(line)
    if framework is caffe:
        caffe.check_order(net, order, source)
    return net, layout.ours(net, framework.NAMES, arrays), {}


def _other_classes(count: int) -> str:
    return (
        f"; for its {count} classes, take a config whose dataset has as many, or is not prepared "
        "yet, such as configs/folder.py:torchvision"
    )


def check_suffix(source: Path) -> None:
    """Raises UserError for a file that cannot hold weights, by its suffix."""
    if source.suffix == ".stablehlo":
        raise UserError(f"{source} is a program, not weights: export the run as .safetensors")
    if source.suffix not in SUFFIXES:
        raise UserError(f"{source}: its suffix must be {', '.join(SUFFIXES)}")


def about(source: Path) -> dict[str, Any]:
    """The metadata of one of our own .safetensors; {} for any other file.

    It has the config, classes and, unless the file is old, class_names.
    """
    if source.suffix != ".safetensors":
        return {}
    _, metadata = safetensors.read_safetensors(source, whole=False)
    return _described(source, metadata) if OURS in metadata else {}


def class_names(source: Path) -> tuple[str, ...]:
    """The classes that a .safetensors of this project names; () for any other file, or without.

    Also under torchvision's names, which carry no digest: then they are checked by their number.
    """
    if source.suffix != ".safetensors":
        return ()
    _, metadata = safetensors.read_safetensors(source, whole=False)
    if OURS in metadata:
        return tuple(_described(source, metadata).get("class_names", ()))
    with contextlib.suppress(ValueError):
        found = json.loads(metadata.get(CLASSES, "[]"))
        if isinstance(found, list) and all(isinstance(name, str) for name in found):
            return tuple(found)
    return ()


def check_target(target: Path, names: str) -> None:
    """Raises UserError for an unknown suffix or unknown `names`."""
    if target.suffix not in (".safetensors", ".stablehlo"):
        raise UserError("end it in .safetensors or .stablehlo", f"target={target}")
    choice("names", names, ("own", "torchvision"))


def check_names(target: Path, names: str, net: Mapping[str, Any]) -> None:
    """Raises UserError if `names` are not possible for this suffix and `config.net`."""
    if names != "torchvision":
        return
    if target.suffix != ".safetensors" or net["name"] not in torchvision.NETS:
        what = f"only possible for a .safetensors of net {torchvision.NETS[0]}"
        raise UserError(what, f"names={names!r}")
    if net["activation"] != "relu":  # weights do not show it
        what = f"torchvision's AlexNet has ReLUs, this net has activation={net['activation']!r}"
        raise UserError(what, f"names={names!r}")
    if (size := net["image_size"]) != (theirs := defaults(net["name"])["image_size"]):
        what = f"torchvision's AlexNet reads {theirs} pixels, this net has image_size={size}"
        raise UserError(what, f"names={names!r}")
    if net["remove"]:
        what = f"torchvision's AlexNet has all its layers, this net has remove={net['remove']!r}"
        raise UserError(what, f"names={names!r}")


def content(
    names: str,
    net: Net,
    params: layout.Params,
    described: dict[str, Any],
    kept: dict[str, np.ndarray],
) -> bytes:
    """The bytes of a .safetensors with these names, which `check_names` has accepted.

    Args:
        described: {"config": ..., "class_names": [...]}, which `about` reads back.
        kept: the statistics' arrays by name, which `read_weights` gives back.
    """
    params = {
        name: {part: np.asarray(x, np.float32) for part, x in layer.items()}
        for name, layer in params.items()
    }  # as they will be read
    if names == "torchvision":
        theirs = layout.theirs(net, torchvision.NAMES, params)
        return safetensors.content(
            theirs, {"format": "pt", CLASSES: json.dumps(described["class_names"])}
        )
    arrays = {f"{name}.{part}": x for name in params for part, x in params[name].items()}
    arrays |= {f"{STATISTICS}.{name}": x for name, x in kept.items()}
    text = json.dumps(described | {"classes": net.classes})
    return safetensors.content(arrays, {OURS: text, DIGEST: _digest(text, arrays)})


def _described(source: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    """The metadata of one of our own files. Raises UserError if it is damaged."""
    try:
        found = json.loads(metadata[OURS])
    except ValueError as error:
        raise UserError(f"{source} is damaged ({one_line(error)}): {MEND}") from None
    if not isinstance(found, dict):
        raise UserError(f"{source} is damaged (it describes no net): {MEND}")
    files.check_fields({"class_names": [], **found}, TYPES, str(source), MEND)
    return found


def _digest(text: str, arrays: layout.Arrays) -> str:
    """SHA-256 of a file's metadata and of its arrays by name."""
    found = hashlib.sha256(text.encode())
    for name, array in sorted(arrays.items()):
        found.update(f"\n{name} {array.dtype} {array.shape}\n".encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()


def _check_digest(source: Path, metadata: Mapping[str, str], arrays: layout.Arrays) -> None:
    """Raises UserError if the file differs from its digest; earlier versions wrote none."""
    if DIGEST in metadata and metadata[DIGEST] != _digest(metadata[OURS], arrays):
        raise UserError(f"{source} is damaged (its digest differs): {MEND}")
