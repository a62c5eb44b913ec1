"""From experiments and options to runs, and the states of runs."""

import json
import shutil
from pathlib import Path

import pytest
from support.runs import DIGITS, leave
from support.tiny import ROOT

from alexnet import sweep
from alexnet.errors import UserError
from alexnet.results import folders
from alexnet.results.run import from_evaluation
from alexnet.sweeps import plan
from alexnet.sweeps.essence import run_name
from alexnet.sweeps.experiment import Arm, Experiment
from alexnet.training.settings import load_config
from alexnet.workdir import record


def experiment(**arms: dict) -> Experiment:
    made = {
        name: Arm(name, load_config(DIGITS, {"epochs": 2.0} | how.pop("config", {})), {}, **how)
        for name, how in arms.items()
    }
    return Experiment("mine", "small", "Mine.", made, {}, 2)


def test_runs_go_seed_by_seed(tmp_path):
    found = plan.items(experiment(a={}, b={"config": {"net.norm": False}}), [0, 1], tmp_path)
    assert [item.name for item in found] == ["a-0", "b-0", "a-1", "b-1"]
    assert [item.config.seed for item in found] == [0, 0, 1, 1]
    assert [item.config.net.norm for item in found] == [True, False, True, False]


def test_averages_have_no_net_in_common(tmp_path):
    pair = {"of": {"a": 2, "b": 1}, "views": "ten_crop"}
    found = plan.items(experiment(a={}, b={}, pair=pair), range(5), tmp_path)
    averages = {item.name: item.needs for item in found if not item.trains}
    assert averages == {"pair-0": ("a-0", "a-1", "b-0"), "pair-2": ("a-2", "a-3", "b-1")}
    found = plan.items(experiment(a={}, b={}, pair=pair), range(8, 13), tmp_path)
    averages = {item.name: item.needs for item in found if not item.trains}
    assert averages == {"pair-8": ("a-8", "a-9", "b-8"), "pair-10": ("a-10", "a-11", "b-9")}


def test_an_arm_that_starts_from_another(tmp_path):
    tuned = {"starts_from": "a", "config": {"init_from": "arm:a"}}
    *_, item = plan.items(experiment(a={}, tuned=tuned), [3], tmp_path)
    assert item.needs == ("a-3",)
    assert item.config.init_from == str(tmp_path / "a-3")


def test_a_product_of_values():
    texts = {"net.remove": ["", "conv3"], "schedule.rate": ["0.1", "0.2"], "epochs": ["1"]}
    found, seeds = plan.product(texts | {"config": [DIGITS], "seed": ["0", "4"]})
    assert seeds == [0, 4]
    assert list(found.arms) == [
        *("remove=,rate=0.1", "remove=,rate=0.2"),
        *("remove=conv3,rate=0.1", "remove=conv3,rate=0.2"),
    ]
    arm = found.arms["remove=conv3,rate=0.2"]
    settings = arm.config.net.remove, arm.config.schedule.rate, arm.config.epochs
    assert settings == ("conv3", 0.2, 1.0)
    assert arm.overrides == {"net.remove": "conv3", "schedule.rate": 0.2}


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ({"schedule.rate": ["0.01", ".01"]}, "config.schedule.rate=0.01: a value is given twice"),
        ({"net.norm": ["false", "0"]}, "config.net.norm=False: a value is given twice"),
        ({"epochs": ["1"], "seed": ["0", "00"]}, "config.seed=0,00: a value is given twice"),
    ],
)
def test_a_value_in_two_spellings_is_given_twice(texts, said):
    with pytest.raises(UserError, match=said):
        plan.product({"config": [DIGITS]} | texts)


def test_values_that_results_cannot_tell_apart_are_refused():
    with pytest.raises(UserError, match=r"differ only in config.accumulate: alexnet compare"):
        plan.product({"config": [DIGITS], "accumulate": ["1", "2"]})
    texts = {"config": [DIGITS], "accumulate": ["2"], "epochs": ["1", "2"]}
    assert len(plan.product(texts)[0].arms) == 2


def test_a_combination_that_cannot_be_is_named():
    texts = {"optimizer.name": ["momentum", "adamw"], "optimizer.momentum": ["0.5"]}
    with pytest.raises(
        UserError, match=r"^arm 'name=adamw': config.optimizer.momentum: the config"
    ):
        plan.product({"config": [DIGITS]} | texts)


