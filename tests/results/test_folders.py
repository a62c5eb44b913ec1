"""Results, found in folders of runs, evaluations and result files."""

import dataclasses
import json
from types import SimpleNamespace

import pytest
from support.runs import DIGITS, leave, results_by_name

import alexnet
from alexnet import compare
from alexnet.comparison import comparison
from alexnet.errors import UserError
from alexnet.results import folders
from alexnet.results.file import collect
from alexnet.results.run import DIVERGED as READ
from alexnet.sweeps import plan
from alexnet.sweeps.experiment import Arm, Experiment
from alexnet.training.settings import load_config
from alexnet.training.watch import divergence


def test_a_run_is_read_from_its_workdir(tmp_path):
    leave(tmp_path / "a-3", [0.5, 0.2, 0.3], train=[0.6, 0.4], overrides={"seed": 3})
    found = results_by_name(tmp_path)["a-3"]
    assert (found.seed, found.last["top1_error"], found.best["top1_error"]) == (3, 0.3, 0.2)
    assert found.curve["training"]["top1_error"] == [0.6, 0.4]
    assert found.curve["validation"]["epoch"] == [1.0, 2.0, 3.0]
    assert found.about["seconds"] == 6.0
    assert (found.about["commit"], found.about["cores"]) == ("c" * 40, 2)
    assert "seed" not in found.config


def test_a_run_that_is_not_finished_is_named(tmp_path):
    leave(tmp_path / "a-0", [0.5])
    leave(tmp_path / "b-0", [0.5], epochs=2)
    found = folders.read([tmp_path])
    assert [result.name for result in found.results] == ["a-0"]
    assert found.unfinished == [str(tmp_path / "b-0")]


def test_folders_without_finished_runs(tmp_path):
    with pytest.raises(UserError, match=r"none: no such folder"):
        folders.read([tmp_path / "none"])
    with pytest.raises(UserError, match=r"no finished run$"):
        folders.read([tmp_path])
    leave(tmp_path / "b-0", [0.5], epochs=2)
    with pytest.raises(UserError, match=r"no finished run .1 begun.$"):
        folders.read([tmp_path])


def test_a_run_that_failed_before_it_had_a_config_is_named(tmp_path, capsys):
    leave(tmp_path / "a-0", [0.5])
    for name in ("b-0", "ten_crop-0"):
        (tmp_path / name).mkdir()
        (tmp_path / name / plan.FAILURE).write_text("no memory\n")
    assert folders.read([tmp_path]).lost == [str(tmp_path / name) for name in ("b-0", "ten_crop-0")]
    compare.main([str(tmp_path)])
    lost = f"{tmp_path}/b-0, {tmp_path}/ten_crop-0"
    assert f"left out, as they failed: {lost}\n" in capsys.readouterr().err


def test_all_that_trained_a_run_is_told_not_only_what_came_last(tmp_path):
    folder = leave(tmp_path / "a-0", [0.5])
    made = {"outcome": "done", "commit": "d" * 40, "device": "1 x gpu", "cores": 8}
    [first] = json.loads((folder / "provenance.json").read_text())
    (folder / "provenance.json").write_text(json.dumps([first, made, first]))
    about = results_by_name(tmp_path)["a-0"].about
    assert about["commit"] == f"{'c' * 40} then {'d' * 40}"
    assert (about["device"], about["cores"]) == ("1 x cpu then 1 x gpu", "2 then 8")
    [table] = comparison.tables(folders.read([tmp_path]).results, [])
    assert table.run_notes == [
        "runs of different commits: ccccccc then ddddddd (1)",
        "runs on different devices: 1 x cpu then 1 x gpu (1)",
        "runs on different numbers of cores: 2 then 8",
    ]


def test_rows_tell_the_best_from_the_last(tmp_path):
    leave(tmp_path / "a-0", [0.5, 0.2, 0.4], losses=[1.5, 1.2, 1.4], overrides={"seed": 3})
    [row] = alexnet.read_results(tmp_path)
    keys = ("top1_error", "best_top1_error", "top5_error", "loss", "epochs", "seconds")
    assert [row[key] for key in keys] == [0.4, 0.2, 0.2, 1.4, 3.0, 6.0]
    assert [row[key] for key in ("seed", "dataset", "commit")] == [3, "digits", "c" * 40]


def test_a_result_file_alone_is_read_and_nothing_is_counted_twice(tmp_path):
    leave(tmp_path / "runs/a-0", [0.5])
    [path] = collect(folders.read([tmp_path / "runs"]).results, tmp_path / "kept")
    [alone] = folders.read([path]).results
    assert alone.name == "a-0"
    with pytest.raises(UserError, match=r"metrics.jsonl is not a result file"):
        folders.read([tmp_path / "runs/a-0/metrics.jsonl"])
    twice = folders.read([path, tmp_path / "runs", tmp_path / "kept"]).results
    [table] = comparison.tables(twice, [])
    assert table.experiment.title == "1 run"


