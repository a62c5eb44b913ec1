"""The means of the steps between two rows of the log, by hand-computed sums."""

import numpy as np
import pytest

from alexnet.training.evaluation import Sums
from alexnet.training.watch.divergence import DivergedError
from alexnet.training.watch.window import EMPTY, Window, averages


def sums_of(*each: float) -> Sums:
    return Sums(*(np.float32(value) for value in each))


@pytest.mark.parametrize("waits", [False, True])
def test_a_window_averages_all_its_steps_those_before_a_checkpoint_too(waits):
    window = Window(opened=(2, 3.0, 0.5, 0.25), waits=waits)
    window.add(3, sums_of(8.0, 3, 1, 4))
    assert averages(window.sums()) == (5 / 3, 1.25 / 3, 0.5 / 3, 3)
    assert window.close() == [2.0]
    window.add(5, sums_of(4.0, 4, 2, 4), sums_of(12.0, 2, 0, 4))
    assert averages(window.sums()) == (2.0, 0.75, 0.25, 2)
    window.add(6, sums_of(20.0, 4, 4, 4))
    assert window.close() == [1.0, 3.0, 5.0]
    assert window.sums() == EMPTY


def test_a_nan_loss_is_reported_a_step_later():
    window = Window()
    window.add(1, sums_of(float("nan"), 3, 1, 4))
    with pytest.raises(DivergedError, match="the loss is nan"):
        window.add(2, sums_of(8.0, 3, 1, 4))
