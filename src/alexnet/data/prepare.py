"""Makes a dataset's store, or finds the one that is there."""

import contextlib
import dataclasses
import fcntl
import os
import runpy
import shlex
import shutil
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

from alexnet.data import images, store
from alexnet.data.intake import Plan, contents, take_in
from alexnet.data.inventory import by_reason, read_left_out, write_left_out
from alexnet.data.sources import named
from alexnet.data.sources.raw import TOO_LARGE, UNREADABLE, RawData, Split
from alexnet.data.store import Encoding, Store
from alexnet.data.summary import summary, warnings
from alexnet.errors import UserError, require
from alexnet.text import printable

PAPER_SIZE = 256
SMALL_SIZE = 32  # for images this small, which larger would only be blurred
SAMPLE = 1000  # images whose sizes decide
MAX_BAD = 0.05  # of the images


def prepare(
    name: str,
    data_dir: str = "",
    image_size: int | None = None,
    quality: int = store.QUALITY,
    encoding: Encoding = "auto",
    max_pixels: int = images.MAX_PIXELS,
    max_bad: float = MAX_BAD,
    progress: bool = True,
    dry_run: bool = False,
) -> Store:
    """Makes the store if there is none, or if it is of a folder that has changed since.

    Downloads what TFDS can download. `alexnet.data.summary` says what came out.

    Args:
        name: digits, folder:/path, or any TFDS name of labelled images.
        data_dir: where datasets are prepared; "" is $TFDS_DATA_DIR or TFDS's own place.
        image_size: side of the stored squares, in pixels; None is 256, or 32 if most images are
            that small.
        quality: of the JPEGs that are stored, 1 to 100; 0 stores raw pixels.
        encoding: jpeg or raw; auto stores raw pixels up to 64 a side, JPEGs above.
        max_pixels: of an image; larger ones are left out, without being decoded.
        max_bad: the share of the images that may be too large or unreadable; of more nothing is
            made.
        progress: whether to show it on a terminal.
        dry_run: whether to find out all that a store would hold, and write nothing.

    Raises:
        UserError: for whatever the user can mend.
    """

    def place(size: int) -> Path:
        return store.store_path(name, data_dir, size, quality, encoding)

    place(PAPER_SIZE if image_size is None else image_size)  # mistakes, before a download
    require("max_pixels", max_pixels, max_pixels >= 1, "must be at least 1")
    require("max_bad", max_bad, 0 <= max_bad <= 1, "a share, from 0 to 1")
    if dry_run and not named.is_prepared(name, data_dir):
        raise UserError(f"TFDS has not prepared {name!r} yet, and a dry run writes nothing")
    try:
        with contextlib.nullcontext() if dry_run else _lock(name, data_dir):
            made = None if image_size is None or dry_run else store.load_store(place(image_size))
            if made is not None and _is_current(made, named.stamp(name)):
                return made
            raw = named.open_raw(name, data_dir, max_pixels)
            size, why = image_size, ""
            if size is None:
                size, why = _default_size(raw.splits["train"])
            stored = store.stored_quality(size, quality, encoding)
            plan = Plan(name, size, stored, max_pixels, max_bad, progress, why)
            if dry_run:
                return take_in(raw, place(size), plan, write=False)
            made = store.load_store(place(size))
            if made is not None and (_is_current(made, raw.stamp) or _same_images(made, raw)):
                return store.load_store(place(size))
            return _make(raw, place(size), plan)
    except OSError as error:
        root = store.root_dir(data_dir)
        raise UserError(f"cannot prepare {name!r} in {root}: {error}") from error


def open_dataset(
    name: str,
    data_dir: str = "",
    image_size: int | None = None,
    quality: int = store.QUALITY,
) -> Store:
    """A prepared dataset, made first if need be: `prepare` for notebooks.

    `store.read("train", range(9))` gives uint8 images and labels, `store.classes` the names.
    """
    return prepare(name, data_dir, image_size, quality)


