"""Experiments as files: each can be launched, and a mistake in one is one line."""

import runpy
from pathlib import Path

import pytest
from support.runs import DIGITS
from support.tiny import ROOT

from alexnet import config as configs
from alexnet.errors import UserError
from alexnet.models.build import build
from alexnet.sweeps import definition, experiment
from alexnet.sweeps.experiment import Experiment

FILES = sorted((ROOT / "experiments").glob("*.py"))
SCALES = [(path, scale) for path in FILES for scale in definition.scales(path)]
CONFIG = f'"config": "{ROOT}/configs/digits.py"'


def write(folder, text: str) -> str:
    file = folder / "mine.py"
    file.write_text(f'"""Mine.\n\nMore."""\n\n{text}')
    return str(file)


def simple(folder, arms: str = '{"baseline": {}, "tanh": {"net.activation": "tanh"}}') -> str:
    return write(folder, f'ARMS = {arms}\nSCALES = {{"digits": {{{CONFIG}, "seeds": 2}}}}\n')


@pytest.mark.parametrize(("path", "scale"), SCALES, ids=lambda part: getattr(part, "stem", part))
def test_every_arm_of_every_scale_has_a_valid_net(path, scale):
    found = definition.load(f"{path}:{scale}")
    assert found.seeds >= 1
    assert found.title.endswith((".", "?"))
    for arm in found.arms.values():
        configs.call(build, "net", arm.config.net, classes=10)
    differ = [arm.config.to_dict() for arm in found.arms.values() if not arm.of]
    assert all(one != other for i, one in enumerate(differ) for other in differ[:i])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_claim_has_its_words_and_a_number_of_the_paper_or_a_log(path):
    said = runpy.run_path(str(path))
    assert len(said["__doc__"].split()) > 10
    for scale in definition.scales(path):
        found = definition.load(f"{path}:{scale}")
        for claim in found.claims.values():
            assert claim.claim
            assert claim.paper or claim.log


# What the paper or, for `communication`, the authors' log says, in points of top-1 error; the last
# two are factors. An arm is the baseline with something changed, so that "worse by 1.4" is +1.4.
EFFECTS = {
    ("colour_noise", "no_colour_noise"): 1.0,  # "over 1%"
    ("communication", "no_communication"): 41.8280 - 40.6640,
    ("depth", "no_conv2"): 2.0,  # "a loss of about 2%"
    ("depth", "no_conv3"): 2.0,
    ("depth", "no_conv4"): 2.0,
    ("ensembles", "five_nets"): 38.1 - 40.7,
    ("lrn", "no_lrn"): 1.4,
    ("lrn_cifar10", "no_norm"): 13 - 11,
    ("overlapping_pooling", "no_overlap"): 0.4,
    ("pretraining", "fine_tuned"): 39.0 - 40.7,
    ("pretraining", "seven_nets"): 36.7 - 40.7,
    ("ten_crop", "ten_crop"): 37.5 - 39.0,
    ("two_gpus", "one_gpu"): 1.7,
    ("relu_tanh", "tanh"): 6,  # "six times faster"
    ("dropout_iterations", "no_dropout"): 1 / 2,  # dropout "roughly doubles"
}
# The same in top-5 error; the others have no top-5 errors.
TOP5_EFFECTS = {
    ("communication", "no_communication"): 19.33 - 18.21,
    ("ensembles", "five_nets"): 16.4 - 18.2,
    ("lrn", "no_lrn"): 1.2,
    ("overlapping_pooling", "no_overlap"): 0.3,
    ("pretraining", "fine_tuned"): 16.6 - 18.2,
    ("pretraining", "seven_nets"): 15.4 - 18.2,
    ("ten_crop", "ten_crop"): 17.0 - 18.3,
    ("two_gpus", "one_gpu"): 1.2,
}


@pytest.mark.parametrize(("field", "effects"), [("effect", EFFECTS), ("effect_top5", TOP5_EFFECTS)])
def test_the_claimed_effects_are_the_papers(field, effects):
    found = {}
    for path in FILES:
        for scale in definition.scales(path):
            for arm, claim in definition.load(f"{path}:{scale}").claims.items():
                if (effect := getattr(claim, field)) is not None:
                    said = found.setdefault((path.stem, arm), effect)
                    assert said == effect, (path.stem, scale, arm)
    assert found.keys() == effects.keys()
    assert found == pytest.approx(effects, abs=0.005)


