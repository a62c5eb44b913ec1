"""Configs and their overrides."""

import re
import sys
import types

import pytest
from ml_collections import ConfigDict
from support.tiny import ROOT

from alexnet import config as configs
from alexnet import options
from alexnet.data.augment import Augmentation
from alexnet.errors import UserError
from alexnet.models import network
from alexnet.models.build import build
from alexnet.training import optimizer, schedule
from alexnet.training.setup import SETTINGS
from alexnet.workdir import record

VARIANTS = {
    "digits": [""],
    "cifar10": ["80sec", "19pct", "18pct", "conv-local-13pct", "conv-local-11pct"],
    "imagenet": [
        *("original", "paper", "one_gpu", "no_lrn", "nonoverlapping_pool"),
        *("no_communication", "six_conv", "fine_tune", "cc2_single_tower"),
        *("torchvision", "caffe_alexnet", "caffenet"),
    ],
    "ilsvrc2010": ["original", "paper", "one_gpu", "cc2_single_tower", "caffenet"],
    "imagenette": ["original", "paper", "fine_tune", "torchvision"],
    "folder": ["original", "paper", "fine_tune", "caffenet"],
}


def test_every_config_file_is_listed_here():
    assert {path.stem for path in (ROOT / "configs").glob("*.py")} == set(VARIANTS)


@pytest.mark.parametrize(
    ("file", "variant"), [(file, variant) for file in VARIANTS for variant in VARIANTS[file]]
)
def test_every_section_is_its_functions_arguments(file, variant):
    import jax

    config = configs.load(f"{ROOT}/configs/{file}.py{':' if variant else ''}{variant}")
    net = configs.call(build, "net", config.net, classes=10)
    configs.call(Augmentation, "augment", config.augment, crop=net.image_size)
    shapes = jax.eval_shape(lambda: network.init(net, jax.random.key(0)))
    configs.call(optimizer.momentum_sgd, "optimizer", config.optimizer, params=shapes)
    eps = configs.call(schedule.build, "schedule", config.schedule, epochs=config.epochs)
    rates = eps(0.0, [], shapes).rates
    assert set(rates) == set(shapes)
    assert set(config) == set(SETTINGS)


@pytest.mark.parametrize("file", [file for file in VARIANTS if VARIANTS[file] != [""]])
def test_an_unknown_variant_names_the_known_ones(file):
    with pytest.raises(
        UserError, match=f"no variant 'nothing': choose one of .*{VARIANTS[file][0]}"
    ):
        configs.load(f"{ROOT}/configs/{file}.py:nothing")


@pytest.fixture
def config() -> ConfigDict:
    return ConfigDict(
        {"n": 1, "f": 0.5, "b": True, "s": "x", "t": ((1, 2.0),), "net": {"towers": 2}}
    ).lock()


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("n", "2", 2),
        ("f", "2", 2.0),
        ("f", "1e-3", 0.001),
        ("b", "false", False),
        ("b", "1", True),
        ("s", "3", "3"),
        ("s", "", ""),
        ("t", "((3,.1),)", ((3, 0.1),)),
        ("t", "()", ()),
        ("net.towers", "1", 1),
    ],
)
def test_an_override_keeps_the_type(config, key, text, value):
    configs.override(config, key, text)
    found = config
    for part in key.split("."):
        found = found[part]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("m", "2", "the config has no 'm'"),
        ("net.tower", "2", "did you mean '--config.net.towers'?"),
        ("nett.towers", "2", "the config has no 'nett'; did you mean '--config.net.towers'?"),
        ("n.x", "2", "the config has no 'n'"),
        ("n", "2.5", "expected a whole number"),
        ("n", "two", "expected a whole number"),
        ("f", "nan", "expected a number"),
        ("b", "maybe", "expected true or false"),
        ("t", "3", "expected a tuple such as"),
        ("t", "((1,2)", "expected a tuple such as"),
        ("net", "3", "a section; set what is in it: config.net.towers"),
    ],
)
def test_a_wrong_override_is_one_clear_line(config, key, text, message):
    with pytest.raises(UserError) as error:
        configs.override(config, key, text)
    assert message in str(error.value)
    assert str(error.value).startswith(f"--config.{key}")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["stray"], "stray argument 'stray'"),
        (["--config.b", "false"], "--config.b: write --config.b=value"),
        (["--a=1", "--a=2"], "--a is given twice"),
        (["config.epochs=3"], "stray argument 'config.epochs=3'"),
    ],
)
def test_silent_mistakes_of_other_parsers_are_loud(argv, message):
    with pytest.raises(UserError, match=message):
        options.arguments(argv)


