"""Photos of every kind, as the squares that a net reads."""

import os
from collections.abc import Iterable

import jax
import numpy as np
from PIL import Image

from alexnet import files
from alexnet.data import images
from alexnet.errors import UserError, local_path, one_line

# A file, an image of Pillow's, or uint8 pixels: RGB [H, W, 3], grey [H, W]
Photo = str | os.PathLike | Image.Image | np.ndarray


def several(photos: Photo | Iterable[Photo]) -> Iterable[Photo]:
    """The photos one by one; a file, an image or an array of two or three axes is a single one."""
    if isinstance(photos, str | os.PathLike | Image.Image):
        return [photos]
    if isinstance(photos, np.ndarray | jax.Array):
        photos = np.asarray(photos)
        return [photos] if photos.ndim in (2, 3) else photos
    return photos


def square(photo: Photo, size: int) -> np.ndarray:
    """A photo's central square, made as a folder's images are: uint8 RGB (size, size, 3), upright.

    Raises:
        UserError: for a file that cannot be read, or an array that is not a photo.
    """
    if isinstance(photo, Image.Image):
        return images.square(photo.copy(), size, upright=True)  # draft() would change the original
    if isinstance(photo, str | os.PathLike):
        path = local_path("photo", os.fspath(photo))
        try:
            return images.square_pixels(files.read_bytes(path), size, upright=True)
        except UserError:
            raise
        except FileNotFoundError:
            raise UserError(f"{path}: no such file") from None
        except Exception as error:  # Pillow's decoders raise nearly anything on damaged files
            raise UserError(f"{path} is not an image that can be read: {one_line(error)}") from None
    pixels = np.asarray(photo)
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or pixels.shape[2:] not in ((), (3,)):
        raise UserError(
            "a photo is a file, a Pillow image, or uint8 pixels of 0-255, [height, width, 3] or "
            f"[height, width]; this one is {pixels.dtype} {list(pixels.shape)}"
        )
    return images.square(Image.fromarray(pixels), size)
