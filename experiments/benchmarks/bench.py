"""This project against PyTorch on the same work, in turns, on this machine.

    make bench                                     all of it, about an hour on two cores
    make bench ARGS='--only=cifar --rounds=3'      one part; parts: alexnet, cifar, start

Two processes hold the same net with the same weights (their losses are compared first) and take
turns: each round times a few iterations of one, then of the other. A ratio is that of the medians:
above 1 this project is faster. PyTorch runs eagerly, in channels_last and compiled, "stock" with
its own LocalResponseNorm and "by hand" with the norm written as a convolution with a band of ones;
each column takes the best. The floor is the time that the step's multiply-adds would take at the
rate of a large matrix product, measured in the same process. Work: see `work.py`.
"""

import contextlib
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import work

from alexnet import cost
from alexnet.errors import UserError, run
from alexnet.options import arguments

HERE = Path(__file__).parent
OPTIONS = {
    "torch": ".venv-torch/bin/python",
    "only": "alexnet,cifar,start",
    "rounds": "7",
    "out": "runs/bench",
}
ALEXNETS = ("alexnet", "alexnet without LRN")
CIFARS = ("80sec", "19pct", "18pct", "conv-local-13pct", "conv-local-11pct")
MODES = ("eager", "channels_last", "compile")
ROUND_SECONDS = 0.5  # at least so much work a turn, so that short steps are timed over many
HEADER = "| net | work | batch | images/s | of the floor | / stock | / by hand | MiB | PyTorch's |"


class Contestant:
    """A process that runs its iterations when asked to."""

    def __init__(self, command: list[str], task: dict, environment: dict[str, str]):
        self.log = tempfile.TemporaryFile("w+")
        task = json.dumps(task | {"started": time.time()})
        self.process = subprocess.Popen(
            [*command, task],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env=os.environ | environment,
        )
        self.said = self._answer()

    def run(self, times: int) -> list[float]:
        """Seconds of each of so many iterations."""
        print(times, file=self.process.stdin, flush=True)
        answer = self._answer()
        self.peak = answer["peak"]
        return answer["seconds"]

    def end(self) -> None:
        self.process.stdin.close()
        self.process.wait()

    def _answer(self) -> dict:
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.log.seek(0)
            lines = self.log.read().strip().splitlines() or ["it said nothing"]
            raise ChildProcessError(lines[-1])
        return json.loads(line)


class Bench:
    """All measurements of a run, and the file of weights that the contestants share."""

    def __init__(self, torch: str, rounds: int, folder: Path):
        self.torch, self.rounds, self.folder = torch, rounds, folder
        self.weights = str(folder / "weights.npz")

    def ours(self, task: dict, **environment: str) -> Contestant:
        command = [sys.executable, str(HERE / "jax_contestant.py")]
        return Contestant(command, {"dtype": "float32", "weights": self.weights} | task, environment)

    def theirs(self, task: dict, **environment: str) -> Contestant:
        command = [self.torch, str(HERE / "torch_contestant.py")]
        source = {"PYTHONPATH": str(HERE.parents[1] / "src")}
        task = {"dtype": "float32", "weights": self.weights} | task
        return Contestant(command, task, source | environment)

    def races(self, name: str, job: str, batch: int) -> dict:
        """One row of the table: this project against every kind of PyTorch, one at a time."""
        task = {"net": name, "work": job, "batch": batch}
        has_norm = name in ("alexnet", "conv-local-11pct")
        norms = ("stock", "band") if has_norm else ("stock",)
        us = self.ours(task)
        row = task | {"seconds": [], "them": {}, "compile": us.said["compile"]}
        for mode, norm in itertools.product(MODES, norms):
            try:
                them = self.theirs(task | {"mode": mode, "norm": norm})
            except ChildProcessError as error:
                print(f"  {mode}, {norm}: not run: {error}", flush=True)
                continue
            _check_same(us.said["loss"], them.said["loss"])
            ours, theirs = self._turns(us, them)
            them.end()
            found = {
                "ratio": statistics.median(theirs) / statistics.median(ours),
                "seconds": theirs,
                "peak": them.peak,
                "compile": them.said["compile"],
            }
            row["them"][f"{mode} {norm}"] = found
            row["seconds"] += ours
            print(f"  {mode}, {norm}: {found['ratio']:.2f}", flush=True)
        us.end()
        return row | {"peak": us.peak, "floor": us.said["floor"]}

    def _turns(self, us: Contestant, them: Contestant) -> tuple[list[float], list[float]]:
        both, times = (us, them), {}
        for contestant in both:  # warm up
            seconds = min(contestant.run(2))
            times[contestant] = max(1, round(ROUND_SECONDS / seconds))
        taken = {us: [], them: []}
        for _ in range(self.rounds):
            for contestant in both:
                seconds = contestant.run(times[contestant])
                taken[contestant].append(statistics.median(seconds))
        return taken[us], taken[them]

    def starts(self, name: str, batch: int) -> Iterator[tuple[str, float, float]]:
        """(what, seconds from process start to the end of the first step, of it compiling)."""
        task = {"net": name, "work": "train", "batch": batch, "weights": ""}
        with tempfile.TemporaryDirectory() as cache:
            for what in ("this project, first time", "this project, again"):
                us = self.ours(task, JAX_COMPILATION_CACHE_DIR=cache)
                yield what, us.said["start"], us.said["compile"]
                us.end()
        task["weights"] = self.weights
        for mode in ("eager", "compile"):
            with tempfile.TemporaryDirectory() as cache:
                for again in (", first time", ", again") if mode == "compile" else ("",):
                    task |= {"mode": mode, "norm": "stock"}
                    them = self.theirs(task, TORCHINDUCTOR_CACHE_DIR=cache)
                    yield f"PyTorch, {mode}{again}", them.said["start"], them.said["compile"]
                    them.end()


