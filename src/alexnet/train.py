"""Trains a net.

    python -m alexnet.train --config=configs/digits.py --workdir=runs/digits [--config.a.b=value]

The same command again goes on exactly where the run was.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from alexnet.cli import parse, run
from alexnet.devices import processes, runtime
from alexnet.training.loop import train_and_evaluate
from alexnet.training.setup import KINDS


def main(argv: Sequence[str]) -> None:
    """Reads the flags and trains."""
    config, options = parse(argv, {"workdir": None} | processes.OPTIONS, KINDS)
    workdir = Path(options.pop("workdir"))
    processes.join(**options)
    runtime.cache_compilations()
    with processes.ends_clearly():
        train_and_evaluate(config, workdir)


if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