@pytest.mark.parametrize("text", ["", "two", "2.5", "-2", "3", "1e3"])
def test_a_count_is_a_whole_number_and_large_enough(text):
    with pytest.raises(UserError) as error:
        options.count("steps", text, least=4)
    assert str(error.value) == f"--steps={text}: expected a whole number of at least 4"
    assert options.count("steps", "4", least=4) == 4


def test_a_config_survives_json(config, tmp_path):
    record.save_config(config, tmp_path)
    assert configs.differences(record.saved_config(tmp_path), config) == []
    config.net.towers = 1
    assert configs.differences(record.saved_config(tmp_path), config) == [("net.towers", 2, 1)]


def test_call_names_an_unknown_or_missing_setting():
    def function(rate, momentum=0.9):
        return rate, momentum

    assert configs.call(function, "optimizer", {"rate": 1}) == (1, 0.9)
    with pytest.raises(UserError, match=r"config.optimizer.momntum: .* 'momentum'"):
        configs.call(function, "optimizer", {"rate": 1, "momntum": 2})
    with pytest.raises(UserError, match=r"config.optimizer.rate is missing"):
        configs.call(function, "optimizer", {})


def test_every_command_of_the_paper_page_is_a_config():
    page = (ROOT / "docs/paper.md").read_text()
    commands = [cell for cell in re.findall(r"`([^`]*)`", page) if cell.startswith("--config=")]
    assert len(commands) >= 20
    for command in commands:
        argv = command.replace("--config=", f"--config={ROOT}/").split()
        config, _ = configs.parse(argv, {})
        build(**config.net, classes=1000)


def test_what_the_program_fills_in_is_not_overwritten_in_silence():
    def function(rate, classes):
        return rate, classes

    assert configs.call(function, "net", {"rate": 1}, classes=10) == (1, 10)
    with pytest.raises(UserError, match=r"config.net.classes=7: the program fills this in"):
        configs.call(function, "net", {"rate": 1, "classes": 7}, classes=10)


def test_two_folders_have_each_their_own_base(tmp_path):
    before = dict(sys.modules)
    for name, seed in (("a", 1), ("b", 2)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "base.py").write_text(f"SEED = {seed}\n")
        (folder / "mine.py").write_text(
            "from base import SEED\nfrom ml_collections import ConfigDict\n"
            "def get_config():\n    import base\n"
            "    return ConfigDict({'seed': SEED, 'again': base.SEED})\n"
        )
    for name, seed in (("a", 1), ("b", 2), ("a", 1)):
        config = configs.load(f"{tmp_path}/{name}/mine.py")
        assert (config.seed, config.again) == (seed, seed)
    assert "base" not in sys.modules
    assert str(tmp_path / "a") not in sys.path
    assert sys.modules.keys() == before.keys()


def test_a_module_of_the_callers_own_stays_what_it_was(tmp_path, monkeypatch):
    mine = types.ModuleType("base")
    monkeypatch.setitem(sys.modules, "base", mine)
    (tmp_path / "base.py").write_text("SEED = 3\n")
    (tmp_path / "other.py").write_text(
        "from base import SEED\nfrom ml_collections import ConfigDict\n"
        "def get_config():\n    return ConfigDict({'seed': SEED})\n"
    )
    assert configs.load(f"{tmp_path}/other.py").seed == 3
    assert sys.modules["base"] is mine
