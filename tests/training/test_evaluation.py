"""alexnet.training.evaluation: errors are what sorting says, and every example counts once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet.training import evaluation

fast_sums = jax.jit(evaluation.sums)


def by_sorting(log_probs: np.ndarray, labels: np.ndarray) -> tuple[float, int, int, int]:
    """A stable sort keeps equal classes in order; the label's place in it decides."""
    loss = top1 = top5 = count = 0
    for row, label in zip(log_probs.astype(float), labels, strict=True):
        if label < 0:
            continue
        place = list(np.argsort(-row, kind="stable")).index(label)
        loss, count = loss - row[label], count + 1
        top1, top5 = top1 + (place >= 1), top5 + (place >= 5)
    return loss, top1, top5, count


@given(
    classes=st.sampled_from([2, 8]),
    values=st.lists(st.integers(0, 3), min_size=48, max_size=48),
    labels=st.lists(st.integers(-1, 7), min_size=6, max_size=6),
)
@settings(derandomize=True, max_examples=60)
def test_sums_are_those_of_sorting_with_ties_and_padding(classes, values, labels):
    log_probs = -np.array(values, np.float32).reshape(6, 8)[:, :classes]
    labels = np.array([label % classes if label >= 0 else -1 for label in labels])
    found = jax.tree.leaves(fast_sums(log_probs, labels))
    assert [value.item() for value in found] == pytest.approx(by_sorting(log_probs, labels))


def test_sums_without_ties():
    log_probs = np.random.default_rng(0).normal(size=(200, 30)).astype(np.float32)
    labels = np.random.default_rng(1).integers(0, 30, 200)
    found = jax.tree.leaves(fast_sums(log_probs, labels))
    expected = by_sorting(log_probs, labels)
    assert 0 < expected[2] < expected[1] < 200
    assert [value.item() for value in found] == pytest.approx(expected, rel=1e-5)
    assert [value.dtype for value in found] == [jnp.float32, *[jnp.int32] * 3]


def test_places_by_hand():
    row = np.log([0.05, 0.3, 0.2, 0.15, 0.1, 0.12, 0.08])
    places = {1: (0, 0), 2: (1, 0), 4: (1, 0), 6: (1, 1), 0: (1, 1)}  # label: (top1, top5)
    for label, (top1, top5) in places.items():
        found = fast_sums(np.float32(row[None]), np.array([label]))
        assert (found.top1_errors, found.top5_errors) == (top1, top5), label
        assert found.loss == pytest.approx(-row[label])


def test_ties_go_to_the_lower_class():
    flat = np.full((10, 10), np.log(0.1), np.float32)
    found = fast_sums(flat, np.arange(10))
    assert (found.top1_errors, found.top5_errors, found.count) == (9, 5, 10)


def test_padding_counts_nowhere_whatever_it_holds():
    log_probs = np.log(np.full((3, 6), 1 / 6, np.float32))
    log_probs[1:] = [[np.nan], [-np.inf]]
    found = fast_sums(log_probs, np.array([0, -1, -1]))
    assert [value.item() for value in jax.tree.leaves(found)] == pytest.approx([np.log(6), 0, 0, 1])


def test_nan_is_an_error():
    found = fast_sums(np.full((4, 10), np.nan, np.float32), np.arange(4))
    assert np.isnan(found.loss)
    assert (found.top1_errors, found.top5_errors, found.count) == (4, 4, 4)
    beside = np.array([[-0.1, np.nan, -3, -4, -5, -6]], np.float32)
    assert fast_sums(beside, np.array([0])).top1_errors == 1


def test_nan_is_an_error_among_fewer_than_five_classes_too():
    found = fast_sums(np.full((4, 3), np.nan, np.float32), np.array([0, 1, 2, 0]))
    assert (found.top1_errors, found.top5_errors) == (4, 4)


def test_among_five_classes_the_label_is_among_the_five_best():
    log_probs = np.random.default_rng(0).normal(size=(50, 5)).astype(np.float32)
    assert fast_sums(log_probs, np.arange(50) % 5).top5_errors == 0


def test_a_label_beyond_the_classes_is_loud():
    assert np.isnan(fast_sums(np.zeros((1, 3), np.float32), np.array([3])).loss)


def test_batches_add_up_to_means():
    log_probs = np.random.default_rng(0).normal(size=(7, 8)).astype(np.float32)
    labels = np.array([0, 1, 2, 3, -1, 5, 6])
    parts = [fast_sums(log_probs[part], labels[part]) for part in (slice(0, 3), slice(3, 7))]
    loss, top1, top5, count = by_sorting(log_probs, labels)
    found = evaluation.means(evaluation.add(*parts))
    expected = evaluation.Means(loss / count, top1 / count, top5 / count, 6)
    assert found.row() == pytest.approx(expected.row(), rel=1e-6)
    assert isinstance(found.count, int)


def test_at_most_two_batches_are_in_flight(monkeypatch):
    """Once a batch is under way, evaluation waits for all that came before it."""
    order: list[tuple[str, int]] = []

    def eval_step(batch):
        order.append(("begun", len(order) // 2))
        return evaluation.Sums(jnp.float32(0), *[jnp.int32(1)] * 3), jnp.zeros((1, 2))

    def wait(total):
        order.append(("done", 0 if total is None else total.count.item()))

    monkeypatch.setattr(jax, "block_until_ready", wait)
    evaluation.evaluate(eval_step, [{}] * 3, 3)
    assert order == [(what, n) for n in range(3) for what in ("begun", "done")]


def test_a_split_of_another_size_is_noticed():
    def eval_step(batch):
        return evaluation.Sums(jnp.float32(0), *[jnp.int32(1)] * 3), jnp.zeros((1, 2))

    with pytest.raises(AssertionError, match="3 of 4 examples were counted"):
        evaluation.evaluate(eval_step, [{}] * 3, 4)
