"""A training run from start to finish."""

import dataclasses
import math
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from alexnet import config as configs
from alexnet.data.recipe import Recipe, check_outside
from alexnet.data.store import Store
from alexnet.devices import mesh as meshes
from alexnet.devices import processes
from alexnet.devices.interruption import Interruption
from alexnet.errors import Interrupted, UserError, local_path, require
from alexnet.logs import tracker
from alexnet.logs.log import Log
from alexnet.logs.metrics import read_history
from alexnet.logs.tracker import Tracker
from alexnet.models import filters
from alexnet.models.network import Params
from alexnet.text import counted
from alexnet.training import dispatch, evaluation
from alexnet.training.programs import Programs
from alexnet.training.run import Layers, Run
from alexnet.training.settings import check_settings, config_of
from alexnet.training.setup import setup
from alexnet.training.start import changes, dataset, fine_tune
from alexnet.training.step import TrainState
from alexnet.training.watch import divergence, stall
from alexnet.training.watch.divergence import check_loss, check_state, explained
from alexnet.training.watch.health import Alarm, tells_top5, warnings
from alexnet.training.watch.window import Window, averages
from alexnet.workdir import checkpoint, record
from alexnet.workdir.checkpoint import Checkpoints
from alexnet.workdir.claim import check_free, claim, start_over
from alexnet.workdir.provenance import commit, provenance
from alexnet.workdir.record import Progress, Validation

FILTER_SIDE = 33  # pixels: filters are enlarged up to this side in TensorBoard


