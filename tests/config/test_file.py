"""Config files: what they return, their variants, and mistakes in them."""

import pytest
from support.tiny import ROOT

from alexnet import config as configs
from alexnet.errors import UserError
from alexnet.training.settings import KINDS


def test_a_config_that_is_not_here_is_sought_in_the_checkout(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=f"the configs are in {ROOT}/configs$"):
        configs.load("configs/none.py", KINDS)
    site = tmp_path / "site/alexnet/config/file.py"
    monkeypatch.setattr("alexnet.config.file.__file__", str(site))
    with pytest.raises(
        UserError, match="are in configs/ of a clone: an installed package has none"
    ):
        configs.load("configs/none.py", KINDS)


def test_a_mistake_in_a_file_names_the_file(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("def get_config():\n    return [{'net.name': 'cc2'}, {'net.nam': 'pocket'}]\n")
    with pytest.raises(UserError, match=r"mine.py: config.net.nam: .*mean .net.name"):
        configs.load(str(file), KINDS)


def test_a_file_may_return_a_config(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from ml_collections import ConfigDict\n"
        "def get_config():\n    return ConfigDict({'net': {'name': 'cc2', 'image_size': 160}})\n"
    )
    config = configs.load(str(file), {})
    assert config.is_locked
    assert config.to_dict() == {"net": {"name": "cc2", "image_size": 160}}
    configs.apply_overrides(config, {"net.name": "caffenet", "net.norm": False}, KINDS)
    assert (config.net.image_size, config.net.norm) == (227, False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("from bsae import BASE", "imports bsae, which is neither beside this file nor installed"),
        ("def get_config():\n    return None", "returns None; it must return dicts of settings"),
        ("def get_config():\n    return []", r"returns \[\]; it must return dicts of settings"),
        ("import json; json.loads('{')", "JSONDecodeError: Expecting property name"),
    ],
)
def test_a_file_that_is_no_config_is_one_line(tmp_path, text, message):
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(UserError, match=f"mine.py, line 1: .*{message}"):
        configs.load(f"{tmp_path}/mine.py", KINDS)


def test_a_variant_is_asked_for_and_an_unknown_one_is_named(tmp_path):
    (tmp_path / "mine.py").write_text(
        "def get_config(variant, size=3):\n    return [{'one': {'seed': size}}[variant]]\n"
    )
    file = f"{tmp_path}/mine.py"
    assert configs.load(f"{file}:one", {}).seed == 3
    with pytest.raises(UserError, match=r"it needs a variant: write --config=.*mine.py:VARIANT$"):
        configs.load(file, {})
    with pytest.raises(UserError, match=r"mine.py: it has no variant 'two'$"):
        configs.load(f"{file}:two", {})
    (tmp_path / "mine.py").write_text("def get_config(variant):\n    return int('cab')\n")
    with pytest.raises(UserError, match=r"mine.py, line 2: ValueError: invalid literal .* 'cab'$"):
        configs.load(f"{file}:c", {})
