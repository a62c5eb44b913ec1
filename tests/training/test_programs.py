"""Runs that differ in numbers alone share their programs, and their results are the same."""

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from alexnet import config as configs
from alexnet.training import settings, setup
from alexnet.training.programs import ARGUMENTS, Programs

pytestmark = pytest.mark.usefixtures("compile_quickly")

NUMBERS = {
    "seed": 7,
    "epochs": 1.0,
    "schedule.rate": 0.003,
    "schedule.milestones": ((2.0, 0.1),),
    "log_every": 3,
}
OTHERS = (
    {"net.norm": False},
    {"augment.random_crop": False},
    {"augment.colour_noise": 0.0},
    {"optimizer.momentum": 0.5},
    {"optimizer.weight_decay": 0.0},
    {"batch_size": 128},
    {"kernels": "plain"},
    {"accumulate": 2},
    {"dtype": "bfloat16"},
)


def changed(config, overrides):
    config = config.copy_and_resolve_references()
    configs.apply_overrides(config, overrides, settings.KINDS)
    return config


def two_steps(run) -> list[np.ndarray]:
    state = run.fresh()
    for step, batch in run.batches():
        state, _ = run.train_step(state, batch, run.hyperparameters(step))
        if step == 2:
            return jax.tree.leaves(jax.device_get(state))
    raise AssertionError


@pytest.mark.slow
def test_seeds_and_schedules_share_programs_and_keep_their_bits(tiny):
    tiny.net.remove, tiny.batch_size = "conv2,conv3,conv4,conv5,fc7", 32
    programs = Programs()
    first = setup.setup(tiny, programs=programs)
    two_steps(first)
    compiled = first.train_program._cache_size()
    other = changed(tiny, NUMBERS)
    shared = two_steps(setup.setup(other, programs=programs))
    assert first.train_program._cache_size() == compiled
    for ours, alone in zip(shared, two_steps(setup.setup(other)), strict=True):
        np.testing.assert_array_equal(ours, alone)


@pytest.mark.parametrize("overrides", OTHERS, ids=str)
def test_runs_whose_programs_differ_share_none(tiny, overrides):
    programs = Programs()
    runs = [
        setup.setup(config, programs=programs) for config in (tiny, changed(tiny, overrides), tiny)
    ]
    assert runs[0].programs is runs[2].programs
    assert runs[0].programs is not runs[1].programs


def test_only_these_settings_are_in_no_program(tiny):
    shared = {key for key in configs.flat(tiny.to_dict()) if key.startswith(ARGUMENTS)}
    assert shared == {
        *("seed", "epochs", "init_from", "init_layers", "fetch", "steps_per_dispatch"),
        *("log_every", "checkpoint_every", "wandb_project"),
        *("data.name", "data.data_dir", "data.image_size", "data.quality", "data.encoding"),
        *("schedule.kind", "schedule.rate", "schedule.milestones", "schedule.events"),
        *("schedule.bias_factor", "schedule.bias_drops"),
    }


def test_the_order_of_settings_makes_no_other_program():
    programs = Programs()
    one, other = ConfigDict({"b": 1, "a": 2}), ConfigDict({"a": 2, "b": 1})
    assert programs.of(one, "net", "mesh") is programs.of(other, "net", "mesh")
    assert programs.of(one, "net", "mesh") is not programs.of(one, "other", "mesh")


def test_tracking_a_run_elsewhere_makes_no_other_program():
    programs, one, other = Programs(), ConfigDict(), ConfigDict()
    one.wandb_project, other.wandb_project = "", "alexnet"
    assert programs.of(one, "net", "mesh") is programs.of(other, "net", "mesh")
