"""One encoded image to square RGB pixels, as the paper stored them (section 2)."""

import contextlib
import functools
import io
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from alexnet.errors import one_line

BIG = 2**26  # bytes: 64 MiB, above which a file's header is checked before the file is read
MAX_PIXELS = 178_956_970  # of an image; Pillow itself refuses larger ones
STRIP = 64  # times the shorter side: a longer image is cut to this before it is scaled
ORIENTATION = 0x0112  # the EXIF tag
TURNS: dict[Any, tuple[Image.Transpose, ...]] = {  # by the tag's value
    2: (Image.Transpose.FLIP_LEFT_RIGHT,),
    3: (Image.Transpose.ROTATE_180,),
    4: (Image.Transpose.FLIP_TOP_BOTTOM,),
    5: (Image.Transpose.TRANSPOSE,),
    6: (Image.Transpose.ROTATE_270,),
    7: (Image.Transpose.TRANSVERSE,),
    8: (Image.Transpose.ROTATE_90,),
}
DEEP_GREY = ("PNG", "PPM")  # 16-bit grey, also where Pillow opens it as 32-bit integers
# Pillow reads only their headers, or needs other programs.
NO_PIXELS = ("BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF")

_LOCK, _inside, _before = threading.Lock(), 0, contextlib.ExitStack()  # of pillow_unlimited


class TooLargeError(ValueError):
    """An image of more pixels than are allowed."""


@functools.cache
def suffixes() -> frozenset[str]:
    """The suffixes of files that Pillow reads, in lower case: ".jpg", ".tif", ".webp", ..."""
    Image.preinit()  # from now on, common formats are tried first: three times as fast for JPEG
    Image.init()
    reads = set(Image.OPEN) - set(NO_PIXELS)
    return frozenset(suffix for suffix, kind in Image.EXTENSION.items() if kind in reads)


def square_pixels(
    encoded: bytes, size: int, upright: bool = False, max_pixels: int = MAX_PIXELS
) -> np.ndarray:
    """`square` of an encoded image.

    Raises:
        TooLargeError: if its header gives more than `max_pixels` pixels; nothing is decoded then.
        Exception: whatever Pillow raises on a damaged file, which is nearly any exception.
    """
    with pillow_unlimited(), Image.open(io.BytesIO(encoded)) as image:
        _check_size(image, max_pixels)
        return square(image, size, upright)


def square(image: Image.Image, size: int, upright: bool = False) -> np.ndarray:
    """Scales the shorter side to `size`, takes the central square: uint8 RGB (size, size, 3).

    Bicubic with antialiasing. `upright` turns the image as its EXIF orientation says, unless that
    is damaged. The first of several pages or frames is taken. Transparent pixels show white: the
    colours under them are arbitrary. Raises ValueError for float and 32-bit pixels, for which no
    value is defined as white.
    """
    middle = _middle(image)
    width, height = _scaled(middle.size, size)
    # JPEGs decode faster at a half, a quarter or an eighth of their size; `draft` never goes below
    # the size we need. It rounds sides up; `box` is the part inside the picture.
    _, box = middle.draft(None, (width, height)) or (None, None)
    colours = _colours(middle, image.format)
    scaled = colours.resize((width, height), Image.Resampling.BICUBIC, box)
    left, top = (width - size) // 2, (height - size) // 2
    central = _on_white(scaled.crop((left, top, left + size, top + size)))
    # Only now: looking for EXIF makes Pillow decode a PNG, which hides that it is damaged.
    for turn in _turns(image) if upright else ():
        central = central.transpose(turn)
    return np.asarray(central)


def why(error: Exception) -> str:
    """Why an image cannot be read; Pillow's words about our buffer are left out."""
    if isinstance(error, UnidentifiedImageError):
        return "not a known image format"
    return error.strerror if isinstance(error, OSError) and error.strerror else one_line(error)


def check_size(path: Path, max_pixels: int) -> None:
    """Raises TooLargeError by a file's header alone, or Pillow's error if that cannot be read."""
    with pillow_unlimited(), Image.open(path) as image:
        _check_size(image, max_pixels)


def shorter_side(encoded: bytes) -> int:
    """The shorter side in pixels, from the header alone."""
    with pillow_unlimited(), Image.open(io.BytesIO(encoded)) as image:
        return min(image.size)


def _check_size(image: Image.Image, max_pixels: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise TooLargeError(f"{width}x{height} pixels, more than max_pixels={max_pixels}")


@contextlib.contextmanager
def pillow_unlimited() -> Iterator[None]:
    """Lets Pillow open images of any size, without its warnings.

    Pillow's limit and the warning filters are global: the first thread to enter changes them, the
    last to leave restores them.
    """
    global _inside
    with _LOCK:
        if _inside == 0:
            _before.callback(setattr, Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
            _before.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore", module="PIL")
            Image.MAX_IMAGE_PIXELS = None
        _inside += 1
    try:
        yield
    finally:
        with _LOCK:
            _inside -= 1
            if _inside == 0:
                _before.close()


def _turns(image: Image.Image) -> tuple[Image.Transpose, ...]:
    if image.format == "JPEG" and not {"exif", "xmp"} & image.info.keys():
        return ()
    try:
        return TURNS.get(image.getexif().get(ORIENTATION), ())
    except Exception:  # damaged EXIF raises nearly anything; the pixels may be sound
        return ()


def _middle(image: Image.Image) -> Image.Image:
    """The middle of a very long image: scaled as a whole, it could take gigabytes."""
    width, height = image.size
    keep = STRIP * min(width, height)
    if max(width, height) <= keep:
        return image
    start = (max(width, height) - keep) // 2
    across = width > height
    box = (start, 0, start + keep, height) if across else (0, start, width, start + keep)
    # Not crop(), which has another limit.
    return image.resize((box[2] - box[0], box[3] - box[1]), Image.Resampling.NEAREST, box)


def _scaled(size: tuple[int, int], shorter: int) -> tuple[int, int]:
    width, height = (max(shorter, round(side * shorter / min(size))) for side in size)
    return width, height


def _colours(image: Image.Image, file_format: str | None) -> Image.Image:
    """The image as RGB, or as RGBA if it has transparency."""
    if image.mode == "F" or (image.mode == "I" and file_format not in DEEP_GREY):
        kind = "float" if image.mode == "F" else "32-bit"
        raise ValueError(f"{kind} pixels: nothing says how bright white is")
    if image.mode.startswith("I"):  # 16-bit grey, which convert() would clip at 255
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    mode = "RGBA" if image.has_transparency_data else "RGB"
    return image if image.mode == mode else image.convert(mode)


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