def test_a_run_that_failed_is_told_from_one_that_has_begun(tmp_path, failing):
    nan = "UserError: the loss is nan at step 9 (...): training diverged; ..."
    failing("diverged-0", diverged=True, outcome=nan)
    failing("diverged-1", failure=nan)
    failing("full-0", failure="OSError: /home/me/x: no space left", outcome="OSError: no space")
    failing("silent-0", failure=" ")
    failing("resumed-0", diverged=True)
    failing("begun-0", outcome="Interrupted: stopped by SIGTERM")
    failing("done-0", failure="another run is using it", epochs=1.0)
    for begun, counted in ((False, {"done-0"}), (True, {"done-0", "resumed-0", "begun-0"})):
        found = folders.read([tmp_path], begun)
        assert {one.name for one in found.results} == counted
        assert {one.name for one in found.results if not one.finished} == counted - {"done-0"}
        assert {one.name: one.failure for one in found.failed} == {
            "diverged-0": "training diverged",
            "diverged-1": "training diverged",
            "full-0": "OSError: ... no space left",
            "silent-0": "no reason is known",
        }
        names = {"resumed-0", "begun-0"} - counted
        assert {*found.unfinished} == {str(tmp_path / name) for name in names}


def test_training_that_diverges_says_so_in_the_words_that_are_looked_for(tmp_path, monkeypatch):
    run = SimpleNamespace(
        config=SimpleNamespace(schedule=SimpleNamespace(rate=0.1)),
        schedule=SimpleNamespace(),
        examples=lambda _: [1],
        epoch=lambda _: 0.5,
        store=SimpleNamespace(
            files=lambda split: ("cats/a.png", "dogs/b.png"), path=tmp_path, contents={"train": "x"}
        ),
    )
    monkeypatch.setattr(divergence, "load_store", lambda path: run.store)
    with (
        pytest.raises(UserError, match=READ),
        divergence.explained(run, tmp_path, 0, lambda: None, lambda _: 0.1),
    ):
        raise divergence.DivergedError(3, "the loss is nan")
    assert json.loads((tmp_path / divergence.FILE).read_text())["files"] == ["dogs/b.png"]
    other = SimpleNamespace(contents={"train": "y"})  # prepared while the run trained
    monkeypatch.setattr(divergence, "load_store", lambda path: other)
    with (
        pytest.raises(UserError, match=READ),
        divergence.explained(run, tmp_path, 0, lambda: None, lambda _: 0.1),
    ):
        raise divergence.DivergedError(3, "the loss is nan")
    assert "files" not in json.loads((tmp_path / divergence.FILE).read_text())


def test_failures_alone_are_no_results(tmp_path, failing):
    failing("a-0", failure="no memory")
    with pytest.raises(UserError, match=r"no finished run .1 failed.$"):
        folders.read([tmp_path])


def test_a_run_that_diverged_has_no_error(tmp_path):
    leave(tmp_path / "a-0", [0.5, 0.9], overrides={"seed": 0})
    log = tmp_path / "a-0/metrics.jsonl"
    log.write_text(log.read_text().replace("0.9,", "null,"))
    found = results_by_name(tmp_path)["a-0"]
    assert found.last["top1_error"] is None
    assert found.best["top1_error"] == 0.5


def test_links_are_followed_and_each_folder_is_read_once(tmp_path):
    leave(tmp_path / "disk/a-0", [0.5])
    (tmp_path / "disk/ten-0").mkdir()
    row = {"views": "ten_crop", "of": ["a-0"], "commit": None, "loss": 1.0, "count": 100}
    errors = {"top1_error": 0.25, "top5_error": 0.1}
    (tmp_path / "disk/ten-0" / plan.EVALUATION).write_text(json.dumps(row | errors))
    runs = tmp_path / "runs"
    runs.mkdir()
    for name, target in (
        ("one", tmp_path / "disk/a-0"),
        ("ten", tmp_path / "disk/ten-0"),
        ("twice", tmp_path / "disk/a-0"),
        ("loop", runs),
        ("gone", tmp_path / "nowhere"),
    ):
        (runs / name).symlink_to(target)
    assert [one.name for one in folders.read([runs]).results] == ["one", "ten"]
    assert folders.workdirs(runs) == [runs / "one"]


def test_runs_below_a_folder_that_is_named_like_that_of_plans(tmp_path):
    leave(tmp_path / "sweeps/lrn/a-0", [0.5])
    arms = {"a": Arm("a", load_config(DIGITS), {})}
    for name in ("config", "evaluation"):  # as the files of a run and an evaluation
        planned = Experiment(name, "", "", arms, {}, 1, source=f"{name}.py")
        plan.save(planned, 1, tmp_path / "sweeps/lrn")
        assert (tmp_path / "sweeps/lrn/sweeps" / f"{name}.json").exists()
    found = folders.read([tmp_path])
    assert [one.name for one in found.results] == ["a-0"]
    assert found.unfinished == []
    assert len(folders.recorded([tmp_path])) == 2


