"""The words for ImageNet's classes, which datasets name by their WordNet ids."""

from pathlib import Path

from alexnet.data.recipe import without_held_out

_LINES = Path(__file__).with_suffix(".txt").read_text("utf-8").splitlines()
_WORDS = dict(line.split(" ", 1) for line in _LINES if not line.startswith("#"))
IDS = tuple(_WORDS)  # of the 1,000 classes of ILSVRC-2012, sorted


def implied(dataset: str, count: int) -> tuple[str, ...]:
    """The classes of a net of ImageNet that names none, as in torchvision and Caffe; else ()."""
    return IDS if without_held_out(dataset) == "imagenet2012" and count == len(IDS) else ()


def in_words(name: str) -> str:
    """What people call a class: "n01440764" is a tench; other names stay as they are.

    No two classes have the same word.
    """
    return _WORDS.get(name, name)
