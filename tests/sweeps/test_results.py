"""Results, read from workdirs of this and earlier versions and from result files."""

import dataclasses
import json
from types import SimpleNamespace

import pytest
from support.runs import DIGITS, leave
from support.tiny import ROOT

import alexnet
from alexnet.errors import UserError
from alexnet.sweeps import comparison, plan, results
from alexnet.sweeps.experiment import Arm, Experiment
from alexnet.training import health
from alexnet.training.setup import load_config


def read(folder) -> dict[str, results.Result]:
    return {result.name: result for result in results.read([folder]).results}


def test_a_run_is_read_from_its_workdir(tmp_path):
    leave(tmp_path / "a-3", [0.5, 0.2, 0.3], train=[0.6, 0.4], overrides={"seed": 3})
    found = read(tmp_path)["a-3"]
    assert (found.seed, found.last["top1_error"], found.best["top1_error"]) == (3, 0.3, 0.2)
    assert found.curve["training"]["top1_error"] == [0.6, 0.4]
    assert found.curve["validation"]["epoch"] == [1.0, 2.0, 3.0]
    assert found.about["seconds"] == 6.0
    assert (found.about["commit"], found.about["cores"]) == ("c" * 40, 2)
    assert "seed" not in found.config


def test_a_run_that_is_not_finished_is_named(tmp_path):
    leave(tmp_path / "a-0", [0.5])
    leave(tmp_path / "b-0", [0.5], epochs=2)
    found = results.read([tmp_path])
    assert [result.name for result in found.results] == ["a-0"]
    assert found.unfinished == [str(tmp_path / "b-0")]


def test_folders_without_finished_runs(tmp_path):
    with pytest.raises(UserError, match=r"none: no such folder"):
        results.read([tmp_path / "none"])
    with pytest.raises(UserError, match=r"no finished run$"):
        results.read([tmp_path])
    leave(tmp_path / "b-0", [0.5], epochs=2)
    with pytest.raises(UserError, match=r"no finished run .1 begun.$"):
        results.read([tmp_path])


def test_a_result_file_alone_is_read_and_nothing_is_counted_twice(tmp_path):
    leave(tmp_path / "runs/a-0", [0.5])
    [path] = results.collect(results.read([tmp_path / "runs"]).results, tmp_path / "kept")
    [alone] = results.read([path]).results
    assert alone.name == "a-0"
    with pytest.raises(UserError, match=r"metrics.jsonl is no result file"):
        results.read([tmp_path / "runs/a-0/metrics.jsonl"])
    twice = results.read([path, tmp_path / "runs", tmp_path / "kept"]).results
    [table] = comparison.tables(twice, [])
    assert table.experiment.title == "1 run"


@pytest.fixture
def failing(tmp_path):
    """Leaves a run of `epochs` that had one validation, and says how it failed."""

    def left(name: str, failure: str = "", diverged: bool = False, outcome=None, epochs=2.0):
        folder = leave(tmp_path / name, [0.5], epochs=epochs)
        (folder / "provenance.json").write_text(json.dumps([{"outcome": outcome}]))
        if failure:
            (folder / plan.FAILURE).write_text(failure + "\n")
        if diverged:
            (folder / health.FILE).write_text("{}")
        return folder

    return left


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
        found = results.read([tmp_path], begun)
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


def test_training_that_diverges_says_so_in_the_words_that_are_looked_for(tmp_path):
    run = SimpleNamespace(
        config=SimpleNamespace(schedule={}), examples=lambda _: [1], epoch=lambda _: 0.5
    )
    with (
        pytest.raises(UserError, match=results.DIVERGED),
        health.explained(run, tmp_path, 0, lambda: None, lambda _: 0.1),
    ):
        raise health.DivergedError(3, "the loss is nan")


def test_failures_alone_are_no_results(tmp_path, failing):
    failing("a-0", failure="no memory")
    with pytest.raises(UserError, match=r"no finished run .1 failed.$"):
        results.read([tmp_path])


def test_a_failure_that_is_kept_is_still_a_failure(tmp_path, failing):
    failing("a-0", failure="no memory")
    leave(tmp_path / "b-0", [0.5])
    before = results.read([tmp_path])
    results.collect(before.results + before.failed, tmp_path / "kept")
    after = results.read([tmp_path / "kept"])
    assert [one.name for one in after.results] == ["b-0"]
    [kept] = after.failed
    assert (kept.name, kept.failure, kept.seed) == ("a-0", "no memory", before.failed[0].seed)
    assert results.essence(kept.config) == results.essence(before.failed[0].config)
    assert "failure" not in json.loads((tmp_path / "kept/b-0.json").read_text())