def test_plans_of_one_experiment_with_different_settings_are_both_kept(tmp_path):
    for folder, epochs, norms in (("a", 8.0, "10"), ("b", 1.0, "1"), ("c", 8.0, "1")):
        arms = {}
        for norm in norms:
            config = load_config(DIGITS, {"epochs": epochs, "net.norm": norm == "1"})
            arms[norm] = Arm(norm, config, {})
        plan.save(Experiment("lrn", "small", "LRN.", arms, {}, 3), 1, tmp_path / folder)

    def shown(names: str) -> list[tuple[float, int]]:
        found = folders.recorded([tmp_path / name for name in names])
        return [(one.arms["1"].config.epochs, len(one.arms)) for one in found]

    assert shown("ab") == [(8.0, 2), (1.0, 1)]
    assert shown("ac") == shown("ca") == shown("aca") == [(8.0, 2)]  # c has no other arm


def test_an_evaluation_of_a_run_that_trains_on_is_not_finished(tmp_path):
    leave(tmp_path / "a-0", [0.5], epochs=2)
    leave(tmp_path / "b-0", [0.5])
    (tmp_path / "one-0").mkdir()
    row = {"views": "ten_crop", "of": ["a-0"], "commit": None, "loss": 1.0, "count": 100}
    errors = {"top1_error": 0.25, "top5_error": 0.1}
    (tmp_path / "one-0" / plan.EVALUATION).write_text(json.dumps(row | errors))
    found = folders.read([tmp_path])
    assert [result.name for result in found.results] == ["b-0"]
    assert found.unfinished == [str(tmp_path / "a-0"), str(tmp_path / "one-0")]
    assert [result.name for result in folders.read([tmp_path], begun=True).results] == [
        "a-0",
        "b-0",
        "one-0",
    ]


def test_rows_for_a_data_frame(tmp_path):
    leave(tmp_path / "a-0", [0.5, 0.4])
    leave(tmp_path / "b-1", [0.3], overrides={"seed": 1, "net.norm": False})
    rows = {row["name"]: row for row in alexnet.read_results(tmp_path)}
    assert rows["a-0"]["top1_error"] == 0.4
    assert rows["a-0"]["views"] == "centre"
    assert rows["b-1"]["config.net.norm"] is False
    assert rows["a-0"].keys() == rows["b-1"].keys()
    assert all(not isinstance(value, dict) for row in rows.values() for value in row.values())


def test_a_baseline_of_two_experiments_has_a_row_for_each(tmp_path):
    leave(tmp_path / "baseline-0", [0.5])
    leave(tmp_path / "no_lrn-0", [0.6], overrides={"net.norm": False})
    configs = {
        name: load_config(DIGITS, {"epochs": 1.0} | overrides)
        for name, overrides in (("baseline", {}), ("no_lrn", {"net.norm": False}))
    }
    for name, arms in (("lrn", ("baseline", "no_lrn")), ("depth", ("baseline",))):
        own = {arm: Arm(arm, configs[arm], {}) for arm in arms}
        plan.save(Experiment(name, "digits", "Why.", own, {}, 1), 1, tmp_path)
    rows = alexnet.read_results(tmp_path)
    assert sorted((row["experiment"], row["arm"]) for row in rows) == [
        *(("depth", "baseline"), ("lrn", "baseline"), ("lrn", "no_lrn"))
    ]


def test_an_average_is_told_apart_from_the_runs_it_averages(tmp_path, monkeypatch):
    names = [f"baseline-{seed}" for seed in range(2)]
    for seed, name in enumerate(names):
        leave(tmp_path / name, [0.5], overrides={"seed": seed})
    one = folders.read([tmp_path]).results[0]
    average = dataclasses.replace(one, name="two-0", of=tuple(names), views="centre")
    found = folders.read([tmp_path])
    both = dataclasses.replace(found, results=[*found.results, average])
    monkeypatch.setattr(folders, "read", lambda paths: both)
    rows = alexnet.read_results(tmp_path)
    assert {row["name"]: row["nets"] for row in rows} == dict.fromkeys(names, 1) | {"two-0": 2}


def test_the_arms_of_runs_may_be_those_of_a_named_experiment(tmp_path):
    leave(tmp_path / "mine", [0.5])
    leave(tmp_path / "other", [0.6], overrides={"net.norm": False})
    (tmp_path / "norm.py").write_text(
        '"""Norms help."""\n\n'
        f'SCALES = {{"tiny": {{"config": {DIGITS!r}, "seeds": 1,\n'
        '    "overrides": {"epochs": 1}}}\n'
        'ARMS = {"with": {}, "without": {"net.norm": False}}\n'
    )
    assert {row["arm"] for row in alexnet.read_results(tmp_path)} == {None}
    rows = alexnet.read_results(tmp_path, str(tmp_path / "norm.py:tiny"))
    assert {row["name"]: row["arm"] for row in rows} == {"mine": "with", "other": "without"}


def test_pandas_takes_the_rows(tmp_path):
    pandas = pytest.importorskip("pandas")
    leave(tmp_path / "a-0", [0.5, 0.4])
    leave(tmp_path / "a-1", [0.5, 0.2], overrides={"seed": 1})
    frame = pandas.DataFrame(alexnet.read_results(tmp_path))
    assert frame.groupby("config.net.norm").top1_error.mean()[True] == pytest.approx(0.3)
    assert frame.groupby(["config.net.kernels", "config.schedule.milestones"]).ngroups == 1
