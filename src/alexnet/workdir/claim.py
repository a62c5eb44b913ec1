"""A workdir belongs to one run, and to one process at a time that trains it."""

import contextlib
import fcntl
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax
from ml_collections import ConfigDict

from alexnet import config as configs
from alexnet.devices import processes
from alexnet.errors import UserError
from alexnet.workdir import record

# What may change when a run is resumed; anything else would make it another run.
MAY_CHANGE = (
    *("epochs", "schedule.", "mesh.", "accumulate", "kernels", "log_"),
    *("checkpoint_", "data.data_dir", "wandb_project", "fetch", "steps_per_dispatch"),
)


@contextlib.contextmanager
def claim(workdir: Path, config: ConfigDict, may_change: Sequence[str] = ()) -> Iterator[None]:
    """Makes the workdir this run's own, for as long as it trains.

    Args:
        may_change: keys that may differ from those of the run there, beside MAY_CHANGE.

    Raises:
        UserError: if it cannot be written, another run is using it or it holds another run.
    """
    with contextlib.ExitStack() as stack:
        if jax.process_index() == 0:
            try:
                workdir.mkdir(parents=True, exist_ok=True)
                lock = stack.enter_context((workdir / ".lock").open("w"))
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                check_same_run(workdir, config, may_change)
                if not (workdir / "config.json").exists():  # else once it is known to go on
                    record.save_config(config, workdir)
            except BlockingIOError:
                raise UserError(
                    f"another run is using {workdir}: let it end, or choose another workdir"
                ) from None
            except OSError as error:
                reason = error.strerror
                raise UserError(f"cannot write there: {reason}", f"workdir={workdir}") from None
        processes.agreed(0)  # the others wait for the first
        yield


def check_same_run(workdir: Path, config: ConfigDict, may_change: Sequence[str]) -> None:
    """Raises UserError if the workdir holds another run, or something else."""
    if not (workdir / "config.json").exists():
        for name in ("metrics.jsonl", "tensorboard", "checkpoints"):
            if (workdir / name).exists():
                raise UserError(
                    f"{workdir} holds {name} but no run (no config.json): choose another workdir"
                )
        return
    saved = configs.absolute(record.saved_config(workdir, resume=True))
    for key, old, new in configs.differences(saved, config):
        if not key.startswith((*MAY_CHANGE, *may_change)):
            raise UserError(
                f"{workdir} holds a run with config.{key}={old!r}, not {new!r}: choose another "
                "workdir, or delete it"
            )
