"""A dataset's name -> its raw data.

digits: from scikit-learn, no download. imagenet2010: from archives put in place by hand.
folder:/path: one sub-folder per class. Any other name (cifar10, imagenette/160px-v2, imagenet2012,
...) is TFDS's, of labelled images. held_out:NAME: these, with other validation images.
"""

import os

from alexnet.data.images import MAX_PIXELS
from alexnet.data.recipe import FOLDER, folder_path, without_held_out
from alexnet.data.sources import folder, tfds
from alexnet.data.sources.raw import RawData


def open_raw(name: str, data_dir: str, max_pixels: int = MAX_PIXELS) -> RawData:
    """Splits "train", "validation" and, for some, "test"; prepares TFDS's data if absent.

    Raises:
        UserError: for whatever the user can correct: names, archives, network, TensorFlow.
    """
    if name.startswith(FOLDER):
        return folder.list_images(name, max_pixels)
    return tfds.open_raw(name, data_dir)


def check(name: str) -> None:
    """Raises UserError for a folder that is not there."""
    if name.startswith(FOLDER):
        folder.root_of(name)


def stamp(name: str) -> str:
    """A digest that changes with a folder's files; "" for other datasets. Raises UserError."""
    return folder.stamp(name) if name.startswith(FOLDER) else ""


def is_there(name: str) -> bool:
    """Whether a folder exists and is more than an empty mount point."""
    place = folder_path(name)
    try:
        return os.path.isdir(place) and bool(os.listdir(place))
    except OSError:
        return True  # the error is reported later


def is_local(name: str, data_dir: str) -> bool:
    """Whether `open_raw` would need neither a download nor archives."""
    return without_held_out(name) == "digits" or is_prepared(name, data_dir)


def is_prepared(name: str, data_dir: str) -> bool:
    """Whether `open_raw` would write nothing. Raises UserError for a name that is unknown."""
    return name.startswith(FOLDER) or tfds.is_prepared(name, data_dir)


def class_count(name: str, data_dir: str) -> int | None:
    """As `tfds.class_count`; None for a folder. Raises UserError."""
    return None if name.startswith(FOLDER) else tfds.class_count(name, data_dir)