def train_and_evaluate(
    config: ConfigDict | str | os.PathLike,
    workdir: str | Path,
    programs: Programs | None = None,
    fresh: bool = False,
) -> list[dict[str, Any]]:
    """Trains to `config.epochs`, from the start or from the last checkpoint in `workdir`.

    Args:
        config: a config, or the name of its file, as for `load_config`.
        programs: compiled functions that several runs in one process share.
        fresh: whether to start over; the run in the workdir then moves to a folder inside it.

    Returns:
        a row for each validation: step, epoch, loss, top1_error, top5_error, count.

    Raises:
        UserError: for an impossible config, another run's workdir, images that have changed since
            the run began, a run that diverges, or checkpoints that cannot be read or written.
        Interrupted: once a checkpoint is saved, if a signal (`interruption.SIGNALS`) came.
    """
    require("workdir", workdir, os.fspath(workdir) != "", "name a folder")
    workdir = local_path("workdir", os.fspath(workdir))
    config = config_of(config)
    checkpoint.check_path(workdir)
    asked = configs.flat({"config": config.to_dict()}) | {"--fresh": fresh}
    asked["the code's commit"] = commit()
    processes.check_same(asked, but=("config.data.data_dir",))
    check_settings(config)
    configs.call(Recipe, "data", config.data)  # a mistake names the setting
    check_outside(config.data.name, workdir, "workdir")
    begun = not fresh and processes.gathered(record.begun(workdir))[0]
    known = dataset.remembered(workdir) if begun else None
    config, first, story = configs.absolute(config), jax.process_index() == 0, ""
    if begun:
        story = changes.keep_origin(config, workdir)
    else:
        fine_tune.check(config)
    tracker.check(config.wandb_project)
    # What needs no images is checked first: preparing a dataset may take hours.
    processes.together(lambda: check_free(workdir, config) if first and not fresh else None)
    run = setup(config, programs, known)
    run.check_memory()
    config = run.config
    dataset.check_resume(workdir, known, run.store)
    given: Layers = {}
    if not begun:
        given, story = fine_tune.read_layers(run)
    origin = story
    again = f"the same command{', without --fresh,' * fresh}"
    if fresh:  # only now that nothing can stop the new run
        start_over(workdir)
        story += "\nto resume this run, repeat the command without --fresh"
    # The same images may have moved.
    may_change = ("data.name",) if dataset.same_images(known, run.store) else ()

    # In a notebook, a second interrupt must not end the process, and the person's work with it.
    interactive = hasattr(sys, "ps1")
    with (
        claim(workdir, config, may_change, again) as claimed,
        Checkpoints(workdir / "checkpoints", claimed.run) as checkpoints,
        Interruption(second_ends=not interactive, again=again) as interruption,
    ):
        restored = run.restore(checkpoints)
        state, start, progress = restored or (run.fresh(given), 0, Progress())
        dataset.check_classes(workdir, progress.classes, run.store.classes, progress.class_count)
        errors = list(progress.validation_errors)

        def saved() -> int | None:
            checkpoints.wait()  # the newest may still be under way
            return checkpoints.saved

        def rate(step: int) -> float:
            return run.schedule.base_rate(run.epoch(step - 1), errors)

        # A checkpoint in the middle of an epoch has no validation, and may now be the run's last.
        due = progress.due
        if start == run.steps:
            is_in_log = any(row["step"] == start for row in read_history(workdir))
            due |= not processes.gathered(is_in_log)[0]
        window = Window(progress.window, waits=config.fetch == "log")
        alarm = Alarm(len(run.store.classes))
        change = changes.changed(run, workdir, start) if 0 < start <= run.steps else {}
        if start > run.steps or (start == run.steps and "config.epochs" in change):
            say_it_stays(run, workdir, progress.epoch)
            return read_history(workdir)
        change = change if start < run.steps else {}
        if first:
            trained_on = known.statistics if known else run.store.statistics
            with_these = dataclasses.replace(run.store, statistics=trained_on)
            dataset.remember(with_these, workdir, begun and start > 0)
        about = {"start": start, "trains": start < run.steps, "changes": change}
        if given:  # the source's epochs are not in the config, and it may train further
            about["began_with"] = origin.strip().splitlines()
        with (
            provenance(workdir, run.device, enabled=first, **about),
            stall.watched(lambda: interruption.lived),
            explained(run, workdir, start, saved, rate, again),
            open_log(run, workdir, start if restored else None, due) as log,
        ):
            for key, (old, new) in change.items():
                story += f"\n{key}={new!r} from here on, so far {old!r}"
            if change:  # which milestones or a plateau may decide, not the setting that has changed
                story += f"\nthe rate of step {start + 1:,} is {rate(start + 1):g}"
            if restored and not start:
                story += "\nfrom the imported weights"
            log.message(introduction(run, workdir, start, known) + story)
            if start:
                check_state(start, state)
            if due:
                errors = catch_up(run, log, checkpoints, start, state, progress, interruption)
            if start < run.steps:
                log.status(f"compiling; then numbers every {counted(config.log_every, 'step')}")
            for group in groups(run, start):
                steps, batches = zip(*group, strict=True)
                now = [run.hyperparameters(step, errors) for step in steps]
                state, sums = run.train_steps(state, batches, now)
                step = steps[-1]
                window.add(step, *sums)  # with fetch=step, fetches earlier steps while these run

                epoch = run.epoch(step)
                epoch_ends = ends_epoch(run, step)
                log_now = step % config.log_every == 0
                claimed.check()
                stop = interruption.agreed()
                save = epoch_ends or step % config.checkpoint_every == 0 or stop
                if log_now or step == run.steps:
                    log.train(step, epoch, *averages(window.sums()), rate=rate(step))
                if log_now and (line := alarm.after(step, window.close())):
                    log.message(line)
                if save:
                    opened = window.sums()  # first, so that a diverged run is not saved
                    check_state(step, state)
                    with log.pause():
                        found = None
                        if epoch_ends and not stop:
                            found = validate(run, log, step, state, interruption)
                        if found:
                            errors = [*errors, found.top1_error]
                        else:
                            loss = run.loss(state.params, batches[-1])
                            check_loss(step, loss, "loss with the new weights")
                        due = epoch_ends and not found
                        progress = Progress(epoch, tuple(errors), run.store.classes, opened, due)
                        checkpoints.save(step, state, progress, *as_validation(found))
                    claimed.note_saved(checkpoints.saved)
                    stop = stop or (due and interruption.agreed())
                if stop:
                    check_saved(checkpoints, step, again)
                    claimed.note_saved(step)
                    log.message(f"stopped at step {step}; {again} continues from there")
                    raise Interrupted(stop)
            check_saved(checkpoints, run.steps, again)
            claimed.note_saved(run.steps)
            if first:  # why an earlier command stopped
                (workdir / divergence.FILE).unlink(missing_ok=True)
            log.message(conclusion(workdir, errors, checkpoints.best(), config.augment.flip))
    return read_history(workdir)


def groups(run: Run, start: int) -> Iterator[dispatch.Group]:
    """The steps after `start` with their batches, grouped by program."""

    def acts(step: int) -> bool:  # whether the loop acts after this step
        every = (run.config.log_every, run.config.checkpoint_every)
        return ends_epoch(run, step) or any(step % number == 0 for number in every)

    return dispatch.groups(run.batches(after=start), run.config.steps_per_dispatch, acts)


def ends_epoch(run: Run, step: int) -> bool:
    """Whether an epoch, or the run, ends in this step; if so, a validation follows."""
    return math.floor(run.epoch(step)) > math.floor(run.epoch(step - 1)) or step == run.steps


def validate(
    run: Run, log: Log, step: int, state: TrainState, interruption: Interruption
) -> evaluation.Means | None:
    """Validates after a step and logs the result; None if a signal came meanwhile."""
    found = run.evaluate(state.params, stop=interruption.agreed)
    interruption.begin_pace()  # a step takes longer than a batch of a validation
    if found is not None:
        check_loss(step, found.loss, "validation loss")
        log.validation(step, run.epoch(step), **found.row())
        log_filters(log, run, step, state.params)
    return found


def as_validation(found: evaluation.Means | None) -> Validation:
    """What a checkpoint keeps of a validation."""
    return Validation(found.top1_error, found.loss) if found else Validation(None)


