"""Which images of a folder are held out for validation, if it has no validation split.

An image's bytes decide, so all copies of an image are in the same split, and other images rarely
matter. By a hash, one image in ten is *due*: it is held out. Two rules take precedence:

- Every class keeps an image to train with. If all its images are due, the one with the highest hash
  stays in training.
- A class with at least two different images validates with one of them, if one is in no other
  class. If none is held out, the one with the lowest hash is, of those in no other class.

So images that come later rarely move earlier ones: only in a class of which all or none of the
images were due, or that shares an image with another class.
"""

from collections import Counter
from collections.abc import Collection, Mapping

ONE_IN = 10


def held_out(classes: Mapping[str, Collection[bytes]]) -> set[bytes]:
    """The digests of the images that are held out, given the digests of each class's images."""
    different = [set(digests) for digests in classes.values()]
    kept = {max(digests) for digests in different if digests and all(map(_due, digests))}
    chosen = {digest for digests in different for digest in digests if _due(digest)} - kept
    classes_of = Counter(digest for digests in different for digest in digests)
    for digests in different:
        own = [digest for digest in digests if classes_of[digest] == 1]
        if len(digests) > 1 and own and not digests & chosen:
            chosen.add(min(own))
    return chosen


def _due(digest: bytes) -> bool:
    return int.from_bytes(digest, "big") % ONE_IN == 0
