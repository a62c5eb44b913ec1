"""alexnet.training.setup: a run's numbers, before anything is computed."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.tiny import ROOT, drawn

from alexnet.devices import mesh as meshes
from alexnet.errors import UserError
from alexnet.kernels.choose import CPU, GPU
from alexnet.models.network import PLAIN
from alexnet.training import evaluation
from alexnet.training import run as runs
from alexnet.training.settings import check_settings, load_config
from alexnet.training.setup import setup

DIGITS = f"{ROOT}/configs/digits.py"
IMAGES = 1438  # training images of the digits


def test_epochs_are_counted_in_images(tiny):
    run = setup(tiny)
    assert run.epoch(6) == 6 * 256 / IMAGES
    assert run.steps == 17  # 16.9 batches


def test_a_step_has_the_rates_of_where_it_begins(tiny):
    tiny.schedule.rate, tiny.schedule.milestones = 0.01, ((256 / IMAGES, 0.001),)
    run = setup(tiny)
    rates = [float(run.hyperparameters(step).rates["fc8"]["kernel"]) for step in (1, 2, 3)]
    assert rates == pytest.approx([0.01, 0.001, 0.001])


def test_the_examples_of_a_step_are_its_batch(tiny):
    run = setup(tiny)
    for step, batch in itertools.islice(run.batches(after=4), 2):
        images, labels = run.store.read("train", run.examples(step))
        np.testing.assert_array_equal(batch["label"], labels)
        np.testing.assert_array_equal(batch["image"], images)
    assert step == 6  # which ends in the second epoch


@pytest.mark.usefixtures("compile_quickly")
def test_a_seed_draws_the_weights_the_order_and_the_steps_randomness(tiny):
    tiny.seed = 7
    run = setup(tiny)
    _, batch = next(run.batches())
    order = np.random.default_rng([7, 0]).permutation(IMAGES)
    np.testing.assert_array_equal(batch["label"], run.store.read("train", order[:256])[1])
    key = jax.random.key(7, impl="threefry2x32")
    np.testing.assert_array_equal(*map(jax.random.key_data, (run.key, key)))
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(run.fresh().params), drawn(tiny))


@pytest.mark.parametrize(("name", "jaxs"), [("float32", "float32"), ("tf32", "tensorfloat32")])
def test_every_program_of_a_run_is_traced_at_its_precision(tiny, name, jaxs):
    tiny.precision = name
    run, seen = setup(tiny), []

    def program(*_):
        seen.append(jax.config.jax_default_matmul_precision)
        return evaluation.Sums(*map(np.float32, (1, 0, 0, 1))), None

    run.programs.update(dict.fromkeys(("train", "train 2", "centre"), program))
    run.train_step(None, None, None)
    run.train_steps(None, [1, 2], [1, 2])
    run.evaluate(None, stop=lambda: True)
    run.loss(None, {})
    assert seen == [jaxs] * 4


def test_inputs_are_as_large_as_the_net_sees(tiny):
    run, images = setup(tiny), np.zeros((2, 20, 20, 3), np.uint8)
    found = jax.eval_shape(lambda batch: run.inputs(1, batch), {"image": images})
    assert (found.shape, found.dtype) == ((2, 18, 18, 3), np.float32)


def test_steps_are_at_most_what_the_state_can_count(tiny):
    tiny.batch_size, tiny.epochs = IMAGES, float(np.iinfo(np.int32).max)
    assert setup(tiny).steps == 2**31 - 1
    tiny.epochs += 1
    with pytest.raises(UserError, match=r"epochs=2147483648.0: 2.15e\+09 steps are too many"):
        setup(tiny)


def test_runs_are_told_apart_by_identity(tiny):
    run = setup(tiny)
    assert len({run, run, dataclasses.replace(run)}) == 2


def test_several_batches_are_one_program_of_a_step_each(tiny):
    @jax.jit
    def step(state, batch, now, statistics, key):
        return state * now + batch, {"before": state}

    run = setup(tiny)
    run = dataclasses.replace(run, shardings=meshes.replicated(run.mesh), programs={"train": step})
    for count, expected in ((1, 10 * 1 + 2), (2, 100 * 12 + 3)):
        state, sums = run.train_steps(jnp.int32(1), [2, 3][:count], [10, 100][:count])
        assert state == expected
        assert [one["before"] for one in sums] == [1, 12][:count]
    assert set(run.programs) == {"train", "train 2"}


@pytest.mark.parametrize(
    ("section", "key", "value", "left"),
    [
        ("net", "name", "alexnet", "image_size=28"),
        ("optimizer", "name", "adamw", "momentum=0.9"),
        ("schedule", "kind", "plateau", "milestones="),
    ],
)
def test_a_choice_that_is_assigned_would_keep_anothers_settings(section, key, value, left):
    config = load_config(DIGITS)
    setattr(config[section], key, value)
    with pytest.raises(UserError) as raised:
        setup(config)
    said = str(raised.value)
    assert said.startswith(f"config.{section}.{key}={value!r}: was assigned, but the section has")
    assert f"load_config(file, {{'{section}.{key}': {value!r}}})" in said
    assert left in said


def test_a_choice_may_be_assigned_where_nothing_else_changes():
    config = load_config(DIGITS)
    config.optimizer.name = "nesterov"  # its settings are those of momentum
    check_settings(config)
    config.optimizer.weight_decay = 0.001  # on purpose
    check_settings(config)
    config.optimizer.name = "momentun"
    with pytest.raises(UserError, match="did you mean 'momentum'"):
        setup(config)
    chosen = load_config(DIGITS, {"optimizer.name": "adamw"})
    chosen.optimizer.b1 = 0.8
    check_settings(chosen)


def test_decays_and_events_of_a_removed_layer_go_with_it(tiny):
    kept = (("conv4", 0.1), ("conv1", 0.2))
    tiny.optimizer.layer_decay = kept
    tiny.schedule.events = ((0.0, "conv5.kernel", 0.5), (0.0, "conv1.kernel", 0.25))
    tiny.net.remove = "conv4, conv5,fc7"
    run = setup(tiny)
    assert run.config.optimizer.layer_decay == kept  # what was asked for is still written down
    assert float(run.hyperparameters(1).rates["conv1"]["kernel"]) == 0.25
    rates = run.hyperparameters(1).rates
    ones = jax.tree.map(lambda shape: jnp.ones(shape.shape), run.shapes)
    zeros = jax.tree.map(jnp.zeros_like, ones)
    change, _ = run.optimizer.update(zeros, run.optimizer.init(ones), ones, rates=rates)
    np.testing.assert_allclose(change["conv1"]["kernel"], -0.25 * 0.2, rtol=1e-6)
    for section, key, value in (
        ("optimizer", "layer_decay", (("conv9", 0.1),)),
        ("schedule", "events", ((0.0, "conv9.kernel", 0.5),)),
    ):
        with tiny.unlocked():
            tiny[section][key] = value
        with pytest.raises(UserError, match="the net has no"):
            setup(tiny)
        with tiny.unlocked():
            tiny[section][key] = ()


# --- Settings that change no result: each is used -------------------------------------------------


@pytest.mark.parametrize(("name", "form"), [("plain", PLAIN), ("cpu", CPU), ("gpu", GPU)])
def test_a_run_has_the_kernels_that_were_asked_for(tiny, name, form):
    tiny.kernels = name
    assert setup(tiny).how["kernels"] is form


@pytest.mark.parametrize("asked", [False, True])
def test_a_step_is_compiled_for_cuda_graphs_if_asked(tiny, monkeypatch, asked):
    seen = []
    monkeypatch.setattr(runs, "compiler_options", lambda mesh, graphs=False: seen.append(graphs))
    tiny.cuda_graphs = asked
    _ = setup(tiny).train_program
    assert seen == [asked]


@pytest.mark.parametrize("parts", [1, 2])
def test_a_batch_goes_through_the_net_in_so_many_parts(tiny, monkeypatch, parts):
    sizes = []

    def logits(params, images_BSSC, *_):
        sizes.append(len(images_BSSC))
        return jnp.zeros((len(images_BSSC), 10))

    monkeypatch.setattr(runs.forward, "training", lambda *_, **__: logits)
    tiny.accumulate = parts
    run = setup(tiny)
    given = jax.eval_shape(lambda: (run.fresh(), next(run.batches())[1], run.hyperparameters(1)))
    jax.eval_shape(run.train_program, *given, run.statistics, run.key)
    assert sizes == [256 // parts] * parts