def catch_up(
    run: Run,
    log: Log,
    checkpoints: Checkpoints,
    step: int,
    state: TrainState,
    progress: Progress,
    interruption: Interruption,
) -> list[float]:
    """Runs the validation that an interruption put off; returns all errors so far."""
    found = validate(run, log, step, state, interruption)
    if found is None:
        raise Interrupted(interruption.agreed())
    before = progress.validation_errors
    if checkpoints.is_validated(step):  # only its row of the log is lost
        before = before[:-1]
    errors = (*before, found.top1_error)
    progress = dataclasses.replace(progress, validation_errors=errors, due=False)
    checkpoints.validated(step, progress, as_validation(found))
    return list(errors)


def check_saved(checkpoints: Checkpoints, step: int, again: str) -> None:
    """Raises UserError if the last save failed."""
    checkpoints.wait()
    if checkpoints.failure:
        kept = f"step {checkpoints.saved}" if checkpoints.saved is not None else "the beginning"
        raise UserError(
            f"step {step} could not be saved ({checkpoints.failure}): once that is fixed, {again} "
            f"starts again from {kept}"
        )


def say_it_stays(run: Run, workdir: Path, epochs: float) -> None:
    """Says that the run is not trained further: it has more epochs, or had other rates."""
    asked = f"config.epochs={run.config.epochs:g}"
    more = f"more than {asked}" if epochs > run.config.epochs else f"not at the rates of {asked}"
    if jax.process_index() == 0:
        print(
            f"{workdir} has done {epochs:.4g} epochs, {more}, and stays as it is; raise "
            "config.epochs to train longer"
        )


def open_log(run: Run, workdir: Path, resume_step: int | None, due: bool) -> Log:
    """Opens the log and saves the config beside it; only the first process writes.

    If the run has finished, its schedule stays the one that it was trained with.
    """
    first, project = jax.process_index() == 0, run.config.wandb_project
    if first:
        config = run.config.copy_and_resolve_references()
        if resume_step == run.steps:
            config.schedule = changes.schedule_of(workdir, run.steps)
        record.save_config(config, workdir)
    followed = None
    if project and first:
        followed = Tracker(project, workdir, run.config.to_dict(), anew=resume_step is None)
    try:
        return Log(
            workdir,
            run.steps,
            run.config.batch_size,
            resume_step=resume_step,
            due=due,
            enabled=first,
            top5=tells_top5(run),
            tracker=followed,
        )
    except BaseException:
        if followed:  # else the library would give it to this process's next run
            followed.close(failed=True)
        raise


def log_filters(log: Log, run: Run, step: int, params: Params) -> None:
    """Logs a picture of the first layer's filters; every process must call it."""
    try:
        name = filters.first_convolution(run.net)
    except UserError:
        return
    kernel = filters.as_rgb(meshes.whole(params[name]["kernel"]), run.net)
    log.picture("filters", step, filters.grid(kernel, max(1, FILTER_SIDE // kernel.shape[1])))


def introduction(run: Run, workdir: Path, start: int, known: Store | None) -> str:
    """Lines on the run that is about to start, and warnings."""
    data, tower = run.mesh.devices.shape
    idle = jax.device_count() - data * tower
    stay = "stays" if idle == 1 else "stay"
    where = "see config.mesh, config.batch_size"
    left = f"; {counted(idle, 'device')} {stay} idle ({where})" if idle else ""
    parameters = sum(layer.parameters for layer in run.net.layers)
    counts = ", ".join(f"{count:,} {split}" for split, count in run.store.counts.items())
    begin = f"resuming at step {start:,}" if start else "starting"
    if start == run.steps:
        begin = "finished already (to train longer, raise config.epochs)"
    net = f"{run.net.name}: {parameters:,} parameters in {counted(run.net.towers, 'tower')}"
    lines = [
        f"{net}; {run.device} (data {data} x tower {tower}), {run.config.precision}{left}",
        f"{run.store.name}: {counts} images, {len(run.store.classes)} classes",
        f"{begin}, {counted(run.steps, 'step')} in all; logs and checkpoints in {workdir}",
    ]
    if start and not dataset.is_known(known):
        lines.append(dataset.unknown(workdir, known))
    return "\n".join([*lines, *(warnings(run) if start < run.steps else ())])


def conclusion(
    workdir: Path, errors: Sequence[float], best: tuple[int, Validation] | None, flipped: bool
) -> str:
    """The result and the next commands; with ten-crop if the net was trained on reflections."""
    if best is None or not errors:
        return "nothing left to do, and no checkpoint was validated"
    step, found = best
    quoted = shlex.quote(str(workdir))
    return (
        f"done: best validation top-1 error {found.error:.2%} (step {step:,}), "
        f"last {errors[-1]:.2%}\n"
        f"next: python -m alexnet.evaluate --workdir={quoted}{' --ten_crop' if flipped else ''}\n"
        f"      tensorboard --logdir={quoted}    (pip install tensorboard)"
    )
