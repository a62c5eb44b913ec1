"""A run's training errors, and when they reach a goal."""

import pytest

from alexnet.results.curve import epochs_to, guesses
from alexnet.results.result import Result


def curve(*rows: tuple[float, float]) -> Result:
    epochs, errors = zip(*rows, strict=True)
    training = {"epoch": list(epochs), "top1_error": list(errors)}
    return Result("a-0", 0, {}, {}, {}, {"training": training}, {}, {})


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([(0.9, 2.3077), (0.9, 2.3026)], True),  # ln 10
        ([(0.5, 0.7), (0.5, 0.6932), (0.5, 0.6931)], True),  # ln 2
        ([(0.9, 2.3026)], False),  # it may have just begun
        ([(0.9, 2.3026), (0.8999, 2.3025)], False),  # one image of 10,000
        ([(0.8999, 2.3025), (0.9, 2.3026)], False),
        ([(0.9, 2.3), (0.9, 1.9)], False),  # the right answer becomes more probable
        ([(1 - 47 / 359, 2.3026)] * 2, True),  # the most and the fewest digits of a class
        ([(1 - 27 / 359, 2.3026)] * 2, True),
        ([(0.15, 0.17)] * 2, False),
        ([(0.0056, 0.02), (0.0056, 0.02)], False),  # nothing left to learn
        ([(0.0, 0.0), (0.0, 0.0)], False),
        ([(1.0, 5.0), (1.0, 5.0)], False),
        ([(None, None), (None, None)], False),
        ([(0.9, 2.3), (0.9, None)], False),
        ([], False),
    ],
)
def test_a_run_that_gives_all_images_the_same_answer_guesses(rows, expected):
    errors, losses = [row[0] for row in rows], [row[1] for row in rows]
    validation = {"validation": {"top1_error": errors, "loss": losses}}
    assert guesses(Result("a-0", 0, {}, {}, {}, validation, {}, {})) is expected
    assert not guesses(Result("ten-0", 0, {}, {}, {}, {}, {}, {}))  # an evaluation


def test_epochs_to_a_training_error():
    steps = ((1.0, 0.5), (2.0, 0.3), (3.0, 0.24), (4.0, 0.2))
    assert epochs_to(curve(*steps), 0.25) == 3.0
    assert epochs_to(curve(*steps), 0.1) is None
    # A row of a few images is a noisy mean: it counts together with the rows before it.
    assert epochs_to(curve((1.0, 0.5), (1.02, 0.0), (2.0, 0.2)), 0.25) == 2.0
    # .1 epochs of .3 and .1 of .1 are .2 epochs of .2
    assert epochs_to(curve((0.1, 0.3), (0.2, 0.1)), 0.25) == pytest.approx(0.2)
    assert epochs_to(curve((0.1, 0.1)), 0.25) is None
