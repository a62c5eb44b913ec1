"""Config files, and calling functions with their sections."""

import sys
import types

import pytest
from ml_collections import ConfigDict
from support.tiny import ROOT

from alexnet import config as configs
from alexnet import nets
from alexnet.data.augment import Augmentation
from alexnet.errors import UserError
from alexnet.models import network
from alexnet.training import optimizer, schedule
from alexnet.training.setup import SETTINGS

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
    net = configs.call(nets.build, "net", config.net, classes=10)
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


def test_a_config_survives_json(config, tmp_path):
    configs.save(config, tmp_path)
    assert configs.differences(configs.saved(tmp_path), config) == []
    config.net.towers = 1
    assert configs.differences(configs.saved(tmp_path), config) == [("net.towers", 2, 1)]


def test_call_names_an_unknown_or_missing_setting():
    def function(rate, momentum=0.9):
        return rate, momentum

    assert configs.call(function, "optimizer", {"rate": 1}) == (1, 0.9)
    with pytest.raises(UserError, match=r"config.optimizer.momntum: .* 'momentum'"):
        configs.call(function, "optimizer", {"rate": 1, "momntum": 2})
    with pytest.raises(UserError, match=r"config.optimizer.rate is missing"):
        configs.call(function, "optimizer", {})


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
