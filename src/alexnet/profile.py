"""Where the time of a training step goes, layer by layer.

    python -m alexnet.profile --config=configs/imagenette.py [--steps=3] [--trace=DIR]
        [--config.a.b=value]

A few steps on real batches run under jax.profiler; every operation that XLA made is put down to the
layer that its metadata names. XLA fuses neighbours, so a bias or a ReLU may count with the layer
before it or the one after it. While several operations run, each gets its share of the time, so
that all of them add up to the step. The floor is the time of a layer's multiply-adds at the rate of
a large matrix product, measured first. The trace in --trace opens in TensorBoard or Perfetto.
"""

import bisect
import collections
import functools
import re
import sys
import tempfile
import time
from collections.abc import Container, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp

from alexnet.analysis import cost
from alexnet.cli import count, parse, run
from alexnet.devices import runtime
from alexnet.models.table import Net
from alexnet.text import aligned
from alexnet.training.setup import KINDS, assemble, learning, train_batches
from alexnet.training.step import SCOPES

OPTIONS = {"steps": "3", "trace": ""}
Span = tuple[float, float, str]  # from, to in ns, and the name of an operation
Spent = dict[str, dict[str, float]]  # {layer: {"forward": ms a step, "gradient": ms a step}}

_INSTRUCTION = re.compile(r"^ +(?:ROOT )?%(?P<name>[\w.\-]+) = ")
_COMPUTATION = re.compile(r"^(?:ENTRY )?%(?P<name>[\w.\-]+) \(")
_OP_NAME = re.compile(r'op_name="([^"]*)"')
_OPERAND = re.compile(r"%([\w.\-]+)")
_VELOCITY = re.compile(r"%state_velocity__(\w+?)____")
_CALLS = re.compile(r"calls=%([\w.\-]+)")
_END = "end: "  # before the name of an operation: an event when one that ran on other threads ends


def main(argv: Sequence[str]) -> None:
    """Runs, measures and prints."""
    config, options = parse(argv, OPTIONS, KINDS)
    steps = count("steps", options["steps"])
    runtime.cache_compilations()
    this = assemble(config)
    learn = learning(this)
    state, knobs = learn.fresh(), learn.eps(0.0, [], learn.shapes)
    batches = train_batches(this, 0)
    program = learn.step.lower(state, next(batches), knobs, this.statistics).compile()
    inputs = [next(batches) for _ in range(steps + 2)]

    def step(batch) -> None:
        nonlocal state
        state, sums = program(state, batch, knobs, this.statistics)
        jax.block_until_ready((state, sums))

    for batch in inputs[steps:]:  # warm up
        step(batch)
    rate = matmul_rate()
    start = time.perf_counter()
    for batch in inputs[:steps]:
        step(batch)
    seconds = (time.perf_counter() - start) / steps
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(options["trace"] or folder)
        with jax.profiler.trace(str(trace)):
            for batch in inputs[:steps]:
                step(batch)
        rows = {row.name for row in this.net.rows} | set(SCOPES)
        hlo = program.as_text()
        spent = by_layer(shared(spans(trace, users(hlo))), owners(hlo, rows), steps)
    print(describe(this.net, config.batch_size, spent, seconds, rate))


def matmul_rate(side: int = 2048) -> float:
    """FLOP a second of a float32 matrix product, the best of ten: what the machine can do."""
    product, a = jax.jit(jnp.matmul), jnp.ones((side, side))
    seconds = []
    for _ in range(10):
        start = time.perf_counter()
        jax.block_until_ready(product(a, a))
        seconds.append(time.perf_counter() - start)
    return 2 * side**3 / min(seconds)


def users(hlo: str) -> dict[str, set[str]]:
    """{operation of a compiled program: those that read its result}."""
    found = collections.defaultdict(set)
    for line in hlo.splitlines():
        if match := _INSTRUCTION.match(line):
            for operand in _OPERAND.findall(line[match.end() :]):
                found[operand].add(match["name"])
    return found


