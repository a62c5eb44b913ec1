"""What a run keeps of its dataset, in `<workdir>/dataset`, so that its workdir stands alone.

Classes, counts, digests of the images, the mean image and the colour PCA: all of a store except its
records. Whenever the images are at hand, they are compared with those that the run was trained on.
"""

import dataclasses
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeGuard

from ml_collections import ConfigDict

from alexnet import files
from alexnet.data.recipe import full_name, without_place
from alexnet.data.statistics import Statistics
from alexnet.data.store import Store, load_store, save_description
from alexnet.errors import UserError
from alexnet.text import some
from alexnet.workdir import checkpoint, record

FOLDER = "dataset"


def remember(store: Store, workdir: Path, begun: bool) -> None:
    """Writes what the run in `workdir` keeps of `store`.

    A run that has begun keeps what it has. If it has nothing, an earlier version of this program
    began it: the digests are left out, as they may be those of other images.
    """
    if begun and remembered(workdir) is not None:
        return
    if begun:
        store = dataclasses.replace(store, contents={}, pixels={})
    with files.whole_folder(workdir / FOLDER) as partial:
        save_description(dataclasses.replace(store, path=partial))


def remember_imported(
    config: ConfigDict, classes: Sequence[str], statistics: Statistics, workdir: Path
) -> None:
    """Writes what is known of the images behind imported weights: neither counts nor digests."""
    name, size, quality = full_name(config.data.name), config.data.image_size, config.data.quality
    known = Store(Path(), name, size, quality, tuple(classes), {}, statistics)
    remember(known, workdir, begun=False)


def remembered(workdir: Path) -> Store | None:
    """A store without records, or None in the workdir of an earlier version."""
    return load_store(workdir / FOLDER)


def class_count(workdir: Path) -> int:
    """How many classes a run was trained on; 0 if neither its dataset nor a checkpoint says.

    Raises:
        UserError: if there are checkpoints, and they cannot be read.
    """
    if known := remembered(workdir):
        return len(known.classes)
    if not record.begun(workdir):
        return 0
    _, _, progress = checkpoint.load_step(workdir, "last")
    return len(progress.classes) or progress.class_count


def check_classes(workdir: Path, then: Sequence[str], now: Sequence[str], count: int = 0) -> None:
    """Raises UserError if a run was trained on other classes, `then`, than its dataset has `now`.

    Runs that began with another framework's weights may know only how many there were.

    Args:
        count: of the classes then, if it is known; it tells 5 classes from 6, which two towers
            give the same shapes.
    """
    if tuple(then) == tuple(now):
        return
    if not then:
        if count not in (0, len(now)):
            what = f"has {count} classes, its dataset {len(now)}"
            raise UserError(f"{workdir} {what}{_advice(workdir)}")
        return
    gone, come = (sorted(set(a) - set(b)) for a, b in ((then, now), (now, then)))
    changes = [
        f"{some([repr(name) for name in names], 5)} {how}"
        for names, how in ((gone, "removed"), (come, "added"))
        if names
    ]
    what = " and ".join(changes) or "they are in another order"
    raise UserError(
        f"{workdir} was trained on other classes than those of its dataset now: {what}"
        + _advice(workdir)
    )


def _advice(workdir: Path) -> str:
    """What to do about other classes; "" for weights that are no run's."""
    advice = "; bring them back, or train its weights on these, in a new workdir with "
    return (advice + start_from(workdir)) * workdir.is_dir()


def start_from(workdir: Path) -> str:
    """The option that starts a run from the weights in a workdir, as a shell takes it."""
    return shlex.quote(f"--config.init_from={workdir}")


def check_resume(workdir: Path, then: Store | None, now: Store) -> None:
    """Raises UserError if the run in `workdir` cannot continue with the images at hand."""
    if then is None:
        return
    if not same_images(then, now) and without_place(then.name) != without_place(now.name):
        what = f"holds a run on {then.name}, not on {now.name}"
        raise UserError(f"{workdir} {what}: choose another workdir, or {checkpoint.FRESH}")
    check_classes(workdir, then.classes, now.classes)
    if splits := changed(then, now, ("train", "validation")):
        raise UserError(
            f"{workdir} was trained on other images than {now.name} holds now: "
            f"{', '.join(splits)}; to train its weights on these images, use a new workdir with "
            f"{start_from(workdir)}"
        )


def unknown(source: Path, then: Store | None) -> str:
    """A line on a file of weights, or on a workdir of an earlier version, without digests.

    Args:
        then: what the run remembers of its dataset, if anything; of imported weights, no counts.
    """
    compared = "classes and counts are" if then and then.counts else "the classes are"
    return f"{source} does not say which images it was trained on: only {compared} compared"


def is_known(then: Store | None) -> TypeGuard[Store]:
    """Whether the images that a run was trained on are known by their digests."""
    return then is not None and bool(then.contents)


def changed(then: Store, now: Store, splits: Iterable[str]) -> list[str]:
    """The splits whose images are not those that the run was trained with, as far as is known."""

    if not then.counts:
        return []

    def differs(split: str) -> bool:
        digests = (then.contents, now.contents), (then.pixels, now.pixels)
        known = [a[split] == b[split] for a, b in digests if split in a and split in b]
        return not any(known) if known else then.counts.get(split) != now.counts.get(split)

    def counted(split: str) -> str:
        before, after = (store.counts.get(split, 0) for store in (then, now))
        if before == after:
            return f"{after:,} as before, but others, renamed or in other classes"
        return f"then {before:,} images, now {after:,}"

    return [f"{split} ({counted(split)})" for split in splits if differs(split)]


def digests(store: Store) -> dict[str, str]:
    """{description: value} that are equal for the same images: counts, digests and classes."""
    return {
        f"{store.name}'s {split} images": f"{count:,} ({store.contents.get(split, 'unknown')[:12]})"
        for split, count in store.counts.items()
    } | {f"{store.name}'s classes": some(store.classes, 10)}


def same_images(then: Store | None, now: Store) -> bool:
    """Whether both are known to hold the same images, whatever their folders."""
    return is_known(then) and then.counts == now.counts and not changed(then, now, now.counts)