@pytest.mark.parametrize(("path", "scale"), SCALES, ids=lambda part: getattr(part, "stem", part))
def test_a_claim_compares_the_same_views_unless_it_is_about_them(path, scale):
    found = definition.load(f"{path}:{scale}")
    for name, claim in found.claims.items():
        if claim.target is None and path.stem != "ten_crop":
            assert found.arms[name].views == found.arms[found.baseline].views


def test_arms_of_one_name_in_a_shared_workdir_are_the_same():
    shared = [
        definition.load(f"{path}:small")
        for path in FILES
        if "small" in definition.scales(path) and path.stem not in ("relu_tanh", "cuda_convnet")
    ]
    names = {}
    for found in shared:
        for arm in found.arms.values():
            same = names.setdefault(arm.name, arm)
            assert same.config.to_dict() == arm.config.to_dict(), (found.name, arm.name)


def test_a_file_is_loaded_with_overrides_for_all_arms(tmp_path):
    texts = {"epochs": "3", "schedule.rate": "0.02", "data.data_dir": "/data"}
    found = definition.load(simple(tmp_path), texts)
    assert found.source == "mine.py:digits, epochs=3, schedule.rate=0.02"
    assert definition.load(simple(tmp_path)).source == "mine.py:digits"
    assert (found.name, found.scale, found.title) == ("mine", "digits", "Mine.")
    assert list(found.arms) == ["baseline", "tanh"]
    assert found.baseline == "baseline"
    assert not found.judges
    for arm in found.arms.values():
        assert (arm.config.epochs, arm.config.schedule.rate) == (3.0, 0.02)
    assert found.arms["tanh"].config.net.activation == "tanh"


def test_an_arms_own_overrides_win(tmp_path):
    found = definition.load(simple(tmp_path), {"net.activation": "sigmoid"})
    assert [arm.config.net.activation for arm in found.arms.values()] == ["sigmoid", "tanh"]


def test_a_setting_that_each_arm_overrides_has_no_effect(tmp_path):
    arms = '{"a": {"epochs": 2}, "b": {"epochs": 3}, "mean": {"evaluate": {"of": {"a": 2}}}}'
    file = simple(tmp_path, arms)
    with pytest.raises(UserError, match=r"config.epochs: has no effect: each arm of .*mine.py"):
        definition.load(file, {"epochs": "1"})
    assert definition.load(file, {"net.norm": "false"}).arms["b"].config.epochs == 3


@pytest.mark.parametrize(
    "arms",
    [
        '{"a": {}, "b": {"kernels": "plain"}}',
        '{"a": {"init_from": "runs/x/pre-0"}, "b": {"init_from": "runs/y/pre-1"}}',
        '{"a": {"data.name": "folder:/v1/photos"}, "b": {"data.name": "folder:/v2/photos"}}',
    ],
)
def test_arms_that_results_cannot_tell_apart_are_refused(tmp_path, arms):
    with pytest.raises(UserError, match=r"'a' and 'b' differ only in config.*: alexnet compare"):
        definition.load(simple(tmp_path, arms))


def test_an_experiment_may_import_what_is_beside_it(tmp_path):
    (tmp_path / "arms_of_mine.py").write_text("ARMS = {'a': {}, 'b': {'net.norm': False}}\n")
    file = simple(tmp_path)
    path = tmp_path / "mine.py"
    path.write_text("from arms_of_mine import ARMS\n" + path.read_text().replace("ARMS =", "OLD ="))
    assert list(definition.load(file).arms) == ["a", "b"]


def test_an_experiment_survives_json(tmp_path):
    import json

    text = (
        '{"baseline": {}, "pre": {"net.norm": False}, "tuned": {"init_from": "arm:pre"},'
        ' "two": {"evaluate": {"of": {"baseline": 2, "tuned": 1}, "views": "ten_crop"}}}'
    )
    found = definition.load(simple(tmp_path, text))
    again = Experiment.from_json(json.loads(json.dumps(found.to_json())))
    assert json.dumps(again.to_json()) == json.dumps(found.to_json())
    assert again.arms["two"].of == {"baseline": 2, "tuned": 1}
    assert again.arms["tuned"].starts_from == "pre"