def test_configs_are_values_too():
    cifar10 = f"{ROOT}/configs/cifar10.py"
    both = [f"{cifar10}:80sec", f"{cifar10}:pocket"]
    found, _ = plan.product({"config": both, "epochs": ["1", "2"]})
    nets = {name: (arm.config.net.name, arm.config.epochs) for name, arm in found.arms.items()}
    assert nets == {
        "config=80sec,epochs=1": ("cifar_80sec", 1.0),
        "config=80sec,epochs=2": ("cifar_80sec", 2.0),
        "config=pocket,epochs=1": ("pocket", 1.0),
        "config=pocket,epochs=2": ("pocket", 2.0),
    }
    found, _ = plan.product({"config": [cifar10, f"{cifar10}:pocket", DIGITS]})
    assert list(found.arms) == ["config=cifar10.py", "config=cifar10.py:pocket", "config=digits.py"]
    with pytest.raises(UserError, match=r"^config=a.py,a.py: a value is given twice"):
        plan.product({"config": ["a.py", "a.py"]})


def test_odd_characters_of_a_name_become_underscores():
    assert run_name("milestones=((6, 0.001),)", 3) == "milestones=__6,_0.001_,_-3"


def test_a_setting_given_twice_has_both_values():
    argv = [
        *("--config=c.py", "--config=d.py", "--config.net.remove=", "--config.net.remove=conv3"),
        *("--config.seed=0", "--config.seed=1", "--workdir=runs", "--retry"),
    ]
    files, options, texts = sweep.read(argv)
    assert files == []
    assert texts == {
        "config": ["c.py", "d.py"],
        "net.remove": ["", "conv3"],
        "seed": ["0", "1"],
    }
    assert options["retry"] == "true"


# --- What has been done already -------------------------------------------------------------------


@pytest.fixture
def item(tmp_path):
    return plan.items(experiment(a={}), [0], tmp_path)[0]


def test_states_of_a_run(tmp_path, item):
    assert plan.state(item, tmp_path) == "new"
    folder = leave(tmp_path / "a-0", [0.5, 0.4], overrides={"log_every": 7})
    assert plan.state(item, tmp_path) == "done"
    made = json.loads((folder / "provenance.json").read_text())
    (folder / "provenance.json").write_text(json.dumps([*made, {"outcome": None}]))
    assert plan.state(item, tmp_path) == "begun"
    (folder / "failure.txt").write_text("the loss is no number\n")
    assert plan.state(item, tmp_path) == "failed"
    (folder / "provenance.json").write_text(json.dumps(made))  # it was resumed by hand
    assert plan.state(item, tmp_path) == "done"


def test_a_run_with_an_epoch_to_go_has_begun(tmp_path, item):
    leave(tmp_path / "a-0", [0.5], epochs=2)
    assert plan.state(item, tmp_path) == "begun"


@pytest.mark.parametrize(
    "overrides",
    [{"epochs": 3.0}, {"schedule.rate": 0.1}, {"net.norm": False}, {"seed": 1}],
    ids=str,
)
def test_another_run_in_its_place_is_refused(tmp_path, item, overrides):
    leave(tmp_path / "a-0", [0.5, 0.4], overrides=overrides)
    key, value = next(iter(overrides.items()))
    with pytest.raises(UserError, match=f"a-0 holds a run with config.{key}={value!r}, not "):
        plan.state(item, tmp_path)


def test_a_sweep_that_has_moved_goes_on(tmp_path):
    """The runs that others start from have moved with it, and the photos elsewhere."""
    old, new = tmp_path / "old", tmp_path / "new"
    photos = {"data.name": "folder:/once/photos"}
    tuned = {"starts_from": "a", "config": photos | {"init_from": "arm:a"}}
    made = experiment(a={"config": dict(photos)}, tuned=tuned)
    for item in plan.items(made, [0], old):
        how = photos | {"init_from": item.config.init_from}
        (leave(new / item.name, [0.5, 0.4], overrides=how) / "checkpoints/1").mkdir(parents=True)
    here = {"data.name": f"folder:{tmp_path}/photos"}
    made = experiment(a={"config": dict(here)}, tuned=tuned | {"config": here | {"init_from": "x"}})
    for item in plan.items(made, [0], new):
        assert plan.state(item, new) == "done"
    shutil.rmtree(new / "tuned-0/checkpoints")
    assert plan.state(item, new) == "done"
    (new / "tuned-0/provenance.json").unlink()  # killed before its first: it would begin anew
    with pytest.raises(UserError, match=r"tuned-0 holds a run with config.init_from"):
        plan.state(item, new)
    (new / "tuned-0" / plan.FAILURE).write_text("training diverged")
    assert plan.state(item, new) == "failed"
    with pytest.raises(UserError, match=r"or delete that folder"):
        plan.state(item, new, retry=True)
    other = {"data.name": f"folder:{tmp_path}/pictures"}
    [item] = plan.items(experiment(a={"config": other}), [0], new)
    with pytest.raises(UserError, match=r"a-0 holds a run with config.data.name"):
        plan.state(item, new)


