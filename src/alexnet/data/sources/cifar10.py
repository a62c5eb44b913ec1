"""CIFAR-10 without TensorFlow: TFDS's dataset, from the python archive instead of the binary one.

TFDS's own builder needs TensorFlow to encode its images. This one has the same name, version,
features and keys, hence the same order, and writes to the same place: each reads the other's files.
The two archives of https://www.cs.toronto.edu/~kriz/cifar.html hold the same images in the same
order.
"""

import codecs
import gzip
import hashlib
import io
import pickle
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from alexnet.errors import UserError, one_line

ARCHIVE = "cifar-10-python.tar.gz"
URL = f"https://www.cs.toronto.edu/~kriz/{ARCHIVE}"
SHA256 = "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"
BYTES = 170_498_071
BATCHES = {"train": [f"data_batch_{number}" for number in range(1, 6)], "test": ["test_batch"]}
SIDE = 32
# The functions that pickles of arrays and bytes name, in any version of Python and NumPy.
ALLOWED = {
    ("_codecs", "encode"): codecs.encode,
    ("numpy", "dtype"): np.dtype,
    ("numpy", "ndarray"): np.ndarray,
    ("multiarray", "_reconstruct"): np.zeros(0).__reduce__()[0],
    ("numeric", "_frombuffer"): np.zeros(0).__reduce_ex__(5)[0],
}


# TFDS has no types, so mypy takes the base for `object`.
class Cifar10(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """50,000 training and 10,000 test images of 32 x 32 pixels in ten classes."""

    name = "cifar10"
    VERSION = tfds.core.Version("3.0.2")
    url_infos = {URL: tfds.download.checksums.UrlInfo(BYTES, SHA256, ARCHIVE)}  # noqa: RUF012

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.__doc__,
            features=tfds.features.FeaturesDict(
                {
                    "id": tfds.features.Text(),
                    "image": tfds.features.Image(shape=(SIDE, SIDE, 3)),
                    "label": tfds.features.ClassLabel(num_classes=10),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
        )

    def _split_generators(self, dl_manager) -> dict[str, Iterator]:
        by_hand = self.data_path.parents[1] / "downloads" / "manual" / ARCHIVE
        if by_hand.exists():
            check(Path(by_hand))
        batches = read(Path(by_hand if by_hand.exists() else dl_manager.download(URL)))
        names = [name.decode() for name in batches["batches.meta"]["label_names"]]
        self.info.features["label"].names = names
        return {
            split: self._generate_examples(split, [batches[name] for name in names])
            for split, names in BATCHES.items()
        }

    def _generate_examples(self, split: str, batches: list[dict[str, Any]]) -> Iterator:
        index = 0
        for batch in batches:
            planes_BCHW = batch["data"].reshape(-1, 3, SIDE, SIDE)
            for pixels_CHW, label in zip(planes_BCHW, batch["labels"], strict=True):
                # An encoded file passes through TFDS as it is; an array would need TensorFlow.
                png = io.BytesIO()
                Image.fromarray(pixels_CHW.transpose(1, 2, 0)).save(png, format="PNG")
                png.seek(0)
                about = {"id": f"{split}_{index:05}", "image": png, "label": int(label)}
                yield index, about
                index += 1


def check(archive: Path) -> None:
    """Warns if an archive that was put in place by hand is not the official one."""
    with open(archive, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != SHA256:
        what = f"warning: {archive} is not the official archive: its SHA-256 is {found}"
        print(what, file=sys.stderr)


def read(archive: Path) -> dict[str, dict[str, Any]]:
    """The archive's files by name, unpickled. Raises UserError if one is damaged or missing."""
    wanted = ["batches.meta", *(name for names in BATCHES.values() for name in names)]
    found = {}
    try:
        with gzip.open(archive) as zipped:
            content = io.BytesIO(zipped.read())  # to the end, where its checksum is
        with tarfile.open(fileobj=content) as files:
            for member in files:
                name = Path(member.name).name
                if name in wanted and member.isfile() and (file := files.extractfile(member)):
                    batch = _Batch(file, encoding="bytes").load()
                    found[name] = {key.decode(): value for key, value in batch.items()}
                    if name != "batches.meta":
                        _check_batch(name, found[name])
    except Exception as error:  # damaged pickles raise nearly anything
        what = f"{archive} is damaged ({one_line(error)}): get it again from {URL}"
        raise UserError(what) from error
    if missing := [name for name in wanted if name not in found]:
        raise UserError(f"{archive} holds no {missing[0]}: get it again from {URL}")
    return found


def _check_batch(name: str, batch: dict[str, Any]) -> None:
    data, labels = batch["data"], batch["labels"]
    if data.dtype != np.uint8 or data.shape != (len(labels), 3 * SIDE * SIDE):
        raise ValueError(f"{name} has images {data.dtype} {data.shape}, labels {len(labels)}")
    if not all(0 <= label < 10 for label in labels):
        raise ValueError(f"{name} has labels other than 0 to 9")


class _Batch(pickle.Unpickler):
    """Loads arrays and plain values only: a pickle can name any function."""

    def find_class(self, module: str, name: str) -> Any:
        if found := ALLOWED.get((module.rpartition(".")[2], name)):
            return found
        what = f"it names {module}.{name}, which no batch of CIFAR-10 contains"
        raise pickle.UnpicklingError(what)
