"""alexnet compare: the runs that it leaves out, and what it collects."""

import pytest
from support.runs import DIGITS, leave

from alexnet import compare
from alexnet.sweeps import plan


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
