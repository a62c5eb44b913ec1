"""Training as a user runs it, on real digits."""

import contextlib
import dataclasses
import io
import itertools
import json
import shutil
import signal
import sys
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from support.charts import pictures
from support.tiny import ROOT, tiny_config

from alexnet import config as configs
from alexnet import evaluate
from alexnet.devices import mesh as meshes
from alexnet.devices import processes
from alexnet.errors import Interrupted, UserError
from alexnet.logs import metrics
from alexnet.models import filters
from alexnet.results.run import from_workdir
from alexnet.training import evaluation, loop
from alexnet.training.loop import train_and_evaluate
from alexnet.training.run import Run
from alexnet.training.settings import KINDS
from alexnet.training.setup import setup
from alexnet.training.start import dataset
from alexnet.training.step import TrainState
from alexnet.training.watch import health
from alexnet.training.watch.divergence import DivergedError
from alexnet.workdir import checkpoint, provenance, record
from alexnet.workdir.checkpoint import Checkpoints
from alexnet.workdir.claim import OWN
from alexnet.workdir.record import Progress


def rows(workdir) -> list[dict]:
    """The logged rows, without the numbers that are a clock's."""
    clocks = ("seconds", "train/images_per_second")
    return [
        {name: value for name, value in row.items() if name not in clocks}
        for row in metrics.read_log(workdir)
    ]


@pytest.fixture(scope="module")
def finished(tmp_path_factory, data_dir):
    """(workdir, history) of a whole run."""
    workdir = tmp_path_factory.mktemp("finished")
    return workdir, train_and_evaluate(tiny_config(data_dir), workdir)


def test_a_run_leaves_config_metrics_tensorboard_and_checkpoints(finished):
    workdir, history = finished
    names = {path.name for path in workdir.iterdir() if path.name[0] != "."}
    assert names == {
        *("config.json", "metrics.jsonl", "tensorboard", "checkpoints"),
        *("dataset", "provenance.json"),
    }
    assert json.loads((workdir / "config.json").read_text())["net"]["name"] == "pocket"
    assert len(history) == 3
    validated = [row for row in rows(workdir) if "validation/top1_error" in row]
    assert [row["validation/top1_error"] for row in validated] == [
        row["top1_error"] for row in history
    ]
    assert all(row["validation/count"] == 359 for row in validated)
    # 1438 images, 256 a step: epochs end within steps 6, 12 and 17
    assert [row["step"] for row in validated] == [6, 12, 17]


def test_each_validation_shows_the_filters_to_tensorboard(finished):
    workdir, _ = finished
    shown = pictures(workdir, "filters")
    assert [step for step, _ in shown] == [6, 12, 17]
    params, _ = checkpoint.load_params(workdir, "last")
    expected = filters.grid(params["conv1"]["kernel"], scale=6)  # 33 pixels for 5 weights
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(shown[-1][1]))), expected)


def test_the_loss_falls(finished):
    losses = [row["train/loss"] for row in rows(finished[0]) if "train/loss" in row]
    assert losses[-1] < losses[0]


def test_evaluate_repeats_the_last_validation(finished, tmp_path, capsys):
    workdir, history = shutil.copytree(finished[0], tmp_path / "run"), finished[1]
    evaluate.main([f"--workdir={workdir}", "--checkpoint=last"])
    line = capsys.readouterr().out
    assert f"top-1 error {history[-1]['top1_error']:.2%}" in line
    assert "359 images" in line
    evaluate.main([f"--workdir={workdir}", "--ten_crop"])
    assert "ten-crop (10 views)" in capsys.readouterr().out


@pytest.mark.parametrize("flip", [False, True])
def test_ten_crops_of_a_net_that_never_saw_reflections(finished, tmp_path, capsys, flip):
    workdir = shutil.copytree(finished[0], tmp_path / "run")
    config = record.saved_config(workdir)
    config.augment.flip = flip
    record.save_config(config, workdir)
    evaluate.main([f"--workdir={workdir}", "--ten_crop"])
    line = (
        f"{workdir} never saw reflections (config.augment.flip=False), but half of the ten crops "
        "are reflections\n"
    )
    assert capsys.readouterr().err == ("" if flip else line)
    train_and_evaluate(config, workdir)
    assert ("--ten_crop" in capsys.readouterr().out) == flip


def test_the_same_command_again_only_reports(finished, tmp_path, capsys):
    workdir, history = shutil.copytree(finished[0], tmp_path / "run"), finished[1]
    config = record.saved_config(workdir)
    schedule = record.saved_config(workdir).schedule
    config.schedule.milestones = ((20.0, 0.001),)
    before = rows(workdir)
    assert train_and_evaluate(config, workdir) == history
    assert rows(workdir) == before
    assert record.saved_config(workdir).schedule == schedule  # by which it was trained
    assert [one["trains"] for one in provenance.commands(workdir)] == [True, False]
    out = capsys.readouterr().out
    assert "finished already (to train longer, raise config.epochs), 17 steps in all" in out
    assert "done: best validation" in out
    assert "compiling" not in out
    assert "milestones" not in out  # nothing is trained: no warnings


def test_fewer_epochs_than_were_done_leave_the_run_as_it_is(finished, capsys):
    workdir, errors = finished
    config = record.saved_config(workdir)
    config.epochs = 1.5

    def files():
        return {path: path.stat() for path in workdir.rglob("*") if path.name != ".lock"}

    before = files()
    assert train_and_evaluate(config, workdir) == errors
    assert files().keys() == before.keys()
    assert all(stat.st_mtime == before[path].st_mtime for path, stat in files().items())
    assert capsys.readouterr().out == (
        f"{workdir} has done 3.026 epochs, more than config.epochs=1.5, and stays as it is; "
        "raise config.epochs to train longer\n"
    )


