"""Which images of a folder are held out for validation, if it has no validation split.

An image's bytes decide, so copies of one image are always on the same side, and other images mostly
do not matter. One image in ten is due, by a hash. Two rules take precedence:

- Every class keeps an image to train with. A class whose images are all due, such as a lone image,
  keeps one of them, until others come.
- A class with at least two different images validates with one of them. If none is due, the one
  with the lowest hash is held out, until one that is due or has a lower hash comes.

So images that come later rarely move others. To validation they move only a lone image, one that a
class of due images had kept, and one whose copy comes into another class; back to training only one
that was held out while none was due, and again one whose copy comes into another class.
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
