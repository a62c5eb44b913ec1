"""A dataset's name -> its raw data.

digits: from scikit-learn, no download. imagenet2010: from archives put in place by hand.
folder:/path: one sub-folder per class. Any other name (cifar10, imagenette/160px-v2, imagenet2012,
...) is TFDS's, of labelled images.
"""

from alexnet.data.sources import folder, tfds
from alexnet.data.sources.raw import RawData
from alexnet.data.store import FOLDER


def open_raw(name: str, data_dir: str) -> RawData:
    """Splits "train", "validation" and, for some, "test"; prepares TFDS's data where it is absent.

    Raises:
        UserError: for whatever the user can mend: names, archives, network, TensorFlow.
    """
    if name.startswith(FOLDER):
        return folder.list_images(name.removeprefix(FOLDER))
    return tfds.open_dataset(name, data_dir)


def is_local(name: str, data_dir: str) -> bool:
    """Whether `open_raw` would need neither a download nor archives."""
    return name.startswith(FOLDER) or name == "digits" or tfds.is_prepared(name, data_dir)


def class_count(name: str, data_dir: str) -> int | None:
    """How many classes a dataset has, prepared or not; None for a folder. Raises UserError."""
    return None if name.startswith(FOLDER) else tfds.class_count(name, data_dir)
