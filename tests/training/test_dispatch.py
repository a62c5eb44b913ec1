"""Several steps as one program, and metrics that are fetched late: nothing else changes."""

import itertools
import json
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.tiny import tiny_config

from alexnet.errors import Interrupted, UserError
from alexnet.logs import metrics
from alexnet.training import dispatch, evaluation
from alexnet.training.loop import train_and_evaluate
from alexnet.training.run import Run
from alexnet.training.setup import setup
from alexnet.training.watch import divergence
from alexnet.training.watch.window import Window


def grouped(steps, size, at):
    batches = ((step, f"batch {step}") for step in steps)
    found = list(dispatch.groups(batches, size, lambda step: step in at))
    assert all(batch == f"batch {step}" for group in found for step, batch in group)
    return [[step for step, _ in group] for group in found]


def test_the_loop_acts_after_the_last_step_of_a_group_only():
    assert grouped(range(1, 9), 3, {6}) == [[1, 2, 3], [4, 5, 6], [7], [8]]
    assert grouped(range(1, 9), 3, {5}) == [[1, 2, 3], [4], [5], [6, 7, 8]]
    assert grouped(range(4, 9), 3, {6, 8}) == [[4, 5, 6], [7], [8]]  # resumed in the middle
    assert grouped(range(1, 5), 1, {2}) == [[1], [2], [3], [4]]


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_every_step_is_in_one_group_whatever_is_to_be_done(size):
    steps = range(3, 40)
    for at in ({5, 6, 39}, {10, 20, 30}, set(steps), set()):
        found = grouped(steps, size, at)
        assert list(itertools.chain(*found)) == list(steps)
        assert {len(group) for group in found} <= {1, size}
        assert not any(at & set(group[:-1]) for group in found)


def sums(loss, images=4):
    return evaluation.Sums(np.float32(loss), np.int32(1), np.int32(0), np.int32(images))


def test_late_metrics_are_added_up_to_the_same_bits_and_a_nan_has_its_step():
    soon, late = Window(), Window(waits=True)
    losses = [4 * float(x) for x in np.random.default_rng(0).random(7)]
    for step, loss in enumerate(losses[:4], 1):
        soon.add(step, sums(loss))
    late.add(1, sums(losses[0]))
    late.add(4, *map(sums, losses[1:4]))
    assert soon.sums() == late.sums()
    assert soon.close() == late.close()
    late.add(6, sums(1.0), sums(float("nan")))
    late.add(7, sums(1.0))
    with pytest.raises(divergence.DivergedError, match="nan") as raised:
        late.sums()
    assert raised.value.step == 6


def rows(workdir) -> list[dict]:
    """The logged rows, without the clock's numbers."""
    clocks = ("seconds", "train/images_per_second")
    return [{k: v for k, v in row.items() if k not in clocks} for row in metrics.read_log(workdir)]


def digests(workdir) -> dict[str, dict]:
    """The content of each checkpoint."""
    return {
        path.parent.name: json.loads(path.read_text())["custom_metadata"]["leaves"]
        for path in (workdir / "checkpoints").glob("*/_CHECKPOINT_METADATA")
    }


@pytest.mark.slow
def test_steps_in_groups_give_the_bits_of_single_ones_also_when_resumed(tmp_path, data_dir):
    """Logs and checkpoints at the same steps; `parts` stops within a group of `groups`."""
    config = tiny_config(data_dir)
    config.log_every, config.checkpoint_every, config.epochs = 4, 5, 2.0
    train_and_evaluate(config, tmp_path / "single")
    config.steps_per_dispatch, config.fetch = 2, "log"
    train_and_evaluate(config, tmp_path / "groups")
    config.steps_per_dispatch = (
        3  # 1 2 3 | 4 | 5 | 6 | 7 | 8 | ..., as rows and checkpoints want it
    )
    with pytest.MonkeyPatch.context() as patch:
        stops(patch, after=7)
        with pytest.raises(Interrupted):
            train_and_evaluate(config, tmp_path / "parts")
    config.steps_per_dispatch = 2
    train_and_evaluate(config, tmp_path / "parts")
    for name in ("groups", "parts"):
        assert rows(tmp_path / "single") == rows(tmp_path / name)
        assert digests(tmp_path / "single")["12"] == digests(tmp_path / name)["12"]
    assert digests(tmp_path / "single") == digests(tmp_path / "groups")


def stops(patch, after: int) -> None:
    """A signal while the step `after` is under way."""
    train_steps = Run.train_steps

    def signalled(run, state, batches, hyperparameters):
        found = train_steps(run, state, batches, hyperparameters)
        if int(found[0].step) >= after and not signalled.sent:
            signalled.sent = True
            os.kill(os.getpid(), signal.SIGTERM)
        return found

    signalled.sent = False
    patch.setattr(Run, "train_steps", signalled)


def test_a_program_takes_a_step_for_each_batch_and_donates_its_state():
    @jax.jit
    def step(state, batch, rate, statistics, key):
        return state + rate * batch, {"sum": state}

    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    steps = dispatch.make_train_steps(step, here)
    state = jnp.float32(1)
    found, sums = steps(state, [1.0, 10.0], [2.0, 0.5], None, None)
    assert found == 1 + 2 + 5
    assert [one["sum"].item() for one in sums] == [1, 3]
    assert state.is_deleted()
    with pytest.raises(ValueError, match="zip"):
        steps(found, [1.0, 10.0], [2.0], None, None)


@pytest.mark.slow
@pytest.mark.parametrize("kernels", ["plain", "cpu"])
def test_three_steps_as_one_program_are_three_steps(kernels, data_dir):
    """As XLA optimises them."""
    config = tiny_config(data_dir)
    config.kernels = kernels
    run = setup(config)
    batches = [batch for _, batch in itertools.islice(run.batches(), 3)]
    now = [run.hyperparameters(step) for step in (1, 2, 3)]
    state, one_by_one = run.fresh(), []
    for batch, numbers in zip(batches, now, strict=True):
        state, found = run.train_step(state, batch, numbers)
        one_by_one.append(found)
    expected = [np.asarray(leaf) for leaf in leaves((state, one_by_one))]
    together = run.train_steps(run.fresh(), batches, now)
    for ours, single in zip(leaves(together), expected, strict=True):
        np.testing.assert_array_equal(ours, single)


def leaves(tree):
    return jax.tree.leaves(jax.device_get(tree))


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("steps_per_dispatch", 0, "steps_per_dispatch=0: a number of steps, at least 1"),
        ("fetch", "never", "fetch='never': choose one of step, log"),
    ],
)
def test_impossible_settings_are_one_line(name, value, line, data_dir):
    config = tiny_config(data_dir)
    config[name] = value
    with pytest.raises(UserError, match=line):
        setup(config)
