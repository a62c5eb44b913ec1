"""A dataset as it came: class names, and splits of encoded images."""

import dataclasses
from collections.abc import Mapping
from typing import Protocol


class Split(Protocol):
    """Random access to (encoded image, label); safe to read from several threads."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[bytes, int]: ...

    def where(self, index: int) -> str:
        """What to call this example in an error message."""
        ...

    def path(self, index: int) -> bytes:
        """Where it lies in its folder; b"" for examples without a name of their own."""
        ...


@dataclasses.dataclass(frozen=True)
class RawData:
    """What `named.open_raw` gives and `prepare` turns into a store."""

    classes: tuple[str, ...]
    splits: Mapping[str, Split]  # "train", "validation" and, for some, "test"
    digest: str = ""  # a store made from another digest is out of date
    upright: bool = False  # turn images the way their EXIF orientation says
