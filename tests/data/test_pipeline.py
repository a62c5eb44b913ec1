"""Batches: every example once an epoch, the same on any number of threads and processes."""

import itertools

import grain
import numpy as np
import pytest

from alexnet.data import pipeline
from alexnet.data.pipeline import eval_batches, train_batches
from alexnet.errors import UserError

BATCH = 100  # does not divide the 1,438 training digits


def take(batches, count):
    return list(itertools.islice(batches, count))


def assert_equal(batches, expected):
    for batch, other in zip(batches, expected, strict=True):
        np.testing.assert_array_equal(batch["image"], other["image"])
        np.testing.assert_array_equal(batch["label"], other["label"])


def rows(images: np.ndarray, labels: np.ndarray) -> list[bytes]:
    """One value per example, to compare collections of them."""
    return [image.tobytes() + bytes([label]) for image, label in zip(images, labels, strict=True)]


def test_batch_shapes_and_types(digits):
    batch = next(train_batches(digits, batch_size=6, seed=0))
    assert batch["image"].shape == (6, 8, 8, 3)
    assert batch["image"].dtype == np.uint8
    assert batch["label"].shape == (6,)
    assert batch["label"].dtype == np.int32


def test_every_example_once_an_epoch_over_its_border(digits):
    count = digits.counts["train"]
    batches = take(train_batches(digits, batch_size=BATCH, seed=0), -(-2 * count // BATCH))
    assert 2 * count % BATCH != 0
    assert count % BATCH != 0
    seen = [row for batch in batches for row in rows(batch["image"], batch["label"])]
    stored = rows(*digits.read("train", range(count)))
    first, second = seen[:count], seen[count : 2 * count]
    assert sorted(first) == sorted(stored)
    assert sorted(second) == sorted(stored)
    assert first != second
    assert first != stored


def test_seeds_give_different_orders(digits):
    first, second = (next(train_batches(digits, batch_size=BATCH, seed=seed)) for seed in (0, 1))
    assert (first["image"] != second["image"]).any()


def test_resuming_equals_running_through(digits):
    whole = take(train_batches(digits, batch_size=BATCH, seed=3), 20)
    # Step 14 holds the end of the first epoch and the beginning of the second.
    for start in (5, 14, 15):
        resumed = take(train_batches(digits, batch_size=BATCH, seed=3, start_step=start), 5)
        assert_equal(resumed, whole[start : start + 5])


def test_resuming_far_on_is_immediate(digits):
    batch = next(train_batches(digits, batch_size=BATCH, seed=0, start_step=10**9))
    assert batch["label"].shape == (BATCH,)


@pytest.mark.parametrize("threads", [0, 1, 7])
def test_threads_change_nothing(digits, threads):
    expected = take(train_batches(digits, batch_size=BATCH, seed=0), 16)
    assert_equal(
        take(train_batches(digits, batch_size=BATCH, seed=0, threads=threads), 16), expected
    )


@pytest.mark.parametrize(("cores", "threads"), [(1, 4), (2, 4), (6, 6), (64, 16)])
def test_threads_are_by_the_cores_at_the_time(digits, monkeypatch, cores, threads):
    """A sweep's worker is pinned to its cores once everything is imported."""
    seen, options = [], grain.ReadOptions
    monkeypatch.setattr(pipeline, "cpu_count", lambda: cores)
    monkeypatch.setattr(grain, "ReadOptions", lambda **how: seen.append(how) or options(**how))
    next(train_batches(digits, batch_size=BATCH, seed=0))
    next(eval_batches(digits, "validation", batch_size=BATCH))
    assert [how["num_threads"] for how in seen] == [threads, threads]


def test_processes_share_the_same_global_batches(digits):
    whole = take(train_batches(digits, batch_size=BATCH, seed=0), 16)
    parts = [
        take(
            train_batches(digits, batch_size=BATCH, seed=0, part=index, parts=4),
            16,
        )
        for index in range(4)
    ]
    joined = [
        {key: np.concatenate([part[key] for part in step]) for key in ("image", "label")}
        for step in zip(*parts, strict=True)
    ]
    assert parts[0][0]["label"].shape == (BATCH // 4,)
    assert_equal(joined, whole)


@pytest.mark.parametrize("processes", [1, 2])
def test_evaluation_sees_every_example_once(digits, processes):
    count = digits.counts["validation"]
    parts = [
        list(
            eval_batches(
                digits,
                "validation",
                batch_size=BATCH,
                part=index,
                parts=processes,
            )
        )
        for index in range(processes)
    ]
    assert {len(part) for part in parts} == {-(-count // BATCH)}
    images = np.concatenate([part["image"] for step in zip(*parts, strict=True) for part in step])
    labels = np.concatenate([part["label"] for step in zip(*parts, strict=True) for part in step])
    assert len(labels) == 4 * BATCH
    expected_images, expected_labels = digits.read("validation", range(count))
    np.testing.assert_array_equal(labels[:count], expected_labels)
    np.testing.assert_array_equal(images[:count], expected_images)
    assert (labels[count:] == -1).all()
    assert (images[count:] == 0).all()
    assert (expected_labels >= 0).all()


def test_a_process_may_have_padding_only(digits):
    batch = next(eval_batches(digits, "validation", batch_size=800, part=1, parts=2))
    assert batch["image"].shape == (400, 8, 8, 3)
    assert (batch["label"] == -1).all()
    first = next(eval_batches(digits, "validation", batch_size=800, parts=2))  # of the first part
    assert (first["label"][:359] >= 0).all()


@pytest.mark.parametrize(("batch_size", "processes"), [(0, 1), (-4, 2), (10, 3)])
def test_impossible_batch_sizes(digits, batch_size, processes):
    with pytest.raises(UserError, match=f"batch_size={batch_size}: .* multiple of {processes},"):
        train_batches(digits, batch_size=batch_size, seed=0, parts=processes)
    with pytest.raises(UserError, match="batch_size"):
        eval_batches(digits, "train", batch_size=batch_size, parts=processes)


def test_the_smallest_batch_has_one_image_of_each_process(digits):
    for parts in (1, 2):
        batch = next(train_batches(digits, batch_size=parts, seed=0, parts=parts))
        assert batch["image"].shape[0] == 1
        assert next(eval_batches(digits, "train", batch_size=parts, parts=parts))[
            "label"
        ].shape == (1,)
