"""Runs that failed."""

import json

import pytest
from support.runs import leave

from alexnet.sweeps import plan
from alexnet.training.watch import divergence


@pytest.fixture
def failing(tmp_path):
    """Leaves a run of `epochs` that had one validation, and says how it failed."""

    def left(name: str, failure: str = "", diverged: bool = False, outcome=None, epochs=2.0):
        folder = leave(tmp_path / name, [0.5], epochs=epochs)
        (folder / "provenance.json").write_text(json.dumps([{"outcome": outcome}]))
        if failure:
            (folder / plan.FAILURE).write_text(failure + "\n")
        if diverged:
            (folder / divergence.FILE).write_text("{}")
        return folder

    return left
