"""A run's training errors, and when they reach a goal."""

import pytest

from alexnet.results.curve import epochs_to
from alexnet.results.result import Result


def curve(*rows: tuple[float, float]) -> Result:
    epochs, errors = zip(*rows, strict=True)
    training = {"epoch": list(epochs), "top1_error": list(errors)}
    return Result("a-0", 0, {}, {}, {}, {"training": training}, {}, {})


def test_epochs_to_a_training_error():
    steps = ((1.0, 0.5), (2.0, 0.3), (3.0, 0.24), (4.0, 0.2))
    assert epochs_to(curve(*steps), 0.25) == 3.0
    assert epochs_to(curve(*steps), 0.1) is None
    # A row of a few images is a noisy mean: it counts together with the rows before it.
    assert epochs_to(curve((1.0, 0.5), (1.02, 0.0), (2.0, 0.2)), 0.25) == 2.0
    # .1 epochs of .3 and .1 of .1 are .2 epochs of .2
    assert epochs_to(curve((0.1, 0.3), (0.2, 0.1)), 0.25) == pytest.approx(0.2)
    assert epochs_to(curve((0.1, 0.1)), 0.25) is None
