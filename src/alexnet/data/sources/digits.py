"""TFDS builder of scikit-learn's handwritten digits: a real dataset without a download."""

import io

import numpy as np
import sklearn.datasets
import tensorflow_datasets as tfds
from PIL import Image

TRAIN_FRACTION = 0.8


class Digits(tfds.core.GeneratorBasedBuilder):
    """1,797 grey 8x8 digits: 80% train, 20% test, by a fixed permutation."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.__doc__,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(8, 8, 3), encoding_format="png"),
                    "label": tfds.features.ClassLabel(names=[str(digit) for digit in range(10)]),
                }
            ),
        )

    def _split_generators(self, dl_manager):
        order = np.random.default_rng(0).permutation(len(sklearn.datasets.load_digits().target))
        border = round(TRAIN_FRACTION * len(order))
        return {
            "train": self._generate_examples(order[:border]),
            "test": self._generate_examples(order[border:]),
        }

    def _generate_examples(self, indices):
        digits = sklearn.datasets.load_digits()
        for index in indices:
            grey = np.rint(digits.images[index] * (255 / 16)).astype(np.uint8)
            # An encoded file passes through TFDS as it is; an array would need TensorFlow.
            png = io.BytesIO()
            Image.fromarray(grey).convert("RGB").save(png, format="PNG")
            png.seek(0)
            yield int(index), {"image": png, "label": int(digits.target[index])}
