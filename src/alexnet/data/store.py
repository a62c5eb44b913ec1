"""The prepared dataset on disk: ArrayRecord files of square images, and what to know of them.

    <data_dir>/alexnet_store/<name>-<S>px[-q<quality>]/
        train.array_record, validation.array_record, test.array_record where there is one
        statistics.npz   mean image and colour PCA of the training set
        info.json        name, image_size, quality, classes, counts, digests: written last

A record is a little-endian int32 label and an image: JPEG, or raw pixels where they are few.
"""

import dataclasses
import functools
import hashlib
import json
import os
import re
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import simplejpeg
from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter

from alexnet.data.statistics import Statistics
from alexnet.errors import UserError, local_path, require

QUALITY = 95
RAW_UP_TO = 64  # pixels a side; below, JPEG would save little and lose much
LABEL = np.dtype("<i4")
FOLDER = "folder:"  # how the name of a dataset begins that is a folder of images


@dataclasses.dataclass(frozen=True, eq=False)
class Store:
    """A prepared dataset, for random access."""

    path: Path
    name: str
    image_size: int  # S, in pixels
    quality: int  # of the JPEGs; 0: raw pixels
    classes: tuple[str, ...]
    counts: dict[str, int]  # images in "train", "validation" and, for some, "test"
    digest: str  # of the raw data, where it can change: image folders
    statistics: Statistics
    # Of each split's images and labels as they came, and their paths in a folder; stores of earlier
    # versions have none.
    contents: dict[str, str] = dataclasses.field(default_factory=dict)

    def read(self, split: str, indices: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Images uint8 (n, S, S, 3) and labels int32 (n,) of the examples at `indices`.

        Safe from several threads. Raises UserError for a damaged record, naming it.
        """
        indices = [int(index) for index in indices]
        records = self._records(split, indices)
        shape = (self.image_size, self.image_size, 3)
        if not self.quality:
            layout = np.dtype([("label", LABEL), ("image", np.uint8, shape)])
            rows = np.frombuffer(b"".join(records), layout)
            return np.ascontiguousarray(rows["image"]), rows["label"].astype(np.int32)
        labels = np.array([np.frombuffer(record, LABEL, 1)[0] for record in records], np.int32)
        images = np.empty((len(records), *shape), np.uint8)
        for index, image, record in zip(indices, images, records, strict=True):
            try:
                simplejpeg.decode_jpeg(memoryview(record)[LABEL.itemsize :], buffer=image)
            except ValueError as error:
                raise self._damaged(split, index, error) from error
        return images, labels

    def _records(self, split: str, indices: list[int]) -> list[bytes]:
        if not indices:
            return []
        reader = self._readers[split]
        try:
            return reader.read(indices)
        except RuntimeError:  # which does not say where
            for index in indices:
                try:
                    reader.read([index])
                except RuntimeError as error:
                    raise self._damaged(split, index, error) from error
            raise

    @functools.cached_property
    def _readers(self) -> dict[str, ArrayRecordReader]:
        # Reading ahead, the default, would be wasted on shuffled records.
        options = "readahead_buffer_size:0,max_parallelism:0"
        return {
            split: ArrayRecordReader(str(records_file(self.path, split)), options)
            for split in self.counts
        }

    def open(self) -> "Store":
        """The same with its files open: if they are made anew, it goes on with the old ones."""
        _ = self._readers
        return self

    def _damaged(self, split: str, index: int, error: Exception) -> UserError:
        return UserError(
            f"{records_file(self.path, split)} is damaged at record {index} ({error}); delete "
            f"{self.path} and prepare {self.name!r} again"
        )


def open_store(name: str, data_dir: str, image_size: int, quality: int = QUALITY) -> Store:
    """The prepared store; `data_dir` "" is TFDS's default. Raises UserError if there is none."""
    store = load_store(store_path(name, data_dir, image_size, quality))
    if store is None:
        root = root_dir(data_dir)
        command = ["python", "-m", "alexnet.prepare", name]
        command += [f"--image_size={image_size}", f"--data_dir={root}"]
        if quality != QUALITY and image_size > RAW_UP_TO:
            command.append(f"--quality={quality}")
        raise UserError(
            f"dataset {name!r} is not prepared at {image_size} pixels in {root}; "
            f"run: {shlex.join(command)}"
        )
    return store


def load_store(path: Path) -> Store | None:
    """The store at `path`, None if there is no whole one."""
    try:
        info = json.loads((path / "info.json").read_text())
        statistics = Statistics.load(path / "statistics.npz")
    except (FileNotFoundError, NotADirectoryError):
        return None
    classes = tuple(info.pop("classes"))
    return Store(path=path, classes=classes, statistics=statistics, **info)


def save_info(store: Store) -> None:
    """Writes all of `store` but its records; afterwards `load_store` finds it."""
    store.statistics.save(store.path / "statistics.npz")
    fields = ("name", "image_size", "quality", "classes", "counts", "digest", "contents")
    info = {field: getattr(store, field) for field in fields}
    (store.path / "info.json").write_text(json.dumps(info, indent=2) + "\n")


def write_records(path: Path, split: str, records: Iterable[bytes]) -> None:
    """Writes what `pack` made. Raises OSError, as for a full disk."""
    try:
        # One record a group: random access reads no neighbours. JPEGs do not compress further.
        writer = ArrayRecordWriter(str(records_file(path, split)), "group_size:1,uncompressed")
        for record in records:
            writer.write(record)
        writer.close()
    except RuntimeError as error:  # array_record knows no other
        raise OSError(str(error)) from error


def pack(image_HWC: np.ndarray, label: int, quality: int) -> bytes:
    """The record of one uint8 image; quality 0 keeps the pixels as they are."""
    if quality:
        payload = simplejpeg.encode_jpeg(
            np.ascontiguousarray(image_HWC), quality, colorsubsampling="420"
        )
    else:
        payload = image_HWC.tobytes()
    return np.array(label, LABEL).tobytes() + payload


def records_file(path: Path, split: str) -> Path:
    return path / f"{split}.array_record"


def stored_quality(image_size: int, quality: int) -> int:
    """The JPEG quality that is used at this size: 0, raw pixels, for small images."""
    return quality if image_size > RAW_UP_TO else 0


def store_path(name: str, data_dir: str, image_size: int, quality: int) -> Path:
    """Where the store of this dataset, size and quality is, or would be.

    Raises:
        UserError: for a size or quality that cannot be, or a `data_dir` among the images.
    """
    check_outside(name, root_dir(data_dir), "data_dir")
    require("image_size", image_size, image_size >= 1, "must be at least 1")
    require("quality", quality, 0 <= quality <= 100, "from 1 to 100, or 0 for raw pixels")
    quality = stored_quality(image_size, quality)
    suffix = f"-q{quality}" if quality else ""
    return stores_dir(data_dir) / f"{safe_name(name)}-{image_size}px{suffix}"


def check_outside(name: str, path: Path, argument: str) -> None:
    """Raises UserError if `path` lies in the dataset's folder of images."""
    if not name.startswith(FOLDER):
        return
    folder = _folder(name)
    if path.resolve().is_relative_to(folder):
        raise UserError(
            f"lies in the folder of images {folder}, where nothing is written; choose another",
            f"{argument}={path}",
        )


def stores_dir(data_dir: str) -> Path:
    return root_dir(data_dir) / "alexnet_store"


def root_dir(data_dir: str) -> Path:
    """`data_dir`, or where TFDS keeps its data when that is ""."""
    default = os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return local_path("data_dir", data_dir or default)


def safe_name(name: str) -> str:
    """A dataset's name as a file name: imagenette/160px-v2 -> imagenette-160px-v2."""
    if name.startswith(FOLDER):
        # Whichever way the path is written, one folder has one store.
        folder = _folder(name)
        return f"folder-{folder.name}-{hashlib.sha1(os.fsencode(folder)).hexdigest()[:8]}"
    return re.sub(r"[^\w.-]", "-", name)


def _folder(name: str) -> Path:
    """Where a dataset that is a folder of images lies, whichever way its path is written."""
    return Path(name.removeprefix(FOLDER)).expanduser().resolve()
