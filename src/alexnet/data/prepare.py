"""Makes a dataset's store, or finds the one that is there."""

import contextlib
import dataclasses
import errno
import os
import statistics
from collections.abc import Iterator, Mapping

from alexnet import files
from alexnet.data import images, store
from alexnet.data.intake import Plan, contents, take_in
from alexnet.data.inventory import by_reason, read_left_out, write_left_out, write_used
from alexnet.data.recipe import (
    FOLDER,
    QUALITY,
    Encoding,
    Recipe,
    full_name,
    root_dir,
    safe_name,
    stores_dir,
    without_held_out,
)
from alexnet.data.sources import named
from alexnet.data.sources.raw import TOO_LARGE, UNREADABLE, RawData, Split
from alexnet.data.store import Store
from alexnet.data.summary import summary, warnings
from alexnet.errors import UserError, circumstance, one_line, require
from alexnet.locks import lock
from alexnet.text import printable, say

PAPER_SIZE = 256
SMALL_SIZE = 32  # for images this small: larger squares would only be blurred
SAMPLE = 1000  # the fewest images that the choice of size rests on, if there are as many
DEFAULTS = {"max_pixels": images.MAX_PIXELS, "max_bad": 0.05}
READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)  # where nothing can be written


def prepare(
    name: str,
    data_dir: str = "",
    image_size: int | None = None,
    quality: int = QUALITY,
    encoding: Encoding = "auto",
    max_pixels: int | None = None,
    max_bad: float | None = None,
    dry_run: bool = False,
) -> Store:
    """Makes the store if there is none, or if a folder's images or the limits have changed since.

    Downloads what TFDS can download. `alexnet.data.summary` describes the result.

    Args:
        name: this and the next four are those of a `Recipe`.
        image_size: None is 256, or 32 if most images are that small.
        max_pixels: of an image; larger ones are left out without being decoded. None is the limit
            that the store was made with, else Pillow's own.
        max_bad: the share of the images that may be too large or unreadable; if more are, no store
            is made. None is the limit that the store was made with, else 5%.
        dry_run: whether to find out what a store would hold, and write nothing.

    Raises:
        UserError: for whatever the user can correct.
    """

    def at(size: int) -> Recipe:
        return Recipe(name, data_dir, size, quality, encoding)

    def there(size: int | None) -> Store | None:
        """The store of this size, if it is up to date; for None, of a size chosen by default."""
        if dry_run:
            return None
        for side in (size,) if size else (PAPER_SIZE, SMALL_SIZE):
            made = store.load_store(at(side).path)
            if made and (size or settled(made)) and _is_current(made, named.stamp(name), asked):
                return made
        return None

    def settled(made: Store) -> bool:
        """Whether no other size can be chosen: this one was, or the images are not at hand."""
        about = made.inventory
        return about is not None and bool(about.size or not named.is_local(name, data_dir))

    def limits_at(size: int | None) -> dict[str, float]:
        """The limits asked for, or those of the store of this size, or the defaults."""
        made = None if size is None else store.load_store(at(size).path)
        return DEFAULTS | (made.inventory.limits if made and made.inventory else {}) | asked

    asked = _limits(max_pixels, max_bad)
    at(PAPER_SIZE if image_size is None else image_size)  # finds mistakes before a download
    named.check(name)
    if dry_run and not named.is_prepared(name, data_dir):
        raise UserError(f"TFDS has not prepared {name!r} yet, and a dry run writes nothing")
    try:
        if made := there(image_size):  # works even where no lock can be written
            return made
        with contextlib.nullcontext() if dry_run else _lock(name, data_dir):
            if made := there(image_size):
                return made
            most = int(limits_at(image_size)["max_pixels"])
            raw = named.open_raw(name, data_dir, most)
            size, why = (image_size, "") if image_size else _default_size(raw.splits["train"])
            limits = limits_at(size)
            if limits["max_pixels"] != most:  # of the store of the default size, known only now
                most = int(limits["max_pixels"])
                raw = named.open_raw(name, data_dir, most)
            recipe = at(size)
            again = recipe.command
            again += f" --max_pixels={asked['max_pixels']}" if "max_pixels" in asked else ""
            stored, share = recipe.stored_quality, limits["max_bad"]
            plan = Plan(full_name(name), size, stored, most, share, why, again)
            if dry_run:
                return take_in(raw, recipe.path, plan, write=False)
            if image_size is None and (made := there(size)):
                return made
            before = store.load_store(recipe.path)
            if before is None or not _brought_up_to_date(before, raw, limits):
                with files.whole_folder(recipe.path) as partial:
                    made = take_in(raw, partial, plan)
                    if before is not None:
                        _put_aside(before, made)
            return store.open_store(recipe)
    except OSError as error:
        root = root_dir(data_dir)
        why = circumstance(error) or one_line(error)
        raise UserError(f"cannot prepare {name!r} in {root}: {why}") from error