def test_a_run_that_diverged_has_no_error(tmp_path):
    leave(tmp_path / "a-0", [0.5, 0.9], overrides={"seed": 0})
    log = tmp_path / "a-0/metrics.jsonl"
    log.write_text(log.read_text().replace("0.9,", "null,"))
    found = read(tmp_path)["a-0"]
    assert found.last["top1_error"] is None
    assert found.best["top1_error"] == 0.5


def test_files_that_are_kept_say_the_same_and_nothing_of_the_machine(tmp_path):
    overrides = {"data.data_dir": "/home/me/data", "init_from": "/home/me/sweep/pre-0"}
    leave(tmp_path / "a-0", [0.5, 0.4], train=[0.7], overrides=overrides, contents={"train": "d"})
    before = read(tmp_path)["a-0"]
    for _ in range(2):  # the second replaces what the first has written
        [file] = results.collect([before], tmp_path / "for/the/paper")
    assert "/home" not in file.read_text()
    after = read(tmp_path / "for")["a-0"]
    assert after.config["init_from"] == "arm:pre"
    assert results.essence(after.config) == results.essence(before.config)
    for name in ("seed", "last", "best", "curve", "dataset", "about"):
        assert getattr(after, name) == getattr(before, name), name


def test_runs_that_share_a_name_do_not_replace_each_other(tmp_path):
    """Every sweep has a baseline-0."""
    target = tmp_path / "kept"

    def left(folder: str, errors=(0.5, 0.4), **overrides) -> results.Result:
        leave(tmp_path / folder / "a-0", errors, overrides=overrides)
        return read(tmp_path / folder)["a-0"]

    first, again = left("first"), left("again", (0.5, 0.3), log_every=7)
    others = [left("net", **{"net.norm": False}), left("seed", seed=1)]
    leave(tmp_path / "first/b-0", [0.5])
    for other in others:
        with pytest.raises(UserError, match=r"a-0.json is the file of another run of that name"):
            results.collect([read(tmp_path / "first")["b-0"], first, other], target)
        assert not list(target.iterdir())
    results.collect([first], target)
    for other in others:
        with pytest.raises(UserError, match=r"a-0.json is the file of another run of that name"):
            results.collect([other], target)
    assert read(target)["a-0"].last == first.last
    results.collect([again], target)  # the same run once more
    assert read(target)["a-0"].last == again.last
    failed = dataclasses.replace(again, last={}, best={}, failure="no memory")
    results.collect([again, failed], target)
    results.collect([failed], target)
    assert read(target)["a-0"].last == again.last
    assert [path.name for path in target.iterdir()] == ["a-0.json"]  # and no partial file


def test_averages_of_other_runs_are_other_results(tmp_path):
    leave(tmp_path / "a-0", [0.5])
    run = read(tmp_path)["a-0"]
    views = dataclasses.replace(run, name="x-0", views="ten_crop", of=("a-0",))
    results.collect([views], tmp_path / "kept")
    for other in (
        dataclasses.replace(views, views="centre"),
        dataclasses.replace(views, of=("a-0", "a-1")),
        dataclasses.replace(views, views="", of=()),
    ):
        with pytest.raises(UserError, match="another run of that name"):
            results.collect([other], tmp_path / "kept")
    results.collect([dataclasses.replace(views, of=("a-0",))], tmp_path / "kept")


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
    assert [one.name for one in results.read([runs]).results] == ["one", "ten"]
    assert results.workdirs(runs) == [runs / "one"]


def test_runs_below_a_folder_that_is_named_like_that_of_plans(tmp_path):
    leave(tmp_path / "sweeps/lrn/a-0", [0.5])
    arms = {"a": Arm("a", load_config(DIGITS), {})}
    for name in ("config", "evaluation"):  # as the files of a run and an evaluation
        plan.save(Experiment(name, "", "", arms, {}, 1), 1, tmp_path / "sweeps/lrn")
        assert (tmp_path / "sweeps/lrn/sweeps" / f"{name}.json").exists()
    found = results.read([tmp_path])
    assert [one.name for one in found.results] == ["a-0"]
    assert found.unfinished == []
    assert len(results.experiments([tmp_path])) == 2


