"""The alarm, on losses made up and on real runs: one stuck, one learning."""

import math
from types import SimpleNamespace

import pytest
from ml_collections import ConfigDict

from alexnet.training.loop import train_and_evaluate
from alexnet.training.watch import health
from alexnet.training.watch.health import ALARM_STEPS, Alarm, guessing

LN_1000 = math.log(1000)


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([LN_1000] * ALARM_STEPS, True),
        ([LN_1000] * (ALARM_STEPS - 1), False),  # too few to tell
        ([6.83] * ALARM_STEPS, False),  # 1.1% below
        ([6.85] * ALARM_STEPS, True),  # 0.8% below
        ([7.2] * ALARM_STEPS, True),
        ([7.4, 6.3] * (ALARM_STEPS // 2), True),  # half above, half below: 6.85 between
        ([90.0] * 20 + [6.0] * (ALARM_STEPS - 20), False),  # a wild start, then it learns
    ],
)
def test_guessing_is_a_median_that_is_not_one_percent_below_chance(losses, expected):
    assert guessing(losses, 1000) == expected


def heard(listener: Alarm, losses: list[float], every: int, start: int = 0) -> list[int]:
    """The steps at which the alarm spoke."""
    steps = range(start + every, start + len(losses) + 1, every)
    return [
        step for step in steps if listener.after(step, losses[step - start - every : step - start])
    ]


@pytest.mark.parametrize("every", [1, 50, 300])
def test_it_waits_for_two_steps_a_class_and_speaks_once(every):
    assert heard(Alarm(1000), [LN_1000] * 5000, every) == [math.ceil(2000 / every) * every]


def test_a_slow_start_raises_no_alarm():
    """A good run of 1000 classes: hundreds of steps at ln(1000), then down."""
    losses = [LN_1000] * 1500 + [LN_1000 - n / 2000 for n in range(1500)]
    assert heard(Alarm(1000), losses, 50) == []


def test_a_run_that_loses_what_it_learnt_is_told_when_it_is_back_at_guessing():
    assert heard(Alarm(10), [1.0] * 1000 + [math.log(10)] * 500, 50) == [1150]


def test_a_resumed_run_is_told_again_once_it_has_seen_enough():
    assert heard(Alarm(10), [math.log(10)] * 500, 50, start=700) == [900]


def run_of(
    classes: int = 10, images: int = 100, optimizer: str = "momentum", group: int = 1, **schedule
):
    """What the module reads of a run: 20 steps over two epochs of 10 images a step."""
    config = {"batch_size": 10, "epochs": 2.0, "optimizer": {"name": optimizer}}
    config |= {"log_every": 4, "checkpoint_every": 6, "steps_per_dispatch": group}
    config = ConfigDict(config | {"schedule": {"rate": 0.01}})
    return SimpleNamespace(
        config=config,
        steps=20,
        store=SimpleNamespace(classes=("a",) * classes, counts={"train": images}),
        schedule=SimpleNamespace(**schedule),
        epoch=lambda step: step / 10,
    )


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({}, ""),
        ({"milestones": ((1.9, 0.001),)}, ""),
        (
            {"milestones": ((1.0, 0.003), (1.95, 0.002), (3.0, 0.001))},
            "schedule.milestones at epoch 1.9",
        ),
        (
            {"events": ((2.0, "flip", 1),)},
            "the run ends (config.epochs=2) before config.schedule.events at",
        ),
        ({"milestones": ((1.0, 0.001), (1.5, 0.001))}, "sets the rate to 0.001 at epoch 1.5, no"),
        ({"milestones": ((1.0, 0.02), (1.5, 0.001))}, "at epoch 1, no lower than before (0.01)"),
        ({"images": 10}, ""),
        ({"images": 9}, "config.batch_size=10 is more than the 9 training images"),
        ({"optimizer": "adamw"}, "config.schedule.rate=0.01 suits momentum"),
        ({"group": 4}, ""),
        (
            {"group": 5},
            "steps_per_dispatch=5 has no effect: numbers, checkpoints or validations are due",
        ),
        ({"group": 3, "images": 20}, "validations are due every 2 steps"),
        ({"group": 2, "images": 20}, ""),
        ({"classes": 6}, ""),
        ({"classes": 5}, "with 5 classes the top-5 error is always 0: it is not shown"),
    ],
)
def test_what_is_odd_about_a_run_is_said_before_it_begins(how, words):
    lines = health.warnings(run_of(**how))
    assert len(lines) == bool(words)
    assert words in "".join(lines)


@pytest.mark.slow
@pytest.mark.parametrize(("activation", "stuck"), [("sigmoid", True), ("relu", False)])
def test_a_stuck_run_says_so_and_a_learning_one_does_not(tiny, tmp_path, capsys, activation, stuck):
    """Sigmoids give every image nearly the same values, which dropout's noise drowns."""
    tiny.net.activation = activation
    tiny.batch_size = 16
    tiny.log_every = 20
    tiny.epochs = 2.6  # 234 steps
    train_and_evaluate(tiny, tmp_path)
    lines = [line for line in capsys.readouterr().out.splitlines() if "guessing" in line]
    assert len(lines) == stuck