def open_dataset(
    name: str,
    data_dir: str = "",
    image_size: int | None = None,
    quality: int = QUALITY,
) -> Store:
    """A prepared dataset, made first if need be: `prepare` for notebooks.

    `store.read("train", range(9))` gives images, uint8 [9, S, S, 3], and labels, int32 [9];
    `store.classes` are the names. Arguments and errors are those of `prepare`.
    """
    return prepare(name, data_dir, image_size, quality)


def ensure(recipe: Recipe) -> Store:
    """The store, made now if that needs no download or archive.

    The names, sizes and times of a folder's files are compared with those at its preparation; if
    one differs, all bytes are compared, and the store is made again if an image has changed.

    Raises:
        UserError: if it is not prepared, and cannot be without a download or archive.
    """
    before = store.load_store(recipe.path)
    if not recipe.is_folder:
        if before is None and named.is_local(recipe.name, recipe.data_dir):
            before = prepare(**vars(recipe))
            if warnings(before) or (before.inventory and before.inventory.left_out):
                _say(before)
        return (before or store.open_store(recipe)).open()
    if before is not None and before.format < store.FORMAT:
        say(
            f"warning: {before.path} was prepared by an earlier version of this program, which "
            "held out other images and accepted fewer files; the store is used unchanged, and not "
            f"compared with the folder; to prepare it again, for new runs: {recipe.command}"
        )
        return before.open()
    if before is not None and not named.is_there(recipe.name):
        say(f"warning: {recipe.name} is not there: its store {before.path} is used")
        return before.open()
    made = prepare(**vars(recipe))
    if before is None or (before.contents, before.inventory) != (made.contents, made.inventory):
        _say(made)  # also where new files are left out
    return made.open()


def is_current(recipe: Recipe) -> bool:
    """Whether `ensure` would write nothing, as it would find the store or fail.

    Raises:
        UserError: for a folder that is not there and has no store.
    """
    made = store.load_store(recipe.path)
    if made is None:
        named.check(recipe.name)
        return not named.is_local(recipe.name, recipe.data_dir)
    is_old = made.format < store.FORMAT
    if is_old or not recipe.is_folder or not named.is_there(recipe.name):
        return True
    return _is_current(made, named.stamp(recipe.name), {})


def _say(made: Store) -> None:
    """Prints what the store holds, and the warnings."""
    for line in (summary(made), *(f"warning: {line}" for line in warnings(made))):
        say(line)


def kept(recipe: Recipe, known: Store) -> Store | None:
    """The store that holds the images of `known`, also if the folder has changed since.

    Then that is said, and the folder is left alone. None if no store holds these images, or that is
    not known, or for datasets other than folders.
    """
    if not recipe.is_folder or not known.contents:
        return None
    there, path = named.is_there(recipe.name), recipe.path
    for place in (path, store.earlier(path, known)):
        made = store.load_store(place)
        if made is None or (made.contents, made.classes) != (known.contents, known.classes):
            continue
        if place == path and not there:
            return None  # `ensure` uses it, and says so
        if place != path or not _is_current(made, named.stamp(recipe.name), {}):
            say(
                f"warning: files of {recipe.name} have been added, removed or touched: this run "
                f"goes on with the images that it was trained on, in {made.path}"
            )
        return made.open()
    return None


def _put_aside(before: Store, made: Store) -> None:
    """Keeps a store that another replaces: runs that began with its images can then resume."""
    if before.contents and (before.contents, before.classes) == (made.contents, made.classes):
        return
    if not before.contents or not made.name.startswith(FOLDER):
        say(f"{made.name} is prepared again; runs on its earlier images cannot resume")
        return
    place = store.earlier(before.path, before)
    if place.exists():
        return
    os.rename(before.path.resolve(), place)
    say(
        f"{made.name} is prepared again; its earlier images stay in {place}, for runs that began "
        "with them: delete that once none goes on"
    )


