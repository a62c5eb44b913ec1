"""Makes a dataset's store: every image decoded, resized and cropped once."""

import collections
import contextlib
import fcntl
import functools
import hashlib
import os
import runpy
import shutil
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path

from tqdm import tqdm

from alexnet.data import images, store
from alexnet.data.sources import named
from alexnet.data.sources.raw import RawData, Split
from alexnet.data.statistics import Accumulator
from alexnet.errors import UserError

PAPER_SIZE = 256
SMALL_SIZE = 32  # for images this small, which larger would only be blurred
CHUNK = 32  # images a task: enough to hide its overhead


def prepare(
    name: str,
    data_dir: str = "",
    image_size: int | None = None,
    quality: int = store.QUALITY,
    progress: bool = True,
) -> store.Store:
    """Makes the store if there is none, or if it is of a folder that has changed since.

    `image_size` None: 256, or 32 if the images are that small. Downloads what TFDS can download.
    Raises UserError.
    """
    if image_size is not None:
        store.store_path(name, data_dir, image_size, quality)  # a wrong size, before a download
    try:
        with _lock(name, data_dir):
            raw = named.open_raw(name, data_dir)
            size = _default_size(raw.splits["train"]) if image_size is None else image_size
            path = store.store_path(name, data_dir, size, quality)
            made = store.load_store(path)
            if made is None or made.digest != raw.digest:
                _make(raw, path, name, size, quality, progress)
            return store.load_store(path)
    except OSError as error:
        root = store.root_dir(data_dir)
        raise UserError(f"cannot prepare {name!r} in {root}: {error}") from error


def open_dataset(
    name: str,
    data_dir: str = "",
    image_size: int | None = None,
    quality: int = store.QUALITY,
) -> store.Store:
    """A prepared dataset, made first if need be: `prepare` for notebooks.

    `store.read("train", range(9))` gives uint8 images and labels, `store.classes` the names.
    """
    return prepare(name, data_dir, image_size, quality)


def ensure(name: str, data_dir: str, image_size: int, quality: int = store.QUALITY) -> store.Store:
    """The store, made on the spot where that takes no download; `config.data` holds the arguments.

    Args:
        name: digits, folder:/path, or any TFDS name of labelled images.
        data_dir: where datasets are prepared; "" is $TFDS_DATA_DIR or TFDS's own place.
        image_size: side of the stored squares, in pixels.
        quality: of the JPEGs that are stored, 1 to 100; 0 stores raw pixels.

    Raises:
        UserError: if it is not prepared, and cannot be without a download.
    """
    path = store.store_path(name, data_dir, image_size, quality)
    is_folder = name.startswith(store.FOLDER)  # may have changed since
    if is_folder or (store.load_store(path) is None and named.is_local(name, data_dir)):
        return prepare(name, data_dir, image_size, quality).open()
    return store.open_store(name, data_dir, image_size, quality).open()


def class_count(
    name: str, data_dir: str, image_size: int, quality: int = store.QUALITY
) -> int | None:
    """How many classes the dataset has; None for a folder without a store. Prepares nothing."""
    made = store.load_store(store.store_path(name, data_dir, image_size, quality))
    return len(made.classes) if made else named.class_count(name, data_dir)


def _make(
    raw: RawData, path: Path, name: str, image_size: int, quality: int, progress: bool
) -> None:
    partial = path.with_name(path.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a preparation that was killed
    partial.mkdir()
    quality = store.stored_quality(image_size, quality)
    statistics = Accumulator(image_size)
    contents = {split: hashlib.blake2b(digest_size=16) for split in raw.splits}

    def records(split: str) -> Iterator[bytes]:
        examples = raw.splits[split]
        work = functools.partial(_records, examples, image_size, quality, raw.upright)
        hidden = None if progress else True  # None: hidden only where there is no terminal
        with tqdm(total=len(examples), desc=f"{name} {split}", disable=hidden) as bar:
            for chunk, digests, part in _in_chunks(work, len(examples)):
                if split == "train":
                    statistics.merge(part)
                contents[split].update(digests)
                bar.update(len(chunk))
                yield from chunk

    for split in raw.splits:
        store.write_records(partial, split, records(split))
    store.save_info(
        store.Store(
            path=partial,
            name=name,
            image_size=image_size,
            quality=quality,
            classes=raw.classes,
            counts={split: len(examples) for split, examples in raw.splits.items()},
            digest=raw.digest,
            statistics=statistics.result(),
            contents={split: digest.hexdigest() for split, digest in contents.items()},
        )
    )
    shutil.rmtree(path, ignore_errors=True)
    os.replace(partial, path)


def _records(
    examples: Split, image_size: int, quality: int, upright: bool, indices: range
) -> tuple[list[bytes], bytes, Accumulator]:
    """Records, digests of what they were made from, one after the other, and statistics."""
    records, digests, statistics = [], [], Accumulator(image_size)
    for index in indices:
        encoded, label = examples[index]
        about = b"%d\0%s\0" % (label, examples.path(index))
        digests.append(hashlib.blake2b(about + encoded, digest_size=16).digest())
        try:
            image = images.square_pixels(encoded, image_size, upright)
        except Exception as error:  # Pillow's decoders raise nearly anything on damaged files
            raise UserError(f"cannot read the image {examples.where(index)}: {error}") from error
        records.append(store.pack(image, label, quality))
        statistics.add(image)
    return records, b"".join(digests), statistics


def _in_chunks(work: Callable[[range], tuple], count: int) -> Iterator[tuple]:
    """`work` on consecutive ranges up to `count`, in threads; results in order, few in flight."""
    threads = os.cpu_count() or 1
    pending = collections.deque()
    with futures.ThreadPoolExecutor(threads) as pool:
        for start in range(0, count, CHUNK):
            pending.append(pool.submit(work, range(start, min(start + CHUNK, count))))
            if len(pending) > 2 * threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _default_size(examples: Split) -> int:
    small = images.shorter_side(examples[0][0]) <= SMALL_SIZE
    return SMALL_SIZE if small else PAPER_SIZE


@contextlib.contextmanager
def _lock(name: str, data_dir: str) -> Iterator[None]:
    """One process prepares a dataset, others wait for it; a killed process frees the lock."""
    stores = store.stores_dir(data_dir)
    stores.mkdir(parents=True, exist_ok=True)
    with open(stores / f"{store.safe_name(name)}.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":  # the command's name before it became `python -m alexnet.prepare`
    runpy.run_module("alexnet.prepare", run_name="__main__")
