"""What was found, used and left out of a dataset when it was prepared."""

import dataclasses
from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePath

from alexnet.data.sources.raw import LeftOut
from alexnet.errors import UserError, one_line
from alexnet.text import printable

LEFT_OUT = "left_out.txt"  # in a store
USED = "{split}_files.txt"  # likewise
SHOWN = 10  # unreadable files that an error or a summary names


@dataclasses.dataclass(frozen=True)
class Inventory:
    """What was found, used and left out, as plain values for JSON.

    Attributes:
        found: number of files, or of examples in datasets without files.
        left_out: reason -> suffix -> number of files.
        unreadable: the first files that could not be read or were too large, each with the reason.
        unreadable_contents: a digest of those that decoding found, like `Store.contents`.
        class_counts: split -> number of images of each class, in the classes' order.
        copies: number of used images that equal an earlier one, byte for byte.
        in_train: split -> number of its images that are in the training set, byte for byte.
        in_classes: number of used images whose earliest copy is of another class.
        in_classes_first: the names of the first such images.
        size: why the images have their size; "" if it was asked for.
        notes: how the splits were made.
        limits: max_pixels, of an image, and max_bad, the share of images that may be unreadable or
            too large.
    """

    found: int = 0
    left_out: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)
    unreadable: list[str] = dataclasses.field(default_factory=list)
    unreadable_contents: str = ""
    class_counts: dict[str, list[int]] = dataclasses.field(default_factory=dict)
    copies: int = 0
    in_train: dict[str, int] = dataclasses.field(default_factory=dict)
    in_classes: int = 0
    in_classes_first: list[str] = dataclasses.field(default_factory=list)
    size: str = ""
    notes: list[str] = dataclasses.field(default_factory=list)
    limits: dict[str, float] = dataclasses.field(default_factory=dict)


def by_reason(left_out: Iterable[LeftOut]) -> dict[str, dict[str, int]]:
    """Reason -> suffix -> number of files, the largest first."""
    counts: dict[str, Counter[str]] = {}
    for file in left_out:
        suffix = PurePath(printable(file.file)).suffix.lower() or "no suffix"
        counts.setdefault(file.reason, Counter())[suffix] += 1
    reasons = sorted(counts, key=lambda reason: -counts[reason].total())
    return {reason: dict(counts[reason].most_common()) for reason in reasons}


def write_left_out(folder: Path, files: Iterable[LeftOut]) -> None:
    """A line for each file: reason, name and why, with tabs between."""
    lines = [f"{file.reason}\t{printable(file.file)}\t{file.why}\n" for file in files]
    (folder / LEFT_OUT).write_text("".join(lines), encoding="utf-8")


def write_used(folder: Path, split: str, names: Iterable[str]) -> None:
    """A line for each image of a split: its file's `printable` name."""
    text = "".join(f"{name}\n" for name in names)
    (folder / USED.format(split=split)).write_text(text, encoding="utf-8")


def read_used(folder: Path, split: str, count: int) -> tuple[str, ...]:
    """The `count` names that `write_used` listed; () if there is no such list."""
    try:
        text = (folder / USED.format(split=split)).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ()
    names = text.split("\n")[:-1]
    return tuple(names) if len(names) == count else ()


def read_left_out(folder: Path) -> list[LeftOut]:
    """The files that `write_left_out` listed, with printable names.

    Raises:
        UserError: if the list is gone or damaged; `prepare` then writes it anew.
    """
    path = folder / LEFT_OUT
    try:
        rows = [line.split("\t") for line in path.read_text(encoding="utf-8").split("\n")[:-1]]
        return [LeftOut(name, reason, why) for reason, name, why in rows]
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({one_line(error)}): prepare the folder") from None
