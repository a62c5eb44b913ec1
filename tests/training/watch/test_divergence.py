"""A diverged run leaves the facts in a file, and tells its user what to do."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from ml_collections import ConfigDict

from alexnet.errors import UserError
from alexnet.training.watch import divergence
from alexnet.training.watch.divergence import DivergedError

# What the module reads of a run.
RUN = SimpleNamespace(
    config=ConfigDict({"schedule": {"rate": 0.01}}),
    store=SimpleNamespace(path=Path("nowhere"), contents={}),
    schedule=SimpleNamespace(),
    epoch=lambda step: step / 10,
    examples=lambda step: [3, 1, 4, 1, 5],
)


@pytest.mark.parametrize(
    ("start", "step", "blamed"), [(0, 1, False), (8, 8, True), (8, 9, True), (8, 10, False)]
)
def test_a_run_that_diverges_where_it_resumed_may_have_a_bad_checkpoint(
    tmp_path, start, step, blamed
):
    words = f"starts again from step 8, the last one saved{'; if it fails there again' * blamed}"
    with (
        pytest.raises(UserError, match=rf"^the loss is nan at step {step} .*{words}") as raised,
        divergence.explained(RUN, tmp_path, start, lambda: 8, lambda _: 0.01),
    ):
        raise DivergedError(step, "the loss is nan")
    assert ("checkpoints/8 away first" in str(raised.value)) == blamed
    found = json.loads((tmp_path / "diverged.json").read_text())
    assert found["examples"] == [3, 1, 4, 1, 5]
    assert found["last_checkpoint"] == 8


@pytest.mark.parametrize(
    ("rate", "advice"),
    [
        (0.01, "with a smaller config.schedule.rate (here 0.01) starts"),
        (5.0, "with smaller rates in config.schedule (here 5) starts"),  # a milestone's
    ],
)
def test_the_rate_that_diverged_is_told(tmp_path, rate, advice):
    asked = []
    with (
        pytest.raises(UserError, match=re.escape(advice)),
        divergence.explained(
            RUN, tmp_path, 0, lambda: None, lambda step: asked.append(step) or rate
        ),
    ):
        raise DivergedError(7, "the loss is nan")
    assert asked == [7]


def test_a_layers_own_rate_may_be_to_blame(tmp_path):
    schedule = SimpleNamespace(events=((0, "fc8", 0.1),))
    run = SimpleNamespace(**vars(RUN) | {"schedule": schedule})
    with (
        pytest.raises(UserError, match=r"smaller rates in config.schedule \(here 0.01\)"),
        divergence.explained(run, tmp_path, 0, lambda: None, lambda _: 0.01),
    ):
        raise DivergedError(7, "the loss is nan")


def test_a_rise_of_the_loss_before_the_last_checkpoint_is_told(tmp_path):
    """Going on from weights that are ruined already would look like a result."""

    def said(losses: list[float | None], saved: int | None) -> str:
        rows = [{"step": 2 * n, "epoch": n, "train/loss": x} for n, x in enumerate(losses, 1)]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / "metrics.jsonl").write_text(text)
        with (
            pytest.raises(UserError) as raised,
            divergence.explained(RUN, tmp_path, 0, lambda: saved, lambda step: 0.01),
        ):
            raise DivergedError(9, "the loss is nan")
        return str(raised.value)

    risen = "starts again from step 6, the last one saved; by then the loss had risen from 2.3 to "
    assert said([2.3, 2.2, 61.4, 1e5], 6).endswith(f"{risen}61.4: --fresh starts over")
    for losses, saved in (
        ([2.3, 2.2, 2.1, 1e5], 6),  # it rose later
        ([2.3, 2.2, 61.4], None),  # nothing was saved: it begins anew by itself
        ([2.3], 6),
        ([2.302, 2.303, 2.303], 6),  # it guesses
        ([2.3, None, None, None], 6),
        ([], 6),
    ):
        assert "--fresh" not in said(losses, saved)
    (tmp_path / "metrics.jsonl").unlink()
    assert divergence.rise(tmp_path, 6) == ""
