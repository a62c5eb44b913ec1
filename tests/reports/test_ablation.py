"""The page on an ablation has the numbers of `alexnet compare`, in tables and in figures."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from support.runs import leave
from support.tiny import ROOT

from alexnet.errors import UserError
from alexnet.figures import ablation as figures
from alexnet.reports import ablation
from alexnet.results import folders
from alexnet.sweeps import definition, experiment
from alexnet.workdir import record

POCKET = f"{ROOT}/configs/cifar10.py:pocket"
BASELINE = [0.30, 0.33, 0.29, 0.35]
WITHOUT = [0.34, 0.35, 0.34, 0.36]


@pytest.fixture
def runs(tmp_path) -> list[Path]:
    """Two arms of four seeds, those of the second in another order."""
    first = [
        leave(tmp_path / f"a-{s}", [0.9, 0.2, BASELINE[s]], overrides={"seed": s}) for s in range(4)
    ]
    off = {"net.norm": False, "log_every": 3}  # log_every makes no arm
    second = [
        leave(tmp_path / f"b-{s}", [0.9, 0.5, WITHOUT[s]], overrides={"seed": s, **off})
        for s in (2, 0, 3, 1)
    ]
    return [*first, *second]


@pytest.fixture
def drawn(monkeypatch) -> list[list[figures.Arm]]:
    """The arms that are drawn."""
    seen = []
    for name in ("draw_values", "draw_differences"):
        monkeypatch.setattr(figures, name, lambda figure, arms, epochs: seen.append(arms))
    return seen


def test_differences_are_paired_by_seed_and_their_interval_is_scipys(runs, drawn):
    made = ablation.part(runs)
    baseline, without = drawn[0]
    assert baseline[1:5] == (pytest.approx([100 * error for error in BASELINE]), None, None, None)
    assert without.name == "net.norm=False"
    assert sorted(without.values) == pytest.approx(sorted(100 * error for error in WITHOUT))
    expected = stats.ttest_rel(WITHOUT, BASELINE).confidence_interval(0.95)
    assert without.difference == pytest.approx(100 * np.mean(np.subtract(WITHOUT, BASELINE)))
    assert (without.low, without.high) == pytest.approx((100 * expected.low, 100 * expected.high))
    [table] = made.tables
    low, high = 100 * expected.low, 100 * expected.high
    assert table.rows[0][:4] == ("a", "", "4", "31.75 ± 2.75")
    assert table.rows[1][:4] == ("b", "net.norm=False", "4", "34.75 ± 0.96")
    assert table.rows[1][4] == f"+3.00 [{low:+.2f} {high:+.2f}]"
    assert [shown.name for shown in made.figures] == ["errors", "differences"]
    assert [shown.title for shown in made.figures] == [
        "Errors of all runs, and their means",
        "Differences from the first arm, and 95% intervals",
    ]
    assert "Note:" not in made.text
    assert "claims" not in made.text  # nobody has made one


def test_one_seed_has_no_interval_and_no_shared_seed_no_difference(runs, tmp_path, drawn):
    more = {"seed": 9, "net.norm": False, "net.dropout": 0.0}
    other = leave(tmp_path / "c-9", [0.5], overrides=more)
    made = ablation.part([runs[0], runs[5], other])
    assert [arm[2:5] for arm in drawn[0]].count((None, None, None)) == 2
    assert {arm[3:5] for arm in drawn[0]} == {(None, None)}
    assert {row[2] for row in made.tables[0].rows} == {"1"}


def test_a_run_counts_once_it_has_been_validated(runs, tmp_path, drawn):
    begun = leave(tmp_path / "a-7", [], overrides={"seed": 7, "epochs": 3.0})
    going_on = leave(tmp_path / "a-8", [0.4], overrides={"seed": 8, "epochs": 3.0})
    made = ablation.part([runs[0], begun, going_on])
    assert [len(arm.values) for arm in drawn[0]] == [2]
    assert [shown.name for shown in made.figures] == ["errors"]  # one arm differs from none
    assert ablation.arms([runs[0], begun, going_on]) == {runs[0]: "a", going_on: "a"}
    with pytest.raises(UserError, match="no run that has been validated"):
        ablation.part([begun])


def test_a_sweep_has_its_arms_claims_and_verdicts(tmp_path):
    from alexnet.sweeps import plan

    planned = definition.load(f"{ROOT}/experiments/lrn.py:small")
    plan.save(planned, 0, tmp_path)
    for seed in range(5):
        for name, norm, error in (("baseline", True, 0.3), ("no_lrn", False, 0.32)):
            leave(
                tmp_path / f"lrn-{name}-{seed}",
                [0.5] * 7 + [error + 0.001 * (seed * (3 if norm else 2) % 5)],
                file=POCKET,
                overrides={"seed": seed, "net.norm": norm},
            )
    made = ablation.part([tmp_path])
    [table] = made.tables
    assert table.header[0] == "arm"
    assert table.header[-2:] == ("claim", "verdict")
    assert table.rows[1][-2:] == ("+1.4", "supported")
    assert "Local response normalisation" in table.title
    assert made.text.splitlines()[-1].startswith("1 of the 1 claims that these trainings can")
    labels = ablation.arms(sorted(tmp_path.glob("lrn-*")))
    assert [*labels.values()] == ["baseline"] * 5 + ["net.norm=False"] * 5
    shutil.rmtree(tmp_path / record.SWEEP)  # as if each run had been trained alone
    assert ablation.part([tmp_path]).tables[0].header[-1] != "verdict"
    named = ablation.part([tmp_path], [planned])
    assert (named.tables, named.text) == (made.tables, made.text)
    assert [*ablation.arms(sorted(tmp_path.glob("lrn-*")), [planned]).values()] == [
        *labels.values()
    ]


def test_an_arm_with_a_run_that_trains_on_has_no_verdict(tmp_path):
    from alexnet.sweeps import experiment, plan

    planned = definition.load(f"{ROOT}/experiments/lrn.py:small")
    claims = planned.claims | {"baseline": experiment.Claim("published", target=35.0)}
    plan.save(dataclasses.replace(planned, claims=claims), 0, tmp_path)

    def train(name: str, seed: int, epochs: int) -> Path:
        error = (
            0.3 + 0.02 * (name == "no_lrn") + 0.001 * (seed * (3 if name == "no_lrn" else 2) % 5)
        )
        overrides = {"seed": seed, "net.norm": name == "baseline", "epochs": 8.0}
        errors = [error] * epochs
        return leave(tmp_path / f"{name}-{seed}", errors, file=POCKET, overrides=overrides)

    for seed in range(5):
        train("baseline", seed, 8)
        train("no_lrn", seed, 8)

    def verdicts() -> tuple[dict[str, str], str]:
        made = ablation.part([tmp_path])
        return {row[0]: row[-1] for row in made.tables[0].rows}, made.text

    assert verdicts()[0] == {"baseline": "supported", "no_lrn": "supported"}
    for name, expected in (
        ("no_lrn", {"baseline": "supported", "no_lrn": ""}),
        ("baseline", {"baseline": "", "no_lrn": ""}),
    ):
        begun = [train(name, seed, epochs) for seed, epochs in ((6, 1), (7, 0))]
        found, text = verdicts()
        assert found == expected
        so_far = "what it has reached so far is counted; no verdict"
        assert f"Note: {name} with seed 6 has not finished: {so_far}." in text
        assert f"Note: {name} with seed 7 has not finished: no verdict." in text
        for folder in begun:
            shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("metric", "target", "title"),
    [
        ("top1_error", None, "Differences from the first arm, and"),
        ("top1_error", 30.0, "Differences from the first arm or a claimed error, and"),
        ("epochs to a training error of 0.25", None, "Factors relative to the first arm, and"),
    ],
)
def test_a_title_says_what_the_differences_are_from(tmp_path, drawn, metric, target, title):
    from alexnet.sweeps import experiment, plan

    planned = definition.load(f"{ROOT}/experiments/lrn.py:small")
    claims = {"no_lrn": experiment.Claim("LRN", target=target)}
    plan.save(dataclasses.replace(planned, claims=claims, metric=metric), 0, tmp_path)
    for name, norm in (("baseline", True), ("no_lrn", False)):
        leave(
            tmp_path / f"{name}-0",
            [0.3] * 8,
            train=[0.2] * 8,
            file=POCKET,
            overrides={"seed": 0, "net.norm": norm},
        )
    assert ablation.part([tmp_path]).figures[1].title.startswith(title)


@pytest.mark.parametrize(
    ("metric", "effect", "drawn_at"),
    [("top1_error", 1.4, 1.4), ("epochs to a training error of 0.25", 6.0, np.log(6))],
)
@pytest.mark.parametrize("scale", ["small", "digits"])
def test_the_figure_has_what_is_claimed_unless_it_is_a_demonstration(
    tmp_path, drawn, scale, metric, effect, drawn_at
):
    from alexnet.sweeps import experiment, plan

    planned = definition.load(f"{ROOT}/experiments/lrn.py:small")
    claims = {"no_lrn": experiment.Claim("LRN", effect=effect)}
    planned = dataclasses.replace(planned, claims=claims, metric=metric, scale=scale)
    plan.save(planned, 0, tmp_path)
    for name, norm in (("baseline", True), ("no_lrn", False)):
        overrides = {"seed": 0, "net.norm": norm}
        leave(tmp_path / f"{name}-0", [0.3] * 8, train=[0.2] * 8, file=POCKET, overrides=overrides)
    ablation.part([tmp_path])
    baseline, without = drawn[0]
    judged = scale == "small"
    assert (baseline.claimed, baseline.verdict) == (None, "")
    assert without.claimed == (pytest.approx(drawn_at) if judged else None)
    assert without.verdict == ("cannot tell" if judged else "")  # one pair


def test_runs_on_different_datasets_are_not_compared(runs, tmp_path):
    other = leave(tmp_path / "other-0", [0.5], overrides={"data.name": "cifar10"})
    made = ablation.part([runs[0], other])
    assert [table.title for table in made.tables] == [
        *("digits: 1 run on digits", "cifar10: 1 run on cifar10")
    ]


def test_a_race_is_compared_in_epochs_by_factors(tmp_path, drawn, monkeypatch):
    errors = {"tanh": [0.7, 0.6, 0.4, 0.2], "relu": [0.4, 0.2, 0.1, 0.0]}
    runs = [
        leave(
            tmp_path / f"{name}-0",
            [0.5] * 4,
            train=train,
            overrides={"net.activation": name},
            commit=name[0] * 40,
        )
        for name, train in errors.items()
    ]
    arms = {run.name: experiment.Arm(run.name, record.saved_config(run), {}) for run in runs}
    race = experiment.Experiment("race", "", "A race", arms, {}, 1, f"{experiment.EPOCHS_TO}0.25")
    goals = [race, dataclasses.replace(race, metric=f"{experiment.EPOCHS_TO}0.4")]
    monkeypatch.setattr(folders, "recorded", lambda paths: goals)
    text = ablation.part(runs).text
    assert all(f"epochs: to a training error of {goal};" in text for goal in (0.25, 0.4))
    drawn.clear()
    goals.pop()
    made = ablation.part(runs)
    assert [shown.title for shown in made.figures] == [
        "Epochs of all runs that reached the training error, and their means",
        "Factors relative to the first arm, and 95% intervals",
    ]
    tanh, relu = drawn[0]
    assert (tanh.values, relu.values) == ([4], [2])
    assert relu.difference == pytest.approx(np.log(2 / 4))
    assert made.text.endswith("\nNote: runs of different commits: ttttttt (1), rrrrrrr (1).")