def test_other_files_are_passed_over_and_damaged_results_are_not(tmp_path):
    leave(tmp_path / "a-0", [0.5])
    [file] = results.collect([read(tmp_path)["a-0"]], tmp_path / "kept")
    (tmp_path / "kept/notes.json").write_text("{")
    (tmp_path / "kept/list.json").write_text("[1]")
    (tmp_path / "kept/a-1.txt").write_text(file.read_text())
    (tmp_path / "kept/._a-0.json").write_text(file.read_text()[9:])  # as macOS leaves
    (tmp_path / "kept/gone.json").symlink_to(tmp_path / "gone.json")
    assert list(read(tmp_path / "kept")) == ["a-0"]
    file.write_text(file.read_text()[:-9])
    with pytest.raises(UserError, match=r"kept/a-0.json is damaged.*: restore or delete it"):
        read(tmp_path / "kept")


def test_the_runs_of_an_earlier_version_are_read_as_they_are():
    found = read(ROOT / "experiments/results/runs")
    run = found["fig1-relu-0.001-0"]
    assert run.about["commit"].startswith("ff23be4")
    assert run.last["top1_error"] == 0.2497
    config = load_config(
        str(ROOT / "configs/cifar10.py:19pct"),
        {
            "optimizer.weight_decay": 0.0,
            "optimizer.layer_decay": (),
            "schedule.milestones": (),
            "epochs": 15.0,
        },
    )
    assert results.matches(run, Arm("relu", config, {}))


def test_a_run_belongs_to_the_arm_that_has_its_config(tmp_path):
    elsewhere = {"data.data_dir": "/x", "log_every": 3, "kernels": "plain", "mesh.tower": 1}
    leave(tmp_path / "strange name", [0.5], overrides={"net.norm": False, "seed": 5} | elsewhere)
    run = read(tmp_path)["strange name"]
    for overrides, expected in (({"net.norm": False}, True), ({}, False)):
        config = load_config(DIGITS, {"epochs": 1.0} | overrides)
        assert results.matches(run, Arm("arm", config, {})) == expected


def test_runs_that_start_from_different_runs_are_of_different_arms(tmp_path):
    """Also if a folder is not called ARM-SEED; an arm's name may have characters no folder has."""
    for seed, origin in enumerate(("/x/first", "/x/second", "/x/second-2", "/x/lr=_1_-7", "")):
        leave(tmp_path / f"a-{seed}", [0.5], overrides={"seed": seed, "init_from": origin})
    runs = read(tmp_path)
    config = load_config(DIGITS, {"epochs": 1.0})
    for arm, seeds in (("first", {0}), ("second", {1, 2}), ("lr=(1)", {3}), ("", {4})):
        config.init_from = f"arm:{arm}" if arm else ""
        tuned = Arm("tuned", config, {})
        assert {run.seed for run in runs.values() if results.matches(run, tuned)} == seeds


def test_a_run_on_a_folder_belongs_to_its_arm_wherever_the_folder_is(tmp_path):
    leave(tmp_path / "a-0", [0.5], overrides={"data.name": "folder:/data/photos"})
    results.collect([read(tmp_path)["a-0"]], tmp_path / "kept")
    assert "/data" not in (tmp_path / "kept/a-0.json").read_text()
    for place in (tmp_path, tmp_path / "kept"):
        for name, expected in (
            ("folder:photos", True),
            ("folder:../elsewhere/photos/", True),
            ("folder:/data/pets", False),
            ("photos", False),
        ):
            config = load_config(DIGITS, {"epochs": 1.0, "data.name": name})
            assert results.matches(read(place)["a-0"], Arm("a", config, {})) == expected, name


def test_plans_of_one_experiment_with_different_settings_are_both_kept(tmp_path):
    for folder, epochs, norms in (("a", 8.0, "10"), ("b", 1.0, "1"), ("c", 8.0, "1")):
        arms = {}
        for norm in norms:
            config = load_config(DIGITS, {"epochs": epochs, "net.norm": norm == "1"})
            arms[norm] = Arm(norm, config, {})
        plan.save(Experiment("lrn", "small", "LRN.", arms, {}, 3), 1, tmp_path / folder)

    def shown(folders: str) -> list[tuple[float, int]]:
        found = results.experiments([tmp_path / name for name in folders])
        return [(one.arms["1"].config.epochs, len(one.arms)) for one in found]

    assert shown("ab") == [(8.0, 2), (1.0, 1)]
    assert shown("ac") == shown("ca") == shown("aca") == [(8.0, 2)]  # c has no other arm