def test_the_best_that_is_announced_is_kept_and_loaded(tiny, tmp_path, capsys, monkeypatch):
    losses = iter((2.0, 1.0, 1.0))
    monkeypatch.setattr(
        Run, "evaluate", lambda *_, **__: evaluation.Means(next(losses), 0.5, 0.1, tiny.batch_size)
    )
    train_and_evaluate(tiny, tmp_path)
    assert "best validation top-1 error 50.00% (step 12), last 50.00%" in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {"12", "17"}
    _, progress = checkpoint.load_params(tmp_path, "best")
    assert len(progress.validation_errors) == 2


@pytest.mark.parametrize(
    "stop_at",
    [*(pytest.param(step, marks=pytest.mark.slow) for step in (2, 3, 6)), 9],
)
def test_an_interrupted_run_resumes_exactly(finished, tiny, tmp_path, monkeypatch, stop_at):
    whole, history = finished

    class StopAt(loop.Interruption):
        asked = 0

        @property
        def signal(self):
            return signal.SIGTERM if self.asked >= stop_at else 0

        def __enter__(self):
            return self

        def __exit__(self, *exception):
            pass

    stop = StopAt()

    class Counting(loop.Window):
        def add(self, step, sums):
            stop.asked = step
            super().add(step, sums)

    monkeypatch.setattr(loop, "Interruption", lambda **_: stop)
    monkeypatch.setattr(loop, "Window", Counting)
    with pytest.raises(Interrupted, match="stopped by SIGTERM, after a checkpoint"):
        train_and_evaluate(tiny, tmp_path)
    reached = max(int(path.name) for path in (tmp_path / "checkpoints").iterdir())
    assert 0 < reached < 17
    monkeypatch.undo()

    assert train_and_evaluate(tiny, tmp_path) == history
    params, metadata = checkpoint.load_params(tmp_path, "last")
    expected, expected_metadata = checkpoint.load_params(whole, "last")
    assert metadata == expected_metadata
    jax.tree.map(np.testing.assert_array_equal, params, expected)
    assert rows(tmp_path) == rows(whole)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kills",
    [
        (4, 12),  # within a window, and in the last one
        (1, 4, 6, 12),  # before a checkpoint, twice in one
    ],
)
def test_kills_and_resumes_change_no_row(tiny, tmp_path, monkeypatch, kills):
    """Rows average equal windows, whatever comes in between."""
    tiny.log_every, tiny.checkpoint_every = 7, 2
    train_and_evaluate(tiny, tmp_path / "whole")
    expected = rows(tmp_path / "whole")
    averaged = {row["step"]: row["train/steps"] for row in expected if "train/steps" in row}
    assert averaged == {7: 7, 14: 7, 17: 3}

    class Killed(Exception):
        pass

    for last in kills:

        class Dying(loop.Window):
            def add(self, step, sums, last=last):
                if step == last:
                    raise Killed
                super().add(step, sums)

        monkeypatch.setattr(loop, "Window", Dying)
        with pytest.raises(Killed):
            train_and_evaluate(tiny, tmp_path / "killed")
    monkeypatch.undo()
    train_and_evaluate(tiny, tmp_path / "killed")
    assert rows(tmp_path / "killed") == expected
    seconds = [row["seconds"] for row in metrics.read_log(tmp_path / "killed")]
    assert seconds == sorted(seconds)


@pytest.mark.slow
def test_a_longer_run_goes_on_with_the_window(tiny, tmp_path):
    """The first run's last row was shorter; the next row averages a whole window again."""
    tiny.log_every, tiny.epochs = 5, 1.2  # 7 steps
    train_and_evaluate(tiny, tmp_path)
    tiny.epochs = 2.0  # 12 steps
    train_and_evaluate(tiny, tmp_path)
    trained = [row for row in rows(tmp_path) if "train/loss" in row]
    averaged = {row["step"]: row["train/steps"] for row in trained}
    assert averaged == {5: 5, 7: 2, 10: 5, 12: 2}


@pytest.fixture
def made_up(monkeypatch) -> None:
    """Nothing is computed: the weights stay 0, and losses and errors are made up."""
    sums = evaluation.Sums(np.float32(256), np.int32(128), np.int32(64), np.int32(256))

    def fresh(run: Run, layers=None) -> TrainState:
        opt_state = jax.eval_shape(run.optimizer.init, run.shapes)
        shapes = TrainState(jax.ShapeDtypeStruct((), jnp.int32), run.shapes, opt_state)
        return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

    def train_steps(run: Run, state: TrainState, batches, hyperparameters):
        return state._replace(step=state.step + len(batches)), [sums] * len(batches)

    monkeypatch.setattr(Run, "fresh", fresh)
    monkeypatch.setattr(Run, "train_steps", train_steps)
    monkeypatch.setattr(Run, "loss", lambda *_: 1.0)
    monkeypatch.setattr(Run, "evaluate", lambda *_, **__: evaluation.Means(1.0, 0.5, 0.1, 359))


