"""scikit-learn's digits, as TFDS is told of them."""

import dataclasses

from alexnet.data.sources.digits import Digits
from alexnet.data.sources.raw import RawData


def test_features_are_those_of_the_images(tmp_path):
    features = Digits(data_dir=tmp_path).info.features
    assert features["image"].shape == (8, 8, 3)
    assert features["label"].names == [str(digit) for digit in range(10)]


def test_only_what_asks_for_it_is_turned_upright():
    data = RawData(("a",), {})
    assert not data.upright
    assert dataclasses.replace(data, upright=True).upright
