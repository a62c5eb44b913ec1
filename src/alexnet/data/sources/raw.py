"""A dataset as it came: class names, splits of encoded images, and the files left out."""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple, Protocol

# Why a file that should be an example is left out
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
        """Its path in the folder; b"" for examples that are not files."""
        ...


class LeftOut(NamedTuple):
    """A file that is not used.

    Attributes:
        file: its path in the folder, or a name for the example.
        reason: a few words, the same for all files of a kind.
        why: details about this file.
    """

    file: str
    reason: str
    why: str = ""


@dataclasses.dataclass(frozen=True)
class RawData:
    """A dataset that `named.open_raw` returns and `prepare` turns into a store.

    Attributes:
        classes: their names, in the order of the labels.
        splits: "train", "validation" and, for some, "test".
        left_out: the other files that were found.
        notes: how the splits were made, if their names do not tell.
        stamp: a digest of the files' names, sizes and times; a store with another may be outdated.
        upright: whether to turn images the way their EXIF orientation says.
    """

    classes: tuple[str, ...]
    splits: Mapping[str, Split]
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()
    stamp: str = ""
    upright: bool = False
