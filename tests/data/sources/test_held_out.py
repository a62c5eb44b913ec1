"""Which images of a class are held out for validation."""

from hypothesis import given
from hypothesis import strategies as st

from alexnet.data.sources.held_out import held_out


def image(number: int) -> bytes:
    return number.to_bytes(16, "big")


# A digest is due if it divides by ten: 10, 20, ... here
IMAGES = st.sets(st.integers(1, 60), max_size=8)
CLASSES = st.dictionaries(st.sampled_from("abcd"), IMAGES, max_size=4)


def of(classes: dict[str, set[int]]) -> set[int]:
    chosen = held_out({name: [image(n) for n in images] for name, images in classes.items()})
    return {int.from_bytes(digest, "big") for digest in chosen}


def test_known_cases():
    assert of({"a": {1, 2, 10, 13, 20}}) == {10, 20}
    assert of({"lone": {10}}) == set()
    assert of({"lone": {10}, "b": {10, 1, 2}}) == {1}  # 10 trains class lone, and so class b
    assert of({"all due": {10, 20, 30}}) == {10, 20}
    assert of({"none due": {7, 5, 6}}) == {5}
    assert of({"none due": {7, 5, 6}, "b": {5, 20, 21}}) == {6, 20}  # not 5, which b trains with


def test_copies_count_once():
    assert held_out({"a": [image(3), image(3)], "b": [image(4), image(4), image(5)]}) == {image(4)}


@given(CLASSES)
def test_every_class_can_be_trained(classes):
    chosen = of(classes)
    assert all(images - chosen for images in classes.values() if images)


@given(IMAGES, IMAGES)
def test_images_that_come_later_move_none_to_validation(before, later):
    moved = (before - of({"a": before})) & of({"a": before | later})
    if len(before) > 1 and any(number % 10 for number in before):
        assert not moved
    else:
        assert len(moved) <= 1  # the one that was alone, or that trained while all were due


@given(IMAGES, IMAGES)
def test_validation_images_that_are_due_stay_there(before, later):
    back = of({"a": before}) - of({"a": before | later})
    due = {number for number in before if number % 10 == 0}
    assert not back & due
