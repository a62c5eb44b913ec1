"""The story of a training run from top to bottom."""

import math
from collections.abc import Sequence
from pathlib import Path

import jax
from ml_collections import ConfigDict

from alexnet.devices import mesh as meshes
from alexnet.devices import processes
from alexnet.devices.processes import Interruption
from alexnet.errors import UserError, require
from alexnet.models.table import layers
from alexnet.training import fine_tune
from alexnet.training.evaluation import make_evaluation
from alexnet.training.health import Alarm, averages, fetched
from alexnet.training.setup import Run, assemble, learning, put_layers, train_batches
from alexnet.workdir import checkpoint
from alexnet.workdir.checkpoint import Checkpoints
from alexnet.workdir.claim import claim
from alexnet.workdir.log import Log
from alexnet.workdir.record import Progress


def train_and_evaluate(config: ConfigDict, workdir: Path) -> list[float]:
    """Trains to `config.epochs`, from the start or from the last checkpoint in `workdir`.

    Returns:
        the top-1 error of each validation.

    Raises:
        UserError: for a config that cannot be, or a loss that is no longer a number.
        SystemExit: when interrupted, after a checkpoint.
    """
    checkpoint.check_path(workdir)
    run = assemble(config)
    images = run.store.counts["train"]
    total_steps = check(config, images)
    learn = learning(run)
    schedule, shapes = learn.schedule, learn.shapes
    evaluate = make_evaluation(run)
    if config.init_from:  # a resume may come from another directory
        config.init_from = str(Path(config.init_from).expanduser().resolve())
    given, story = ({}, "") if checkpoint.begun(workdir) else fine_tune.read_layers(run)

    with (
        claim(workdir, config),
        Checkpoints(workdir / "checkpoints") as checkpoints,
        Interruption() as interruption,
    ):
        restored = checkpoints.restore(meshes.shapes(jax.eval_shape(learn.fresh), run.shardings))
        state, start, progress = restored or (learn.fresh(), 0, Progress())
        state = state._replace(params=state.params | put_layers(run, given))
        del given
        if processes.agreed(start) != start:
            raise UserError(
                f"process {jax.process_index()} finds step {start} the last good one in {workdir}, "
                "another a later one: is it one file system for all?"
            )
        errors = list(progress.validation_errors)
        resumed = start if restored else None
        first = jax.process_index() == 0
        with Log(
            workdir, total_steps, config.batch_size, resume_step=resumed, enabled=first
        ) as log:
            log.message(introduction(run, workdir, start, total_steps) + story)
            batches = train_batches(run, start)
            window, running, hyperparameters = [], None, None
            alarm = Alarm(len(run.store.classes))
            for step in range(start + 1, total_steps + 1):
                before, epoch = ((n * config.batch_size) / images for n in (step - 1, step))
                if (now := schedule(before, errors, shapes)) != hyperparameters:
                    hyperparameters = now  # to the devices when they change
                    on_devices = jax.device_put(now, meshes.replicated(run.mesh))
                state, sums = learn.train_step(state, next(batches), on_devices, run.statistics)
                # The numbers of the step before are fetched while this one runs.
                window, running = [*window, *fetched(running)], (step, sums)

                validate = math.floor(epoch) > math.floor(before) or step == total_steps
                log_now = step % config.log_every == 0
                stop = interruption.agreed(ask_others=log_now)
                save = validate or step % config.checkpoint_every == 0 or stop
                if save or log_now:
                    window, running = [*window, *fetched(running)], None
                    log.train(
                        step, epoch, *averages(window), rate=schedule.base_rate(before, errors)
                    )
                    if line := alarm.after(step, (means.loss for means in window)):
                        log.message(line)
                    window = []
                if save:
                    with log.pause():
                        if validate:
                            means = evaluate(state.params)
                            errors = [*errors, means.top1_error]
                            log.validation(step, epoch, *means)
                        progress = Progress(epoch, tuple(errors), run.store.classes)
                        checkpoints.save(step, state, progress, errors[-1] if validate else None)
                if stop:
                    checkpoints.wait()
                    log.message(f"stopped at step {step}; the same command goes on from there")
                    raise SystemExit(128 + stop)
            checkpoints.wait()
            log.message(conclusion(workdir, errors, config.augment.flip))
    return errors


def check(config: ConfigDict, images: int) -> int:
    """The number of steps, once the settings of the loop are seen to be possible."""
    require("seed", config.seed, 0 <= config.seed < 2**32, "from 0 to 2^32 - 1")
    require("epochs", config.epochs, config.epochs > 0, "must be more than 0")
    for name in ("log_every", "checkpoint_every"):
        require(name, config[name], config[name] >= 1, "a number of steps, at least 1")
    return math.ceil(config.epochs * images / config.batch_size)


def introduction(run: Run, workdir: Path, start: int, total_steps: int) -> str:
    """What is about to happen."""
    data, tower = run.mesh.devices.shape
    device = run.mesh.devices.flat[0].device_kind
    parameters = sum(layer.parameters for layer in layers(run.net))
    counts = ", ".join(f"{count:,} {split}" for split, count in run.store.counts.items())
    begin = f"resuming at step {start:,}" if start else "starting"
    return (
        f"{run.net.name}: {parameters:,} parameters in {run.net.towers} tower(s); "
        f"{data * tower} x {device} (data {data} x tower {tower})\n"
        f"{run.store.name}: {counts} images, {len(run.store.classes)} classes\n"
        f"{begin}, {total_steps:,} steps in all; logs and checkpoints in {workdir}"
    )


def conclusion(workdir: Path, errors: Sequence[float], flipped: bool) -> str:
    """What was reached and what to do next; ten-crop if the net has seen reflections."""
    if not errors:
        return "nothing left to do, and nothing was validated; raise --config.epochs to go on"
    best = min(range(len(errors)), key=errors.__getitem__)
    return (
        f"done: best validation top-1 error {errors[best]:.2%} (validation {best + 1} of "
        f"{len(errors)}), last {errors[-1]:.2%}\n"
        f"next: python -m alexnet.evaluate --workdir={workdir}{' --ten_crop' if flipped else ''}\n"
        f"      tensorboard --logdir={workdir}    (pip install tensorboard)"
    )