def test_photos_that_are_still_there_have_not_moved(tmp_path):
    (tmp_path / "v1/photos").mkdir(parents=True)
    leave(tmp_path / "a-0", [0.5, 0.4], overrides={"data.name": f"folder:{tmp_path}/v1/photos"})
    moved = {"data.name": f"folder:{tmp_path}/v2/photos"}
    [item] = plan.items(experiment(a={"config": moved}), [0], tmp_path)
    with pytest.raises(UserError, match=r"a-0 holds a run with config.data.name"):
        plan.state(item, tmp_path)


def test_a_run_that_began_with_the_weights_of_another_that_was_replaced(tmp_path):
    tuned = {"starts_from": "a", "config": {"init_from": "arm:a"}}
    first, item = plan.items(experiment(a={}, tuned=tuned), [0], tmp_path)
    leave(tmp_path / "a-0", [0.5, 0.4])
    leave(tmp_path / "tuned-0", [0.5, 0.4], overrides={"init_from": item.config.init_from})
    assert record.origin_of(tmp_path / "tuned-0") == record.run_of(tmp_path / "a-0")
    assert [plan.state(one, tmp_path) for one in (first, item)] == ["done", "done"]
    shutil.rmtree(tmp_path / "a-0")
    leave(tmp_path / "a-0", [0.5, 0.3])
    assert plan.state(first, tmp_path) == "done"
    with pytest.raises(UserError, match=r"tuned-0 began with the weights of a run that is no long"):
        plan.state(item, tmp_path)


def test_an_evaluation_of_runs_that_were_replaced_is_to_be_done(tmp_path):
    made = experiment(a={}, ten={"of": {"a": 1}, "views": "ten_crop"})
    _, item = plan.items(made, [0], tmp_path)
    leave(tmp_path / "a-0", [0.5, 0.4])
    row = {"views": "ten_crop", "of": ["a-0"], "runs": [record.run_of(tmp_path / "a-0")]}
    (tmp_path / "ten-0").mkdir()
    (tmp_path / "ten-0" / plan.EVALUATION).write_text(json.dumps(row))
    assert plan.state(item, tmp_path) == "done"
    shutil.rmtree(tmp_path / "a-0")
    assert plan.state(item, tmp_path) == "new"
    assert from_evaluation(tmp_path / "ten-0") is None  # and no error about a-0
    leave(tmp_path / "a-0", [0.5, 0.3])
    assert plan.state(item, tmp_path) == "new"
    assert from_evaluation(tmp_path / "ten-0") is None


@pytest.mark.parametrize("noted", [{"steps": [20, 20]}, {"checkpoint": 20}])
def test_an_evaluation_of_runs_that_trained_further_is_to_be_done(tmp_path, noted):
    made = experiment(a={}, pair={"of": {"a": 2}, "views": "centre"})
    item = next(item for item in plan.items(made, [0, 1], tmp_path) if item.views)
    for name in item.needs:
        leave(tmp_path / name, [0.5, 0.4])  # of 10 steps each
    errors = {"loss": 1.0, "top1_error": 0.4, "top5_error": 0.1, "count": 100, "commit": None}
    (tmp_path / "pair-0").mkdir()
    row = {"views": "centre", "of": list(item.needs)} | errors | noted
    (tmp_path / "pair-0" / plan.EVALUATION).write_text(json.dumps(row))
    assert plan.state(item, tmp_path) == "done"
    assert from_evaluation(tmp_path / "pair-0").last["top1_error"] == 0.4
    log = tmp_path / item.needs[-1] / "metrics.jsonl"
    log.write_text(log.read_text() + log.read_text().splitlines()[-1].replace("20", "30") + "\n")
    assert plan.state(item, tmp_path) == "new"
    assert from_evaluation(tmp_path / "pair-0") is None


def test_states_of_an_evaluation(tmp_path):
    made = experiment(a={}, pair={"of": {"a": 2}, "views": "ten_crop"})
    item = next(item for item in plan.items(made, [0, 1], tmp_path) if item.views)
    assert plan.state(item, tmp_path) == "new"
    folder = tmp_path / "pair-0"
    folder.mkdir()
    for row, message in (
        ({"views": "ten_crop", "of": ["a-0", "a-1"]}, ""),
        ({"views": "centre", "of": ["a-0", "a-1"]}, "holds another evaluation: choose another"),
        ({"views": "ten_crop", "of": ["a-1", "a-0"]}, "holds another evaluation: choose another"),
        ({"views": "ten_crop", "of": "a-0"}, "evaluation.json.*: delete .*pair-0"),
    ):
        (folder / plan.EVALUATION).write_text(json.dumps(row))
        if message:
            with pytest.raises(UserError, match=message):
                plan.state(item, tmp_path)
        else:
            assert plan.state(item, tmp_path) == "done"
    (folder / plan.FAILURE).write_text("")
    assert plan.state(item, tmp_path) == "failed"
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    leave(folder, [0.5])
    with pytest.raises(UserError, match="pair-0 holds a run, not an evaluation"):
        plan.state(item, tmp_path)


