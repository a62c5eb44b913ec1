"""Which arm a result belongs to."""

import dataclasses
import json

from support.runs import DIGITS, leave, results_by_name
from support.tiny import ROOT

from alexnet.results.file import collect
from alexnet.results.result import matches
from alexnet.sweeps import plan
from alexnet.sweeps.experiment import Arm
from alexnet.training.settings import load_config


def test_the_runs_of_an_earlier_version_are_read_as_they_are():
    found = results_by_name(ROOT / "experiments/results/runs")
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
    assert matches(run, Arm("relu", config, {}))


def test_a_run_belongs_to_the_arm_that_has_its_config(tmp_path):
    elsewhere = {
        "data.data_dir": "/x",
        "log_every": 3,
        "kernels": "plain",
        "mesh.tower": 1,
        "accumulate": 2,
        "fetch": "log",
        "steps_per_dispatch": 2,
        "wandb_project": "mine",
    }
    leave(tmp_path / "strange name", [0.5], overrides={"net.norm": False, "seed": 5} | elsewhere)
    run = results_by_name(tmp_path)["strange name"]
    for overrides, expected in (({"net.norm": False}, True), ({}, False)):
        config = load_config(DIGITS, {"epochs": 1.0} | overrides)
        assert matches(run, Arm("arm", config, {})) == expected


def test_runs_that_start_from_different_runs_are_of_different_arms(tmp_path):
    """Also if a folder is not called ARM-SEED; an arm's name may have characters no folder has."""
    for seed, origin in enumerate(("/x/first", "/x/second", "/x/second-2", "/x/lr=_1_-7", "")):
        leave(tmp_path / f"a-{seed}", [0.5], overrides={"seed": seed, "init_from": origin})
    runs = results_by_name(tmp_path)
    config = load_config(DIGITS, {"epochs": 1.0})
    for arm, seeds in (("first", {0}), ("second", {1, 2}), ("lr=(1)", {3}), ("", {4})):
        config.init_from = f"arm:{arm}" if arm else ""
        tuned = Arm("tuned", config, {})
        assert {run.seed for run in runs.values() if matches(run, tuned)} == seeds


def test_only_commands_that_trained_a_run_say_what_trained_it(tmp_path):
    """The same command again, with later code, only shows how the run ended."""
    folder = leave(tmp_path / "a-0", [0.5])
    [first] = json.loads((folder / "provenance.json").read_text())
    again = first | {"commit": "d" * 40, "device": "8 x GPU", "trains": False}
    (folder / "provenance.json").write_text(json.dumps([first, again]))
    found = results_by_name(tmp_path)["a-0"].about
    assert (found["commit"], found["device"]) == ("c" * 40, "1 x cpu")


def test_a_run_on_a_folder_belongs_to_its_arm_wherever_the_folder_is(tmp_path):
    leave(tmp_path / "a-0", [0.5], overrides={"data.name": "folder:/data/photos"})
    collect([results_by_name(tmp_path)["a-0"]], tmp_path / "kept")
    assert "/data" not in (tmp_path / "kept/a-0.json").read_text()
    for place in (tmp_path, tmp_path / "kept"):
        for name, expected in (
            ("folder:photos", True),
            ("folder:../elsewhere/photos/", True),
            ("folder:/data/pets", False),
            ("photos", False),
        ):
            config = load_config(DIGITS, {"epochs": 1.0, "data.name": name})
            assert matches(results_by_name(place)["a-0"], Arm("a", config, {})) == expected, name


def test_an_average_of_runs_whose_names_have_dashes(tmp_path):
    leave(tmp_path / "a-0", [0.5])
    found = dataclasses.replace(
        results_by_name(tmp_path)["a-0"], views="centre", of=("lr=_1_-0", "x-y")
    )
    config = load_config(DIGITS, {"epochs": 1.0})
    for of, expected in (({"lr=(1)": 1, "x-y": 1}, True), ({"lr=(1)": 1, "x": 1}, False)):
        assert matches(found, Arm("two", config, {}, "centre", of)) == expected


def test_an_evaluation_belongs_to_the_arm_that_it_is_of(tmp_path):
    leave(tmp_path / "a-0", [0.5])
    leave(tmp_path / "a-1", [0.5], overrides={"seed": 1})
    (tmp_path / "two-0").mkdir()
    row = {"views": "ten_crop", "of": ["a-0", "a-1"], "commit": None, "loss": 1.0, "count": 100}
    errors = {"top1_error": 0.25, "top5_error": 0.1}
    (tmp_path / "two-0" / plan.EVALUATION).write_text(json.dumps(row | errors))
    found = results_by_name(tmp_path)["two-0"]
    assert (found.seed, found.last["top1_error"]) == (0, 0.25)
    config = load_config(DIGITS, {"epochs": 1.0})
    for views, of, expected in (
        ("ten_crop", {"a": 2}, True),
        ("centre", {"a": 2}, False),
        ("ten_crop", {"a": 1}, False),
        ("centre", {}, False),
    ):
        assert matches(found, Arm("two", config, {}, views, of)) == expected
    assert not matches(
        results_by_name(tmp_path)["a-0"], Arm("two", config, {}, "ten_crop", {"a": 1})
    )
