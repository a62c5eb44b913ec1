"""What a sweep costs beside the bare steps of its runs.

    python experiments/benchmarks/sweep.py [--runs=30] [--epochs=8]
        [--experiment=experiments/lrn.py:digits]

The bare steps run on one batch that is on the device already, for each arm, once before the sweep
and once after it: no input, no logs, no compiling. The sweep is the command itself, from its start
to its end: everything is in its time, compiling (with an empty cache), validations and checkpoints
as well.
"""

import os
import subprocess
import sys
import tempfile
import time

from alexnet.cli import count, run, values
from alexnet.devices import runtime
from alexnet.sweeps import experiment
from alexnet.sweeps.workers import PIN
from alexnet.training.programs import Programs

OPTIONS = {
    "experiment": ("experiments/lrn.py:digits", "a file and its scale"),
    "runs": ("30", "of all arms together"),
    "epochs": ("8", "of each run"),
}


def bare_steps(found: experiment.Experiment, programs: Programs, times: int = 20) -> float:
    """Seconds that all steps of one run of every arm take, with nothing around them."""
    import jax

    from alexnet.training.setup import setup

    seconds = 0.0
    for arm in found.arms.values():
        made = setup(arm.config, programs=programs)
        state, hyperparameters = made.fresh(), made.hyperparameters(1)
        _, batch = next(made.batches())
        for measured in (2, times):  # the first two warm up
            start = time.perf_counter()
            for _ in range(measured):
                state, sums = made.train_step(state, batch, hyperparameters)
            jax.block_until_ready((state, sums))
            took = time.perf_counter() - start
        seconds += took / times * made.steps
    return seconds


def sweep(name: str, seeds: int, epochs: str) -> float:
    """Seconds that the command takes."""
    with tempfile.TemporaryDirectory() as folder:
        cold = os.environ | {"JAX_COMPILATION_CACHE_DIR": f"{folder}/cache"}
        command = [sys.executable, "-m", "alexnet.sweep", name, f"--workdir={folder}/sweep"]
        command += [f"--seeds={seeds}", f"--config.epochs={epochs}"]
        start = time.perf_counter()
        subprocess.run(command, env=cold, check=True)
        return time.perf_counter() - start


def main(argv: list[str]) -> None:
    options = values(argv, OPTIONS)
    name, epochs = options["experiment"], str(count("epochs", options["epochs"]))
    found = experiment.load(name, {"epochs": epochs})
    seeds = -(-count("runs", options["runs"]) // len(found.arms))
    runtime.cache_compilations()
    programs = Programs()
    before = seeds * bare_steps(found, programs)
    took = sweep(name, seeds, epochs)
    after = seeds * bare_steps(found, programs)
    bare = (before + after) / 2
    print(
        f"{seeds * len(found.arms)} runs of {found.source}, {epochs} epochs, on {os.environ[PIN]} "
        f"cores: {took:,.0f} s, bare steps {bare:,.0f} s (before {before:,.0f}, after "
        f"{after:,.0f}), ratio {took / bare:.2f}"
    )


if __name__ == "__main__":
    runtime.restart_with_mimalloc()  # as the commands do
    os.environ.setdefault(PIN, str(os.cpu_count()))
    run(lambda: main(sys.argv[1:]))