def test_a_run_that_was_killed_before_it_had_a_config_is_new(tmp_path, item):
    folder = tmp_path / item.name
    folder.mkdir()
    for name in (".lock", "config.json.partial"):
        (folder / name).write_text("")
        assert plan.state(item, tmp_path) == "new"


def test_a_failure_is_noted_whole_or_not_at_all(tmp_path, monkeypatch):
    def full(*_, **how):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(Path, "write_text", full)
        plan.note_failure(tmp_path / "a-0", "diverged")
    assert list((tmp_path / "a-0").iterdir()) == []
    plan.note_failure(tmp_path / "a-0", "diverged")
    assert (tmp_path / "a-0" / plan.FAILURE).read_text() == "diverged\n"
    assert plan.failure(tmp_path / "a-0") == "diverged"
    plan.note_failure(tmp_path / "a-0", "한글/caf\udce9.png is damaged")  # a name that is not UTF-8
    assert plan.failure(tmp_path / "a-0") == "한글/caf\\udce9.png is damaged"


def test_folders_that_hold_other_things_are_refused(tmp_path, item):
    (tmp_path / "a-0").mkdir()
    (tmp_path / "a-0/thesis.tex").write_text("")
    with pytest.raises(UserError, match=r"a-0 holds thesis.tex but no run"):
        plan.state(item, tmp_path)
    with pytest.raises(UserError, match=r"other things .'a-0'., not a sweep"):
        plan.check_workdir(tmp_path)
    with pytest.raises(UserError, match="a file: choose another name"):
        plan.check_workdir(tmp_path / "a-0/thesis.tex")
    leave(tmp_path / "run", [0.5])
    with pytest.raises(UserError, match="holds a single run, not a sweep"):
        plan.check_workdir(tmp_path / "run")


def test_a_plan_is_read_again(tmp_path):
    plan.save(experiment(a={}), 2, tmp_path)
    [found] = plan.saved(tmp_path)
    assert (found["cores"], found["experiment"].name) == (2, "mine")
    plan.check_workdir(tmp_path)
    [kept] = (tmp_path / "sweeps").iterdir()
    again = Path(kept.name)
    assert again.stem.startswith("mine-small-")
    wrong = json.loads(kept.read_text()) | {"cores": "two"}
    del wrong["crc32"]
    for text in ("{", json.dumps(wrong)):
        kept.write_text(text)
        with pytest.raises(UserError, match=rf"{kept.name} is damaged .*: delete it"):
            plan.saved(tmp_path)


def test_other_values_of_the_same_settings_are_another_plan(tmp_path):
    """A sweep that goes on with other values keeps the comparison of the first ones."""
    for several in (["", "conv3", "conv4"], ["conv5", ""], ["", "conv5"]):
        found, _ = plan.product({"config": [DIGITS], "net.remove": several})
        plan.save(found, 2, tmp_path)
    arms = [[*one["experiment"].arms] for one in plan.saved(tmp_path)]
    assert sorted(arms) == [
        ["remove=", "remove=conv3", "remove=conv4"],
        ["remove=", "remove=conv5"],
    ]
    assert len(folders.recorded([tmp_path])) == 2


def test_what_all_arms_share_is_in_the_title():
    texts = {"epochs": ["1"], "net.remove": ["", "conv3"], "data.data_dir": ["/elsewhere"]}
    found, _ = plan.product({"config": [DIGITS]} | texts)
    assert found.title == f"{DIGITS}, epochs=1, values of net.remove"


def test_the_cores_that_a_sweep_began_with_stay(tmp_path):
    assert sweep.agreed_cores("3", tmp_path, 1) == 3
    plan.save(experiment(a={}), 7, tmp_path)
    assert sweep.agreed_cores("", tmp_path, 1) == 7
    with pytest.raises(UserError, match=r"cores=3: the runs in .* use 7,"):
        sweep.agreed_cores("3", tmp_path, 1)


def test_two_runs_of_one_name_have_to_be_the_same(tmp_path):
    same = plan.items(experiment(a={}), [0], tmp_path)
    other = plan.items(experiment(a={"config": {"net.norm": False}}), [0], tmp_path)
    assert len(sweep.unique(same + same)) == 1
    with pytest.raises(
        UserError, match=r"two different runs are called a-0 .config.* and .*: sweep"
    ):
        sweep.unique(same + other)
