"""Writes a classifier to a file, with its classes and its preprocessing of photos."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from alexnet import files
from alexnet.data import augment
from alexnet.errors import UserError
from alexnet.formats import stablehlo, weights
from alexnet.training import forward
from alexnet.workdir import record

if TYPE_CHECKING:
    from alexnet.inference.classifier import Classifier


def export(net: "Classifier", target: Path, names: str) -> None:
    """See `Classifier.export`."""
    if target.exists():
        raise UserError("already exists: delete it, or choose another name", f"target={target}")
    weights.check_target(target, names)
    weights.check_names(target, names, net.config.net)
    if target.suffix == ".stablehlo":
        content = net.precise(stablehlo.content)(_crops(net), net.net.image_size, net.classes)
    else:  # nets of ImageNet get the names of their classes when the file is read
        described = {
            "config": record.versioned(net.config),
            "class_names": list(net.about.classes),
        }
        kept = {} if net.about.statistics is None else net.about.statistics._asdict()
        content = weights.content(names, net.net, jax.device_get(net.params), described, kept)
    try:
        with files.whole(target) as partial:
            partial.write_bytes(content)
    except OSError as error:
        raise UserError(f"cannot write there: {error.strerror}", f"target={target}") from None


def _crops(net: "Classifier") -> Callable[[jax.Array], jax.Array]:
    """images uint8 [b, net's size, net's size, 3] -> logits, with the centre of the mean image."""
    statistics = net.about.statistics
    if statistics is not None:
        central = augment.centre(jnp.asarray(statistics.mean_HWC), net.net.image_size)
        statistics = statistics._replace(mean_HWC=np.asarray(central))
    f = forward.evaluation(net.net, None, net.about.augmentation)
    return lambda images_BHWC: f(net.params, images_BHWC, statistics, 0)
