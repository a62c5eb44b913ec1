"""The cost of a sweep, compared with the bare steps of its runs.

    python experiments/benchmarks/sweep.py [--runs=30] [--epochs=8]
        [--experiment=experiments/lrn.py:digits]

The bare steps of each arm run on one batch that is already on the device, once before the sweep and
once after it: no input, no logs, no compiling. The sweep is the command itself, from start to end.
Its time includes everything: compiling with an empty cache, validations and checkpoints. On a
shared machine, wall-clock times vary a lot, so the script also prints the time of all cores.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time

import checkout  # noqa: F401  before the package
import numpy as np

from alexnet.cli import count, run, values
from alexnet.devices import runtime
from alexnet.sweeps import definition
from alexnet.sweeps.experiment import Experiment
from alexnet.sweeps.workers import PIN
from alexnet.training.programs import Programs

OPTIONS = {
    "experiment": ("experiments/lrn.py:digits", "a file and its scale"),
    "runs": ("30", "runs of all arms together"),
    "epochs": ("8", "epochs of each run"),
}


def now(who: int) -> np.ndarray:
    """Wall-clock seconds, and CPU seconds of all cores: of this process or of its children.

    `who` is as for `getrusage`.
    """
    used = resource.getrusage(who)
    return np.array([time.perf_counter(), used.ru_utime + used.ru_stime])


def bare_steps(found: Experiment, programs: Programs, times: int = 30) -> np.ndarray:
    """The time, as in `now`, that all steps of one run of each arm would take without a loop.

    Args:
        times: how many steps of each arm are timed.
    """
    import jax

    from alexnet.training.setup import setup

    spent = np.zeros(2)
    for arm in found.arms.values():
        made = setup(arm.config, programs=programs)
        state, hyperparameters = made.fresh(), made.hyperparameters(1)
        _, batch = next(made.batches())
        for measured in (2, times):  # the first two warm up
            start = now(resource.RUSAGE_SELF)
            for _ in range(measured):
                state, sums = made.train_step(state, batch, hyperparameters)
            jax.block_until_ready((state, sums))
        spent += (now(resource.RUSAGE_SELF) - start) * made.steps / times
    return spent


def sweep(name: str, seeds: int, epochs: str) -> np.ndarray:
    """The time, as in `now`, that the sweep command takes."""
    with tempfile.TemporaryDirectory() as folder:
        cold = os.environ | {"JAX_COMPILATION_CACHE_DIR": f"{folder}/cache"}
        command = [sys.executable, "-m", "alexnet.sweep", name, f"--workdir={folder}/sweep"]
        command += [f"--seeds={seeds}", f"--config.epochs={epochs}"]
        start = now(resource.RUSAGE_CHILDREN)
        subprocess.run(command, env=cold, check=True)
        return now(resource.RUSAGE_CHILDREN) - start


def main(argv: list[str]) -> None:
    options = values(argv, OPTIONS)
    name, epochs = options["experiment"], str(count("epochs", options["epochs"]))
    found = definition.load(name, {"epochs": epochs})
    seeds = -(-count("runs", options["runs"]) // len(found.arms))
    runtime.cache_compilations()
    programs = Programs()
    before = seeds * bare_steps(found, programs)
    took = sweep(name, seeds, epochs)
    after = seeds * bare_steps(found, programs)
    print(
        f"{seeds * len(found.arms)} runs of {found.source}, {epochs} epochs each, on "
        f"{os.environ[PIN]} cores"
    )
    for what, whole, first, last in zip(("clock", "cores"), took, before, after, strict=True):
        bare = (first + last) / 2
        print(
            f"{what}: {whole:,.0f} s, bare steps {bare:,.0f} s ({first:,.0f} before, {last:,.0f} "
            f"after), ratio {whole / bare:.2f}"
        )


if __name__ == "__main__":
    runtime.restart_with_mimalloc()  # as the commands do
    os.environ.setdefault(PIN, str(os.cpu_count()))
    run(lambda: main(sys.argv[1:]))
