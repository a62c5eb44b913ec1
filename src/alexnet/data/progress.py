"""Shows how far a long pass over many files has come."""

from collections.abc import Callable, Iterable, Iterator
from time import monotonic
from typing import TypeVar

from tqdm import tqdm

from alexnet.text import say

EVERY = 60.0  # seconds between two lines, where there is no terminal

T = TypeVar("T")


def shown(
    parts: Iterable[T],
    what: str,
    total: int,
    size: Callable[[T], int] = lambda part: 1,
    quiet: bool = False,
) -> Iterator[T]:
    """Yields the parts, and shows a bar on a terminal, or elsewhere a line each minute.

    Args:
        total: the sum of the parts' sizes.
        quiet: whether to show nothing.
    """
    done, last = 0, monotonic()
    # None: hidden where there is no terminal. A pass of two seconds needs no bar.
    with tqdm(total=total, desc=what, disable=True if quiet else None, delay=2) as bar:
        for part in parts:
            yield part
            done += size(part)
            bar.update(size(part))
            if bar.disable and not quiet and monotonic() >= last + EVERY:
                last = monotonic()
                say(f"{what}: {done:,} of {total:,}")
