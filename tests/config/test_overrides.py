"""Overrides: their order, their types, and choices that reset a section."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ml_collections import ConfigDict
from support.tiny import ROOT

from alexnet import config as configs
from alexnet.errors import UserError
from alexnet.training.settings import KINDS


def load(file: str, variant: str = "") -> ConfigDict:
    return configs.load(f"{ROOT}/configs/{file}.py{':' if variant else ''}{variant}", KINDS)


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
