"""alexnet.inference.photos: what a photo may be."""

import numpy as np
import pytest
from PIL import Image

from alexnet import files
from alexnet.data import images
from alexnet.errors import UserError
from alexnet.inference.photos import several, square

RANDOM = np.random.default_rng(0)


def test_a_grey_array_is_its_three_channels_and_a_file_its_pixels(tmp_path):
    grey = RANDOM.integers(0, 256, (9, 12), np.uint8)
    found = square(grey, 8)
    assert (found.shape, found.dtype) == ((8, 8, 3), np.uint8)
    np.testing.assert_array_equal(found, square(np.stack([grey] * 3, -1), 8))
    Image.fromarray(grey).save(tmp_path / "photo.png")
    np.testing.assert_array_equal(found, square(tmp_path / "photo.png", 8))
    np.testing.assert_array_equal(found, square(Image.fromarray(grey), 8))


def test_files_and_images_are_turned_upright_as_their_exif_says(tmp_path):
    pixels = RANDOM.integers(0, 256, (8, 8, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn clockwise
    Image.fromarray(pixels).save(tmp_path / "photo.png", exif=exif)
    turned = np.rot90(pixels, -1)
    np.testing.assert_array_equal(square(tmp_path / "photo.png", 8), turned)
    np.testing.assert_array_equal(square(Image.open(tmp_path / "photo.png"), 8), turned)


@pytest.mark.parametrize("sides", [(9, 12), (2, 400)])
def test_16_bit_grey_is_the_same_from_a_file_and_opened(tmp_path, sides):
    path = tmp_path / "deep.pgm"
    Image.fromarray(RANDOM.integers(0, 65536, sides, np.uint16)).save(path)
    assert Image.open(path).mode == "I"
    np.testing.assert_array_equal(square(path, 8), square(Image.open(path), 8))


def test_an_image_is_not_changed(tmp_path):
    Image.fromarray(RANDOM.integers(0, 256, (80, 90, 3), np.uint8)).save(tmp_path / "photo.jpg")
    with Image.open(tmp_path / "photo.jpg") as photo:
        square(photo, 8)
        assert photo.size == (90, 80)


def test_an_image_that_cannot_be_read_is_one_line(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(RANDOM.integers(0, 256, (80, 90, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:9000])
    for photo in (Image.open(path), Image.new("F", (9, 9))):
        with pytest.raises(UserError, match="a photo is not an image that can be read: "):
            square(photo, 8)


def test_an_array_of_two_or_three_axes_is_one_photo():
    grey, colours = np.zeros((4, 5), np.uint8), np.zeros((4, 5, 3), np.uint8)
    for photo in (grey, colours):
        [alone] = several(photo)
        assert alone is photo
    assert [photo.shape for photo in several(np.stack([colours] * 2))] == [(4, 5, 3)] * 2


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((9, 12), np.float32),
        np.zeros((9, 12, 4), np.uint8),
        np.zeros((9, 12, 1), np.uint8),
        np.zeros(9, np.uint8),
        np.zeros((2, 9, 12, 3), np.uint8),
        np.zeros((0, 5, 3), np.uint8),
    ],
    ids=lambda pixels: f"{pixels.dtype}{pixels.shape}",
)
def test_arrays_that_are_no_photos(pixels):
    with pytest.raises(UserError, match=r"a photo is .*this one is") as error:
        square(pixels, 8)
    assert str(error.value).endswith(f"{pixels.dtype} {list(pixels.shape)}")


def test_a_tensor_of_another_library_is_an_array():
    class Tensor:
        def __init__(self, pixels):
            self.pixels, self.ndim = pixels, pixels.ndim

        def __array__(self, dtype=None, copy=None):
            return self.pixels

        def __iter__(self):
            assert self.ndim == 4, "it was taken for a list of photos"
            return (Tensor(one) for one in self.pixels)

    pixels = np.arange(9 * 8 * 3, dtype=np.uint8).reshape(9, 8, 3)
    [photo] = several(Tensor(pixels))
    np.testing.assert_array_equal(photo, pixels)
    for one in several(Tensor(np.stack([pixels] * 5))):
        assert square(one, 8).shape == (8, 8, 3)
    [first] = several(Tensor(pixels.transpose(2, 0, 1)))  # channels first, as in PyTorch
    with pytest.raises(UserError, match="a photo is "):
        square(first, 8)


def test_bytes_and_open_files_are_no_photos(tmp_path):
    path = tmp_path / "photo.png"
    Image.new("L", (9, 9)).save(path)
    with path.open("rb") as file:
        for photo in (path.read_bytes(), file):
            with pytest.raises(UserError, match="a photo cannot be bytes or an open file"):
                several(photo)


def test_a_film_is_refused_before_it_is_read(tmp_path, monkeypatch):
    with (tmp_path / "film.mov").open("wb") as file:
        file.truncate(images.BIG + 1)
    monkeypatch.setattr(files, "read_bytes", lambda _: pytest.fail("it was read"))
    with pytest.raises(UserError, match=r"film.mov is not an image that can be read: not a known"):
        square(tmp_path / "film.mov", 8)


def test_a_cameras_own_format_is_told_a_way_out(tmp_path):
    (tmp_path / "IMG_1.HEIC").write_bytes(b"of a phone")
    with pytest.raises(UserError, match=r"image format; export photos of cameras as JPEG$"):
        square(tmp_path / "IMG_1.HEIC", 8)


def test_a_file_that_is_no_image_says_so(tmp_path):
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(UserError, match=r"can be read: not a known image format$"):
        square(tmp_path / "notes.txt", 8)
