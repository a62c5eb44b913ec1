"""Trains a net: the story from top to bottom.

    python -m alexnet.train --config=configs/digits.py --workdir=runs/digits [--config.a.b=value]

The same command again goes on exactly where the run was.
"""

import contextlib
import fcntl
import math
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax
from ml_collections import ConfigDict

from alexnet import config as configs
from alexnet.cli import parse, run
from alexnet.devices import mesh as meshes
from alexnet.devices import processes, runtime
from alexnet.errors import UserError
from alexnet.models.table import layers
from alexnet.training import fine_tune, metrics
from alexnet.training.health import Alarm
from alexnet.training.setup import (
    KINDS,
    Run,
    assemble,
    learning,
    make_evaluation,
    put_layers,
    train_batches,
)
from alexnet.workdir import checkpoint
from alexnet.workdir.checkpoint import Checkpoints
from alexnet.workdir.log import Log

# What may change when a run is resumed; anything else would make it another run.
MAY_CHANGE = (
    *("epochs", "schedule.", "mesh.", "accumulate", "conv_chunk", "log_"),
    *("checkpoint_", "data.data_dir"),
)


def main(argv: Sequence[str]) -> None:
    """Reads the flags and trains."""
    config, options = parse(argv, {"workdir": None} | processes.OPTIONS, KINDS)
    workdir = Path(options.pop("workdir"))
    processes.join(**options)
    runtime.cache_compilations()
    with processes.ends_clearly():
        train(config, workdir)


def train(config: ConfigDict, workdir: Path) -> list[float]:
    """Trains to `config.epochs`, from the start or from the last checkpoint in `workdir`.

    Returns:
        the top-1 error of each validation.

    Raises:
        UserError: for a config that cannot be, or a loss that is no longer a number.
        SystemExit: when interrupted, after a checkpoint.
    """
    checkpoint.check_path(workdir)
    this = assemble(config)
    images = this.store.counts["train"]
    total_steps = check(config, images)
    learn = learning(this)
    eps, shapes = learn.eps, learn.shapes
    evaluate = make_evaluation(this)
    if config.init_from:  # a resume may come from another directory
        config.init_from = str(Path(config.init_from).expanduser().resolve())
    given, story = ({}, "") if checkpoint.begun(workdir) else fine_tune.read(this)

    with (
        claimed(workdir, config),
        Checkpoints(workdir / "checkpoints") as checkpoints,
        Interruption() as interruption,
    ):
        restored = checkpoints.restore(meshes.shapes(jax.eval_shape(learn.fresh), this.places))
        state, start, history = restored or (learn.fresh(), 0, {"validation_errors": []})
        state = state._replace(params=state.params | put_layers(this, given))
        del given
        if processes.agreed(start) != start:
            raise UserError(
                f"process {jax.process_index()} finds step {start} the last good one in {workdir}, "
                "another a later one: is it one file system for all?"
            )
        errors = history["validation_errors"]
        resumed = start if restored else None
        first = jax.process_index() == 0
        with Log(
            workdir, total_steps, config.batch_size, resume_step=resumed, enabled=first
        ) as log:
            log.message(introduction(this, workdir, start, total_steps) + story)
            batches = train_batches(this, start)
            window, running, told = [], None, None
            alarm = Alarm(len(this.store.classes))
            for step in range(start + 1, total_steps + 1):
                before, epoch = ((n * config.batch_size) / images for n in (step - 1, step))
                if (now := eps(before, errors, shapes)) != told:  # to the devices when they change
                    told, knobs = now, jax.device_put(now, meshes.replicated(this.mesh))
                state, sums = learn.step(state, next(batches), knobs, this.statistics)
                # The numbers of the step before are fetched while this one runs.
                window, running = [*window, *fetched(running)], (step, sums)

                validate = math.floor(epoch) > math.floor(before) or step == total_steps
                log_now = step % config.log_every == 0
                stop = interruption.agreed(ask_others=log_now)
                save = validate or step % config.checkpoint_every == 0 or stop
                if save or log_now:
                    window, running = [*window, *fetched(running)], None
                    log.train(step, epoch, *averages(window), rate=eps.base_rate(before, errors))
                    if line := alarm.after(step, (means.loss for means in window)):
                        log.message(line)
                    window = []
                if save:
                    with log.pause():
                        if validate:
                            means = evaluate(state.params)
                            errors = [*errors, means.top1_error]
                            log.validation(step, epoch, *means)
                        history = {
                            "epoch": epoch,
                            "validation_errors": errors,
                            "classes": this.store.classes,
                        }
                        checkpoints.save(step, state, history, errors[-1] if validate else None)
                if stop:
                    checkpoints.wait()
                    log.message(f"stopped at step {step}; the same command goes on from there")
                    raise SystemExit(128 + stop)
            checkpoints.wait()
            log.message(conclusion(workdir, errors, config.augment.flip))
    return errors