def test_an_average_of_runs_whose_names_have_dashes(tmp_path):
    leave(tmp_path / "a-0", [0.5])
    found = dataclasses.replace(read(tmp_path)["a-0"], views="centre", of=("lr=_1_-0", "x-y"))
    config = load_config(DIGITS, {"epochs": 1.0})
    for of, expected in (({"lr=(1)": 1, "x-y": 1}, True), ({"lr=(1)": 1, "x": 1}, False)):
        assert results.matches(found, Arm("two", config, {}, "centre", of)) == expected


def test_an_evaluation_belongs_to_the_arm_that_it_is_of(tmp_path):
    leave(tmp_path / "a-0", [0.5])
    leave(tmp_path / "a-1", [0.5], overrides={"seed": 1})
    (tmp_path / "two-0").mkdir()
    row = {"views": "ten_crop", "of": ["a-0", "a-1"], "commit": None, "loss": 1.0, "count": 100}
    errors = {"top1_error": 0.25, "top5_error": 0.1}
    (tmp_path / "two-0" / plan.EVALUATION).write_text(json.dumps(row | errors))
    found = read(tmp_path)["two-0"]
    assert (found.seed, found.last["top1_error"]) == (0, 0.25)
    config = load_config(DIGITS, {"epochs": 1.0})
    for views, of, expected in (
        ("ten_crop", {"a": 2}, True),
        ("centre", {"a": 2}, False),
        ("ten_crop", {"a": 1}, False),
        ("centre", {}, False),
    ):
        assert results.matches(found, Arm("two", config, {}, views, of)) == expected
    assert not results.matches(read(tmp_path)["a-0"], Arm("two", config, {}, "ten_crop", {"a": 1}))


def test_an_evaluation_of_a_run_that_trains_on_is_not_finished(tmp_path):
    leave(tmp_path / "a-0", [0.5], epochs=2)
    leave(tmp_path / "b-0", [0.5])
    (tmp_path / "one-0").mkdir()
    row = {"views": "ten_crop", "of": ["a-0"], "commit": None, "loss": 1.0, "count": 100}
    errors = {"top1_error": 0.25, "top5_error": 0.1}
    (tmp_path / "one-0" / plan.EVALUATION).write_text(json.dumps(row | errors))
    found = results.read([tmp_path])
    assert [result.name for result in found.results] == ["b-0"]
    assert found.unfinished == [str(tmp_path / "a-0"), str(tmp_path / "one-0")]
    assert [result.name for result in results.read([tmp_path], begun=True).results] == [
        "a-0",
        "b-0",
        "one-0",
    ]


def curve(*rows: tuple[float, float]) -> results.Result:
    epochs, errors = zip(*rows, strict=True)
    training = {"epoch": list(epochs), "top1_error": list(errors)}
    return results.Result("a-0", 0, {}, {}, {}, {"training": training}, {}, {})


def test_epochs_to_a_training_error():
    steps = ((1.0, 0.5), (2.0, 0.3), (3.0, 0.24), (4.0, 0.2))
    assert results.epochs_to(curve(*steps), 0.25) == 3.0
    assert results.epochs_to(curve(*steps), 0.1) is None
    # A row of a few images is a noisy mean: it counts together with the rows before it.
    assert results.epochs_to(curve((1.0, 0.5), (1.02, 0.0), (2.0, 0.2)), 0.25) == 2.0
    # .1 epochs of .3 and .1 of .1 are .2 epochs of .2
    assert results.epochs_to(curve((0.1, 0.3), (0.2, 0.1)), 0.25) == pytest.approx(0.2)
    assert results.epochs_to(curve((0.1, 0.1)), 0.25) is None


def test_rows_for_a_data_frame(tmp_path):
    leave(tmp_path / "a-0", [0.5, 0.4])
    leave(tmp_path / "b-1", [0.3], overrides={"seed": 1, "net.norm": False})
    rows = {row["name"]: row for row in alexnet.read_results(tmp_path)}
    assert rows["a-0"]["top1_error"] == 0.4
    assert rows["a-0"]["views"] == "centre"
    assert rows["b-1"]["config.net.norm"] is False
    assert rows["a-0"].keys() == rows["b-1"].keys()
    assert all(not isinstance(value, dict) for row in rows.values() for value in row.values())


def test_pandas_takes_the_rows(tmp_path):
    pandas = pytest.importorskip("pandas")
    leave(tmp_path / "a-0", [0.5, 0.4])
    leave(tmp_path / "a-1", [0.5, 0.2], overrides={"seed": 1})
    frame = pandas.DataFrame(alexnet.read_results(tmp_path))
    assert frame.groupby("config.net.norm").top1_error.mean()[True] == pytest.approx(0.3)
