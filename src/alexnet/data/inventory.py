"""What was found, used and left out of a dataset when it was prepared."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import NamedTuple

from alexnet.data.sources.raw import LeftOut
from alexnet.text import printable

LEFT_OUT = "left_out.txt"  # in a store
SHOWN = 10  # of files that cannot be read, by name in an error or a summary


class Inventory(NamedTuple):
    """Plain values, as JSON gives them again.

    Attributes:
        found: files, or examples of datasets that come in other ways.
        left_out: reason -> suffix -> how many.
        unreadable: the first of those that could not be read or were too large, each with the why.
        unreadable_contents: a digest of all of these, as `Store.contents` is of the used ones.
        class_counts: split -> images of each class, in their order.
        copies: used images that are byte for byte another one before them.
        in_train: split -> of its images, how many are byte for byte in the training set.
        in_classes: used images whose bytes came before in another class.
        in_classes_first: the first of these by name.
        size: why the images have the size they have; "" if it was asked for.
        notes: how the splits came about.
        limits: what an image may be and how many may be left out: max_pixels, max_bad.
    """

    found: int = 0
    left_out: dict[str, dict[str, int]] = {}  # noqa: RUF012 - of a tuple, never changed
    unreadable: list[str] = []  # noqa: RUF012
    unreadable_contents: str = ""
    class_counts: dict[str, list[int]] = {}  # noqa: RUF012
    copies: int = 0
    in_train: dict[str, int] = {}  # noqa: RUF012
    in_classes: int = 0
    in_classes_first: list[str] = []  # noqa: RUF012
    size: str = ""
    notes: list[str] = []  # noqa: RUF012
    limits: dict[str, float] = {}  # noqa: RUF012


def by_reason(left_out: Iterable[LeftOut]) -> dict[str, dict[str, int]]:
    """Reason -> suffix -> how many, the most first."""
    counts: dict[str, Counter[str]] = {}
    for file in left_out:
        suffix = PurePath(file.file).suffix.lower() or "no suffix"
        counts.setdefault(file.reason, Counter())[suffix] += 1
    reasons = sorted(counts, key=lambda reason: -counts[reason].total())
    return {reason: dict(counts[reason].most_common()) for reason in reasons}


def write_left_out(folder: Path, files: Iterable[LeftOut]) -> None:
    """A line for each file: reason, name and why, with tabs between."""
    lines = [f"{file.reason}\t{printable(file.file)}\t{file.why}\n" for file in files]
    (folder / LEFT_OUT).write_text("".join(lines), encoding="utf-8")


def read_left_out(folder: Path) -> list[LeftOut]:
    """What `write_left_out` wrote, with printable names."""
    lines = (folder / LEFT_OUT).read_text(encoding="utf-8").split("\n")[:-1]
    return [
        LeftOut(name, reason, why) for reason, name, why in (line.split("\t") for line in lines)
    ]
