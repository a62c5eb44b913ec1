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
from alexnet.formats import stablehlo, torchvision, weights
from alexnet.text import say
from alexnet.training import forward
from alexnet.workdir import record

if TYPE_CHECKING:
    from alexnet.inference.classifier import Classifier


def export(classifier: "Classifier", target: Path, names: str) -> None:
    """See `Classifier.export`."""
    if target.exists():
        raise UserError("already exists: delete it, or choose another name", f"target={target}")
    weights.check_target(target, names)
    weights.check_names(target, names, classifier.config.net)
    if target.suffix == ".stablehlo":
        content = classifier.precise(stablehlo.content)(
            _crops(classifier), classifier.net.image_size, classifier.classes
        )
    else:
        about = classifier.about  # our own files of ImageNet get the names when they are read
        classes = about.named if names == "torchvision" else about.classes
        described = {"config": record.versioned(classifier.config), "class_names": list(classes)}
        statistics, params = classifier.about.statistics, jax.device_get(classifier.params)
        kept = {} if statistics is None else statistics._asdict()
        content = weights.content(names, classifier.net, params, described, kept)
    if names == "torchvision":
        mean, pixel = classifier.config.augment.mean, tuple(classifier.config.augment.mean_pixel)
        if mean != "pixel":
            say(f"{target} does not keep the mean image that this run subtracts (mean={mean!r})")
        elif pixel != torchvision.MEAN_PIXEL:
            say(f"{target}: this run subtracts {pixel}, torchvision {torchvision.MEAN_PIXEL}")
    try:
        with files.whole(target) as partial:
            partial.write_bytes(content)
    except OSError as error:
        raise UserError(f"cannot write there: {error.strerror}", f"target={target}") from None


def _crops(classifier: "Classifier") -> Callable[[jax.Array], jax.Array]:
    """images uint8 [b, net's size, net's size, 3] -> logits, with the centre of the mean image."""
    statistics = classifier.about.statistics
    if statistics is not None:
        central = augment.centre(jnp.asarray(statistics.mean_HWC), classifier.net.image_size)
        statistics = statistics._replace(mean_HWC=np.asarray(central))
    f = forward.evaluation(classifier.net, None, classifier.about.augmentation)
    return lambda images_BHWC: f(classifier.params, images_BHWC, statistics, 0)
