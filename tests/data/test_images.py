"""Images to pixels: sizes, modes, orientation, and damage that Pillow would hide."""

import io
import warnings

import numpy as np
import pytest
from PIL import Image, ImageOps

from alexnet.data.images import (
    MAX_PIXELS,
    TooLargeError,
    shorter_side,
    square,
    square_pixels,
    suffixes,
)


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def smooth(height: int, width: int) -> np.ndarray:
    """A picture without fine detail: uint8 (height, width, 3)."""
    y, x = np.mgrid[:height, :width]
    channels = [np.sin(x / 37 + y / 53), np.cos(x / 41), np.sin(y / 47)]
    return (127.5 + 120 * np.stack(channels, -1)).astype(np.uint8)


def keys_cubic(x: np.ndarray) -> np.ndarray:
    """Keys's cubic convolution kernel with a = -0.5."""
    x = np.abs(x)
    near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0))


def resize_matrix(length: int, target: int) -> np.ndarray:
    """(target, length): each row the cubic's weights, widened where it shrinks."""
    scale = length / target
    centres = (np.arange(target) + 0.5) * scale - 0.5
    weights = keys_cubic((np.arange(length) - centres[:, None]) / max(scale, 1))
    return weights / weights.sum(1, keepdims=True)


@pytest.mark.parametrize(("height", "width"), [(60, 90), (90, 60), (20, 20), (45, 101)])
def test_resize_and_central_crop(height, width):
    # Pillow clips between its two passes: values that never leave 0-255 show the same as one.
    noise = np.random.default_rng(0).integers(90, 160, (height, width, 3), dtype=np.uint8)
    size = 30
    rows, columns = (round(side * size / min(height, width)) for side in (height, width))
    scaled = np.einsum("ih,hwc,jw->ijc", resize_matrix(height, rows), noise,
                       resize_matrix(width, columns))  # fmt: skip
    top, left = (rows - size) // 2, (columns - size) // 2
    expected = scaled[top : top + size, left : left + size]
    pixels = square_pixels(encoded(Image.fromarray(noise)), size)
    assert np.abs(pixels - expected).max() <= 1.5  # two roundings to 8 bits


def test_jpeg_drafts_are_close_to_full_decoding():
    picture = smooth(700, 1000)
    jpeg = square_pixels(encoded(Image.fromarray(picture), "JPEG", quality=95), 64)
    png = square_pixels(encoded(Image.fromarray(picture)), 64)
    assert np.abs(jpeg.astype(int) - png).mean() < 1


def test_grey_palette_alpha_and_cmyk_become_rgb():
    picture = Image.fromarray(smooth(40, 40))
    expected = np.asarray(picture)
    with_alpha = picture.copy()
    with_alpha.putalpha(255)
    np.testing.assert_array_equal(square_pixels(encoded(with_alpha), 40), expected)
    grey = square_pixels(encoded(picture.convert("L")), 40)
    np.testing.assert_array_equal(grey, np.asarray(picture.convert("L").convert("RGB")))
    transparent = encoded(picture.quantize(256), transparency=bytes([7, 9]))
    palette = square_pixels(transparent, 40)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Pillow warns of transparent palettes
        np.testing.assert_array_equal(square(Image.open(io.BytesIO(transparent)), 40), palette)
    assert np.abs(palette.astype(int) - expected).mean() < 12
    cmyk = encoded(picture.convert("CMYK"), "JPEG", quality=95)
    assert np.abs(square_pixels(cmyk, 40).astype(int) - expected).mean() < 4


def test_transparent_pixels_show_white():
    grey = smooth(40, 40)[..., 0]
    mixed = np.stack([grey, grey[::-1]], -1)  # the second channel says how opaque
    expected = 255 - (255 - mixed[..., 0].astype(float)) * mixed[..., 1] / 255
    for mode in ("LA", "RGBA"):
        pixels = square_pixels(encoded(Image.fromarray(mixed, "LA").convert(mode)), 40)
        assert np.abs(pixels - expected[..., None]).max() <= 1
    cut_out = Image.new("RGBA", (200, 100))  # black that nobody sees
    cut_out.paste((255, 0, 0, 255), (75, 25, 125, 75))
    pixels = square_pixels(encoded(cut_out), 20)
    assert pixels[10, 10].tolist() == [255, 0, 0]
    for border in (pixels[0], pixels[:, -1]):
        np.testing.assert_array_equal(border, 255)
    palette = Image.new("P", (9, 9), 3)
    palette.putpalette([0] * 15)
    np.testing.assert_array_equal(square_pixels(encoded(palette, transparency=3), 8), 255)
    np.testing.assert_array_equal(square_pixels(encoded(palette, transparency=2), 8), 0)