def class_count(recipe: Recipe) -> int | None:
    """How many classes the dataset has; None if only preparing it would tell. Prepares nothing."""
    made = store.load_store(recipe.path)
    return len(made.classes) if made else named.class_count(recipe.name, recipe.data_dir)


def _limits(max_pixels: int | None, max_bad: float | None) -> dict[str, float]:
    """The limits that are asked for. Raises UserError for an impossible one."""
    if max_pixels is not None:
        require("max_pixels", max_pixels, max_pixels >= 1, "must be at least 1")
    if max_bad is not None:
        require("max_bad", max_bad, 0 <= max_bad <= 1, "a share, from 0 to 1")
    limits = {"max_pixels": max_pixels, "max_bad": max_bad}
    return {name: limit for name, limit in limits.items() if limit is not None}


def _is_current(made: Store, stamp: str, limits: Mapping[str, float]) -> bool:
    """Whether a store was made from files of these names, sizes and times, with these limits."""
    if made.inventory is None:
        return not stamp
    return made.stamp == stamp and made.inventory.limits == {**made.inventory.limits, **limits}


def _brought_up_to_date(made: Store, raw: RawData, limits: Mapping[str, float]) -> bool:
    """Whether only times, left-out files or a limit on their share have changed.

    Then it updates `info.json` and the list.
    """
    if made.inventory is None or made.inventory.limits["max_pixels"] != limits["max_pixels"]:
        return False
    try:
        left_out = read_left_out(made.path)
    except UserError:
        return False
    bad = {file.file: file for file in left_out if file.reason in (UNREADABLE, TOO_LARGE)}
    names = {
        name: [printable(os.fsdecode(split.path(index))) for index in range(len(split))]
        for name, split in raw.splits.items()
    }
    counts = {name: sum(one not in bad for one in of) for name, of in names.items()}
    if (made.classes, made.counts) != (raw.classes, counts):
        return False  # without reading every image again
    if len(bad) > limits["max_bad"] * (len(bad) + sum(counts.values())):
        return False
    if contents(raw, bad) != (made.contents, made.inventory.unreadable_contents):
        return False
    examples = set().union(*names.values())
    left_out = [*raw.left_out, *(bad[name] for name in bad if name in examples)]
    found = sum(made.counts.values()) + len(left_out)
    about = dataclasses.replace(
        made.inventory, limits=dict(limits), found=found, left_out=by_reason(left_out)
    )
    try:
        write_left_out(made.path, left_out)
        for name, of in names.items():
            write_used(made.path, name, (one for one in of if one not in bad))
        store.save_info(dataclasses.replace(made, stamp=raw.stamp, inventory=about))
    except OSError as error:
        if error.errno not in READ_ONLY:
            raise  # else the bytes are compared again the next time
    return True


def _default_size(examples: Split) -> tuple[int, str]:
    """(32 or 256, why): what most of the images need, by a sample from all over the split."""
    step = max(1, len(examples) // SAMPLE)
    sides = []
    for index in range(0, len(examples), step):
        with contextlib.suppress(Exception):  # images that cannot be read do not count
            sides.append(images.shorter_side(examples[index][0]))
    small = bool(sides) and statistics.median(sides) <= SMALL_SIZE
    asked = f"{len(sides):,}" + (" images" if step == 1 else f" sampled images (one in {step:,})")
    limit = f"{SMALL_SIZE} or less" if small else f"more than {SMALL_SIZE}"
    why = f"as at least half of {asked} have a shorter side of {limit}"
    return (SMALL_SIZE if small else PAPER_SIZE), why


@contextlib.contextmanager
def _lock(name: str, data_dir: str) -> Iterator[None]:
    """One process prepares a dataset, others wait for it; a killed process frees the lock."""
    stores, dataset = stores_dir(data_dir), safe_name(without_held_out(name))
    with contextlib.ExitStack() as stack:
        try:
            stores.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(open(stores / f"{dataset}.lock", "a"))
            if not lock(file, wait=False):
                say(f"waiting for another process, which prepares {name}")
                lock(file)
        except OSError as error:
            if error.errno not in READ_ONLY or not stores.is_dir():
                raise  # else nobody can prepare there, and an existing store may be enough
        yield


if __name__ == "__main__":  # an earlier name of the command
    import runpy

    runpy.run_module("alexnet.prepare", run_name="__main__", alter_sys=True)
