"""A dataset as it came: class names, splits of encoded images, and what is not used of it."""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple, Protocol

# Why a file is left out that was to be an example
UNREADABLE = "cannot be read"
TOO_LARGE = "too large"


class Split(Protocol):
    """Random access to (encoded image, label); safe to read from several threads."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[bytes, int]: ...

    def where(self, index: int) -> str:
        """What to call this example in a message."""
        ...

    def path(self, index: int) -> bytes:
        """Where it lies in its folder; b"" for examples without a name of their own."""
        ...


class LeftOut(NamedTuple):
    """A file that is not used.

    Attributes:
        file: where it lies in its folder, or what to call the example.
        reason: a few words, the same for each file of its kind.
        why: more, of this one.
    """

    file: str
    reason: str
    why: str = ""


@dataclasses.dataclass(frozen=True)
class RawData:
    """What `named.open_raw` gives and `prepare` turns into a store.

    Attributes:
        classes: by name, in the order of their numbers.
        splits: "train", "validation" and, for some, "test".
        left_out: what was found beside the examples.
        notes: how the splits came about, where that is not plain from their names.
        stamp: of names, sizes and times of the files; a store with another is out of date.
        upright: whether to turn images the way their EXIF orientation says.
    """

    classes: tuple[str, ...]
    splits: Mapping[str, Split]
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()
    stamp: str = ""
    upright: bool = False