@pytest.mark.usefixtures("made_up")
def test_validations_end_epochs_and_checkpoints_come_between(tiny, tmp_path, monkeypatch):
    tiny.epochs, tiny.log_every, tiny.checkpoint_every = 2.0, 3, 4
    tiny.schedule.rate = 0.01
    tiny.schedule.milestones = ((3 * 256 / 1438, 0.001),)  # from step 4 on
    saved, save = [], Checkpoints.save

    def noted(self, step, state, progress, error, loss=None):
        saved.append((step, error, progress.due))
        save(self, step, state, progress, error, loss)

    monkeypatch.setattr(Checkpoints, "save", noted)
    history = train_and_evaluate(tiny, tmp_path)
    assert saved == [(4, None, False), (6, 0.5, False), (8, None, False), (12, 0.5, False)]
    assert [row["step"] for row in history] == [6, 12]
    trained = [row for row in rows(tmp_path) if "train/rate" in row]
    rates = {row["step"]: row["train/rate"] for row in trained}
    assert rates == {3: 0.01, 6: 0.001, 9: 0.001, 12: 0.001}


@pytest.mark.usefixtures("made_up")
@pytest.mark.parametrize("fresh", [False, True])
def test_a_run_whose_last_save_fails_is_not_done(tiny, tmp_path, monkeypatch, capsys, fresh):
    monkeypatch.setattr(Checkpoints, "_begin", lambda *_: "No space left on device")
    tiny.epochs = 1.0
    how = ", without --fresh," if fresh else ""
    ends = f"the same command{how} starts again from the beginning$"
    with pytest.raises(UserError, match=rf"^step 6 could not be saved \(No space .*{ends}"):
        train_and_evaluate(tiny, tmp_path, fresh=fresh)
    assert "done" not in capsys.readouterr().out


@pytest.mark.usefixtures("made_up")
@pytest.mark.parametrize("loss", [float("nan"), 1e6])
def test_weights_whose_validation_diverges_are_not_saved(tiny, tmp_path, monkeypatch, loss):
    monkeypatch.setattr(Run, "evaluate", lambda *_, **__: evaluation.Means(loss, 0.9, 0.5, 359))
    tiny.epochs = 1.0
    with pytest.raises(
        UserError, match=r"^the validation loss is .* at step 6 .*training diverged"
    ):
        train_and_evaluate(tiny, tmp_path)
    assert not list((tmp_path / "checkpoints").iterdir())


@pytest.mark.usefixtures("made_up")
def test_a_poisoned_checkpoint_is_blamed_before_a_step_is_taken(tiny, tmp_path, monkeypatch):
    tiny.epochs = 1.0
    train_and_evaluate(tiny, tmp_path)
    restore = Run.restore

    def poisoned(run, checkpoints):
        state, *rest = restore(run, checkpoints)
        return state._replace(opt_state=jax.tree.map(lambda x: x + np.inf, state.opt_state)), *rest

    monkeypatch.setattr(Run, "restore", poisoned)
    tiny.epochs = 2.0
    with pytest.raises(UserError, match=r"at step 6 .*checkpoints/6 away first"):
        train_and_evaluate(tiny, tmp_path)


@pytest.mark.usefixtures("made_up")
def test_steps_are_dispatched_and_fetched_as_the_config_says(tiny, tmp_path, monkeypatch):
    sizes, waiting, real = [], [], Run.train_steps

    class Noting(loop.Window):
        def __init__(self, opened=(), waits=False):
            waiting.append(waits)
            super().__init__(opened, waits)

    def noted(run, state, batches, now):
        sizes.append(len(batches))
        return real(run, state, batches, now)

    monkeypatch.setattr(loop, "Window", Noting)
    monkeypatch.setattr(Run, "train_steps", noted)
    tiny.epochs, tiny.steps_per_dispatch, tiny.fetch = 1.0, 2, "log"  # 6 steps
    tiny.log_every = 2
    train_and_evaluate(tiny, tmp_path)
    assert (sizes, waiting) == ([2, 2, 2], [True])


