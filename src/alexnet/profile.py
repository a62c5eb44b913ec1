"""Where the time of a training step goes, layer by layer.

    python -m alexnet.profile --config=configs/imagenette.py [--steps=3] [--trace=DIR]
        [--config.a.b=value]

A few steps on real batches run under jax.profiler. Each XLA operation counts for the layer that its
metadata names. XLA fuses neighbouring operations, so a bias or a ReLU may count with the layer
before or after it. Operations that run at the same time share that time equally, so that all times
add up to the step's. The floor is the time that a layer's multiply-adds would take at the rate of a
large matrix product of the same precision (on CPUs, of float32), which is measured first; several
GPUs have as many times that rate. Each step is waited for, as no training does: on GPUs, this adds
the time to launch it. On GPUs, the layers' times come from a second program without command
buffers, because kernels in a command buffer do not name their layer. The trace in --trace opens in
TensorBoard or Perfetto.
"""

import itertools
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from alexnet.analysis import cost, hlo
from alexnet.analysis.rates import matmul_rate
from alexnet.cli import count, parse, path, run
from alexnet.devices import runtime
from alexnet.errors import UserError
from alexnet.kernels.choose import on_cpu
from alexnet.models.table import Net
from alexnet.text import aligned, counted
from alexnet.training.run import Run
from alexnet.training.settings import PRECISIONS
from alexnet.training.setup import setup
from alexnet.training.step import SCOPES

WARM_UP = 2  # steps
OPTIONS = {
    "config": (None, "a file such as configs/digits.py, perhaps with :VARIANT after it"),
    "steps": ("3", "how many steps to measure, after two to warm up"),
    "trace": ("", "a folder to keep the profiler's trace in"),
}


def main(argv: Sequence[str]) -> None:
    """Runs, measures and prints."""
    config, options = parse(argv, OPTIONS)
    steps = count("steps", options["steps"])
    kept = path("trace", options["trace"]) if options["trace"] else None
    runtime.cache_compilations()
    run = setup(config)
    if steps + WARM_UP > run.steps:
        raise UserError(
            f"the run has {counted(run.steps, 'step')}, and the first {WARM_UP} warm up: raise "
            "config.epochs",
            f"steps={steps}",
        )
    state, hyperparameters = run.fresh({}), run.hyperparameters(1)
    inputs = [batch for _, batch in itertools.islice(run.batches(), steps + WARM_UP)]
    with run.precision():
        lowered = run.train_program.lower(
            state, inputs[0], hyperparameters, run.statistics, run.key
        )
        timed = traced = lowered.compile()
        if not on_cpu(run.mesh):  # kernels in a command buffer do not say what they are of
            traced = lowered.compile({"xla_gpu_enable_command_buffer": ""})

    def step(batch: dict[str, jax.Array], program: Any = timed) -> None:
        nonlocal state
        state, sums = program(state, batch, hyperparameters, run.statistics, run.key)
        jax.block_until_ready((state, sums))

    for batch in inputs[steps:]:  # warm up
        step(batch)
    rate = product_rate(run)
    start = time.perf_counter()
    for batch in inputs[:steps]:
        step(batch)
    seconds = (time.perf_counter() - start) / steps
    with tempfile.TemporaryDirectory() as folder:
        trace = kept or Path(folder)
        if traced is not timed:
            step(inputs[0], traced)
        with jax.profiler.trace(str(trace)):
            for batch in inputs[:steps]:
                step(batch, traced)
        rows = {row.name for row in run.net.rows} | set(SCOPES)
        text = traced.as_text()
        assert text is not None, "this backend does not show its programs"
        ran = hlo.spans(trace, hlo.users(text))
        spent = hlo.by_layer(hlo.shared(ran), hlo.owners(text, rows), steps)
    print(describe(run.net, config.batch_size, spent, seconds, rate))


def product_rate(run: Run) -> float:
    """FLOP/s of a large matrix product, at the run's precision and on all its devices.

    On CPUs in float32, which is faster there than bfloat16, and which convolutions use anyway.
    """
    config = run.config
    if on_cpu(run.mesh):  # virtual devices share the cores
        return matmul_rate()
    return matmul_rate(8192, config.dtype, PRECISIONS[config.precision]) * run.mesh.size


def describe(net: Net, batch: int, spent: hlo.Spent, seconds: float, rate: float) -> str:
    """The table: times, work, and each layer's speed as a share of the floor's."""
    costs = {row.name: row.training * net.towers for row in cost.costs(net, batch)}
    total = sum(sum(ms.values()) for ms in spent.values())
    digits = 0 if seconds >= 0.01 else 2  # of milliseconds
    lines: list[Sequence[str]] = [
        ("layer", "forward ms", "gradient ms", "share", "GFLOP", "GFLOP/s", "of the floor")
    ]
    for name in [*costs, *SCOPES, "other"]:
        if name not in spent:
            continue
        ms, flop = spent[name], costs.get(name, 0)
        both = sum(ms.values())
        figures = [f"{ms[way]:,.{digits + 1}f}" for way in ("forward", "gradient")]
        figures.append(f"{both / total:.1%}")
        if flop:
            speed = flop / both * 1e3
            figures += [f"{flop / 1e9:,.1f}", f"{speed / 1e9:,.0f}", f"{speed / rate:.0%}"]
        lines.append((name, *figures, *[""] * (6 - len(figures))))
    floor = sum(costs.values()) / rate
    title = (
        f"{net.name}, batch {batch}: {seconds * 1e3:,.{digits}f} ms a step, "
        f"{batch / seconds:,.0f} images/s; "
        f"the floor at {rate / 1e9:,.0f} GFLOP/s is {floor * 1e3:,.{digits}f} ms "
        f"({floor / seconds:.0%})"
    )
    footer = f"all operations: {total:,.{digits}f} ms a step"
    return "\n".join([title, *aligned(lines), footer])


if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
