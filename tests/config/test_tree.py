"""Settings as a tree and by dotted name, and what JSON makes of them."""

import json

import pytest
from ml_collections import ConfigDict
from support.tiny import ROOT

from alexnet import config as configs
from alexnet import load_config
from alexnet.errors import UserError
from alexnet.workdir import record


@pytest.mark.parametrize("keys", [("a", "a.b"), ("a.b", "a")])
def test_a_section_has_no_value_of_its_own(keys):
    with pytest.raises(UserError, match=r"config.a: has a value, and so has a.b: keep one"):
        configs.nested(dict.fromkeys(keys, 1))


@pytest.fixture
def config() -> ConfigDict:
    settings = {"n": 1, "f": 0.5, "b": True, "s": "x", "t": ((1, 2.0),), "net": {"towers": 2}}
    every_run = {"seed": 0, "batch_size": 1, "epochs": 1.0, "data.name": "x", "net.name": "y"}
    return ConfigDict(configs.nested(configs.flat(settings) | every_run)).lock()


def test_a_config_survives_json(config, tmp_path):
    record.save_config(config, tmp_path)
    assert configs.differences(record.saved_config(tmp_path), config) == []
    config.net.towers = 1
    assert configs.differences(record.saved_config(tmp_path), config) == [("net.towers", 2, 1)]


def test_a_config_comes_through_json_as_it_was():
    config = load_config(f"{ROOT}/configs/imagenet.py:fine_tune")
    again = configs.from_json(json.loads(json.dumps(config.to_dict())))
    assert again.to_dict() == config.to_dict()
