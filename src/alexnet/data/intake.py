"""Raw data -> the files of a store: every image decoded, resized and cropped once."""

import contextlib
import functools
import hashlib
import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

from alexnet.data import images, records
from alexnet.data.inventory import SHOWN, Inventory, by_reason, write_left_out, write_used
from alexnet.data.progress import shown
from alexnet.data.recipe import FOLDER
from alexnet.data.sources.raw import TOO_LARGE, UNREADABLE, LeftOut, RawData, Split
from alexnet.data.statistics import Accumulator
from alexnet.data.store import Store, save_description
from alexnet.devices.cores import in_chunks
from alexnet.errors import UserError
from alexnet.text import printable

T = TypeVar("T")

TOGETHER = 2**16  # values per update of the statistics: small images are added in groups


class Plan(NamedTuple):
    """How a store is made.

    Attributes:
        name: the dataset's name.
        image_size: side S of the stored squares, in pixels.
        quality: of the JPEGs; 0 stores raw pixels.
        max_pixels: of an image; larger ones are left out.
        max_bad: the share of images that may be too large or unreadable.
        size: why `image_size` is what it is; "" if it was asked for.
        again: the command that prepares this store.
    """

    name: str
    image_size: int
    quality: int
    max_pixels: int
    max_bad: float
    size: str = ""
    again: str = "python -m alexnet.prepare"


class _Chunk(NamedTuple):
    """Some consecutive examples: the readable ones and the bad ones."""

    records: list[bytes]
    names: list[str]
    labels: list[int]
    digests: list[bytes]  # of each image's bytes
    contents: bytearray  # digests of label, path and bytes, one after the other
    pixels: bytearray  # the same for label and pixels, if stored raw
    statistics: Accumulator
    bad: list[LeftOut]
    bad_contents: bytearray


def take_in(raw: RawData, path: Path, plan: Plan, write: bool = True) -> Store:
    """Makes a store in the empty folder `path`; without `write`, writes no files.

    Raises:
        UserError: if a larger share than `plan.max_bad` is bad, or no image of a split, or no
            training image of a class, can be read.
        OSError: if a file cannot be written.
    """
    tally = _Tally(raw, plan)
    for split, examples in raw.splits.items():
        with records.Writer(path, split) if write else contextlib.nullcontext() as writer:
            for chunk in _chunks(examples, raw.upright, plan, split):
                tally.add(split, chunk)
                if writer:
                    for record in chunk.records:
                        writer.write(record)
    store = tally.store(path)
    if write:
        write_left_out(path, tally.left_out)
        for split, names in tally.files.items():
            write_used(path, split, names)
        save_description(store)
    return store


def contents(raw: RawData, without: Iterable[str]) -> tuple[dict[str, str], str]:
    """The `contents` and `inventory.unreadable_contents` that the store of `raw` would have.

    Nothing is decoded.

    Args:
        without: the files that were unreadable or too large, by their `printable` names.
    """
    bad = frozenset(without)
    whole, unreadable = {}, _hasher()

    def read(examples: Split, index: int) -> tuple[bool, bytes]:
        is_bad = printable(os.fsdecode(examples.path(index))) in bad
        try:
            return is_bad, _content(examples, index, *examples[index])
        except OSError:
            return True, _unread(examples, index)

    def digests(examples: Split, indices: range) -> list[tuple[bool, bytes]]:
        return [read(examples, index) for index in indices]

    for split, examples in raw.splits.items():
        used, count = _hasher(), len(examples)
        chunks = in_chunks(functools.partial(digests, examples), count)
        for found in shown(chunks, f"comparing {split}", count, len):
            for is_bad, digest in found:
                (unreadable if is_bad else used).update(digest)
        whole[split] = used.hexdigest()
    return whole, unreadable.hexdigest()


