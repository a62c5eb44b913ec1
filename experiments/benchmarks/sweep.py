"""What a sweep costs beside the bare steps of its runs.

    python experiments/benchmarks/sweep.py [--experiment=experiments/lrn.py:digits] [--runs=30]

The bare steps run on one batch that is on the device already, for each arm, once before the sweep
and once after it: no input, no logs, no compiling. The sweep is the command itself, from its start
to its end: everything is in its time, compiling, validations and checkpoints as well.
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
}


def bare_steps(found: experiment.Experiment, programs: Programs, times: int = 20) -> list[float]:
    """Seconds that all steps of one run of each arm take, with nothing around them."""
    import jax

    from alexnet.training.setup import setup

    seconds = []
    for arm in found.arms.values():
        made = setup(arm.config, programs=programs)
        state, hyperparameters = made.fresh(), made.hyperparameters(1)
        _, batch = next(made.batches())
        for measured in (2, times):
            start = time.perf_counter()
            for _ in range(measured):
                state, sums = made.train_step(state, batch, hyperparameters)
            jax.block_until_ready((state, sums))
            took = time.perf_counter() - start
        seconds.append(took / times * made.steps)
    return seconds


def main(argv: list[str]) -> None:
    options = values(argv, OPTIONS)
    found = experiment.load(options["experiment"])
    seeds = -(-count("runs", options["runs"]) // len(found.arms))
    runtime.cache_compilations()
    programs = Programs()
    before = bare_steps(found, programs)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        command = [sys.executable, "-m", "alexnet.sweep", options["experiment"]]
        subprocess.run([*command, f"--workdir={folder}/sweep", f"--seeds={seeds}"], check=True)
        took = time.perf_counter() - start
    after = bare_steps(found, programs)
    bare = seeds * (sum(before) + sum(after)) / 2
    print(
        f"{seeds * len(found.arms)} runs of {found.source} on {os.environ[PIN]} cores: "
        f"{took:,.0f} s, bare steps {bare:,.0f} s (before {seeds * sum(before):,.0f}, after "
        f"{seeds * sum(after):,.0f}): ratio {took / bare:.2f}"
    )


if __name__ == "__main__":
    runtime.restart_with_mimalloc()  # as the commands do
    os.environ.setdefault(PIN, str(os.cpu_count()))
    run(lambda: main(sys.argv[1:]))
