"""Calling functions with the sections of a config."""

from collections.abc import Mapping
from typing import Any

import pytest
from ml_collections import ConfigDict

from alexnet import config as configs
from alexnet.errors import UserError


def test_call_names_an_unknown_or_missing_setting():
    def function(rate, momentum=0.9):
        return rate, momentum

    assert configs.call(function, "optimizer", {"rate": 1}) == (1, 0.9)
    with pytest.raises(UserError, match=r"config.optimizer.momntum: .* 'momentum'"):
        configs.call(function, "optimizer", {"rate": 1, "momntum": 2})
    with pytest.raises(UserError, match=r"config.optimizer.rate: missing"):
        configs.call(function, "optimizer", {})


def test_a_section_is_not_a_value_nor_a_value_a_section():
    def function(net: Mapping[str, Any], epochs: float):
        return net, epochs

    section = ConfigDict({"towers": 2})
    for mapping in (section, section.to_dict()):
        assert configs.call(function, "", {"net": mapping, "epochs": 3}) == (mapping, 3)
    with pytest.raises(UserError, match=r"^config.net=2: expected a section$"):
        configs.call(function, "", {"net": 2, "epochs": 3})
    with pytest.raises(UserError, match=r"(?s)^config.epochs=.*: expected a number$"):
        configs.call(function, "", {"net": section, "epochs": section})


def test_what_the_program_fills_in_is_not_overwritten_in_silence():
    def function(rate, classes):
        return rate, classes

    assert configs.call(function, "net", {"rate": 1}, classes=10) == (1, 10)
    with pytest.raises(UserError, match=r"config.net.classes=7: the program fills this in"):
        configs.call(function, "net", {"rate": 1, "classes": 7}, classes=10)