class _Tally:
    """Counts and digests so far; the split "train" must be added first."""

    def __init__(self, raw: RawData, plan: Plan):
        self.raw, self.plan = raw, plan
        self.left_out = list(raw.left_out)
        self.bad = [file for file in raw.left_out if file.reason in (UNREADABLE, TOO_LARGE)]
        self.images = len(self.bad) + sum(map(len, raw.splits.values()))
        self.statistics = Accumulator(plan.image_size)
        self.labels: dict[str, Counter[int]] = {split: Counter() for split in raw.splits}
        self.contents = {split: _hasher() for split in raw.splits}
        self.pixels = {split: _hasher() for split in raw.splits}
        self.bad_contents = _hasher()
        # Of a folder's images, which have names
        self.files: dict[str, list[str]] = (
            {split: [] for split in raw.splits} if plan.name.startswith(FOLDER) else {}
        )
        self.copies = 0
        self.in_train: Counter[str] = Counter()
        self._seen: dict[bytes, int] = {}  # digest -> its first label, ~label outside "train"
        self.in_classes: list[str] = []

    def add(self, split: str, chunk: _Chunk) -> None:
        """Counts a chunk. Raises UserError once too many images are bad."""
        if split == "train":
            self.statistics.merge(chunk.statistics)
        self.labels[split].update(chunk.labels)
        self.contents[split].update(chunk.contents)
        self.pixels[split].update(chunk.pixels)
        self.bad_contents.update(chunk.bad_contents)
        self.left_out += chunk.bad
        self.bad += chunk.bad
        if split in self.files:
            self.files[split] += chunk.names
        for name, digest, label in zip(chunk.names, chunk.digests, chunk.labels, strict=True):
            self._count(split, name, digest, label)
        if len(self.bad) > self.plan.max_bad * self.images:
            raise self._too_many()

    def store(self, path: Path) -> Store:
        """The store to be; writes nothing.

        Raises UserError for a split without images, or, if any images are bad, for a class without
        training images.
        """
        counts = {split: labels.total() for split, labels in self.labels.items()}
        for label, name in enumerate(self.raw.classes):
            if self.bad and not self.labels["train"][label]:
                raise UserError(f"no training image of class {name!r} can be read{self._shown()}")
        for split, count in counts.items():
            if not count:
                raise UserError(f"no {split} image can be read{self._shown()}")
        pixels = {} if self.plan.quality else self.pixels
        return Store(
            path=path,
            name=self.plan.name,
            image_size=self.plan.image_size,
            quality=self.plan.quality,
            classes=self.raw.classes,
            counts=counts,
            statistics=self.statistics.result(),
            stamp=self.raw.stamp,
            contents={split: digest.hexdigest() for split, digest in self.contents.items()},
            pixels={split: digest.hexdigest() for split, digest in pixels.items()},
            inventory=self._inventory(),
        )

    def _inventory(self) -> Inventory:
        used = sum(labels.total() for labels in self.labels.values())
        classes = range(len(self.raw.classes))
        return Inventory(
            found=used + len(self.left_out),
            left_out=by_reason(self.left_out),
            unreadable=[_named(file) for file in self.bad[:SHOWN]],
            unreadable_contents=self.bad_contents.hexdigest(),
            class_counts={
                split: [labels[label] for label in classes] for split, labels in self.labels.items()
            },
            copies=self.copies,
            in_train=dict(self.in_train),
            in_classes=len(self.in_classes),
            in_classes_first=self.in_classes[:SHOWN],
            size=self.plan.size,
            notes=list(self.raw.notes),
            limits={"max_pixels": self.plan.max_pixels, "max_bad": self.plan.max_bad},
        )

    def _count(self, split: str, name: str, digest: bytes, label: int) -> None:
        first = self._seen.get(digest)
        if first is None:
            self._seen[digest] = label if split == "train" else ~label
            return
        self.copies += 1
        if label != max(first, ~first):
            self.in_classes.append(name)
        if first >= 0 and split != "train":
            self.in_train[split] += 1

    def _too_many(self) -> UserError:
        share = math.ceil(10 * len(self.bad) / self.images) / 10
        return UserError(
            f"at least {len(self.bad):,} of {self.images:,} images cannot be read or are too "
            f"large, more than max_bad={self.plan.max_bad:g} allows{self._shown()}; repair or "
            f"remove them, or leave them out: {self.plan.again} --max_bad={share:g} (or "
            "more: reading stopped there)"
        )

    def _shown(self) -> str:
        return ": " + "; ".join(map(_named, self.bad[:SHOWN])) if self.bad else ""


def _chunks(examples: Split, upright: bool, plan: Plan, split: str) -> Iterator[_Chunk]:
    def size(chunk: _Chunk) -> int:
        return len(chunk.records) + len(chunk.bad)

    work = functools.partial(_chunk, examples, upright, plan)
    name = f"{printable(plan.name)} {split}"
    with images.pillow_unlimited():
        chunks = in_chunks(work, len(examples))
        yield from shown(chunks, name, len(examples), size)


def _chunk(examples: Split, upright: bool, plan: Plan, indices: range) -> _Chunk:
    sums = Accumulator(plan.image_size)
    chunk = _Chunk([], [], [], [], bytearray(), bytearray(), sums, [], bytearray())
    small = []
    for index in indices:
        encoded, digest = None, _unread(examples, index)
        name = os.fsdecode(examples.path(index)) or examples.where(index)
        try:
            encoded, label = examples[index]
            digest = _content(examples, index, encoded, label)
            image = images.square_pixels(encoded, plan.image_size, upright, plan.max_pixels)
        except Exception as error:  # Pillow's decoders raise nearly anything on damaged files
            records.check_circumstances(error, name)
            reason = TOO_LARGE if isinstance(error, images.TooLargeError) else UNREADABLE
            chunk.bad.append(
                LeftOut(name, reason, "empty" if encoded == b"" else images.why(error))
            )
            chunk.bad_contents.extend(digest)
            continue
        record = records.pack(image, label, plan.quality)
        chunk.records.append(record)
        chunk.names.append(printable(name))
        chunk.labels.append(label)
        chunk.digests.append(hashlib.sha256(encoded).digest()[:16])
        small.append(image)
        if len(small) * image.size >= TOGETHER:
            chunk.statistics.add(*small)
            small.clear()
        chunk.contents.extend(digest)
        if not plan.quality:
            chunk.pixels.extend(hashlib.sha256(record).digest())
    if small:
        chunk.statistics.add(*small)
    return chunk


def _content(examples: Split, index: int, encoded: bytes, label: int) -> bytes:
    """A digest of an image's bytes, its label and its path in a folder."""
    return _hasher(b"%d\0%s\0" % (label, examples.path(index)) + encoded).digest()


def _unread(examples: Split, index: int) -> bytes:
    """A digest in place of `_content` where the bytes cannot be read."""
    return _hasher(b"unread\0" + examples.path(index)).digest()


def _hasher(data: bytes = b"") -> "hashlib.blake2b":
    return hashlib.blake2b(data, digest_size=16)


def _named(file: LeftOut) -> str:
    return f"{printable(file.file)} ({file.why})"
