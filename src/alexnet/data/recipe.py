"""Which dataset, where, and how its images are stored: the settings of `config.data`."""

import dataclasses
import hashlib
import os
import re
import shlex
from pathlib import Path
from typing import Literal, get_args

from alexnet.errors import UserError, check_utf8, choice, local_path, require
from alexnet.text import printable

QUALITY = 95
MAX_SIZE = 4096  # pixels a side: 48 MiB an image, and eight times that for the mean and PCA
RAW_UP_TO = 64  # pixels a side; below, JPEG would save little and lose much
FOLDER = "folder:"  # begins the name of a dataset that is a folder of images
HELD_OUT = "held_out:"  # begins one that validates on the last tenth of its training images

Encoding = Literal["auto", "jpeg", "raw"]


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A dataset, and how it is prepared. Making one writes nothing and looks for nothing.

    Attributes:
        name: digits, folder:/path, or any TFDS name of labelled images; held_out:NAME validates on
            the last tenth of NAME's training images, and leaves its own split for testing.
        data_dir: where datasets are prepared; "" is $TFDS_DATA_DIR or ~/tensorflow_datasets.
        image_size: side of the stored squares, in pixels.
        quality: of the JPEGs that are stored, 1 to 100; 0 stores raw pixels.
        encoding: jpeg or raw; auto stores raw pixels up to 64 a side, JPEGs above.

    Raises:
        UserError: for an impossible size, quality or encoding, a `data_dir` among the images, or
            images held out of a folder by its name.
    """

    name: str
    data_dir: str
    image_size: int
    quality: int = QUALITY
    encoding: Encoding = "auto"

    def __post_init__(self) -> None:
        size, quality = self.image_size, self.quality
        if self.name.startswith(HELD_OUT + FOLDER):
            raise UserError(
                "a folder without val/ holds out a tenth by itself: leave out held_out:",
                f"name={self.name!r}",
            )
        check_outside(self.name, root_dir(self.data_dir), "data_dir")
        check_utf8(root_dir(self.data_dir).absolute())
        require("image_size", size, size >= 1, "must be at least 1")
        require("image_size", size, size <= MAX_SIZE, f"at most {MAX_SIZE} pixels")
        require("quality", quality, 0 <= quality <= 100, "from 1 to 100, or 0 for raw pixels")
        choice("encoding", self.encoding, get_args(Encoding))
        if self.encoding == "jpeg":
            require("quality", quality, quality >= 1, "encoding=jpeg needs 1 to 100")

    @property
    def is_folder(self) -> bool:
        """Whether the dataset is a folder of images."""
        return self.name.startswith(FOLDER)

    @property
    def stored_quality(self) -> int:
        """The quality of the stored JPEGs; 0 stands for raw pixels.

        "auto" stores raw pixels up to RAW_UP_TO a side, and above if `quality` is 0.
        """
        if self.encoding == "auto":
            return self.quality if self.image_size > RAW_UP_TO else 0
        return self.quality if self.encoding == "jpeg" else 0

    @property
    def path(self) -> Path:
        """Where the store is, or would be."""
        suffix = f"-q{self.stored_quality}" if self.stored_quality else ""
        stem = f"{safe_name(self.name)}-{self.image_size}px{suffix}"
        return stores_dir(self.data_dir) / stem

    @property
    def command(self) -> str:
        """The shell command that prepares this store."""
        words = ["python", "-m", "alexnet.prepare", self.name]
        words += [f"--image_size={self.image_size}", f"--data_dir={root_dir(self.data_dir)}"]
        if self.stored_quality != dataclasses.replace(self, quality=QUALITY).stored_quality:
            words.append(f"--quality={self.quality}")
        if self.encoding != "auto":
            words.append(f"--encoding={self.encoding}")
        return shlex.join(words)


def check_outside(name: str, path: Path, argument: str) -> None:
    """Raises UserError if `path` lies in the dataset's folder of images."""
    if not name.startswith(FOLDER):
        return
    folder = folder_path(name)
    if path.resolve().is_relative_to(folder):
        raise UserError(
            f"lies in the folder of images {folder}, where nothing is written; choose another",
            f"{argument}={path}",
        )


def full_name(name: str) -> str:
    """The dataset's name, valid from every directory."""
    return f"{FOLDER}{folder_path(name)}" if name.startswith(FOLDER) else name


def without_place(name: str) -> str:
    """A dataset's name; that of a folder, "folder:/any/place/photos", without its place."""
    return FOLDER + Path(name.removeprefix(FOLDER)).name if name.startswith(FOLDER) else name


def stores_dir(data_dir: str) -> Path:
    return root_dir(data_dir) / "alexnet_store"


def root_dir(data_dir: str) -> Path:
    """`data_dir`, or where TFDS keeps its data when that is ""."""
    default = os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return local_path("data_dir", data_dir or default)


def safe_name(name: str) -> str:
    """A dataset's name as a file name: imagenette/160px-v2 -> imagenette-160px-v2."""
    if name.startswith(FOLDER):
        # Whichever way the path is written, one folder has one store.
        folder = folder_path(name)
        digest = hashlib.sha1(os.fsencode(folder)).hexdigest()[:8]
        named = os.fsencode(printable(folder.name)[:80])[:200].decode(errors="ignore")
        return f"folder-{named}-{digest}"
    return re.sub(r"[^\w.-]", "-", name)


def without_held_out(name: str) -> str:
    """The name of the dataset that "held_out:NAME" is made of; another name as it is."""
    return name.removeprefix(HELD_OUT)


def folder_path(name: str) -> Path:
    """The resolved path of a dataset that is a folder of images."""
    text = name.removeprefix(FOLDER)
    if not text:
        raise UserError("which folder? write folder:/path/to/photos", f"name={name}")
    try:
        return local_path("name", text).resolve()
    except (OSError, RuntimeError) as error:  # links in a circle
        raise UserError(f"no folder {text}: {error}", "name") from error
