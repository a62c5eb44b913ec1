"""The story of a training run from top to bottom."""

import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from alexnet.data.store import Store, check_outside
from alexnet.devices import processes
from alexnet.devices.processes import Interruption
from alexnet.errors import Interrupted, UserError
from alexnet.models.table import layers
from alexnet.training import dataset, fine_tune
from alexnet.training.health import Alarm, Window, averages
from alexnet.training.setup import Run, setup
from alexnet.workdir import checkpoint, record
from alexnet.workdir.checkpoint import Checkpoints
from alexnet.workdir.claim import claim
from alexnet.workdir.log import Log, read_history
from alexnet.workdir.provenance import provenance
from alexnet.workdir.record import Progress


def train_and_evaluate(config: ConfigDict, workdir: str | Path) -> list[dict[str, Any]]:
    """Trains to `config.epochs`, from the start or from the last checkpoint in `workdir`.

    Returns:
        a row for each validation: step, epoch, loss, top1_error, top5_error, count.

    Raises:
        UserError: for a config that cannot be, or a loss that is no longer a number.
        Interrupted: after a checkpoint, if Ctrl-C or SIGTERM asked for it.
    """
    workdir = Path(workdir).expanduser()
    checkpoint.check_path(workdir)
    known, first = dataset.remembered(workdir), jax.process_index() == 0
    run = setup(config, known)
    config = run.config
    check_outside(config.data.name, workdir, "workdir")
    dataset.check_resume(workdir, known, run.store)
    given, story = ({}, "") if checkpoint.begun(workdir) else fine_tune.read_layers(run)

    with (
        claim(workdir, config, same_run(workdir, known, run)),
        provenance(workdir, run.device, enabled=first),
        Checkpoints(workdir / "checkpoints") as checkpoints,
        Interruption() as interruption,
    ):
        restored = run.restore(checkpoints)
        state, start, progress = restored or (run.fresh(given), 0, Progress())
        check_agreed(start, workdir)
        dataset.check_classes(workdir, progress.classes, run.store.classes)
        if first:
            dataset.remember(run.store, workdir)
        errors, window = list(progress.validation_errors), Window()
        alarm = Alarm(len(run.store.classes))
        with Log(
            workdir,
            run.steps,
            config.batch_size,
            resume_step=start if restored else None,
            enabled=first,
        ) as log:
            log.message(introduction(run, workdir, start) + story)
            if start and known is None:
                log.message(dataset.UNKNOWN)
            for step, batch in run.batches(after=start):
                state, sums = run.train_step(state, batch, run.hyperparameters(step, errors))
                window.add(step, sums)  # fetches the step before, while this one runs

                epoch = run.epoch(step)
                validate = math.floor(epoch) > math.floor(run.epoch(step - 1)) or step == run.steps
                log_now = step % config.log_every == 0
                stop = interruption.agreed(ask_others=log_now)
                save = validate or step % config.checkpoint_every == 0 or stop
                if save or log_now:
                    means, rate = (
                        window.close(),
                        run.schedule.base_rate(run.epoch(step - 1), errors),
                    )
                    log.train(step, epoch, *averages(means), rate=rate)
                    if line := alarm.after(step, (one.loss for one in means)):
                        log.message(line)
                if save:
                    with log.pause():
                        if validate:
                            found = run.evaluate(state.params)
                            errors = [*errors, found.top1_error]
                            log.validation(step, epoch, *found)
                        progress = Progress(epoch, tuple(errors), run.store.classes)
                        checkpoints.save(step, state, progress, errors[-1] if validate else None)
                if stop:
                    checkpoints.wait()
                    log.message(f"stopped at step {step}; the same command goes on from there")
                    raise Interrupted(stop)
            checkpoints.wait()
            log.message(conclusion(workdir, errors, config.augment.flip))
    return read_history(workdir)


def same_run(workdir: Path, known: Store | None, run: Run) -> tuple[str, ...]:
    """Settings that may differ though the run is the same.

    The same images may lie elsewhere. Where the first weights came from matters no more once there
    are others; what the workdir says of it stays.
    """
    if checkpoint.begun(workdir) and (workdir / "config.json").exists():
        saved = record.saved_config(workdir, resume=True)
        for name in ("init_from", "init_layers"):
            run.config[name] = saved[name]
    return ("data.name",) if dataset.same_images(known, run.store) else ()


def check_agreed(start: int, workdir: Path) -> None:
    """Raises UserError if several processes would begin at different steps."""
    if processes.agreed(start) != start:
        raise UserError(
            f"process {jax.process_index()} finds step {start} the last good one in {workdir}, "
            "another a later one: is it one file system for all?"
        )


def introduction(run: Run, workdir: Path, start: int) -> str:
    """What is about to happen."""
    data, tower = run.mesh.devices.shape
    idle = jax.device_count() - data * tower
    left = f"; {idle} more left idle (config.mesh, config.batch_size)" if idle else ""
    parameters = sum(layer.parameters for layer in layers(run.net))
    counts = ", ".join(f"{count:,} {split}" for split, count in run.store.counts.items())
    begin = f"resuming at step {start:,}" if start else "starting"
    return (
        f"{run.net.name}: {parameters:,} parameters in {run.net.towers} tower(s); "
        f"{run.device} (data {data} x tower {tower}), {run.config.precision}{left}\n"
        f"{run.store.name}: {counts} images, {len(run.store.classes)} classes\n"
        f"{begin}, {run.steps:,} steps in all; logs and checkpoints in {workdir}"
    )


def conclusion(workdir: Path, errors: Sequence[float], flipped: bool) -> str:
    """What was reached and what to do next; ten-crop if the net has seen reflections."""
    if not errors:
        return "nothing left to do, and nothing was validated; raise config.epochs to go on"
    best = min(range(len(errors)), key=errors.__getitem__)
    quoted = shlex.quote(str(workdir))
    return (
        f"done: best validation top-1 error {errors[best]:.2%} (validation {best + 1} of "
        f"{len(errors)}), last {errors[-1]:.2%}\n"
        f"next: python -m alexnet.evaluate --workdir={quoted}{' --ten_crop' if flipped else ''}\n"
        f"      tensorboard --logdir={quoted}    (pip install tensorboard)"
    )