@pytest.mark.usefixtures("made_up")
def test_after_each_validation_the_pace_is_measured_anew(tiny, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(loop.Interruption, "begin_pace", lambda _: asked.append(1))
    tiny.epochs = 2.0
    train_and_evaluate(tiny, tmp_path)
    assert len(asked) == 2


def test_a_resumed_run_says_if_its_images_are_not_known(tiny, tmp_path):
    run = setup(tiny)
    nameless = dataclasses.replace(run.store, contents={})
    for start, known, said in (
        *((6, None, True), (6, nameless, True)),
        *((6, run.store, False), (0, None, False)),
    ):
        lines = loop.introduction(run, tmp_path, start, known)
        assert ("does not say which images it was trained on" in lines) is said


def test_processes_that_start_over_must_all_do_so(tiny, tmp_path, monkeypatch):
    """One alone would move the run away under the others."""

    def check_same(settings, but):
        raise UserError(f"--fresh is {settings['--fresh']}")

    monkeypatch.setattr(loop.processes, "check_same", check_same)
    for fresh in (True, False):
        with pytest.raises(UserError, match=f"--fresh is {fresh}"):
            train_and_evaluate(tiny, tmp_path, fresh=fresh)
    assert not list(tmp_path.iterdir())


def test_a_config_may_be_named_by_its_file(tmp_path):
    with pytest.raises(UserError, match=r"nowhere.py: no such file"):
        train_and_evaluate(f"{tmp_path}/nowhere.py", tmp_path / "run")
    with pytest.raises(UserError, match="workdir='': name a folder"):
        train_and_evaluate(f"{ROOT}/configs/digits.py", "")


@pytest.mark.usefixtures("made_up")
def test_what_a_run_writes_is_known_to_be_its_own(tiny, tmp_path):
    train_and_evaluate(tiny, tmp_path)
    evaluate.main([f"--workdir={tmp_path}", "--checkpoint=last"])
    shown = {path.name for path in tmp_path.iterdir() if path.name[0] != "."}
    assert shown <= {*OWN}
    train_and_evaluate(tiny, tmp_path, fresh=True)
    assert "evaluation.json" in {path.name for path in (tmp_path / "earlier-1").iterdir()}


@pytest.mark.usefixtures("made_up")
def test_a_run_that_ends_at_a_checkpoint_within_an_epoch_validates_it(tiny, tmp_path):
    tiny.epochs, tiny.checkpoint_every = 2.0, 4
    train_and_evaluate(tiny, tmp_path)
    shutil.rmtree(tmp_path / "checkpoints/12")
    tiny.epochs = 8 * 256 / 1438
    history = train_and_evaluate(tiny, tmp_path)
    assert [row["step"] for row in history] == [6, 8]
    assert train_and_evaluate(tiny, tmp_path) == history


@pytest.mark.usefixtures("made_up")
def test_a_validation_whose_row_is_lost_counts_once(tiny, tmp_path):
    """Else a plateau would see one more validation without a better error."""
    history = train_and_evaluate(tiny, tmp_path)
    log = tmp_path / "metrics.jsonl"
    *before, last = log.read_text().splitlines(keepends=True)
    assert "validation/loss" in last
    log.write_text("".join(before))
    assert train_and_evaluate(tiny, tmp_path) == history
    _, progress = checkpoint.load_params(tmp_path, "last")
    assert list(progress.validation_errors) == [row["top1_error"] for row in history]


@pytest.mark.usefixtures("made_up")
def test_a_mesh_that_processes_cannot_share_is_refused_before_a_fresh_start(
    tiny, tmp_path, monkeypatch
):
    train_and_evaluate(tiny, tmp_path)

    def refuse(_):
        raise UserError("process 0 has rows [0, 1] of the mesh", "config.mesh")

    monkeypatch.setattr(meshes, "process_rows", refuse)
    with pytest.raises(UserError, match="has rows"):
        train_and_evaluate(tiny, tmp_path, fresh=True)
    assert not (tmp_path / "earlier-1").exists()


def test_processes_with_other_images_are_told_apart_before_they_share_anything(tiny, monkeypatch):
    def check(settings, but=()):
        raise UserError("; ".join(settings))

    monkeypatch.setattr(processes, "check_same", check)
    monkeypatch.setattr(jax, "device_put", lambda *_: pytest.fail("shared"))
    with pytest.raises(UserError, match=r"^digits's train images; digits's validation images;"):
        setup(tiny)


@pytest.mark.usefixtures("made_up")
def test_a_validation_that_is_done_again_is_in_the_log_once(tiny, tmp_path, monkeypatch):
    tiny.epochs = 1.0
    with monkeypatch.context() as signalled:
        asked = []
        signalled.setattr(Run, "evaluate", lambda *_, **__: asked.append(1))
        signalled.setattr(loop.Interruption, "agreed", lambda _: signal.SIGTERM if asked else 0)
        with pytest.raises(Interrupted):
            train_and_evaluate(tiny, tmp_path)

    def cut(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(Checkpoints, "validated", cut)
        with pytest.raises(UserError, match="No space left"):
            train_and_evaluate(tiny, tmp_path)
    assert [row["step"] for row in train_and_evaluate(tiny, tmp_path)] == [6]


@pytest.mark.usefixtures("made_up")
def test_the_newest_checkpoint_counts_when_a_run_diverges(tiny, tmp_path, monkeypatch):
    tiny.epochs, tiny.checkpoint_every = 2.0, 4

    def loss(run, *_):
        raise DivergedError(8, "the loss is nan")

    steps = itertools.count(1)
    monkeypatch.setattr(Run, "loss", lambda *_: 1.0 if next(steps) < 2 else loss(None))
    with pytest.raises(UserError, match=r"starts again from step 6, the last one saved"):
        train_and_evaluate(tiny, tmp_path)
    assert json.loads((tmp_path / "diverged.json").read_text())["last_checkpoint"] == 6


def test_decimal_epochs_are_counted_exactly(tiny):
    run = setup(tiny)
    store = dataclasses.replace(run.store, counts={"train": 50_000})
    for epochs, steps in ((1.1, 440), (1.101, 441), (2, 800), (0.0025, 1)):
        run.config.epochs, run.config.batch_size = epochs, 125
        assert dataclasses.replace(run, store=store).steps == steps


@pytest.mark.usefixtures("made_up")
def test_a_resumed_run_notes_its_new_settings_and_takes_no_other_images(tiny, tmp_path):
    for tiny.epochs in (1.0, 2.0):
        train_and_evaluate(tiny, tmp_path)
        assert record.saved_config(tmp_path).epochs == tiny.epochs
    known = dataset.remembered(tmp_path)
    other = dataclasses.replace(known, contents=dict.fromkeys(known.contents, "other"), pixels={})
    dataset.remember(other, tmp_path, begun=False)
    tiny.epochs = 3.0
    with pytest.raises(UserError, match=r"was trained on other images than digits holds now"):
        train_and_evaluate(tiny, tmp_path)


@pytest.mark.usefixtures("made_up")
def test_a_schedule_that_changes_on_the_way_is_said_and_noted(tiny, tmp_path, capsys):
    tiny.epochs = 1.0
    train_and_evaluate(tiny, tmp_path)
    capsys.readouterr()
    configs.apply_overrides(tiny, {"epochs": 2.0, "schedule.rate": 0.005}, KINDS)
    train_and_evaluate(tiny, tmp_path)
    said = capsys.readouterr().out.splitlines()
    assert "config.schedule.rate=0.005 from here on, so far 0.01" in said
    assert "the rate of step 7 is 0.005" in said
    first, second = provenance.commands(tmp_path)
    assert (first["start"], first["changes"]) == (0, {})
    assert (second["start"], second["changes"]) == (6, {"config.schedule.rate": [0.01, 0.005]})
    assert from_workdir(tmp_path).about["changed"] == ["config.schedule.rate"]
    assert record.saved_config(tmp_path).schedule.rate == 0.005


@pytest.mark.usefixtures("made_up")
def test_a_milestone_that_has_passed_wins_over_a_new_rate_and_that_is_said(tiny, tmp_path, capsys):
    tiny.schedule.milestones = ((0.5, 0.001),)
    tiny.epochs = 1.0
    train_and_evaluate(tiny, tmp_path)
    configs.apply_overrides(tiny, {"epochs": 2.0, "schedule.rate": 0.005}, KINDS)
    train_and_evaluate(tiny, tmp_path)
    assert "the rate of step 7 is 0.001" in capsys.readouterr().out.splitlines()


@pytest.mark.usefixtures("made_up")
def test_more_epochs_change_the_rates_of_a_schedule_that_stretches(tiny, tmp_path, capsys):
    configs.apply_overrides(tiny, {"schedule.kind": "stepwise", "epochs": 1.0}, KINDS)
    for tiny.epochs in (1.0, 2.0):
        train_and_evaluate(tiny, tmp_path)
    assert "config.epochs=2.0 from here on, so far 1.0" in capsys.readouterr().out.splitlines()
    assert provenance.commands(tmp_path)[-1]["changes"] == {"config.epochs": [1.0, 2.0]}


@pytest.mark.usefixtures("made_up")
def test_the_beginning_of_a_run_at_rates_of_more_epochs_is_no_shorter_run(
    tiny, tmp_path, capsys, monkeypatch
):
    """Else a result would say that these rates fell within one epoch."""
    configs.apply_overrides(tiny, {"schedule.kind": "stepwise", "epochs": 2.0}, KINDS)
    with monkeypatch.context() as stopped:
        stopped.setattr(loop.Interruption, "agreed", lambda _: signal.SIGTERM)
        with pytest.raises(Interrupted):
            train_and_evaluate(tiny, tmp_path)
    [done] = [int(path.name) for path in (tmp_path / "checkpoints").iterdir()]
    capsys.readouterr()
    whole = tiny.epochs
    tiny.epochs = setup(tiny).epoch(done)
    before = (tmp_path / "config.json").read_bytes()
    train_and_evaluate(tiny, tmp_path)
    assert capsys.readouterr().out == (
        f"{tmp_path} has done {tiny.epochs:.4g} epochs, not at the rates of "
        f"config.epochs={tiny.epochs:g}, and stays as it is; raise config.epochs to train longer\n"
    )
    assert (tmp_path / "config.json").read_bytes() == before
    tiny.epochs = whole
    train_and_evaluate(tiny, tmp_path)
    assert from_workdir(tmp_path).finished


@pytest.mark.usefixtures("made_up")
def test_a_run_whose_extension_failed_is_finished_again(tiny, tmp_path, monkeypatch):
    """No step was taken at other rates, whatever config.json says."""
    configs.apply_overrides(tiny, {"schedule.kind": "stepwise", "epochs": 1.0}, KINDS)
    train_and_evaluate(tiny, tmp_path)
    tiny.checkpoint_every = 1
    for tiny.epochs in (2.0, 2.0):
        with monkeypatch.context() as broken:
            broken.setattr(Run, "loss", lambda *_: float("nan"))
            with pytest.raises(UserError, match="training diverged"):
                train_and_evaluate(tiny, tmp_path)
        assert provenance.commands(tmp_path)[-1]["changes"] == {"config.epochs": [1.0, 2.0]}
    assert not from_workdir(tmp_path).finished
    tiny.epochs = 1.0
    [row] = train_and_evaluate(tiny, tmp_path)
    assert from_workdir(tmp_path).finished
    assert from_workdir(tmp_path).last["loss"] == row["loss"]
    assert "changed" not in from_workdir(tmp_path).about


@pytest.mark.usefixtures("made_up")
def test_a_finished_run_keeps_the_rates_that_it_was_trained_with(tiny, tmp_path, monkeypatch):
    """Not those of an extension that came no further."""
    tiny.epochs, tiny.checkpoint_every = 1.0, 1
    train_and_evaluate(tiny, tmp_path)
    trained = record.saved_config(tmp_path).schedule
    with monkeypatch.context() as broken:
        broken.setattr(Run, "loss", lambda *_: float("nan"))
        configs.apply_overrides(tiny, {"epochs": 2.0, "schedule.rate": 1.0}, KINDS)
        with pytest.raises(UserError, match="training diverged"):
            train_and_evaluate(tiny, tmp_path)
    assert record.saved_config(tmp_path).schedule.rate == 1.0
    configs.apply_overrides(tiny, {"epochs": 1.0, "schedule.rate": trained.rate}, KINDS)
    train_and_evaluate(tiny, tmp_path)
    assert record.saved_config(tmp_path).schedule == trained
    assert from_workdir(tmp_path).config["schedule.rate"] == trained.rate


@pytest.mark.usefixtures("made_up")
def test_commands_of_which_no_step_is_left_did_not_train_a_run(tiny, tmp_path, monkeypatch):
    tiny.epochs = 1.0
    commits = iter("ABC")
    monkeypatch.setattr(provenance, "commit", lambda: next(commits))
    monkeypatch.setattr(loop, "commit", lambda: None)
    with monkeypatch.context() as broken:
        broken.setattr(Run, "train_steps", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train_and_evaluate(tiny, tmp_path)
    train_and_evaluate(tiny, tmp_path)
    assert from_workdir(tmp_path).about["commit"] == "B"
    tiny.epochs = 2.0
    train_and_evaluate(tiny, tmp_path)
    assert from_workdir(tmp_path).about["commit"] == "B then C"


@pytest.mark.usefixtures("made_up")
def test_damaged_provenance_stops_no_run(tiny, tmp_path):
    for tiny.epochs in (1.0, 2.0):
        train_and_evaluate(tiny, tmp_path)
        (tmp_path / "provenance.json").write_text("{{")
    tiny.epochs = 3.0
    assert len(train_and_evaluate(tiny, tmp_path)) == 3


@pytest.mark.usefixtures("made_up")
def test_a_run_that_got_over_its_divergence_forgets_it(tiny, tmp_path, monkeypatch):
    tiny.epochs, tiny.checkpoint_every = 1.0, 1
    with monkeypatch.context() as broken:
        broken.setattr(Run, "loss", lambda *_: float("nan"))
        with pytest.raises(UserError, match="training diverged"):
            train_and_evaluate(tiny, tmp_path)
    assert (tmp_path / "diverged.json").exists()
    train_and_evaluate(tiny, tmp_path)
    assert not (tmp_path / "diverged.json").exists()


@pytest.mark.usefixtures("made_up")
def test_another_datasets_workdir_is_said_to_be_one(tiny, tmp_path):
    tiny.epochs = 1.0
    train_and_evaluate(tiny, tmp_path)
    known = dataset.remembered(tmp_path)
    other = dataclasses.replace(known, name="cifar10", contents={"train": "x"}, pixels={})
    line = r"holds a run on digits, not on cifar10: choose another workdir, or start over"
    with pytest.raises(UserError, match=line):
        dataset.check_resume(tmp_path, known, other)
    moved = [dataclasses.replace(other, name=f"folder:/{place}/photos") for place in "ab"]
    with pytest.raises(UserError, match="was trained on other"):
        dataset.check_resume(
            tmp_path, moved[0], dataclasses.replace(moved[1], contents={"train": "y"})
        )


@pytest.mark.usefixtures("made_up")
@pytest.mark.parametrize("prompt", [True, False])
def test_a_second_interrupt_ends_no_notebook(tiny, tmp_path, monkeypatch, prompt):
    found = []

    class Noting(loop.Interruption):
        def __init__(self, second_ends=True, again=""):
            found.append(second_ends)
            super().__init__(second_ends, again)

    if prompt:  # as IPython sets it
        monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    else:
        monkeypatch.delattr(sys, "ps1", raising=False)
    monkeypatch.setattr(loop, "Interruption", Noting)
    tiny.epochs = 1.0
    train_and_evaluate(tiny, tmp_path)
    assert found == [not prompt]


@pytest.mark.usefixtures("made_up")
def test_another_runs_checkpoints_are_not_resumed_from(tiny, tmp_path):
    tiny.epochs = 1.0
    for name in ("one", "two"):
        train_and_evaluate(tiny, tmp_path / name)
    shutil.rmtree(tmp_path / "two/checkpoints")
    shutil.copytree(tmp_path / "one/checkpoints", tmp_path / "two/checkpoints")
    tiny.epochs = 2.0
    with pytest.raises(UserError, match="belongs to another run"):
        train_and_evaluate(tiny, tmp_path / "two")


@pytest.mark.usefixtures("made_up")
def test_a_resumed_run_subtracts_the_mean_that_it_began_with(tiny, tmp_path, monkeypatch):
    runs, real = [], loop.setup
    monkeypatch.setattr(loop, "setup", lambda *how: (runs.append(real(*how)), runs[-1])[1])
    train_and_evaluate(tiny.copy_and_resolve_references(), tmp_path)
    known = dataset.remembered(tmp_path)
    brighter = known.statistics._replace(mean_HWC=known.statistics.mean_HWC + 1)
    shutil.rmtree(tmp_path / dataset.FOLDER)
    dataset.remember(dataclasses.replace(known, statistics=brighter), tmp_path, begun=False)
    tiny.epochs += 1
    train_and_evaluate(tiny, tmp_path)
    subtracted = [run.statistics.mean_HWC for run in runs]
    np.testing.assert_array_equal(subtracted[0], known.statistics.mean_HWC)
    np.testing.assert_array_equal(subtracted[1], brighter.mean_HWC)


@pytest.mark.usefixtures("made_up")
def test_no_time_of_a_validation_or_a_save_is_that_of_a_step(tiny, tmp_path, monkeypatch):
    paused, found = [], []

    @contextlib.contextmanager
    def pause(_):
        paused.append(True)
        yield
        paused.pop()

    monkeypatch.setattr(loop.Log, "pause", pause)
    evaluate, save = Run.evaluate, Checkpoints.save

    def noted(real):
        return lambda *how, **more: (found.append(bool(paused)), real(*how, **more))[1]

    monkeypatch.setattr(Run, "evaluate", noted(evaluate))
    monkeypatch.setattr(Checkpoints, "save", noted(save))
    tiny.epochs = 1.0
    train_and_evaluate(tiny, tmp_path)
    assert found == [True] * 2


@pytest.mark.usefixtures("made_up")
def test_processes_must_have_the_same_code(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "commit", lambda: "abc+1234")

    def check_same(settings, but):
        code = settings["the code's commit"]
        raise UserError(f"{code}, {but}")

    monkeypatch.setattr(loop.processes, "check_same", check_same)
    with pytest.raises(UserError, match=r"abc\+1234, \('config.data.data_dir',\)"):
        train_and_evaluate(tiny, tmp_path)


@pytest.mark.usefixtures("made_up")
@pytest.mark.parametrize("fresh", [False, True])
def test_a_run_that_diverges_says_how_it_goes_on(tiny, tmp_path, monkeypatch, fresh):
    monkeypatch.setattr(Run, "loss", lambda *_: float("nan"))
    tiny.checkpoint_every = 1
    how = ", without --fresh," if fresh else ""
    message = f"training diverged; the same command{how} with a smaller config.schedule.rate"
    with pytest.raises(UserError, match=message):
        train_and_evaluate(tiny, tmp_path, fresh=fresh)


@pytest.mark.usefixtures("made_up")
@pytest.mark.parametrize("fresh", [False, True])
def test_a_run_that_is_stopped_says_how_it_goes_on(tiny, tmp_path, monkeypatch, capsys, fresh):
    monkeypatch.setattr(loop.Interruption, "agreed", lambda _: signal.SIGTERM)
    with pytest.raises(Interrupted):
        train_and_evaluate(tiny, tmp_path, fresh=fresh)
    how = ", without --fresh," if fresh else ""
    line = f"stopped at step 1; the same command{how} continues from there"
    said = capsys.readouterr().out.splitlines()
    assert line in said
    assert ("to resume this run, repeat the command without --fresh" in said) == fresh


@pytest.mark.usefixtures("made_up")
def test_a_run_that_begins_with_imported_weights_says_so_and_knows_its_images(
    tiny, tmp_path, capsys
):
    """The import was of no images; the run is of those at hand."""
    record.save_config(tiny, tmp_path)
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        run = setup(tiny)
        checkpoints.save(0, run.fresh(), Progress(), None)
    tiny.epochs = 1.0
    train_and_evaluate(tiny, tmp_path)
    assert dataset.remembered(tmp_path).contents == run.store.contents != {}
    assert "from the imported weights" in capsys.readouterr().out.splitlines()


@pytest.mark.usefixtures("made_up")
def test_a_plateau_lowers_the_rate_that_steps_get_and_that_is_logged(tiny, tmp_path, monkeypatch):
    how = {"schedule.kind": "plateau", "schedule.rate": 0.01, "schedule.patience": 1}
    configs.apply_overrides(tiny, how, KINDS)
    given, train_steps = {}, Run.train_steps

    def noted(run, state, batches, now):
        given[int(state.step) + 1] = float(now[0].rates["fc8"]["kernel"])
        return train_steps(run, state, batches, now)

    monkeypatch.setattr(Run, "train_steps", noted)
    train_and_evaluate(tiny, tmp_path)  # validations after steps 6, 12 and 17 all find .5
    assert given == pytest.approx({n: 0.01 if n <= 12 else 0.001 for n in range(1, 18)})
    logged = {row["step"]: row["train/rate"] for row in rows(tmp_path) if "train/rate" in row}
    assert logged == pytest.approx({n: given[n] for n in logged})


def test_a_run_introduces_itself(tiny, tmp_path, monkeypatch):
    run = setup(tiny)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(run.shapes))
    device = "1 x cpu (data 1 x tower 1), float32"
    expected = f"pocket alexnet: {parameters:,} parameters in 2 towers; {device}"
    assert loop.introduction(run, tmp_path, 0, None).splitlines()[:3] == [
        expected,
        "digits: 1,438 train, 359 validation images, 10 classes",
        f"starting, 17 steps in all; logs and checkpoints in {tmp_path}",
    ]
    monkeypatch.setattr(jax, "device_count", lambda: 3)
    idle = "; 2 devices stay idle (see config.mesh, config.batch_size)"
    assert loop.introduction(run, tmp_path, 0, None).splitlines()[0] == expected + idle


def test_what_is_doubtful_is_said_once_at_the_start(tiny, tmp_path, capsys):
    tiny.schedule.milestones = ((0.5, 0.002), (20.0, 0.001), (40.0, 0.0001))
    tiny.schedule.events = ((0.2, "conv1", 0.0), (1.0, "conv1", 0.01))
    tiny.epochs = 1.0  # the sixth step begins at 0.89
    train_and_evaluate(tiny, tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert lines[3:6] == [
        "the run ends (config.epochs=1) before config.schedule.milestones at epoch 20, 40",
        "the run ends (config.epochs=1) before config.schedule.events at epoch 1",
        "compiling; then numbers every 2 steps",
    ]
    assert len([line for line in lines if "the run ends" in line]) == 2


def test_few_classes_and_few_images_are_doubtful(tiny):
    tiny.schedule.milestones = ()
    run = setup(tiny)
    assert health.warnings(run) == []
    few = dataclasses.replace(
        run.store, classes=run.store.classes[:5], counts={"train": 200, "validation": 50}
    )
    run = dataclasses.replace(run, store=few)
    assert health.warnings(run) == [
        "config.batch_size=256 is more than the 200 training images: a step sees some twice",
        "with 5 classes the top-5 error is always 0: it is not shown",
    ]


@pytest.mark.slow
def test_float64_changes_nothing(finished, tiny, tmp_path):
    """JAX_ENABLE_X64 is meant for the user's own arrays; a run stays the same."""
    whole, history = finished
    with jax.enable_x64(True):
        assert train_and_evaluate(tiny, tmp_path) == history
    params, _ = checkpoint.load_params(tmp_path, "last")
    expected, _ = checkpoint.load_params(whole, "last")
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype("float32")}
    jax.tree.map(np.testing.assert_array_equal, params, expected)


@pytest.mark.slow
def test_in_a_thread_a_run_is_the_same(finished, tiny, tmp_path):
    _, history = finished
    with ThreadPoolExecutor() as pool:
        assert pool.submit(train_and_evaluate, tiny, tmp_path).result() == history


@pytest.mark.slow
def test_rates_freezing_and_noise_that_change_on_the_way_survive_resuming(tiny, tmp_path):
    """Stopped before, between and after the events: bit for bit the run that was not stopped."""
    tiny.schedule.milestones = ((0.9, 0.002),)
    tiny.schedule.events = (
        *((1.0, "conv2.kernel", 0.0005), (1.2, "colour_noise", 0.0), (1.6, "conv1", 0.0)),
    )
    after = {}
    for epochs in (1.1, 1.8, 2.4):
        tiny.epochs = epochs
        train_and_evaluate(tiny, tmp_path / "stopped")
        after[epochs], _ = checkpoint.load_params(tmp_path / "stopped", "last")
    train_and_evaluate(tiny, tmp_path / "whole")
    whole, _ = checkpoint.load_params(tmp_path / "whole", "last")
    jax.tree.map(np.testing.assert_array_equal, after[2.4], whole)
    assert np.all(after[1.8]["conv1"]["kernel"] == whole["conv1"]["kernel"])  # frozen
    assert np.any(after[1.8]["conv2"]["kernel"] != whole["conv2"]["kernel"])


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("batch_size", 0, "config.batch_size=0: must be at least 1"),
        ("epochs", -1.0, "config.epochs=-1.0: must be more than 0"),
        ("log_every", 0, "config.log_every=0: a number of steps"),
        ("schedule.rate", -0.1, "config.schedule.rate=-0.1: must be 0 or more"),
        ("schedule.milestones", ((3,),), "is not (epoch of 0 or more, rate"),
        ("schedule.events", ((1, "conv7", 0.0),), "the net has no 'conv7'"),
        ("optimizer.momentum", 1.5, "config.optimizer.momentum=1.5"),
        ("optimizer.layer_decay", (("fc9", 1.0),), "the net has no layer 'fc9'"),
        ("net.remove", "conv9", "has no layer 'conv9'; did you mean 'conv5'?"),
        ("net.remove", "fc8", "must end in a layer with 10 outputs"),
        ("net.activation", "rleu", "choose one of relu, tanh"),
        ("net.image_size", 64, "more than the stored 20"),
        ("net.image_size", 4, "cannot read"),
        ("augment.colour_noise", -1.0, "config.augment.colour_noise=-1.0"),
        ("accumulate", 3, "does not divide into 3 parts of equal size, 3 on each of 1 device"),
        ("dtype", "float16", "choose one of float32, bfloat16"),
        ("mesh.tower", 3, "do not divide"),
        ("mesh.data", 64, "needs 64 devices"),
        ("data.name", "cifar10", "run: python -m alexnet.prepare cifar10 --image_size=20"),
        ("data.name", "folder:/nowhere", "/nowhere"),
    ],
)
def test_mistakes_get_one_line_and_leave_nothing(tiny, tmp_path, key, value, message):
    with tiny.unlocked():
        *sections, name = key.split(".")
        section = tiny
        for part in sections:
            section = section[part]
        section[name] = value
    workdir = tmp_path / "run"
    with pytest.raises(UserError) as error:
        train_and_evaluate(tiny, workdir)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert not workdir.exists()


