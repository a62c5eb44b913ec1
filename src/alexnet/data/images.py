"""One encoded image to square RGB pixels, as the paper stored them."""

import functools
import io
import threading
import warnings

import numpy as np
from PIL import Image

MAX_PIXELS = 178_956_970  # of one image: where Pillow itself refuses one
STRIP = 64  # times as long as wide: what of a longer image is scaled, whose middle is kept
ORIENTATION = 0x0112  # the EXIF tag
TURNS = {
    2: (Image.Transpose.FLIP_LEFT_RIGHT,),
    3: (Image.Transpose.ROTATE_180,),
    4: (Image.Transpose.FLIP_TOP_BOTTOM,),
    5: (Image.Transpose.TRANSPOSE,),
    6: (Image.Transpose.ROTATE_270,),
    7: (Image.Transpose.TRANSVERSE,),
    8: (Image.Transpose.ROTATE_90,),
}
# Pillow reads the header only, or needs programs of others.
NO_PIXELS = ("BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF")

_PILLOW = threading.Lock()  # while a setting of the whole process is changed


class TooLargeError(ValueError):
    """An image of more pixels than are allowed."""


@functools.cache
def suffixes() -> frozenset[str]:
    """Of files that Pillow reads, in lower case: ".jpg", ".tif", ".webp", ..."""
    Image.init()
    reads = set(Image.OPEN) - set(NO_PIXELS)
    return frozenset(suffix for suffix, kind in Image.EXTENSION.items() if kind in reads)


def square_pixels(
    encoded: bytes, size: int, upright: bool = False, max_pixels: int = MAX_PIXELS
) -> np.ndarray:
    """`square` of an encoded image.

    Raises:
        TooLargeError: if its header names more than `max_pixels`; nothing is decoded then.
        Exception: whatever Pillow raises on a damaged file, which is nearly any exception.
    """
    with _opened(encoded) as image:
        width, height = image.size
        if width * height > max_pixels:
            raise TooLargeError(f"{width}x{height} pixels, more than max_pixels={max_pixels}")
        return square(image, size, upright)


def square(image: Image.Image, size: int, upright: bool = False) -> np.ndarray:
    """Shorter side to `size`, then the central square: uint8 RGB (size, size, 3).

    Bicubic with antialiasing. `upright` turns the image as its EXIF orientation says, unless that
    is damaged. Raises ValueError for float pixels, which have no fixed white.
    """
    turns = _turns(image) if upright else ()
    image = _middle(image)
    width, height = _scaled(image.size, size)
    # JPEG decodes faster at a half, a quarter or an eighth, never below the size we need; a side
    # that does not divide is rounded up there, and `box` is the part that is picture.
    _, box = image.draft(None, (width, height)) or (None, None)
    scaled = _as_rgb(image).resize((width, height), Image.Resampling.BICUBIC, box)
    left, top = (width - size) // 2, (height - size) // 2
    central = scaled.crop((left, top, left + size, top + size))
    for turn in turns:
        central = central.transpose(turn)
    return np.asarray(central)


def shorter_side(encoded: bytes) -> int:
    """In pixels, from the header alone."""
    with _opened(encoded) as image:
        return min(image.size)


def _opened(encoded: bytes) -> Image.Image:
    """Opens an image of any size, without what Pillow warns of."""
    with _PILLOW, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(io.BytesIO(encoded))
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _turns(image: Image.Image) -> tuple[Image.Transpose, ...]:
    with _PILLOW, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of damaged blocks, in Pillow's words
        try:
            return TURNS.get(image.getexif().get(ORIENTATION), ())
        except Exception:  # a damaged block raises nearly anything, and says nothing of pixels
            return ()


def _middle(image: Image.Image) -> Image.Image:
    """Of a strip of pixels the part around its middle: the whole, scaled, may take gigabytes."""
    width, height = image.size
    keep = STRIP * min(width, height)
    if max(width, height) <= keep:
        return image
    start = (max(width, height) - keep) // 2
    across = width > height
    box = (start, 0, start + keep, height) if across else (0, start, width, start + keep)
    return image.crop(box)


def _scaled(size: tuple[int, int], shorter: int) -> tuple[int, int]:
    return tuple(max(shorter, round(side * shorter / min(size))) for side in size)


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ValueError("float pixels, of which nothing says how bright 1.0 is")
    if image.mode.startswith("I"):  # 16-bit grey, which convert() would clip at 255
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode == "P":  # straight to RGB, Pillow warns of transparent palettes
        image = image.convert("RGBA")
    return image.convert("RGB")
