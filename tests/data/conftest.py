from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet.data.prepare import prepare
from alexnet.data.store import Store


@pytest.fixture(scope="session")
def digits_dir(tmp_path_factory) -> str:
    return str(tmp_path_factory.mktemp("digits"))


@pytest.fixture(scope="session")
def digits(digits_dir) -> Store:
    """The digits at 8 pixels."""
    return prepare("digits", digits_dir, image_size=8)


@pytest.fixture
def pets(tmp_path) -> Path:
    """A folder of images: 12 cats, 25 dogs, 40x30 pixels, of one colour each."""
    for name, count in (("cats", 12), ("dogs", 25)):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for index in range(count):
            pixels = np.full((30, 40, 3), (10 * index, 100, 0), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pets" / name / f"{index:02}.png")
    return tmp_path / "pets"