@pytest.mark.parametrize(
    ("arms", "message"),
    [
        ('{"a": {"net.nrom": False}}', r"arm 'a': config.net.nrom: .* did you mean 'net.norm'"),
        ('{"a": {"net.norm": "no"}}', r"arm 'a': config.net.norm='no': expected true or false"),
        ('{"a": {"config": "none.py"}}', r"arm 'a': .*none.py: no such file"),
        ('{"a": {}, "b": {"init_from": "arm:c"}}', "init_from: 'c' is not an earlier arm"),
        ('{"a": {}, "b": {"evaluate": {"of": {"c": 1}}}}', "'c' is not an earlier arm that trains"),
        ('{"a": {}, "b": {"evaluate": {"views": "ten_crop"}}}', '"of" names no arm'),
        ('{"a": {}, "b": {"evaluate": {}}}', '"of" names no arm'),
        ('{"a": {}, "b": {"evaluate": None}}', '"evaluate" is None, not a dict'),
        ('{"a": {}, "b": {"evaluate": {"of": {"a": 1}, "views": "tencrop"}}}', "views='tencrop'"),
        ('{"a": {}, "b": {"evaluate": {"of": {"a": 1}}, "seed": 1}}', r"it has \['seed'\]"),
        ("{}", "an experiment needs a dict ARMS"),
    ],
)
def test_a_mistake_in_a_file_is_one_line(tmp_path, arms, message):
    with pytest.raises(UserError, match=message) as error:
        definition.load(simple(tmp_path, arms))
    assert "\n" not in str(error.value)


def test_what_all_arms_get_holds_for_functions_that_an_arm_chooses(tmp_path):
    """The choice resets its section; only what the arm itself sets is above what all get."""
    arms = {
        "momentum": {},
        "adamw": {"optimizer.name": "adamw", "schedule.rate": 0.001},
        "80sec": {"net.name": "cifar_80sec", "optimizer.weight_decay": 0.1},
        "plateau": {"schedule.kind": "plateau", "schedule.bias_drops": False},
    }
    scale = {
        "config": f"{ROOT}/configs/digits.py",
        "seeds": 2,
        "overrides": {
            "schedule.milestones": ((1, 0.1),),  # which plateau has not
            "schedule.bias_factor": 1.5,
            "optimizer.bias_decay": 0.2,
        },
    }
    file = write(tmp_path, f"ARMS = {arms}\nSCALES = {{'mine': {scale}}}\n")
    texts = {"net.activation": "tanh", "optimizer.weight_decay": "0.01"}
    found = {name: arm.config for name, arm in definition.load(file, texts).arms.items()}
    assert [one.net.activation for one in found.values()] == ["tanh"] * 4
    assert [one.optimizer.weight_decay for one in found.values()] == [0.01, 0.01, 0.1, 0.01]
    assert [one.optimizer.bias_decay for one in found.values()] == [0.2] * 4
    assert [one.schedule.bias_factor for one in found.values()] == [1.5] * 4
    assert (found["adamw"].schedule.rate, found["plateau"].schedule.bias_drops) == (0.001, False)
    assert "milestones" not in found["plateau"].schedule
    with pytest.raises(UserError, match=r"arm 'adamw': config.optimizer.momentum: the config has"):
        definition.load(file, {"optimizer.momentum": "0.8"})


def test_an_arm_that_keeps_the_function_keeps_its_settings(tmp_path):
    """The command line chooses another one for the other arms only."""
    arms = {"base": {}, "mine": {"optimizer.name": "momentum", "optimizer.momentum": 0.5}}
    scale = {"config": f"{ROOT}/configs/cifar10.py:80sec", "seeds": 2}
    file = write(tmp_path, f"ARMS = {arms}\nSCALES = {{'mine': {scale}}}\n")
    found = definition.load(file, {"optimizer.name": "nesterov"}).arms
    said = {
        name: (arm.config.optimizer.name, arm.config.optimizer.weight_decay)
        for name, arm in found.items()
    }
    assert said == {"base": ("nesterov", 0.0005), "mine": ("momentum", 0.004)}


