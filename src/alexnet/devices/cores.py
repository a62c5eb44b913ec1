"""The CPU cores that this process may use, and work for them. Nothing here needs JAX."""

import collections
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from typing import TypeVar

CHUNK = 32  # images or files a task, enough to hide its overhead

T = TypeVar("T")
Item = TypeVar("Item")


def cpu_count() -> int:
    """How many there are: those of its affinity mask, where the system has one."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_chunks(work: Callable[[range], T], count: int) -> Iterator[T]:
    """`in_order` on ranges up to `count`."""
    starts = range(0, count, CHUNK)
    return in_order(work, (range(start, min(start + CHUNK, count)) for start in starts))


def in_order(work: Callable[[Item], T], items: Iterable[Item]) -> Iterator[T]:
    """Runs `work` on items in threads; yields the results in their order, few ahead of use."""
    threads = cpu_count()
    pending: collections.deque[futures.Future[T]] = collections.deque()
    with futures.ThreadPoolExecutor(threads) as pool:
        for item in items:
            pending.append(pool.submit(work, item))
            if len(pending) > 2 * threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