def test_a_run_with_another_config_is_not_touched(finished):
    workdir, _ = finished
    config = record.saved_config(workdir)
    config.net.activation = "tanh"
    before = (workdir / "config.json").read_text()
    with pytest.raises(
        UserError, match=r"holds a run with config.net.activation='relu', not 'tanh'"
    ):
        train_and_evaluate(config, workdir)
    assert (workdir / "config.json").read_text() == before


def test_a_folder_of_something_else_is_not_touched(tiny, tmp_path):
    (tmp_path / "metrics.jsonl").write_text("mine")
    with pytest.raises(UserError, match=r"holds metrics\.jsonl but no run"):
        train_and_evaluate(tiny, tmp_path)
    assert (tmp_path / "metrics.jsonl").read_text() == "mine"


def test_an_unwritable_workdir(tiny, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write there"):
        train_and_evaluate(tiny, tmp_path / "file" / "run")


def test_divergence_stops_the_run(tiny, tmp_path):
    tiny.schedule.rate = 1e6
    with pytest.raises(UserError, match=r"training diverged; .* smaller config.schedule.rate"):
        train_and_evaluate(tiny, tmp_path)


@pytest.mark.slow
def test_a_run_that_does_not_learn_says_so_once(tiny, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(health, "ALARM_STEPS", 10)
    tiny.schedule.rate = 0.0
    tiny.epochs = 5.0  # 29 steps
    train_and_evaluate(tiny, tmp_path)
    [line] = [line for line in capsys.readouterr().out.splitlines() if "guessing" in line]
    assert "for 10 steps; the loss of guessing is ln(10) = 2.303; dropout's noise may hide" in line