def ensure(
    name: str,
    data_dir: str,
    image_size: int,
    quality: int = store.QUALITY,
    encoding: Encoding = "auto",
) -> Store:
    """The store, made on the spot where that takes no download; `config.data` holds the arguments.

    Of a folder names, sizes and times of the files are compared with those when it was prepared,
    and where one differs, all bytes: images that changed are prepared again.

    Args:
        name: digits, folder:/path, or any TFDS name of labelled images.
        data_dir: where datasets are prepared; "" is $TFDS_DATA_DIR or TFDS's own place.
        image_size: side of the stored squares, in pixels.
        quality: of the JPEGs that are stored, 1 to 100; 0 stores raw pixels.
        encoding: jpeg or raw; auto stores raw pixels up to 64 a side, JPEGs above.

    Raises:
        UserError: if it is not prepared, and cannot be without a download.
    """
    before = store.load_store(store.store_path(name, data_dir, image_size, quality, encoding))
    if before is None and not named.is_local(name, data_dir):
        return store.open_store(name, data_dir, image_size, quality, encoding)
    if before is not None and not name.startswith(store.FOLDER):
        return before.open()
    if before is not None and (why := _stays(before)):
        print(f"warning: {why}", file=sys.stderr)
        return before.open()
    limits = before.inventory.limits if before else {}
    made = prepare(name, data_dir, image_size, quality, encoding, **limits)
    if name.startswith(store.FOLDER) and (not before or before.contents != made.contents):
        lines = [summary(made), *(f"warning: {line}" for line in warnings(made))]
        print("\n".join(lines), file=sys.stderr)
    return made.open()


def class_count(
    name: str,
    data_dir: str,
    image_size: int,
    quality: int = store.QUALITY,
    encoding: Encoding = "auto",
) -> int | None:
    """How many classes the dataset has; None for a folder without a store. Prepares nothing."""
    made = store.load_store(store.store_path(name, data_dir, image_size, quality, encoding))
    return len(made.classes) if made else named.class_count(name, data_dir)


def _stays(made: Store) -> str:
    """Why a folder's store is used without a look at the folder; "" if it is not."""
    if made.format < store.FORMAT:
        return (
            f"{made.path} was prepared by an earlier version, which held out other images and took "
            f"fewer files: it is used as it is, and not compared with {made.name}; to prepare it "
            f"anew, for new runs: python -m alexnet.prepare {shlex.quote(made.name)} "
            f"--image_size={made.image_size}"
        )
    if not named.is_there(made.name):
        return f"{made.name} is not there any more: what was prepared of it is used, {made.path}"
    return ""


def _is_current(made: Store, stamp: str) -> bool:
    """Whether a store is of the files as they are, by their names, sizes and times."""
    return not stamp or (made.format >= store.FORMAT and made.stamp == stamp)


def _same_images(made: Store, raw: RawData) -> bool:
    """Whether only times have changed, or files that are left out; the store then learns of it."""
    if made.format < store.FORMAT:
        return False
    bad = [file for file in read_left_out(made.path) if file.reason in (UNREADABLE, TOO_LARGE)]
    now = contents(raw, [file.file for file in bad])
    if now != (made.contents, made.inventory.unreadable_contents) or made.classes != raw.classes:
        return False
    listed = {printable(file.file) for file in raw.left_out}
    left_out = [*raw.left_out, *(file for file in bad if file.file not in listed)]
    found = sum(made.counts.values()) + len(left_out)
    about = made.inventory._replace(found=found, left_out=by_reason(left_out))
    write_left_out(made.path, left_out)
    store.save_stamp(dataclasses.replace(made, stamp=raw.stamp, inventory=about))
    return True


def _make(raw: RawData, path: Path, plan: Plan) -> Store:
    partial = path.with_name(path.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a preparation that was killed
    partial.mkdir()
    try:
        take_in(raw, partial, plan)
    except UserError:
        shutil.rmtree(partial)
        raise
    shutil.rmtree(path, ignore_errors=True)
    os.replace(partial, path)
    return store.load_store(path)


def _default_size(examples: Split) -> tuple[int, str]:
    """(32 or 256, why): what most of the images need, by a sample from all over the split."""
    step = max(1, len(examples) // SAMPLE)
    sides = []
    for index in range(0, len(examples), step):
        with contextlib.suppress(Exception):  # an image that cannot be read has no say
            sides.append(images.shorter_side(examples[index][0]))
    small = bool(sides) and statistics.median(sides) <= SMALL_SIZE
    asked = f"{len(sides):,} images" if step == 1 else f"{len(sides):,} images, one in {step:,},"
    why = f"as half of {asked} have a shorter side of {SMALL_SIZE} or less"
    if not small:
        why = f"as most of {asked} have a shorter side of more than {SMALL_SIZE}"
    return (SMALL_SIZE if small else PAPER_SIZE), why


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
