"""From experiments and options to runs, and the states of runs."""

import json

import pytest
from support.runs import DIGITS, leave

from alexnet import sweep
from alexnet.errors import UserError
from alexnet.sweeps import plan
from alexnet.sweeps.experiment import Arm, Experiment
from alexnet.training.settings import load_config


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


def test_an_arm_that_starts_from_another(tmp_path):
    tuned = {"starts_from": "a", "config": {"init_from": "arm:a"}}
    *_, item = plan.items(experiment(a={}, tuned=tuned), [3], tmp_path)
    assert item.needs == ("a-3",)
    assert item.config.init_from == str(tmp_path / "a-3")


def test_a_product_of_values():
    texts = {"net.remove": ["", "conv3"], "schedule.rate": ["0.1", "0.2"], "epochs": ["1"]}
    found, seeds = plan.product(DIGITS, texts | {"seed": ["0", "4"]})
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
        plan.product(DIGITS, texts)


def test_odd_characters_of_a_name_become_underscores():
    assert plan.run_name("milestones=((6, 0.001),)", 3) == "milestones=__6,_0.001_,_-3"


def test_a_setting_given_twice_has_both_values():
    argv = [
        *("--config=c.py", "--config.net.remove=", "--config.net.remove=conv3"),
        *("--config.seed=0", "--config.seed=1", "--workdir=runs", "--retry"),
    ]
    files, options, texts = sweep.read(argv)
    assert files == []
    assert texts == {"net.remove": ["", "conv3"], "seed": ["0", "1"]}
    assert (options["config"], options["retry"]) == ("c.py", "true")


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
    kept = tmp_path / "sweeps/mine-small.json"
    wrong = json.loads(kept.read_text()) | {"cores": "two"}
    del wrong["crc32"]
    for text in ("{", json.dumps(wrong)):
        kept.write_text(text)
        with pytest.raises(UserError, match=r"mine-small.json is damaged .*: delete it"):
            plan.saved(tmp_path)


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
    with pytest.raises(UserError, match="two different runs are called a-0"):
        sweep.unique(same + other)
