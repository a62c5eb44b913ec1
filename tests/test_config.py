"""Config files, overrides, and calling functions with the sections of a config."""

import inspect
import itertools
import sys
import types
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ml_collections import ConfigDict
from support.tiny import ROOT

from alexnet import cli, errors
from alexnet import config as configs
from alexnet.data.augment import Augmentation
from alexnet.devices import mesh
from alexnet.errors import UserError
from alexnet.models import network
from alexnet.models.build import NETS, build
from alexnet.text import documented
from alexnet.training import optimizer, schedule
from alexnet.training.settings import KINDS, SECTIONS, check_settings
from alexnet.workdir import record

VARIANTS = {
    "base": [""],
    "digits": [""],
    "cifar10": [
        *("80sec", "19pct", "19pct-translations", "18pct"),
        *("conv-local-13pct", "conv-local-11pct", "pocket"),
    ],
    "imagenet": [
        *("original", "paper", "one_gpu", "no_lrn", "nonoverlapping_pool"),
        *(
            "no_communication",
            "six_conv",
            "fall_2009",
            "fall_2011",
            "fine_tune",
            "cc2_single_tower",
        ),
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

    config = configs.load(f"{ROOT}/configs/{file}.py{':' if variant else ''}{variant}", KINDS)
    net = configs.call(build, "net", config.net, classes=10)
    configs.call(Augmentation, "augment", config.augment, crop=net.image_size)
    shapes = jax.eval_shape(lambda: network.init(net, jax.random.key(0)))
    configs.call(optimizer.build, "optimizer", config.optimizer, params=shapes)
    eps = configs.call(schedule.build, "schedule", config.schedule, epochs=config.epochs)
    rates = eps(0.0, [], shapes).rates
    assert set(rates) == set(shapes)
    assert set(config) == set(inspect.signature(SECTIONS[""]).parameters)


@pytest.mark.parametrize("file", [file for file in VARIANTS if VARIANTS[file] != [""]])
def test_an_unknown_variant_names_the_known_ones(file):
    with pytest.raises(UserError, match=r"no variant 'nothing': choose one of") as raised:
        configs.load(f"{ROOT}/configs/{file}.py:nothing", KINDS)
    assert set(VARIANTS[file]) <= set(str(raised.value).partition("one of ")[2].split(", "))


def test_a_misspelt_config_has_a_near_one():
    with pytest.raises(UserError, match=r"imagnet.py: no such file; .*; did you mean 'imagenet'"):
        configs.load(f"{ROOT}/configs/imagnet.py", KINDS)


def test_a_config_that_is_not_here_is_sought_in_the_checkout(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=f"the configs are in {ROOT}/configs$"):
        configs.load("configs/none.py", KINDS)
    monkeypatch.setattr(configs, "__file__", str(tmp_path / "site/alexnet/config.py"))
    with pytest.raises(
        UserError, match="are in configs/ of a clone: an installed package has none"
    ):
        configs.load("configs/none.py", KINDS)


def test_an_error_of_a_config_that_is_not_about_its_variant_says_where(tmp_path):
    (tmp_path / "mine.py").write_text("def get_config(variant):\n    return {}['b']\n")
    with pytest.raises(UserError, match=r"mine.py, line 2: KeyError: 'b'"):
        configs.load(f"{tmp_path}/mine.py:fast", KINDS)


@pytest.mark.parametrize("keys", [("a", "a.b"), ("a.b", "a")])
def test_a_section_has_no_value_of_its_own(keys):
    with pytest.raises(UserError, match=r"config.a: has a value, and so has a.b: keep one"):
        configs.nested(dict.fromkeys(keys, 1))


def test_a_number_beyond_all_floats_is_no_number():
    assert not errors.is_number(10**400)
    assert errors.is_number(10**300)


def load(file: str, variant: str = "") -> ConfigDict:
    return configs.load(f"{ROOT}/configs/{file}.py{':' if variant else ''}{variant}", KINDS)


def test_the_base_is_every_functions_own_defaults():
    base = load("base")
    for section, functions in {
        "net": (build, NETS["alexnet"]),
        "augment": (Augmentation,),
        "optimizer": (optimizer.build, optimizer.momentum),
        "schedule": (schedule.Milestones,),
        "mesh": (mesh.make,),
    }.items():
        parameters = [p for f in functions for p in inspect.signature(f).parameters.values()]
        parameters = [p for p in parameters if p.kind is not p.VAR_KEYWORD and p.name != "classes"]
        defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
        given = {"net": {"name"}, "schedule": {"kind", "rate"}}.get(section, set())
        assert set(base[section]) == defaults.keys() | given
        for name, default in defaults.items():
            assert base[section][name] == default, f"{section}.{name}"
            assert type(base[section][name]) is type(default), f"{section}.{name}"


@pytest.mark.parametrize(
    ("file", "variant"), [(file, variant) for file in VARIANTS for variant in VARIANTS[file]]
)
def test_every_setting_has_a_meaning(file, variant):
    config = load(file, variant)
    settings = cli.config_settings(config)
    assert settings.keys() == configs.flat(config.to_dict()).keys()
    for key, (value, meaning, words) in settings.items():
        assert len(meaning.split()) >= 4, key
        assert not words or value in words, key


@pytest.mark.parametrize(("key", "kind"), KINDS.items())
def test_every_setting_of_every_choice_has_a_meaning(key, kind):
    for name in kind.choices:
        config = load("digits")
        configs.apply_overrides(config, {key: name}, KINDS)
        settings = cli.config_settings(config)
        assert settings[key].words == tuple(kind.choices)
        for setting in kind.defaults(key, name):
            meaning = settings[f"{key.partition('.')[0]}.{setting}"].meaning
            assert len(meaning.split()) >= 4, (name, setting)


def test_the_words_that_help_gives_are_those_that_pass():
    for key, (_, _, words) in cli.config_settings(load("imagenet")).items():
        for word in words if key not in KINDS else ():
            config = load("imagenet")
            other = {"net.activation": "relu"}
            if key == "augment.mean" and word == "pixel":
                other = {"augment.mean_pixel": (1.0, 2.0, 3.0)}
            configs.apply_overrides(config, other | {key: word}, KINDS)
            check_settings(config)
            configs.call(build, "net", config.net, classes=10)
            configs.call(Augmentation, "augment", config.augment, crop=224)
    assert {"dtype", "precision", "kernels", "net.preset", "augment.mean"} <= {
        key for key, setting in cli.config_settings(load("imagenet")).items() if setting.words
    }


def test_docstrings_say_what_arguments_are():
    class Base:
        """One.

        Attributes:
            first, second: of both,
                on two lines: with a colon.
            third: of Base.
        """

    class Derived(Base):
        """Two.

        Attributes:
            third: of Derived.

        Nothing: else.
        """

    assert documented(Derived) == {
        **dict.fromkeys(("first", "second"), "of both, on two lines: with a colon."),
        "third": "of Derived.",
    }
    assert documented(lambda: None) == {}


# --- Overrides ------------------------------------------------------------------------------------

FILES = [(file, variant) for file, variants in VARIANTS.items() for variant in variants]


@pytest.mark.parametrize("net", NETS)
def test_every_net_goes_with_every_file(net):
    for file, variant in FILES:
        config = load(file, variant)
        before = config.to_dict()
        configs.apply_overrides(config, {"net.name": net}, KINDS)
        built = configs.call(build, "net", config.net, classes=10)
        if net == before["net"]["name"]:
            assert config.to_dict() == before
        else:
            assert built == build(net, classes=10)
            assert config.to_dict() | {"net": before["net"]} == before


@pytest.mark.parametrize("kind", schedule.SCHEDULES)
def test_every_schedule_goes_with_every_file(kind):
    for file, variant in FILES:
        config = load(file, variant)
        before = config.schedule.to_dict()
        configs.apply_overrides(config, {"schedule.kind": kind}, KINDS)
        eps = configs.call(schedule.build, "schedule", config.schedule, epochs=config.epochs)
        assert type(eps) is schedule.SCHEDULES[kind]
        if kind == before["kind"]:
            assert config.schedule.to_dict() == before
        else:
            assert eps == schedule.build(kind, rate=before["rate"], epochs=config.epochs)


OVERRIDES = {
    "seed": 3,
    "epochs": 2,
    "net.name": "pocket",
    "net.towers": 1,
    "net.activation": "tanh",
    "augment.mean": "crop",
    "schedule.kind": "plateau",
    "schedule.patience": 3,
    "schedule.rate": 0.1,
    "schedule.events": [(1, "conv1", 0.0)],
}


@given(st.permutations(list(OVERRIDES)), st.sampled_from(["digits", "cifar10", "imagenet"]))
def test_the_order_of_overrides_does_not_matter(keys, file):
    one, other = load(file), load(file)
    configs.apply_overrides(one, OVERRIDES, KINDS)
    configs.apply_overrides(other, {key: OVERRIDES[key] for key in keys}, KINDS)
    assert one == other
    assert (one.seed, one.epochs, one.net.towers, one.net.image_size) == (3, 2.0, 1, 28)
    assert (one.schedule.patience, one.schedule.rate, one.schedule.drops) == (3, 0.1, 3)
    assert type(one.epochs) is float
    assert type(one.schedule.events) is tuple


def test_two_dicts_of_overrides_for_different_keys_commute():
    variant = {"schedule.kind": "plateau", "net.norm": False}
    arm = {"net.towers": 1, "batch_size": 64}
    found = []
    for order in itertools.permutations([variant, arm]):
        config = load("digits")
        for overrides in order:
            configs.apply_overrides(config, overrides, KINDS)
        found.append(config)
    assert found[0] == found[1]


def test_another_kind_resets_its_section_but_for_what_has_no_default():
    config = load("imagenet", "fine_tune")
    configs.apply_overrides(config, {"net.image_size": 200, "net.norm": False}, KINDS)
    configs.apply_overrides(config, {"schedule.kind": "plateau", "net.name": "cc2"}, KINDS)
    assert (config.schedule.rate, config.schedule.bias_factor) == (0.001, 2.0)
    assert (config.schedule.events, config.schedule.bias_drops) == ((), True)
    assert (config.net.image_size, config.net.norm) == (224, True)
    assert "milestones" not in config.schedule
    assert "kernels" not in config.net
    assert config.is_locked
    assert config.schedule.is_locked


def test_a_kind_that_is_what_it_was_resets_nothing():
    config = load("imagenet", "fine_tune")
    before = config.to_dict()
    configs.apply_overrides(config, {"schedule.kind": "milestones", "net.name": "alexnet"}, KINDS)
    assert config.to_dict() == before


def test_what_has_no_default_and_no_value_must_be_set():
    def build(name, *, classes, **options):
        pass

    kinds = {
        "net.name": configs.Kind(
            build, {"old": lambda size=1: size, "new": lambda width, size=2: width}, ("classes",)
        )
    }

    def overridden(**overrides):
        config = ConfigDict({"net": {"name": "old", "size": 1}}).lock()
        configs.apply_overrides(config, {f"net.{k}": v for k, v in overrides.items()}, kinds)
        return config.net.to_dict()

    assert overridden(width=7, name="new") == {"name": "new", "width": 7, "size": 2}
    with pytest.raises(UserError, match=r"config.net.name='new': set config.net.width as well"):
        overridden(name="new")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"net.nrom": False}, "config.net.nrom: the config has no 'net.nrom'; did you mean "),
        ({"net": False}, "config.net=False: a section; set what is in it: config.net.act"),
        ({"net.norm": "no"}, "config.net.norm='no': expected true or false"),
        ({"net.norm": 1}, "config.net.norm=1: expected true or false"),
        ({"net.towers": 1.0}, "config.net.towers=1.0: expected a whole number"),
        ({"net.towers": True}, "config.net.towers=True: expected a whole number"),
        ({"epochs": "3"}, "config.epochs='3': expected a number"),
        ({"epochs": float("nan")}, "config.epochs=nan: expected a number"),
        ({"net.remove": 4}, "config.net.remove=4: expected text"),
        ({"schedule.milestones": 4}, "config.schedule.milestones=4: expected a tuple"),
        ({"net.name": "cc3"}, "config.net.name='cc3': choose one of alexnet, cc2, .*mean 'cc2'"),
        ({"net.name": 2}, "config.net.name=2: choose one of alexnet"),
        ({"net.name": []}, r"config.net.name=\[\]: choose one of alexnet"),
        ({"schedule.kind": "cosine"}, "config.schedule.kind='cosine': choose one of milestones"),
        ({"net.name": "cc2", "net.towers": 1}, "config.net.towers: the config has no"),
    ],
)
def test_a_wrong_override_is_one_clear_line(overrides, message):
    with pytest.raises(UserError, match=message):
        configs.apply_overrides(load("digits"), overrides, KINDS)


def test_numpys_numbers_are_numbers():
    config = load("digits")
    values = {"seed": np.int64(3), "epochs": np.float32(0.5), "net.norm": np.bool_(False)}
    configs.apply_overrides(config, values, KINDS)
    assert (config.seed, config.epochs, config.net.norm) == (3, 0.5, False)
    assert [type(value) for value in (config.seed, config.epochs, config.net.norm)] == [
        *(int, float, bool)
    ]
    with pytest.raises(UserError, match=r"config.seed=0\.5: expected a whole number"):
        configs.apply_overrides(config, {"seed": np.float64(0.5)}, KINDS)


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


# --- Saved configs and calls ----------------------------------------------------------------------


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
    with pytest.raises(UserError, match=r"mine.py:two: two$"):  # not KeyError's 'two'
        configs.load(f"{file}:two", {})
