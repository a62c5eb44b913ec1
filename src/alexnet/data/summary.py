"""The summary that `prepare` prints: what was found, used and left out, and warnings."""

from collections.abc import Mapping, Sequence
from typing import Any

from alexnet.data.inventory import LEFT_OUT, SHOWN, Inventory
from alexnet.data.recipe import FOLDER
from alexnet.data.sources.folder import NO_IMAGE
from alexnet.data.sources.tree import CAMERAS
from alexnet.data.store import Store
from alexnet.text import aligned, counted, printable, some

FEW = 20  # up to this many classes are all listed, with their counts
DARK = 16  # levels of 255: where no pixel of the mean image reaches this, images are nearly black
UNEVEN = 10  # times as many images in the largest class as in the smallest: worth a warning


def as_json(store: Store) -> dict[str, Any]:
    """Plain values; for a store of format 1, the duplicates and the classes' counts are None."""
    about = store.inventory or Inventory(sum(store.counts.values()))
    return {
        "name": printable(store.name),
        "splits": store.counts,
        "classes": dict(zip(store.classes, totals(store), strict=True)),
        "found": about.found,
        "used": sum(store.counts.values()),
        "left_out": {reason: sum(kinds.values()) for reason, kinds in about.left_out.items()},
        "left_out_suffixes": about.left_out,
        "unreadable": list(about.unreadable),
        "duplicates": about.copies if store.inventory else None,
        "image_size": store.image_size,
        "store": printable(str(store.path)),
        "notes": [*about.notes, *([about.size] if about.size else [])],
        "warnings": warnings(store),
    }


def summary(store: Store, dry_run: bool = False) -> str:
    """Lines for a terminal, without the warnings."""
    about = store.inventory or Inventory(sum(store.counts.values()))
    used = sum(store.counts.values())
    rows = [(split, counted(count, "image")) for split, count in store.counts.items()]
    rows.append(("classes", f"{len(store.classes):,}: {_classes(store)}"))
    if about.left_out:
        left_out = sum(sum(kinds.values()) for kinds in about.left_out.values())
        listed = "" if dry_run else f", by name in {LEFT_OUT} of the store"
        rows.append(("left out", f"{left_out:,}{listed}"))
        rows += [("", f"{reason}: {_kinds(kinds)}") for reason, kinds in about.left_out.items()]
    rows += [("", each) for each in about.unreadable]
    if about.copies:
        equal = "equals" if about.copies == 1 else "equal"
        rows.append(
            ("copies", f"{counted(about.copies, 'image')} {equal} another one, byte for byte")
        )
    rows += [("splits", note) for note in about.notes]
    why = f", {about.size}" if about.size else ""
    how = f"JPEG of quality {store.quality}" if store.quality else "raw pixels"
    rows.append(("size", f"{store.image_size} x {store.image_size} pixels{why}; {how}"))
    place = printable(str(store.path))
    rows.append(("store", f"would be {place}; nothing was written" if dry_run else place))
    what = "files" if store.name.startswith(FOLDER) else "images"
    head = f"{printable(store.name)}: {used:,} of {about.found:,} {what} are used"
    return "\n".join([head, *(f"  {line}" for line in aligned(rows, names=2))])


def warnings(store: Store) -> list[str]:
    """A line for each property of a dataset that is probably a mistake."""
    about = store.inventory
    if about is None:
        return []
    lines = [
        f"{count:,} of {store.counts[split]:,} {split} images are also in the training set, "
        "byte for byte: the error will look too low"
        for split, count in about.in_train.items()
        if count
    ]
    if about.in_classes:
        lines.append(
            f"{counted(about.in_classes, 'image')} {'is' if about.in_classes == 1 else 'are'} "
            "also in another class, byte for byte: "
            f"{_few(about.in_classes_first, about.in_classes)}"
        )
    photos = {kind: n for kind, n in about.left_out.get(NO_IMAGE, {}).items() if kind in CAMERAS}
    if photos:
        lines.append(
            f"{_kinds(photos)} are photos that this program does not read: export them as JPEG"
        )
    if store.statistics is not None and store.statistics.mean_HWC.max() < DARK:
        lines.append(
            "the images are nearly black; if they have 10 or 12 bits in 16-bit files, scale them "
            "to all 16 bits: only the upper 8 are read"
        )
    return [*lines, *_about_names(store.classes), *_about_counts(store.classes, about.class_counts)]


def totals(store: Store) -> Sequence[int | None]:
    """The number of images of each class in all splits; None in a store of format 1."""
    if store.inventory is None:
        return [None] * len(store.classes)
    return _totals(store.inventory)


def _totals(about: Inventory) -> list[int]:
    return [sum(counts) for counts in zip(*about.class_counts.values(), strict=True)]


def _about_names(classes: Sequence[str]) -> list[str]:
    if not all(name.isdecimal() for name in classes) or list(classes) == sorted(classes, key=int):
        return []
    order = f"the classes are numbers, but sorted as text: {_few(classes)}"
    return [f"{order}; name them 01, 02, ... to sort them as numbers"]


def _about_counts(classes: Sequence[str], counts: Mapping[str, Sequence[int]]) -> list[str]:
    train = dict(zip(classes, counts["train"], strict=True))
    unseen = [name for name, count in zip(classes, counts["validation"], strict=True) if not count]
    lone = [name for name in unseen if train[name] == 1]
    lines = []
    if lone:
        lines.append(f"classes with a single training image and none for validation: {_few(lone)}")
    if others := [name for name in unseen if train[name] > 1]:
        lines.append(f"classes without validation images: {_few(others)}")
    count_of = train.__getitem__
    largest, smallest = max(train, key=count_of), min(train, key=count_of)
    if train[largest] >= UNEVEN * train[smallest]:
        lines.append(
            f"class {largest!r} has {train[largest]:,} training images, {smallest!r} has "
            f"{train[smallest]:,}: a net may learn to ignore the small classes; alexnet report "
            "shows the error of each"
        )
    return lines


def _classes(store: Store) -> str:
    """All classes if they are few; else some, with the smallest and the largest count."""
    if store.inventory is None:
        return _few(store.classes)
    counts = _totals(store.inventory)
    each = [
        f"{repr(name) if ',' in name else name} {n:,}"
        for name, n in zip(store.classes, counts, strict=True)
    ]
    if len(each) <= FEW:
        return ", ".join(each)
    return f"{min(counts):,} to {max(counts):,} images each: {_few(each)}"


def _kinds(kinds: dict[str, int]) -> str:
    parts = [f"{count:,} {kind}" for kind, count in kinds.items()]
    return ", ".join(parts[:SHOWN]) + (", ..." if len(parts) > SHOWN else "")


def _few(names: Sequence[str], count: int | None = None) -> str:
    return some(names, SHOWN, count)