@pytest.mark.parametrize(("name", "near"), [("CLAIM", "CLAIMS"), ("METRICS", "METRIC")])
def test_a_misspelt_name_in_a_file_is_not_overlooked(tmp_path, name, near):
    file = Path(simple(tmp_path, '{"a": {}, "b": {"net.norm": False}}'))
    file.write_text(f"{file.read_text()}\nNAMES = NOTES = 1\n")
    definition.load(str(file))
    file.write_text(f"{file.read_text()}\n{name} = {{}}\n")
    with pytest.raises(UserError, match=f"{name} has no meaning there; did you mean {near}"):
        definition.load(str(file))
    file.write_text(f"{file.read_text()}\nCLAIMS, METRIC = {{}}, 'top1_error'\n")
    definition.load(str(file))  # a name of the file's own


def test_an_unknown_file_or_scale_names_the_nearest(tmp_path):
    file = simple(tmp_path)
    with pytest.raises(UserError, match=r"no scale 'digit': .*; did you mean 'digits'"):
        definition.load(f"{file}:digit")
    with pytest.raises(UserError, match=r"no such file .*; did you mean 'mine'"):
        definition.load(f"{tmp_path}/mein.py")
    with pytest.raises(UserError, match=r"config\.net\.nrom"):
        definition.load(file, {"net.nrom": "false"})


def test_a_folder_names_all_of_its_experiments_but_demonstrations(tmp_path):
    found = definition.named([str(ROOT / "experiments"), simple(tmp_path)])
    expected = [(path.stem, scale) for path, scale in SCALES if scale != "digits"]
    assert [(one.name, one.scale) for one in found] == [*expected, ("mine", "digits")]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty holds no experiments"):
        definition.named([str(tmp_path / "empty")])


def test_two_arms_of_the_same_settings_are_refused(tmp_path):
    file = simple(tmp_path, '{"a": {}, "b": {"net.norm": False}, "c": {"net.norm": False}}')
    with pytest.raises(UserError, match="the arms 'b' and 'c' have the same settings: nothing to"):
        definition.load(file)
    file = simple(tmp_path, '{"a/b": {}, "a_b": {"net.norm": False}}')
    with pytest.raises(UserError, match="'a/b' and 'a_b' would have the same folders: rename one"):
        definition.load(file)
    file = simple(tmp_path, '{"a": {}, "b": {"net.norm": False}}')
    assert list(definition.load(file).arms) == ["a", "b"]
    with pytest.raises(UserError, match="the arms 'a' and 'b' have the same settings"):
        definition.load(file, {"net.norm": "false"})


def claiming(folder, claim: str, metric: str = "top1_error", seeds: object = 2) -> str:
    return write(
        folder,
        f'ARMS = {{"a": {{}}, "b": {{"net.norm": False}}}}\n'
        f'CLAIMS = {{"b": {claim}}}\nMETRIC = {metric!r}\n'
        f'SCALES = {{"small": {{{CONFIG}, "seeds": {seeds}}}}}\n',
    )


RACE = "epochs to a training error of 0.25"