def _check_same(ours: float, theirs: float) -> None:
    if abs(ours - theirs) > 1e-3 * abs(ours):
        raise UserError(f"not the same work: the loss is {ours} here and {theirs} in PyTorch")


def line(row: dict) -> str:
    """A row of the table, as in HEADER."""
    seconds = statistics.median(row["seconds"])
    cells = [row["net"], row["work"], str(row["batch"]), f"{row['batch'] / seconds:,.1f}"]
    net = work.net(row["net"])
    work_done = sum(
        (layer.training if row["work"] == "train" else layer.forward) * net.towers
        for layer in cost.costs(net, row["batch"])
    )
    cells.append(f"{work_done / row['floor'] / seconds:.0%}")
    for norm in ("stock", "band"):
        found = {k.split()[0]: v for k, v in row["them"].items() if k.split()[1] == norm}
        if not found:
            cells.append("")
            continue
        best = min(found, key=lambda mode: found[mode]["ratio"])
        cells.append(f"{found[best]['ratio']:.2f} ({best})")
    peaks = [other["peak"] for other in row["them"].values()]
    cells += [f"{row['peak'] / 2**20:,.0f}", f"{min(peaks, default=0) / 2**20:,.0f}"]
    return f"| {' | '.join(cells)} |"


def main(argv: list[str]) -> None:
    options = OPTIONS | arguments(argv, OPTIONS)
    parts = options["only"].split(",")
    if unknown := set(parts) - set(OPTIONS["only"].split(",")):
        raise UserError(f"--only={options['only']}: no part {unknown.pop()!r}; {OPTIONS['only']}")
    if not Path(options["torch"]).exists():
        raise UserError(f"--torch={options['torch']}: no such Python; `make bench` makes one")
    out = Path(options["out"])
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(KeyboardInterrupt):
        bench, rows, text = Bench(options["torch"], int(options["rounds"]), Path(folder)), [], []
        tasks = []
        if "alexnet" in parts:
            tasks += itertools.product(ALEXNETS, ("train", "forward"), (32, 128))
        if "cifar" in parts:
            tasks += itertools.product(CIFARS, ("train",), (128,))
        for name, job, batch in tasks:
            print(f"{name}, {job}, batch {batch}: times as fast as PyTorch", flush=True)
            rows.append(bench.races(name, job, batch))
            (out / "races.json").write_text(json.dumps(rows, indent=1) + "\n")
        if rows:
            rates = sorted(row["floor"] / 1e9 for row in rows)
            text += [HEADER, "|" + "---|" * (HEADER.count("|") - 1), *map(line, rows), ""]
            text += [f"matrix product: {rates[0]:.0f} to {rates[-1]:.0f} GFLOP/s"]
        if "start" in parts:
            bench.ours({"net": "alexnet", "work": "forward", "batch": 1}).end()  # the weights
            text += ["", "| AlexNet, batch 32 | first step after, s | of it compiling, s |"]
            text += ["|---|---|---|"]
            for what, start, compiling in bench.starts("alexnet", 32):
                text.append(f"| {what} | {start:.1f} | {compiling:.1f} |")
                print(text[-1], flush=True)
        text = f"{os.cpu_count()} cores, {options['rounds']} rounds\n\n" + "\n".join(text) + "\n"
        (out / "bench.md").write_text(text)
        print(f"\n{text}\nstored in {out}")


if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
