"""The files in configs/: their variants, and every setting of every choice."""

import inspect

import pytest
from ml_collections import ConfigDict
from support.tiny import ROOT

from alexnet import cli
from alexnet import config as configs
from alexnet.data.augment import Augmentation
from alexnet.devices import mesh
from alexnet.errors import UserError
from alexnet.models import network
from alexnet.models.build import NETS, build
from alexnet.text import documented
from alexnet.training import optimizer, schedule
from alexnet.training.settings import KINDS, SECTIONS, check_settings

PAPERS = [  # of the full net
    *("original", "paper", "one_gpu", "no_lrn", "nonoverlapping_pool", "no_communication"),
    *("six_conv", "fine_tune", "cc2_single_tower", "torchvision", "caffe_alexnet", "caffenet"),
]
FALL = ["fall_2009", "fall_2011"]
VARIANTS = {
    "base": [""],
    "digits": [""],
    "cifar10": [
        *("80sec", "19pct", "19pct-translations", "18pct"),
        *("conv-local-13pct", "conv-local-11pct", "pocket"),
    ],
    "imagenet": [*PAPERS, *FALL],
    "ilsvrc2010": PAPERS,
    "imagenette": [*PAPERS, *FALL],
    "folder": [*PAPERS, *FALL, "pocket"],
}


def test_every_config_file_is_listed_here():
    assert {path.stem for path in (ROOT / "configs").glob("*.py")} == set(VARIANTS)


@pytest.mark.parametrize(
    ("file", "variant"), [(file, variant) for file in VARIANTS for variant in VARIANTS[file]]
)
def test_every_section_is_its_functions_arguments(file, variant):
    import jax

    config = load(file, variant)
    net = configs.call(build, "net", config.net, classes=10)
    configs.call(Augmentation, "augment", config.augment, crop=net.image_size)
    shapes = jax.eval_shape(lambda: network.init(net, jax.random.key(0)))
    configs.call(optimizer.build, "optimizer", config.optimizer, params=shapes)
    eps = configs.call(schedule.build, "schedule", config.schedule, epochs=config.epochs)
    rates = eps(0.0, [], shapes).rates
    assert set(rates) == set(shapes)
    assert set(config) == set(inspect.signature(SECTIONS[""]).parameters)
    assert net.image_size <= config.data.image_size
    assert config.batch_size >= 32


@pytest.mark.parametrize("file", [file for file in VARIANTS if VARIANTS[file] != [""]])
def test_an_unknown_variant_names_the_known_ones(file):
    with pytest.raises(UserError, match=r"no variant 'nothing': choose one of") as raised:
        configs.load(f"{ROOT}/configs/{file}.py:nothing", KINDS)
    known = str(raised.value).partition("one of ")[2].split(", ")
    assert sorted(known) == sorted(VARIANTS[file])
    assert load(file).to_dict() == load(file, known[0]).to_dict()  # the first is the default


def test_a_misspelt_config_has_a_near_one():
    with pytest.raises(UserError, match=r"imagnet.py: no such file; .*; did you mean 'imagenet'"):
        configs.load(f"{ROOT}/configs/imagnet.py", KINDS)


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
