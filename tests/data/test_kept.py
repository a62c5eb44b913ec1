"""Images that stay in memory are those that are on disk, and each is read once."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexnet.data import kept, prepare, store
from alexnet.data.kept import Kept
from alexnet.data.recipe import Recipe

COUNT, SIDE = 7, 2
IMAGES = np.arange(COUNT * SIDE * SIDE * 3, dtype=np.uint8).reshape(COUNT, SIDE, SIDE, 3)
LABELS = np.arange(COUNT, dtype=np.int32)[::-1]


def disk(log: list[int]):
    """A disk that keeps a log of what is read."""

    def read(indices):
        log.extend(indices)
        return IMAGES[indices], LABELS[indices]

    return read


@given(st.lists(st.lists(st.integers(0, COUNT - 1))))
def test_each_is_read_once_and_comes_back(batches):
    log: list[int] = []
    images = Kept(disk(log), COUNT, SIDE)
    for batch in batches:
        found, labels = images.read(batch)
        np.testing.assert_array_equal(found, IMAGES[batch])
        np.testing.assert_array_equal(labels, LABELS[batch])
        assert (found.dtype, labels.dtype) == (np.uint8, np.int32)
    first = [sorted(set(batch)) for batch in batches]
    wanted = {index for batch in first for index in batch}
    assert set(log) == wanted
    for index in wanted:  # a batch that names an image twice may read it twice
        times = next(batch.count(index) for batch in batches if index in batch)
        assert log.count(index) == times


def test_callers_may_write_into_what_they_get():
    images = Kept(disk([]), COUNT, SIDE)
    found, labels = images.read([3])
    found[:], labels[:] = 255, -1
    again, label = images.read([3])
    np.testing.assert_array_equal(again, IMAGES[[3]])
    assert label == LABELS[3]


def test_an_image_counts_as_read_only_once_it_is_there():
    asked = []

    def read(indices):
        asked.append(indices)
        if len(asked) == 1:  # as another thread would, meanwhile
            images.read(indices)
        return IMAGES[indices], LABELS[indices]

    images = Kept(read, COUNT, SIDE)
    images.read([3])
    assert asked == [[3], [3]]

    def fail(indices):
        raise OSError("gone")

    images = Kept(fail, COUNT, SIDE)
    for _ in range(2):
        with pytest.raises(OSError, match="gone"):
            images.read([3])


def test_several_threads_get_the_same():
    images = Kept(disk([]), COUNT, SIDE)
    batches = np.random.default_rng(0).integers(0, COUNT, (500, 3)).tolist()
    with ThreadPoolExecutor(8) as pool:
        for batch, (found, labels) in zip(batches, pool.map(images.read, batches), strict=True):
            np.testing.assert_array_equal(found, IMAGES[batch])
            np.testing.assert_array_equal(labels, LABELS[batch])


@pytest.mark.parametrize("at_most", [0, 2**30])
def test_a_store_gives_the_same_from_disk_and_from_memory(at_most, tmp_path, monkeypatch):
    """A second read needs no disk exactly if the images fit into what may be kept."""
    monkeypatch.setattr(kept, "AT_MOST", at_most)
    images = prepare.ensure(Recipe(name="digits", data_dir=str(tmp_path), image_size=16))
    first, labels = images.read("validation", [5, 0])
    reads = []
    monkeypatch.setattr(store.Records, "read", lambda records, indices: reads.append(indices) or [])
    if at_most:
        again, same = images.read("validation", [5, 0])
        np.testing.assert_array_equal(again, first)
        np.testing.assert_array_equal(same, labels)
    else:
        images.read("validation", [5, 0])
    assert reads == ([] if at_most else [[5, 0]])


@pytest.mark.parametrize(
    ("images", "side", "quality", "stay"),
    [
        (50_000, 32, 0, True),  # CIFAR-10
        (87_381, 64, 0, True),
        (87_382, 64, 0, False),  # 1 GiB and some
        (50_000, 32, 95, False),  # JPEGs would take more memory than their files
    ],
)
def test_only_raw_images_of_a_gibibyte_stay(tmp_path, images, side, quality, stay):
    counts = {"train": images, "validation": 10}
    found = store.Store(tmp_path, "some", side, quality, ("a",), counts, None)
    assert set(found._kept) == (set(counts) if stay else set())
