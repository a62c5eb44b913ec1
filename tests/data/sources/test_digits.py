"""The features declared for scikit-learn's digits are those of the images."""

from alexnet.data.sources.digits import Digits


def test_features_are_those_of_the_images(tmp_path):
    features = Digits(data_dir=tmp_path).info.features
    assert features["image"].shape == (8, 8, 3)
    assert features["label"].names == [str(digit) for digit in range(10)]
