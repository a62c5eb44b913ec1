"""Arms, their numbers and their intervals, against scipy."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from support.tiny import ROOT

from alexnet.errors import UserError
from alexnet.reports import ablation
from alexnet.training.setup import load_config
from alexnet.workdir import record

BASELINE = [0.30, 0.33, 0.29, 0.35]
WITHOUT = [0.34, 0.35, 0.34, 0.36]


def make(workdir: Path, errors: list[float | None], **overrides) -> Path:
    """A workdir with a config and validations, and no weights."""
    workdir.mkdir()
    settings = {key.replace("__", "."): value for key, value in overrides.items()}
    record.save_config(load_config(f"{ROOT}/configs/digits.py", settings), workdir)
    rows = [
        {"step": step, "epoch": step, "validation/top1_error": error}
        for step, error in enumerate(errors, 1)
    ]
    (workdir / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return workdir


@pytest.fixture
def runs(tmp_path) -> list[Path]:
    """Two arms of four seeds, those of the second in another order."""
    first = [make(tmp_path / f"a{s}", [0.9, 0.2, BASELINE[s]], seed=s) for s in range(4)]
    second = [
        make(tmp_path / f"b{s}", [0.9, WITHOUT[s]], seed=s, net__norm=False, log_every=3)
        for s in (2, 0, 3, 1)
    ]
    return [*first, *second]


def test_differences_are_paired_by_seed_and_their_interval_is_scipys(runs):
    baseline, without = ablation.ablation_rows(runs)
    assert baseline["arm"] == "net.norm=True"
    assert without["arm"] == "net.norm=False"  # log_every makes no arm
    assert (baseline["n"], without["n"]) == (4, 4)
    assert baseline["dirs"] == runs[:4]
    assert baseline["mean"] == pytest.approx(np.mean(BASELINE))
    assert baseline["std"] == pytest.approx(np.std(BASELINE, ddof=1))
    assert baseline["best"] == pytest.approx(0.2)
    assert (baseline["difference"], baseline["low"]) == (None, None)
    expected = stats.ttest_rel(WITHOUT, BASELINE).confidence_interval(0.95)
    assert without["difference"] == pytest.approx(np.mean(np.subtract(WITHOUT, BASELINE)))
    assert (without["low"], without["high"]) == pytest.approx((expected.low, expected.high))


def test_one_seed_has_no_interval_and_no_shared_seed_no_difference(runs, tmp_path):
    other = make(tmp_path / "c", [0.5], seed=9, net__norm=False, net__dropout=0.0)
    rows = ablation.ablation_rows([runs[0], runs[5], other])
    assert [row["std"] for row in rows] == [None] * 3
    assert rows[1]["difference"] == pytest.approx(WITHOUT[0] - BASELINE[0])
    assert rows[1]["low"] is None
    assert rows[2]["difference"] is None
    assert rows[2]["arm"] == "net.dropout=0.0, net.norm=False"


def test_runs_that_were_not_validated_do_not_count(runs, tmp_path):
    begun = make(tmp_path / "begun", [], seed=7)
    diverged = make(tmp_path / "nan", [0.4, None], seed=8)
    [row] = ablation.ablation_rows([runs[0], begun, diverged])
    assert (row["arm"], row["n"], row["errors"]) == ("all alike", 2, [BASELINE[0], 0.4])
    with pytest.raises(UserError, match="no run has been validated yet"):
        ablation.part([begun])


def test_the_table_has_points_and_signs(runs):
    made = ablation.part(runs)
    [table] = made.tables
    assert table.rows[0] == ("net.norm=True", "4", "31.75", "2.75", "20.00", "", "")
    assert table.rows[1][:6] == ("net.norm=False", "4", "34.75", "0.96", "34.75", "+3.00")
    interval = stats.ttest_rel(WITHOUT, BASELINE).confidence_interval(0.95)
    assert table.rows[1][6] == f"{100 * interval.low:+.2f} to {100 * interval.high:+.2f}"
    assert [shown.name for shown in made.figures] == ["errors", "differences"]


def test_an_arm_that_differs_in_many_settings_is_named_after_its_first_run(runs, tmp_path):
    settings = {"net__norm": False, "net__dropout": 0.25, "epochs": 5, "schedule__rate": 0.125}
    others = [make(tmp_path / f"other{s}", [0.5], seed=s, **settings) for s in range(2)]
    found = ablation.arms([*others, runs[0]])
    assert found == [("other0", 0), ("other0", 1), ("a0", 0)]


def test_runs_on_different_datasets_are_not_compared(runs, tmp_path):
    other = make(tmp_path / "other", [0.5], data__name="cifar10")
    with pytest.raises(UserError, match="the runs are on different datasets: cifar10, digits"):
        ablation.part([runs[0], other])
