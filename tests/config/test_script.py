"""A user's Python files: what they import stays theirs, and mistakes name their lines."""

import sys
import types

import pytest

from alexnet import config as configs
from alexnet.errors import UserError
from alexnet.training.settings import KINDS


def test_an_error_of_a_config_that_is_not_about_its_variant_says_where(tmp_path):
    (tmp_path / "mine.py").write_text("def get_config(variant):\n    return {}['b']\n")
    with pytest.raises(UserError, match=r"mine.py, line 2: KeyError: 'b'"):
        configs.load(f"{tmp_path}/mine.py:fast", KINDS)


def test_two_folders_have_each_their_own_package(tmp_path):
    for name, seed in (("a", 1), ("b", 2)):
        (tmp_path / name / "shared").mkdir(parents=True)
        (tmp_path / name / "shared/__init__.py").write_text("")
        (tmp_path / name / "shared/values.py").write_text(f"SEED = {seed}\n")
        (tmp_path / name / "mine.py").write_text(
            "from shared.values import SEED\nfrom ml_collections import FrozenConfigDict\n"
            "def get_config():\n    return FrozenConfigDict({'seed': SEED})\n"
        )
    for name, seed in (("a", 1), ("b", 2)):
        assert configs.load(f"{tmp_path}/{name}/mine.py", {}).seed == seed
    assert not [name for name in sys.modules if name.startswith("shared")]
    (tmp_path / "a/shared/values.py").write_text("\nimport nothere\n")
    with pytest.raises(UserError, match=r"shared/values.py, line 2: imports nothere, which is nei"):
        configs.load(f"{tmp_path}/a/mine.py", KINDS)


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
        config = configs.load(f"{tmp_path}/{name}/mine.py", {})
        assert (config.seed, config.again) == (seed, seed)
    assert sys.modules.get("base") is before.get("base")
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
    assert configs.load(f"{tmp_path}/other.py", {}).seed == 3
    assert sys.modules["base"] is mine