def owners(hlo: str, names: Container[str]) -> dict[str, tuple[str, str]]:
    """{operation of a compiled program: (one of `names` or "other", "forward" or "gradient")}."""
    lines, inside, read_by = {}, {}, users(hlo)
    computation = ""
    for line in hlo.splitlines():
        if match := _COMPUTATION.match(line):
            computation = match["name"]
        elif match := _INSTRUCTION.match(line):
            lines[match["name"]] = line
            if scope := _OP_NAME.search(line):
                inside[computation] = scope[1]

    @functools.cache
    def owner(name: str) -> tuple[str, str]:
        line = lines[name]
        scope, called = _OP_NAME.search(line), _CALLS.search(line)
        # A fusion may not say, but what is in it does.
        scope = scope[1] if scope else inside.get(called[1] if called else "", "")
        parts = re.split(r"[/()]", scope)
        if found := [part for part in parts if part in names]:
            return found[0], "gradient" if "transpose" in parts else "forward"
        # XLA makes weight gradients anew, without a name: they end in their layer's velocity.
        for user in sorted(read_by[name]):
            if parameter := _VELOCITY.search(lines[user]):
                return parameter[1], "gradient"
            if (found := owner(user))[0] != "other":
                return found
        return "other", "forward"

    return {name: owner(name) for name in lines}


def spans(trace: Path, read_by: dict[str, set[str]]) -> list[Span]:
    """When each operation ran, of the newest profile in a folder, over all threads and devices.

    On CPUs an operation may hand its work to other threads and return. It is over when one that
    reads its result begins, or its end is told, which is after what its last thread went on with.
    """
    file = max(trace.rglob("*.xplane.pb"), key=lambda path: path.stat().st_mtime)
    events, begun, ended = [], collections.defaultdict(list), collections.defaultdict(list)
    for plane in jax.profiler.ProfileData.from_file(str(file)).planes:
        for thread in plane.lines:
            for event in thread.events:
                if event.name.startswith(_END):
                    ended[event.name.removeprefix(_END)].append(event.start_ns)
                elif (name := dict(event.stats).get("hlo_op")) is not None:
                    begun[name].append(event.start_ns)
                    events.append((event.start_ns, event.start_ns + event.duration_ns, name))
    for times in (*begun.values(), *ended.values()):
        times.sort()

    def first_after(times: list[float], start: float) -> list[float]:
        return times[(place := bisect.bisect(times, start)) : place + 1]

    found = []
    for start, returned, name in events:
        if stop := first_after(ended[name], start):
            for user in read_by.get(name, ()):
                stop += first_after(begun[user], start)
        found.append((start, max(returned, min(stop, default=returned)), name))
    return found


def shared(spans: Sequence[Span]) -> dict[str, float]:
    """{operation: ms}: each moment is divided equally among the operations that run in it."""
    changes = sorted(
        change
        for number, (start, stop, _) in enumerate(spans)
        for change in ((start, number), (stop, number))
    )
    spent, running, before = collections.Counter(), set(), 0.0
    for now, number in changes:
        for other in running:
            spent[spans[other][2]] += (now - before) / len(running) / 1e6
        running ^= {number}
        before = now
    return spent


def by_layer(spent: dict[str, float], owner: dict[str, tuple[str, str]], steps: int) -> Spent:
    """The times of all operations, per step, gathered by layer and direction."""
    found = collections.defaultdict(lambda: {"forward": 0.0, "gradient": 0.0})
    for name, ms in spent.items():
        layer, direction = owner.get(name, ("other", "forward"))
        found[layer][direction] += ms / steps
    return found


def describe(net: Net, batch: int, spent: Spent, seconds: float, rate: float) -> str:
    """The table: times, work, and how near the layer comes to the floor."""
    costs = {row.name: row.training * net.towers for row in cost.costs(net, batch)}
    total = sum(sum(ms.values()) for ms in spent.values())
    lines = [("layer", "forward ms", "gradient ms", "share", "GFLOP", "GFLOP/s", "of the floor's")]
    for name in [*costs, *SCOPES, "other"]:
        if name not in spent:
            continue
        ms, flop = spent[name], costs.get(name, 0)
        both = sum(ms.values())
        figures = [f"{ms['forward']:,.1f}", f"{ms['gradient']:,.1f}", f"{both / total:.1%}"]
        if flop:
            speed = flop / both * 1e3
            figures += [f"{flop / 1e9:,.1f}", f"{speed / 1e9:,.0f}", f"{speed / rate:.0%}"]
        lines.append((name, *figures, *[""] * (6 - len(figures))))
    floor = sum(costs.values()) / rate
    title = (
        f"{net.name}, batch {batch}: {seconds * 1e3:,.0f} ms a step, {batch / seconds:,.0f} "
        f"images/s; the floor at {rate / 1e9:,.0f} GFLOP/s is {floor * 1e3:,.0f} ms "
        f"({floor / seconds:.0%})"
    )
    footer = f"all operations: {total:,.0f} ms a step"
    return "\n".join([title, *aligned(lines), footer])


if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
