"""One encoded image to square RGB pixels, as the paper stored them."""

import io

import numpy as np
from PIL import Image, ImageOps


def square_pixels(encoded: bytes, size: int, upright: bool = False) -> np.ndarray:
    """`square` of an encoded image.

    Raises whatever Pillow raises on a damaged file, which is nearly any exception.
    """
    with Image.open(io.BytesIO(encoded)) as image:
        return square(image, size, upright)


def square(image: Image.Image, size: int, upright: bool = False) -> np.ndarray:
    """Shorter side to `size`, then the central square: uint8 RGB (size, size, 3).

    Bicubic with antialiasing. `upright` turns the image as its EXIF orientation says.
    """
    width, height = _scaled(image.size, size)
    # JPEG decodes faster at a half, a quarter or an eighth, never below the size we need; a side
    # that does not divide is rounded up there, and `box` is the part that is picture.
    _, box = image.draft(None, (width, height)) or (None, None)
    scaled = _as_rgb(image).resize((width, height), Image.Resampling.BICUBIC, box)
    left, top = (width - size) // 2, (height - size) // 2
    central = scaled.crop((left, top, left + size, top + size))
    return np.asarray(ImageOps.exif_transpose(central) if upright else central)


def shorter_side(encoded: bytes) -> int:
    """In pixels, from the header alone."""
    with Image.open(io.BytesIO(encoded)) as image:
        return min(image.size)


def _scaled(size: tuple[int, int], shorter: int) -> tuple[int, int]:
    return tuple(max(shorter, round(side * shorter / min(size))) for side in size)


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey, which convert() would clip at 255
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode == "P":  # straight to RGB, Pillow warns of transparent palettes
        image = image.convert("RGBA")
    return image.convert("RGB")
