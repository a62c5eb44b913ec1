"""A layer's output for every image in a split, kept in `<workdir>/features` once computed.

    features/259-relu7-train/features.npy   float32 [images, ...], in the order of the split
    features/259-relu7-train/about.json     what they depend on, mostly as digests; written last

They are computed again if the file is damaged, or if the weights, the images, the net or its
preprocessing have changed; an interrupted computation leaves nothing behind. Those of checkpoints
that are gone are deleted when others are written.
"""

import errno
import functools
import json
import math
import os
import shutil
import sys
import time
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from alexnet.errors import UserError, choice, require
from alexnet.files import whole_folder, write_json
from alexnet.inference.neighbours import nearest_rows
from alexnet.inference.photos import Photo
from alexnet.inference.splits import Splits
from alexnet.locks import lock
from alexnet.models.table import Dropout, Net

FOLDER = "features"
PART = 2**26  # bytes that are checked at once
DAY = 24 * 60 * 60  # seconds
HIDDEN = False if "ipykernel" in sys.modules else None  # None: where stderr is no terminal


class Neighbour(NamedTuple):
    """An image of a dataset that is near a photo.

    Attributes:
        index: in its split.
        distance: L2, between features.
        label: its class.
        image: uint8 [S, S, 3], as it is stored.
        file: its path in a folder of images; "" in other datasets, and in stores of early versions.
    """

    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    distance: float
    label: str
    image: np.ndarray
    file: str = ""


def hidden_row(net: Net) -> str:
    """The row that the last layer reads, ignoring dropout: in the paper relu7, fc7 after its ReLU.

    Raises:
        UserError: if there is no layer before the last one.
    """
    rows = [row for row in net.rows[:-1] if not isinstance(row, Dropout)]
    if not rows:
        raise UserError(f"net {net.name} has no layer before the last one")
    return rows[-1].name


def dataset_features(splits: Splits, split: str, row: str = "") -> np.ndarray:
    """See `Classifier.dataset_features`."""
    choice("split", split, splits.run.store.counts)
    row = row or hidden_row(splits.net.net)
    splits.net.check_row(row, "row")
    compute = functools.partial(_computed, splits, split, row)
    about = _about(splits, split, row)
    if about is None:
        return _joined(compute(), splits.run.store.counts[split])
    folder = splits.net.about.source / FOLDER / f"{about['step']}-{row}-{split}"
    found = _read(folder, about)
    if found is not None:
        return found
    try:
        folder.parent.mkdir(exist_ok=True)
        with (folder.parent / ".lock").open("w") as file:
            lock(file)  # one process computes, others wait; a killed one frees the lock
            found = _read(folder, about)  # another process may have just computed them
            if found is None:
                _write(folder, about, compute())
                found = _read(folder, about)
                _forget(folder, splits.net.about.source)
        if found is None:
            raise OSError(errno.EIO, "what was written there cannot be read back")
        return found
    except OSError as error:  # a read-only folder, a full disk
        print(f"features are not kept in {folder.parent}: {error.strerror}", file=sys.stderr)
        return _joined(compute(), splits.run.store.counts[split])


def nearest(
    splits: Splits, photos: Photo | Iterable[Photo], count: int, split: str, row: str = ""
) -> list[list[Neighbour]]:
    """See `Classifier.nearest`."""
    require("count", count, count >= 1, "must be at least 1")
    net, store = splits.net, splits.run.store
    row = row or hidden_row(net.net)
    features = dataset_features(splits, split, row)
    queries = net.features(photos, row)
    numbers = math.prod(features.shape[1:])
    queries_QD, features_ND = (rows.reshape(len(rows), numbers) for rows in (queries, features))
    files, found = store.files(split), []
    for indices, distances in zip(*nearest_rows(queries_QD, features_ND, count), strict=True):
        images, labels = store.read(split, indices)
        names = [store.classes[label] for label in labels]
        where = [files[index] if files else "" for index in indices]
        five = zip(indices.tolist(), distances.tolist(), names, images, where, strict=True)
        found.append([Neighbour(*one) for one in five])
    return found


