"""Photos of every kind, as the squares that a net reads."""

import contextlib
import io
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

import jax
import numpy as np
from PIL import Image

from alexnet import files
from alexnet.data import images
from alexnet.data.sources.tree import AS_JPEG, CAMERAS, is_hidden, kinds, walk
from alexnet.devices.cores import in_order
from alexnet.errors import UserError, local_path
from alexnet.text import counted, say

File = str | os.PathLike
# A file, an image of Pillow's, or uint8 pixels: RGB [H, W, 3], grey [H, W]
Photo = File | Image.Image | np.ndarray


def several(photos: Photo | Iterable[Photo]) -> Iterable[Photo]:
    """The photos one by one; a file, an image or an array of two or three axes is a single one.

    Raises UserError for bytes and open files, which are none of these.
    """
    if isinstance(photos, File | Image.Image):
        return [photos]
    if isinstance(photos, bytes | io.IOBase):
        raise UserError(
            "a photo cannot be bytes or an open file: give its path, or PIL.Image.open(file)"
        )
    if getattr(photos, "ndim", 0) in (2, 3):  # also a tensor of another library
        return [np.asarray(photos)]
    return np.asarray(photos) if isinstance(photos, jax.Array) else photos


def photos_in(folder: Path) -> list[str]:
    """The images in a folder and its sub-folders, by their names' suffixes, but no hidden ones.

    Raises:
        UserError: if there is none, or if a folder cannot be listed.
    """
    found = [
        file
        for file in walk(folder)
        if file.status and stat.S_ISREG(file.status.mode) and not is_hidden(file.parts)
    ]
    known = images.suffixes()
    photos = [file.path for file in found if os.path.splitext(file.path)[1].lower() in known]
    if not photos:
        raise UserError(f"{folder} holds no images; {kinds(found)}")
    others = [file for file in found if file.path.lower().endswith(tuple({*CAMERAS} - known))]
    if others:
        say(f"{folder}: {counted(len(others), 'photo')} not read ({kinds(others)})")
    return [os.path.join(folder, photo) for photo in photos]


def square(photo: Photo, size: int) -> np.ndarray:
    """A photo's central square, made as a folder's images are: uint8 RGB (size, size, 3), upright.

    A large JPEG decodes faster from its file than as an image of Pillow's: at a reduced size, which
    changes its pixels by a few levels.

    Raises:
        UserError: for a file or an image that cannot be read, or an array that is not a photo.
    """
    if isinstance(photo, File):
        path = local_path("photo", os.fspath(photo))
        with _readable(str(path)):
            if path.is_file() and path.stat().st_size > images.BIG:  # a film, perhaps
                images.check_size(path, images.MAX_PIXELS)
        try:
            encoded = files.read_bytes(path)
        except FileNotFoundError:
            raise UserError(f"{path}: no such file") from None
        with _readable(str(path)):
            return images.square_pixels(encoded, size, upright=True)
    if isinstance(photo, Image.Image):
        with _readable("a photo"):
            photo.load()  # else draft() would change it
            return images.square(photo, size, upright=True)
    pixels = np.asarray(photo)
    kind = pixels.dtype == np.uint8 and pixels.shape[2:] in ((), (3,)) and pixels.ndim in (2, 3)
    if not kind or not pixels.size:
        raise UserError(
            "a photo is a file, a Pillow image, or uint8 pixels of 0-255, [height, width, 3] or "
            f"[height, width]; this one is {pixels.dtype} {list(pixels.shape)}"
        )
    return images.square(Image.fromarray(pixels), size)


def squares(photos: Photo | Iterable[Photo], size: int) -> Iterator[np.ndarray]:
    """`square` of each photo, in order. Threads read the files.

    An image of Pillow's is not theirs, as it may be there twice and have its pixels still to load.
    """
    opened = (one if isinstance(one, File) else square(one, size) for one in several(photos))
    return in_order(lambda one: square(one, size) if isinstance(one, File) else one, opened)


@contextlib.contextmanager
def _readable(what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged files
        advice = AS_JPEG if what.lower().endswith(CAMERAS) else ""
        why = images.why(error)
        raise UserError(f"{what} is not an image that can be read: {why}{advice}") from None