@pytest.mark.parametrize(
    ("claim", "metric", "message"),
    [
        ({"claim": 1}, "top1_error", "claim, paper, log, caveat: expected text"),
        ({"claim": "x", "tests": 1}, "top1_error", "tests: expected True or False"),
        ({"claim": "x", "tests": False}, "top1_error", "caveat: expected why this scale cannot"),
        ({"claim": "x", "paper": 1.4}, "top1_error", "claim, paper, log, caveat: expected text"),
        ({"claim": "x", "effect": "1.4"}, "top1_error", "effect: expected a number"),
        ({"claim": "x", "effect": True}, "top1_error", "effect: expected a number"),
        ({"claim": "x", "effect": 0}, RACE, "effect: expected a number, and for epochs above 0"),
        ({"claim": "x", "effect": -2.0}, RACE, "effect: expected a number"),
        ({"claim": "x", "effect": 1.0}, RACE, "effect: .* above 0 and not 1"),
        ({"claim": "x", "effect": 0.0}, "top1_error", "effect: expected a number other than 0"),
        ({"claim": "x", "between": (1, 2)}, "top1_error", "between: expected .low, high. around"),
        ({"claim": "x", "effect": 2, "between": 2}, "top1_error", "between: expected"),
        ({"claim": "x", "effect": 2, "between": (1, 2, 3)}, "top1_error", "between: expected"),
        ({"claim": "x", "effect": 2, "between": (2.1, 3)}, "top1_error", "between: expected"),
        ({"claim": "x", "effect": 2, "between": (0, 3)}, "top1_error", "between: .* side of 0"),
        ({"claim": "x", "effect": -2, "between": (-1, -3)}, "top1_error", "between: expected"),
        ({"claim": "x", "effect": 2, "between": ("1", 3)}, "top1_error", "between: expected"),
        ({"claim": "x", "effect_top5": 0}, "top1_error", "effect: expected a number other than 0"),
        ({"claim": "x", "effect_top5": "1.2"}, "top1_error", "effect_top5: expected a number"),
        ({"claim": "x", "effect_top5": 1.2}, RACE, "effect_top5: .* and none for epochs"),
        ({"claim": "x", "direction": "up"}, "top1_error", "direction: expected 1, 0 or -1"),
        ({"claim": "x", "direction": 2}, "top1_error", "direction: expected 1, 0 or -1"),
        ({"claim": "x", "effect": 2, "direction": -1}, "top1_error", "direction: expected none"),
        ({"claim": "x", "effect": 0.5, "direction": 1}, RACE, "direction: .* that of the effect"),
        ({"claim": "x", "target": 26, "direction": 1}, "top1_error", "direction: expected none"),
        ({"claim": "x", "target": 26, "effect": 1}, "top1_error", "target: expected no effect"),
        ({"claim": "x", "target": "26%"}, "top1_error", "target: expected an error in per cent"),
        ({"claim": "x", "target": 26.0}, RACE, "target: expected an error in per cent"),
        ({"paper": "x"}, "top1_error", "it needs claim, and may have paper"),
    ],
    ids=str,
)
def test_a_claim_that_cannot_be_judged_is_refused_before_the_first_run(
    tmp_path, claim, metric, message
):
    with pytest.raises(UserError, match=f"claim 'b'.*{message}"):
        definition.load(claiming(tmp_path, repr(claim), metric))


@pytest.mark.parametrize(
    ("claim", "metric"),
    [
        ({"claim": "x", "effect": -2, "direction": -1}, "top1_error"),
        ({"claim": "x", "effect": 0.5}, RACE),
        ({"claim": "x", "effect": 0.5, "direction": -1}, RACE),
        ({"claim": "x", "direction": 1}, "top1_error"),
        ({"claim": "x", "target": 26}, "top1_error"),
        ({"claim": "x"}, RACE),
    ],
    ids=str,
)
def test_claims_that_can_be_judged(tmp_path, claim, metric):
    found = definition.load(claiming(tmp_path, repr(claim), metric))
    assert found.claims["b"] == experiment.Claim(**claim)


def test_a_setting_that_a_scale_does_not_have_is_refused(tmp_path):
    """Else a verdict would come out as if it had not been written."""
    file = tmp_path / "mine.py"
    file.write_text(
        f'"""Mine."""\nARMS = {{"a": {{}}}}\nSCALES = {{"x": {{"config": "{DIGITS}", '
        '"seeds": 1, "override": {}}}\n'
    )
    with pytest.raises(UserError, match=r"scale 'x' has 'override', not one of .* 'overrides'"):
        definition.load(str(file))


def test_a_scale_may_have_its_own_metric(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        f'"""Mine."""\nMETRIC = "{RACE}"\nARMS = {{"a": {{}}}}\n'
        f'SCALES = {{"x": {{"config": "{ROOT}/configs/digits.py", "seeds": 1}}}}\n'
        'SCALES["y"] = SCALES["x"] | {"metric": "top1_error"}\n'
    )
    found = [definition.load(f"{file}:{scale}") for scale in "xy"]
    assert [one.metric for one in found] == [RACE, "top1_error"]
    assert [one.counts_epochs for one in found] == [True, False]


@pytest.mark.parametrize("seeds", [0, -1])
def test_a_scale_without_seeds_is_refused(tmp_path, seeds):
    with pytest.raises(UserError, match=f"seeds is {seeds}: expected at least 1"):
        definition.load(claiming(tmp_path, '{"claim": "x"}', seeds=seeds))


def test_a_claim_about_no_arm_is_refused(tmp_path):
    file = write(
        tmp_path,
        f'ARMS = {{"a": {{}}}}\nCLAIMS = {{"b": {{"claim": "x"}}}}\n'
        f'SCALES = {{"small": {{{CONFIG}, "seeds": 2}}}}\n',
    )
    with pytest.raises(UserError, match="claim 'b': scale small has no such arm"):
        definition.load(file)