def _computed(splits: Splits, split: str, row: str) -> Iterator[np.ndarray]:
    """Batches of a row's outputs, in the order of the split, with a bar that shows the progress."""
    program = splits.net.rows_program((row,))
    total = splits.run.store.counts[split]
    with tqdm(total=total, desc=f"{row} of {split}", unit=" images", disable=HIDDEN) as bar:
        for images, count in splits.batches(split):
            yield np.asarray(program(splits.net.params, images)[0])[:count]
            bar.update(count)


def _joined(parts: Iterable[np.ndarray], count: int) -> np.ndarray:
    """The `count` rows of all parts; a list of the parts would need twice the memory."""
    rows, done = np.empty(0), 0
    for part in parts:
        if not done:
            rows = np.empty((count, *part.shape[1:]), part.dtype)
        rows[done : done + len(part)] = part
        done += len(part)
    return rows


def _about(splits: Splits, split: str, row: str) -> dict[str, Any] | None:
    """Everything that features depend on; None if that is unknown and they cannot be kept.

    Stores of earlier versions have no digests, and weights from a file have no folder.
    """
    about, store = splits.net.about, splits.run.store
    if about.step is None or split not in store.contents:
        return None
    sums = 0
    for leaf in jax.tree.leaves((splits.net.params, about.statistics)):
        sums = zlib.crc32(np.ascontiguousarray(leaf).view(np.uint8).data, sums)
    return {
        "step": about.step,
        "row": row,
        "split": split,
        "count": store.counts[split],
        "images": store.contents[split],
        "image_size": store.image_size,
        "quality": store.quality,
        "weights": sums,
        "precision": about.config.precision,
        "net": zlib.crc32(repr((about.net, about.augmentation)).encode()),
    }


def _read(folder: Path, about: dict[str, Any]) -> np.ndarray | None:
    """The features in a folder, read from disk on use; None if they are stale or damaged."""
    try:
        found = json.loads((folder / "about.json").read_text())
        features = np.load(folder / "features.npy", mmap_mode="r")
        now = (folder / "features.npy").stat()
        sums = _digest(folder / "features.npy", now.st_ino, now.st_size, now.st_mtime_ns)
    except (OSError, ValueError, EOFError):
        return None
    return features if found == about | {"crc32": sums} else None


@functools.lru_cache(maxsize=64)
def _digest(path: Path, *_: int) -> int:
    """The CRC-32 of the features in a file, as it is now; a process reads it once for that."""
    features, sums = np.load(path, mmap_mode="r"), 0
    rows = max(1, PART // max(1, features[:1].nbytes))
    for start in range(0, len(features), rows):
        sums = zlib.crc32(np.ascontiguousarray(features[start : start + rows]).data, sums)
    return sums


def _write(folder: Path, about: dict[str, Any], parts: Iterable[np.ndarray]) -> None:
    """Writes features and `about` to `folder`, whole or not at all."""
    with whole_folder(folder) as partial:
        sums = 0
        with (partial / "features.npy").open("wb") as file:
            for part in parts:
                if not file.tell():
                    shape = (about["count"], *part.shape[1:])
                    header = {"descr": part.dtype.str, "fortran_order": False, "shape": shape}
                    np.lib.format.write_array_header_1_0(file, header)
                    _reserve(file, math.prod(shape) * part.itemsize)
                content = np.ascontiguousarray(part).data
                file.write(content)
                sums = zlib.crc32(content, sums)
        write_json(about | {"crc32": sums}, partial / "about.json")


def _forget(new: Path, workdir: Path) -> None:
    """Deletes old features beside `new`, of checkpoints that the run no longer has.

    Those of the last day stay: a net that was loaded before its checkpoint went may read them.
    """
    steps = {path.name for path in (workdir / "checkpoints").glob("*")}
    kept = {new.name.partition("-")[0], *steps}
    for about in new.parent.glob("*/about.json"):
        is_old = time.time() - about.stat().st_mtime > DAY
        if steps and is_old and about.parent.name.partition("-")[0] not in kept:
            shutil.rmtree(about.parent, ignore_errors=True)


def _reserve(file: BinaryIO, size: int) -> None:
    """Takes the room for `size` more bytes, if the system can: a full disk is noticed now."""
    if hasattr(os, "posix_fallocate"):
        try:
            file.flush()
            os.posix_fallocate(file.fileno(), file.tell(), size)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise
