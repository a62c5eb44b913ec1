"""The words for ImageNet's classes, which datasets name by their WordNet ids."""

import functools
from pathlib import Path


def in_words(name: str) -> str:
    """What people call a class: "n01440764" is a tench; other names stay as they are."""
    return _words().get(name, name)


@functools.cache
def _words() -> dict[str, str]:
    """{WordNet id: word} of the 1,000 classes of ILSVRC-2012; no word occurs twice."""
    lines = Path(__file__).with_suffix(".txt").read_text("utf-8").splitlines()
    pairs = (line.partition(" ") for line in lines if not line.startswith("#"))
    return {name: word for name, _, word in pairs}
