"""alexnet.data.synsets: words for ImageNet's classes."""

import re
from pathlib import Path

import tensorflow_datasets as tfds

from alexnet.data import synsets
from alexnet.data.synsets import in_words

IMAGENETTE = {  # as its page lists them
    "n01440764": "tench",
    "n02102040": "English springer",
    "n02979186": "cassette player",
    "n03000684": "chain saw",
    "n03028079": "church",
    "n03394916": "French horn",
    "n03417042": "garbage truck",
    "n03425413": "gas pump",
    "n03445777": "golf ball",
    "n03888257": "parachute",
}


def test_imagenettes_classes_in_words():
    assert {name: in_words(name) for name in IMAGENETTE} == IMAGENETTE


def test_each_of_a_thousand_classes_has_a_word_of_its_own():
    words = synsets._WORDS
    assert len(words) == len({word.lower() for word in words.values()}) == 1000
    assert list(synsets.IDS) == sorted(words)
    for name, word in words.items():
        assert re.fullmatch(r"n\d{8}", name)
        assert word == word.strip() != ""


def test_the_words_are_of_the_right_classes():
    """ILSVRC numbers its classes in the order of their ids; these numbers are well known."""
    words = list(synsets._WORDS.values())
    assert words[281] == "tabby"
    assert words[291] == "lion"
    assert words[388] == "giant panda"
    assert words[954] == "banana"
    assert (words[134], words[517]) == ("crane (bird)", "crane (machine)")


def test_tfds_has_the_same_classes_in_the_same_order():
    labels = Path(tfds.__file__).parent / "datasets/imagenet2012/labels.txt"
    assert tuple(labels.read_text().split()) == synsets.IDS
    assert synsets.implied("imagenet2012", 1000) == synsets.IDS
    assert synsets.implied("imagenet2012", 999) == synsets.implied("cifar10", 1000) == ()


def test_other_names_stay_as_they_are():
    assert [in_words(name) for name in ("cat", "", "n00000001", "고양이")] == [
        *("cat", "", "n00000001", "고양이")
    ]
