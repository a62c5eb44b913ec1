"""alexnet.inference.photos: what a photo may be."""

import numpy as np
import pytest
from PIL import Image

from alexnet.errors import UserError
from alexnet.inference.photos import square

RANDOM = np.random.default_rng(0)


def test_a_grey_array_is_its_three_channels_and_a_file_its_pixels(tmp_path):
    grey = RANDOM.integers(0, 256, (9, 12), np.uint8)
    found = square(grey, 8)
    assert (found.shape, found.dtype) == ((8, 8, 3), np.uint8)
    np.testing.assert_array_equal(found, square(np.stack([grey] * 3, -1), 8))
    Image.fromarray(grey).save(tmp_path / "photo.png")
    np.testing.assert_array_equal(found, square(tmp_path / "photo.png", 8))
    np.testing.assert_array_equal(found, square(Image.fromarray(grey), 8))


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((9, 12), np.float32),
        np.zeros((9, 12, 4), np.uint8),
        np.zeros((9, 12, 1), np.uint8),
        np.zeros(9, np.uint8),
        np.zeros((2, 9, 12, 3), np.uint8),
    ],
    ids=lambda pixels: f"{pixels.dtype}{pixels.shape}",
)
def test_arrays_that_are_no_photos(pixels):
    with pytest.raises(UserError, match=r"a photo is .*this one is") as error:
        square(pixels, 8)
    assert str(error.value).endswith(f"{pixels.dtype} {list(pixels.shape)}")
