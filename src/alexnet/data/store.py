"""The prepared dataset on disk: records of square images, and their description.

    <data_dir>/alexnet_store/<name>-<S>px[-q<quality>]/
        train-00000.array_record, ...    likewise for validation and, if there is one, test
        statistics.npz   mean image and colour PCA of the training set
        left_out.txt     the files that were found and not used, each with the reason
        train_files.txt  the images' files in a folder, in the order of the records; likewise
        info.json        all else, and a digest of it and of the statistics; written last

This is format 2. Stores of format 1 are read as well: they have one file per split, and no
checksums, seal, counts of classes or left-out list.
"""

import dataclasses
import functools
import hashlib
import json
import operator
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg

from alexnet import files
from alexnet.data import kept
from alexnet.data.inventory import Inventory, read_used
from alexnet.data.recipe import Recipe, root_dir
from alexnet.data.records import LABEL, DamagedRecordError, Records
from alexnet.data.statistics import Statistics
from alexnet.errors import UserError, choice, one_line

FORMAT = 2
INFO, STATISTICS = "info.json", "statistics.npz"


@dataclasses.dataclass(frozen=True, eq=False)
class Store:
    """A prepared dataset, for random access."""

    path: Path
    name: str
    image_size: int  # S, in pixels
    quality: int  # of the JPEGs; 0: raw pixels
    classes: tuple[str, ...]
    counts: dict[str, int]  # images in "train", "validation" and, for some, "test"
    statistics: Statistics
    # A digest of a folder's file names, sizes and times; "" for other datasets.
    stamp: str = ""
    # split -> a digest of its images' bytes, labels and, for a folder, paths; stores of early
    # versions have none.
    contents: dict[str, str] = dataclasses.field(default_factory=dict)
    # split -> a digest of its pixels and labels, if the store keeps raw pixels: it is the same for
    # PNGs of different encoders.
    pixels: dict[str, str] = dataclasses.field(default_factory=dict)
    inventory: Inventory | None = None
    format: int = FORMAT

    def read(self, split: str, indices: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Images uint8 (n, S, S, 3) and labels int32 (n,) of the examples at `indices`.

        Several threads may read. Raises IndexError for an index out of range, and UserError for a
        missing split or a damaged record, which it names.
        """
        choice("split", split, self.counts)
        indices = [operator.index(index) for index in indices]
        if wrong := [index for index in indices if not 0 <= index < self.counts[split]]:
            raise IndexError(f"no example {wrong[0]} among {self.counts[split]} of {split!r}")
        try:
            here = self._kept.get(split)
            return here.read(indices) if here else self._from_disk(split, indices)
        except DamagedRecordError as error:
            advice = (
                f"restore {self.path} from a copy, or, if {self.name!r} still has these images, "
                "delete it and prepare them again"
            )
            raise UserError(f"{error}; {advice}") from error

    def open(self) -> "Store":
        """The store with its files open: if they are replaced, it still reads the old ones."""
        _ = self._records
        return self

    def files(self, split: str) -> tuple[str, ...]:
        """The path of each image in the folder, as terminals can show it.

        () if the dataset is no folder, or if an earlier version of this program made the store.
        Raises UserError for a missing split.
        """
        choice("split", split, self.counts)
        return read_used(self.path, split, self.counts[split])

    @functools.cached_property
    def _records(self) -> dict[str, Records]:
        checked = self.format >= FORMAT
        return {
            split: Records(self.path, split, count, checked) for split, count in self.counts.items()
        }

    @functools.cached_property
    def _kept(self) -> dict[str, kept.Kept]:
        """Every split, if images are raw and the largest split fits in AT_MOST bytes; else none."""
        side, number = self.image_size, max(self.counts.values(), default=0)
        if self.quality or number * side * side * 3 > kept.AT_MOST:
            return {}
        return {
            # Not a method of the store: that would keep the store alive, and this with it.
            split: kept.Kept(functools.partial(_raw, self._records[split], side), count, side)
            for split, count in self.counts.items()
        }

    def _from_disk(self, split: str, indices: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        records, side = self._records[split], self.image_size
        if not self.quality:
            return _raw(records, side, indices)
        found = records.read(indices)
        labels = np.array([np.frombuffer(record, LABEL, 1)[0] for record in found], np.int32)
        images = np.empty((len(found), side, side, 3), np.uint8)
        for index, image, record in zip(indices, images, found, strict=True):
            try:
                simplejpeg.decode_jpeg(record[LABEL.itemsize :], buffer=image)
            except ValueError as error:
                raise DamagedRecordError(records.file(index), index, error) from error
        return images, labels


def _raw(records: Records, side: int, indices: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels that are stored as raw pixels."""
    layout = [("label", LABEL), ("image", np.uint8, (side, side, 3))]
    rows = np.frombuffer(b"".join(records.read(indices)), layout)
    return np.ascontiguousarray(rows["image"]), rows["label"].astype(np.int32)


def open_store(recipe: Recipe) -> Store:
    """The prepared store. Raises UserError if there is none."""
    if store := load_store(recipe.path):
        return store
    quality = recipe.stored_quality
    how = f"JPEGs of quality {quality}" if quality else "raw pixels"
    raise UserError(
        f"dataset {recipe.name!r} is not prepared at {recipe.image_size} pixels, as {how}, in "
        f"{root_dir(recipe.data_dir)}; run: {recipe.command}"
    )


def load_store(path: Path) -> Store | None:
    """The store at `path`, or None if none is complete. Raises UserError if it is damaged."""
    try:
        info, statistics = (path / INFO).read_bytes(), (path / STATISTICS).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UserError(f"cannot read the store {path}: {error}") from error
    try:
        return _unsealed(path, json.loads(info), statistics)
    except UserError:
        raise
    except Exception as error:  # damaged JSON and damaged zip files raise nearly anything
        raise UserError(
            f"{path / INFO} or {STATISTICS} beside it is damaged ({one_line(error)}): restore "
            f"them, or delete {path} and prepare the dataset again"
        ) from error


def _unsealed(path: Path, info: dict[str, Any], statistics: bytes) -> Store:
    """A store of either format; ValueError if it is not what was sealed."""
    written = info.get("format", 1)
    if written == 1:
        info["stamp"] = info.pop("digest")
    elif info.pop("seal") != _seal(info, statistics):
        raise ValueError("its digest differs")
    elif written > FORMAT:
        raise UserError(f"{path} has format {written}, of a later version: update this program")
    else:
        info["inventory"] = Inventory(**info["inventory"])
    info |= {"format": written, "classes": tuple(info["classes"])}
    return Store(path=path, statistics=Statistics.from_bytes(statistics), **info)


def save_description(store: Store) -> None:
    """Writes all of `store` but its records; afterwards `load_store` finds it."""
    store.statistics.save(store.path / STATISTICS)
    save_info(store)


def save_info(store: Store) -> None:
    """Writes `info.json` alone: all but the records and the statistics."""
    info = {
        field.name: getattr(store, field.name)
        for field in dataclasses.fields(store)
        if field.name not in ("path", "statistics")
    }
    info |= {"format": FORMAT, "inventory": dataclasses.asdict(store.inventory or Inventory())}
    info = json.loads(json.dumps(info))  # as it will be read: tuples are lists there
    sealed = {"seal": _seal(info, (store.path / STATISTICS).read_bytes())} | info
    files.write_json(sealed, store.path / INFO)


def _seal(info: Mapping[str, Any], statistics: bytes) -> str:
    """A digest of `info.json` and of the statistics' file."""
    text = json.dumps(info, sort_keys=True).encode()
    return hashlib.sha256(text + b"\0" + hashlib.sha256(statistics).digest()).hexdigest()


def earlier(path: Path, made: Store) -> Path:
    """Where the store `made` is kept, once another one is at `path`."""
    known = json.dumps([made.contents, made.classes], sort_keys=True)
    path = path.resolve()  # a link may lead to a larger disk
    return path.with_name(f"{path.name}-{hashlib.sha256(known.encode()).hexdigest()[:8]}")
