"""TFDS builder of ILSVRC-2010, the paper's main data; TFDS itself has none.

It reads the official archives in place, itself without TensorFlow. The layout below is that of the
development kit's readme and of published readers (Fuel's `ilsvrc2010.py`); the archives themselves
were not at hand:

    ILSVRC2010_images_train.tar         a tar for each class, <WNID>.tar, of <WNID>_<n>.JPEG
    ILSVRC2010_images_val.tar           ILSVRC2010_val_<8 digits from 1>.JPEG, in any folder
    ILSVRC2010_images_test.tar          ILSVRC2010_test_<8 digits from 1>.JPEG, in any folder
    ILSVRC2010_devkit-1.0.tar.gz        meta.mat and ILSVRC2010_validation_ground_truth.txt
    ILSVRC2010_test_ground_truth.txt    one class ID a line, in the order of the images' numbers
    patch_images.tar                    if it is there, its images replace those of the same name,
                                        which were published blank

One training image, n02487347_1956.JPEG, is known to be gzipped in its tar.
"""

import contextlib
import gzip
import io
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.io
import tensorflow_datasets as tfds

from alexnet.errors import UserError, one_line
from alexnet.text import say

TRAIN = "ILSVRC2010_images_train.tar"
VALIDATION = "ILSVRC2010_images_val.tar"
TEST = "ILSVRC2010_images_test.tar"
DEVKIT = "ILSVRC2010_devkit-1.0.tar.gz"
TEST_TRUTH = "ILSVRC2010_test_ground_truth.txt"
PATCHES = "patch_images.tar"
ARCHIVES = (TRAIN, VALIDATION, TEST, DEVKIT, TEST_TRUTH)  # without which it cannot be prepared
GZIP = b"\x1f\x8b"  # how a gzip file begins
PAGE = "https://image-net.org/challenges/LSVRC/2010/2010-downloads.php"

Images = Iterator[tuple[str, bytes, int]]  # file name, encoded image, label


class Imagenet2010(tfds.core.GeneratorBasedBuilder):
    """1000 classes: 1,261,406 training, 50,000 validation and 150,000 test images."""

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"Download {', '.join((*ARCHIVES, PATCHES))} from {PAGE}"

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.__doc__,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(encoding_format="jpeg"),
                    "label": tfds.features.ClassLabel(),  # named once the development kit is read
                }
            ),
        )

    def _split_generators(self, dl_manager) -> dict[str, Iterator]:
        folder = Path(dl_manager.manual_dir)
        kit = _read_devkit(folder / DEVKIT)
        self.info.features["label"].names = list(kit.classes)
        with _blaming(folder / TEST_TRUTH):
            test_ids = _class_ids((folder / TEST_TRUTH).read_bytes(), len(kit.classes))
        images = {
            "train": _training_images(folder / TRAIN, kit),
            "validation": _numbered_images(folder / VALIDATION, kit.validation_ids),
            "test": _numbered_images(folder / TEST, test_ids),
        }
        patches = _patches(folder / PATCHES)
        return {split: self._generate_examples(images[split], patches) for split in images}

    def _generate_examples(self, images: Images, patches: dict[str, bytes]):
        for name, encoded, label in images:
            # An encoded file passes through TFDS as it is; an array would need TensorFlow.
            yield name, {"image": io.BytesIO(patches.get(name, encoded)), "label": label}


class _Devkit(NamedTuple):
    classes: dict[str, int]  # WNID -> number of training images, in the order of the class IDs
    validation_ids: list[int]  # class ID of each image, from 1


def _read_devkit(path: Path) -> _Devkit:
    """The classes are the synsets without children; the others are their ancestors."""
    files = {}
    with _blaming(path), tarfile.open(path) as kit:
        for member in kit:
            if member.isfile() and (file := kit.extractfile(member)):
                files[Path(member.name).name] = file.read()
    for name in ("meta.mat", "ILSVRC2010_validation_ground_truth.txt"):
        if name not in files:
            raise UserError(f"{path} holds no {name}: download it again from {PAGE}")
    with _blaming(path):
        synsets = scipy.io.loadmat(io.BytesIO(files["meta.mat"]), squeeze_me=True)["synsets"]
        leaves = np.sort(synsets[synsets["num_children"] == 0], order="ILSVRC2010_ID")
        classes = {str(leaf["WNID"]): int(leaf["num_train_images"]) for leaf in leaves}
        truth = files["ILSVRC2010_validation_ground_truth.txt"]
        return _Devkit(classes, _class_ids(truth, len(classes)))


def _class_ids(text: bytes, classes: int) -> list[int]:
    """Class IDs, one a line, from 1. Raises ValueError for any other content."""
    found = [int(line) for line in text.split()]
    if wrong := [number for number in found if not 1 <= number <= classes]:
        raise ValueError(f"class ID {wrong[0]} is not from 1 to {classes}")
    return found


@contextlib.contextmanager
def _blaming(path: Path) -> Iterator[None]:
    """Raises UserError for an archive that cannot be read; system errors pass through."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # damaged archives raise nearly anything
        if isinstance(error, OSError) and error.errno:
            raise
        what = f"{path} is damaged ({one_line(error)}): download it again from {PAGE}"
        raise UserError(what) from error


def _training_images(path: Path, kit: _Devkit) -> Images:
    labels = {f"{wnid}.tar": label for label, wnid in enumerate(kit.classes)}
    found = 0
    with _blaming(path), tarfile.open(path) as tars:
        for member in tars:
            name = Path(member.name).name
            if name not in labels:
                continue
            with tarfile.open(fileobj=tars.extractfile(member)) as archive:
                for image, encoded in _jpegs(archive):
                    found += 1
                    yield image, encoded, labels[name]
    _check_count(path, found, sum(kit.classes.values()))


def _numbered_images(path: Path, class_ids: Sequence[int]) -> Images:
    found = 0
    with _blaming(path), tarfile.open(path) as archive:
        for image, encoded in _jpegs(archive):
            found += 1
            number = int(Path(image).stem.rpartition("_")[2])
            if 1 <= number <= len(class_ids):
                yield image, encoded, class_ids[number - 1] - 1
    _check_count(path, found, len(class_ids))


def _check_count(path: Path, found: int, expected: int) -> None:
    if found != expected:
        raise UserError(
            f"{path} holds {found:,} images, but ILSVRC-2010 lists {expected:,}: download it again "
            f"from {PAGE}"
        )


def _patches(path: Path) -> dict[str, bytes]:
    """File name -> image; no two splits share a name."""
    if not path.exists():
        say(
            f"{path.name} is not in {path.parent}: images that were published blank stay blank; to "
            "have them, stop now, put it there and start again"
        )
        return {}
    with _blaming(path), tarfile.open(path) as archive:
        return dict(_jpegs(archive))


def _jpegs(archive: tarfile.TarFile) -> Iterator[tuple[str, bytes]]:
    for member in archive:
        is_jpeg = member.isfile() and member.name.endswith(".JPEG")
        if is_jpeg and (file := archive.extractfile(member)):
            encoded = file.read()
            if encoded.startswith(GZIP):
                encoded = gzip.decompress(encoded)
            yield Path(member.name).name, encoded