def test_16_bit_grey_keeps_its_upper_byte():
    deep = np.arange(0, 65536, 64, dtype=np.uint16).reshape(32, 32)
    pixels = square_pixels(encoded(Image.fromarray(deep)), 32)
    np.testing.assert_array_equal(pixels, np.repeat((deep >> 8)[..., None], 3, axis=2))


def test_exif_orientation_is_followed_only_when_asked():
    picture = Image.fromarray(smooth(48, 48))
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn clockwise
    turned = np.rot90(np.asarray(picture), -1)
    png = encoded(picture, exif=exif)
    np.testing.assert_array_equal(square_pixels(png, 48), np.asarray(picture))
    np.testing.assert_array_equal(square(Image.open(io.BytesIO(png)), 48), np.asarray(picture))
    np.testing.assert_array_equal(square_pixels(png, 48, upright=True), turned)
    jpeg = encoded(picture, "JPEG", quality=95, exif=exif)
    assert np.abs(square_pixels(jpeg, 48, upright=True).astype(int) - turned).mean() < 4


def test_shorter_side():
    assert shorter_side(encoded(Image.new("RGB", (31, 77)))) == 31


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_that_of_pillow(orientation):
    picture = Image.fromarray(smooth(48, 48))
    exif = Image.Exif()
    exif[0x0112] = orientation
    png = encoded(picture, exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(png))))
    np.testing.assert_array_equal(square_pixels(png, 48, upright=True), expected)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize(
    "block", [b"Exif\0\0MM\0*\xff\xff\xff\xff", b"Exif\0\0garbage", b"Exif\0\0"]
)
def test_a_damaged_exif_block_does_not_matter(kind, block):
    picture = Image.fromarray(smooth(48, 48))
    damaged, plain = encoded(picture, kind, exif=block), encoded(picture, kind)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pixels = square_pixels(damaged, 48, upright=True)
    np.testing.assert_array_equal(pixels, square_pixels(plain, 48, upright=True))


def test_the_size_limit_is_that_of_pillow():
    """Where Pillow, which warns from half of it on, takes an image for a decompression bomb."""
    assert MAX_PIXELS == 2 * Image.MAX_IMAGE_PIXELS


def test_sizes_are_judged_by_the_header():
    png = encoded(Image.new("L", (3000, 2000)))
    with pytest.raises(TooLargeError, match="3000x2000 pixels, more than max_pixels=5999999"):
        square_pixels(png[:200], 8, max_pixels=5_999_999)  # there are no pixels yet
    assert square_pixels(png, 8, max_pixels=6_000_000).shape == (8, 8, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, 1000
        try:
            assert square_pixels(png, 8).shape == (8, 8, 3)
            assert Image.MAX_IMAGE_PIXELS == 1000
        finally:
            Image.MAX_IMAGE_PIXELS = limit


@pytest.mark.parametrize("turned", [False, True])
def test_a_long_strip_is_cut_before_it_is_scaled(turned, monkeypatch):
    """Scaled as a whole to a shorter side of 256, this one would take 6 GB."""
    length = 100_001
    shades = np.arange(length) // 100 % 256
    strip = np.repeat(shades[None, :, None], 3, axis=2).astype(np.uint8).repeat(1, axis=0)
    picture = Image.fromarray(np.swapaxes(strip, 0, 1) if turned else strip)
    pixels_made, resize = [], Image.Image.resize

    def counted(self, size, *how, **more):
        pixels_made.append(size[0] * size[1])
        return resize(self, size, *how, **more)

    monkeypatch.setattr(Image.Image, "resize", counted)
    pixels = square_pixels(encoded(picture), 256)
    assert 0 < max(pixels_made) <= 64 * 256 * 256
    assert abs(int(pixels[128, 128, 0]) - int(shades[length // 2])) <= 1


@pytest.mark.parametrize(("dtype", "kind"), [(np.float32, "float"), (np.int32, "32-bit")])
def test_pixels_without_a_scale_are_refused(dtype, kind):
    with pytest.raises(ValueError, match=f"{kind} pixels"):
        square_pixels(encoded(Image.fromarray(np.ones((9, 9), dtype)), "TIFF"), 8)


def test_damage_that_pillow_would_hide():
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3), np.uint8)
    damaged = bytearray(encoded(Image.fromarray(noise)))
    damaged[len(damaged) // 2] ^= 0xFF
    for upright in (False, True):
        with pytest.raises((OSError, SyntaxError)):
            square_pixels(bytes(damaged), 60, upright)


def test_pillows_limits_do_not_apply_to_strips():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pixels = square_pixels(encoded(Image.new("L", (90_000, 1100), 9)), 8)
    np.testing.assert_array_equal(pixels, np.full((8, 8, 3), 9))


def test_suffixes_are_those_of_readable_images():
    assert {".jpg", ".jpeg", ".jfif", ".png", ".tif", ".avif", ".ppm", ".webp"} <= suffixes()
    assert not {".pdf", ".mpg", ".eps", ".h5", ".txt", ".svg", ""} & suffixes()
