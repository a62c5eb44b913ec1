"""Which images of a folder are held out for validation, where it has no split of its own.

An image's bytes decide, so copies of one image are always on the same side, and other images mostly
do not matter. One image in ten is due, by a hash. Two rules come before that:

- Every class keeps an image to train with. A class whose images are all due, such as a lone image,
  keeps one of them, until others come.
- A class with two different images or more validates with one of them. If none is due, the one with
  the lowest hash is held out, until one with a lower hash comes or one that is due.

So images that come later move none from training to validation, but for a lone one, one that a
class of images all due had kept, and where a copy comes into another class; and none back, but for
those that were held out while none was due, and such copies.
"""

from collections import Counter
from collections.abc import Collection, Mapping

ONE_IN = 10


def held_out(classes: Mapping[str, Collection[bytes]]) -> set[bytes]:
    """Of each class's images, by the digest of their bytes, those that are held out."""
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