def check(config: ConfigDict, images: int) -> int:
    """The number of steps, once the settings of the loop are seen to be possible."""
    if not 0 <= config.seed < 2**32:
        raise UserError(f"config.seed={config.seed}: from 0 to 2^32 - 1")
    if not config.epochs > 0:
        raise UserError(f"config.epochs={config.epochs}: must be more than 0")
    for name in ("log_every", "checkpoint_every"):
        if config[name] < 1:
            raise UserError(f"config.{name}={config[name]}: a number of steps, at least 1")
    return math.ceil(config.epochs * images / config.batch_size)


@contextlib.contextmanager
def claimed(workdir: Path, config: ConfigDict) -> Iterator[None]:
    """Makes the workdir this run's own, for as long as it trains.

    Raises:
        UserError: if it cannot be written, another run is using it or it holds another run.
    """
    with contextlib.ExitStack() as stack:
        if jax.process_index() == 0:
            try:
                workdir.mkdir(parents=True, exist_ok=True)
                lock = stack.enter_context((workdir / ".lock").open("w"))
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                check_same_run(workdir, config)
                configs.save(config, workdir)
            except BlockingIOError:
                raise UserError(
                    f"another run is using {workdir}: let it end, or choose another --workdir"
                ) from None
            except OSError as error:
                reason = error.strerror
                raise UserError(f"--workdir={workdir}: cannot write there: {reason}") from None
        processes.agreed(0)  # the others wait for the first
        yield


def check_same_run(workdir: Path, config: ConfigDict) -> None:
    """Raises UserError if the workdir holds another run, or something else."""
    if not (workdir / "config.json").exists():
        for name in ("metrics.jsonl", "tensorboard", "checkpoints"):
            if (workdir / name).exists():
                raise UserError(
                    f"{workdir} holds {name} but no run (no config.json): choose another --workdir"
                )
        return
    for key, old, new in configs.differences(configs.saved(workdir), config):
        if not key.startswith(MAY_CHANGE):
            raise UserError(
                f"{workdir} holds a run with config.{key}={old!r}, not {new!r}: choose another "
                "--workdir, or delete it"
            )


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


def fetched(running: tuple[int, metrics.Sums] | None) -> list[metrics.Means]:
    """The numbers of a step that was dispatched, if there is one.

    Raises:
        UserError: if its loss is not a number.
    """
    if running is None:
        return []
    step, sums = running
    means = metrics.means(sums)
    if not math.isfinite(means.loss):
        raise UserError(
            f"the loss is {means.loss} at step {step}: training diverged; start again in another "
            "--workdir with a smaller --config.schedule.rate"
        )
    return [means]


def averages(window: Sequence[metrics.Means]) -> tuple[float, float, float]:
    """Loss, top-1 and top-5 error over the steps since the last row of the log."""
    loss, top1, top5, _ = (sum(column) / len(window) for column in zip(*window, strict=True))
    return loss, top1, top5


class Interruption:
    """Ctrl-C or SIGTERM asks the loop to save and stop; a second one stops at once."""

    signal = 0

    def __enter__(self) -> "Interruption":
        self.before = {s: signal.signal(s, self._ask) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *exception) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def agreed(self, ask_others: bool) -> int:
        """The signal that all processes stop for, or 0; together they only stop when asked."""
        if jax.process_count() == 1:
            return self.signal
        return processes.agreed(self.signal) if ask_others else 0

    def _ask(self, number: int, _) -> None:
        if self.signal:
            raise KeyboardInterrupt
        self.signal = number
        print("stopping after this step ...", file=sys.stderr, flush=True)


if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
