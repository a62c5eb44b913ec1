"""Trains a net.

    python -m alexnet.train --config=configs/digits.py --workdir=runs/digits [--config.a.b=value]

The same command resumes a run exactly where it stopped; without --config, the run in the workdir
goes on with its own. On Ctrl-C, SIGTERM, SIGUSR1 or SIGHUP the
run finishes its step, saves a checkpoint and exits. A second signal ends it at once; the same
command then resumes from the last checkpoint before that. Exit codes:

    0      done
    2      an error that the last line on stderr names
    128+n  stopped by signal n: 130 Ctrl-C, 143 SIGTERM, 138 SIGUSR1, 129 SIGHUP (Linux)
"""

import sys
from collections.abc import Sequence

from ml_collections import ConfigDict

from alexnet.cli import parse, path, run, typed
from alexnet.devices import processes, runtime
from alexnet.training.loop import train_and_evaluate
from alexnet.workdir import record

OPTIONS = {
    "config": (
        "",
        "a file such as configs/digits.py, perhaps with :VARIANT; by default, the workdir's own",
    ),
    "workdir": (None, "the folder of the run, where it starts or resumes"),
    "fresh": (
        "false",
        "true, or just --fresh: start over; the run in the workdir moves to earlier-N inside it",
    ),
    "coordinator": ("", "HOST:PORT of process 0, or auto under SLURM, Open MPI, ..."),
    "processes": ("", "how many processes train this run together"),
    "process": ("", "the number of this process, from 0"),
    "cpu_devices": ("", "virtual devices to split the CPU into, to try several on one machine"),
}


def main(argv: Sequence[str]) -> None:
    """Reads the flags and trains."""
    config, options = parse(argv, OPTIONS, own_config(argv))
    workdir = path("workdir", options.pop("workdir"))
    fresh = typed("fresh", options.pop("fresh"), False)
    processes.join(**options)
    with processes.ends_clearly():
        runtime.cache_compilations()
        train_and_evaluate(config, workdir, fresh=fresh)


def own_config(argv: Sequence[str]) -> ConfigDict | None:
    """The config of the run in --workdir, if `argv` names no other; None without such a run."""
    given = dict(part.removeprefix("--").split("=", 1) for part in argv if "=" in part)
    if given.get("config") or not given.get("workdir"):
        return None
    workdir = path("workdir", given["workdir"])
    has_run = (workdir / "config.json").is_file()
    return record.saved_config(workdir, resume=True) if has_run else None


if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
