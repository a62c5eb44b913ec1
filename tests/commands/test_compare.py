"""alexnet compare: the runs that it leaves out, and what it collects."""

import json
import shutil
from pathlib import Path

import pytest
from support.runs import DIGITS, leave
from support.tiny import ROOT

from alexnet import compare
from alexnet.sweeps import definition, plan

POCKET = f"{ROOT}/configs/cifar10.py:pocket"


@pytest.mark.parametrize(
    ("unfinished", "named"),
    [(0, ""), (2, "b0, b1"), (3, "b0, b1, b2"), (4, "b0, b1, b2 and 1 more")],
)
def test_runs_that_have_not_finished_are_named(tmp_path, monkeypatch, capsys, unfinished, named):
    monkeypatch.chdir(tmp_path)
    runs = [leave(tmp_path / "a0", [0.5])]
    runs += [leave(tmp_path / f"b{seed}", [0.5], epochs=2.0) for seed in range(unfinished)]
    compare.main([run.name for run in runs])
    said = f"left out, as they have not finished: {named}\n" if named else ""
    assert capsys.readouterr().err == said


def test_results_are_collected_with_the_plan_of_their_experiment(tmp_path, capsys):
    for seed in range(2):
        leave(tmp_path / f"runs/a-{seed}", [0.5] * 8, overrides={"seed": seed})
    file, kept = tmp_path / "mine.py", tmp_path / "kept"
    scale = {"config": DIGITS, "seeds": 2, "overrides": {"epochs": 8}}
    file.write_text(f'"""Mine."""\nARMS = {{"a": {{}}}}\nSCALES = {{"small": {scale!r}}}\n')
    compare.main([f"{tmp_path}/runs", f"--experiment={file}", f"--collect={kept}"])
    assert capsys.readouterr().err == f"2 results in {kept}\n"
    [planned] = plan.saved(kept)
    assert planned["cores"] == 0  # on whatever cores they ran


def test_a_sweep_under_way_gets_no_verdict_and_a_short_one_is_named(tmp_path, capsys):
    planned = definition.load(f"{ROOT}/experiments/lrn.py:small")
    plan.save(planned, 0, tmp_path)

    def train(name: str, seed: int, errors: list[float]) -> Path:
        overrides = {"seed": seed, "net.norm": name == "baseline"}
        folder = tmp_path / f"{name}-{seed}"
        return leave(folder, errors, epochs=8.0, file=POCKET, overrides=overrides)

    def compared() -> tuple[str, str]:
        compare.main([str(tmp_path), "--format=json"])
        table = json.loads(capsys.readouterr().out)
        [row] = [row for row in table if row["arm"] == "no_lrn"]
        return row["verdict"], row["notes"]

    for seed in range(5):
        train("baseline", seed, [0.3 + 0.001 * (3 * seed % 5)] * 8)
        train("no_lrn", seed, [0.32 + 0.001 * (2 * seed % 5)] * 8)
    verdict, notes = compared()
    assert verdict == "supported"
    assert "no_lrn has 5 of the 8 planned runs" in notes
    for errors in ([], [0.5]):  # before its first validation, and after it
        begun = train("no_lrn", 5, errors)
        verdict, notes = compared()
        assert verdict == ""
        assert "no_lrn with seed 5 has not finished: no verdict" in notes
        assert "no_lrn has 6 of the 8 planned runs" in notes
        shutil.rmtree(begun)
    train("baseline", 5, [])
    assert compared()[0] == ""
    presets = definition.load(f"{ROOT}/experiments/presets.py:small")
    plan.save(presets, 0, tmp_path)
    overrides = {"epochs": 8.0, "log_every": 100, **presets.arms["paper"].overrides}
    leave(tmp_path / "paper-0", [], epochs=8.0, file=POCKET, overrides=overrides)
    compare.main([str(tmp_path), "--format=markdown"])
    assert capsys.readouterr().out.count("| arm |") == 1  # the other experiment has no run yet
