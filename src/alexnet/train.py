"""Trains a net.

    python -m alexnet.train --config=configs/digits.py --workdir=runs/digits [--config.a.b=value]

The same command again goes on exactly where the run was.
"""

import sys
from collections.abc import Sequence

from alexnet.cli import parse, path, run
from alexnet.devices import processes, runtime
from alexnet.training.loop import train_and_evaluate
from alexnet.training.setup import KINDS

OPTIONS = {
    "config": (None, "a file such as configs/digits.py, and a variant of it after a colon"),
    "workdir": (None, "the folder of the run, where it starts or goes on"),
    "coordinator": ("", "HOST:PORT of process 0 of several, or auto under SLURM, Open MPI, ..."),
    "processes": ("", "how many processes train this run together"),
    "process": ("", "the number of this one, from 0"),
    "cpu_devices": ("", "virtual devices to split the CPU into, for trying several on one machine"),
}


def main(argv: Sequence[str]) -> None:
    """Reads the flags and trains."""
    config, options = parse(argv, OPTIONS, KINDS)
    workdir = path("workdir", options.pop("workdir"))
    processes.join(**options)
    runtime.cache_compilations()
    with processes.ends_clearly():
        train_and_evaluate(config, workdir)


if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
