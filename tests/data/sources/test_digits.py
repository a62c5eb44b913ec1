"""scikit-learn's digits: their features, and which are held out."""

import numpy as np

from alexnet.data.sources.digits import Digits


def test_features_are_those_of_the_images(tmp_path):
    features = Digits(data_dir=tmp_path).info.features
    assert features["image"].shape == (8, 8, 3)
    assert features["label"].names == [str(digit) for digit in range(10)]


def test_the_split_is_the_one_of_every_published_result(tmp_path):
    held_out = Digits(data_dir=tmp_path)._split_generators(None)["test"]
    order = np.random.default_rng(0).permutation(1797)
    assert [key for key, _ in held_out] == order[1438:].tolist()  # a fifth
