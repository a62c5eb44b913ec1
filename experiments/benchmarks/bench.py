"""This project against PyTorch on the same work, in turns, on this machine.

    make bench                                     all of it, about an hour on two cores
    make bench ARGS='--only=cifar --rounds=3'      one part; parts: alexnet, cifar, start
    make bench ARGS='--batches=32 --modes=eager'   fewer batch sizes, fewer kinds of PyTorch

Two processes hold the same net (with the same weights they give the same loss, which is checked)
and take turns: each round times a few iterations of one, then of the other. A ratio is that of the
medians: above 1 this project is faster. PyTorch runs eagerly, in channels_last and compiled;
"stock" with its own LocalResponseNorm, "by hand" with the norm written as a convolution with a band
of ones, and "our allocator" as by hand with the allocator that this project's commands use.
Each column takes the best of them. The floor is the time of the step's multiply-adds at the rate of
a large matrix product, measured in the same process. See `work.py`.
"""

import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import work

from alexnet.analysis import cost
from alexnet.cli import arguments, count, run
from alexnet.devices import runtime
from alexnet.errors import UserError
from alexnet.models.table import Norm

HERE = Path(__file__).parent
OPTIONS = {
    "torch": ".venv-torch/bin/python",
    "only": "alexnet,cifar,start",
    "rounds": "7",
    "dtype": "float32",
    "modes": "eager,channels_last,compile",
    "batches": "32,128",
    "work": "train,forward",
    "out": "runs/bench",
}
ALEXNETS = ("alexnet", "alexnet without LRN")
CIFARS = ("80sec", "19pct", "18pct", "conv-local-13pct", "conv-local-11pct")
ROUND_SECONDS = 0.5  # at least so much work a turn, so that short steps are timed over many
TUNINGS = ("stock", "by hand", "our allocator")
HEADER = (
    f"| net | work | batch | images/s | of the floor | / {' | / '.join(TUNINGS)} | peak MiB "
    "| PyTorch's | compiling s |"
)


class Contestant:
    """A process that runs its iterations when asked to."""

    def __init__(self, command: list[str], task: dict, environment: dict[str, str]):
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115  as long as the process
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
    """What all measurements share; `folder` takes the weights and the compiled programs."""

    def __init__(self, torch: str, modes: Sequence[str], rounds: int, folder: Path):
        self.torch, self.modes, self.rounds, self.folder = torch, modes, rounds, folder

    def ours(self, task: dict, cache: Path | None = None) -> Contestant:
        environment = {"JAX_COMPILATION_CACHE_DIR": str(cache or self.folder)}
        environment |= runtime.allocator_environment()  # as the commands do for themselves
        return Contestant([sys.executable, str(HERE / "jax_contestant.py")], task, environment)

    def theirs(self, task: dict, cache: Path | None = None) -> Contestant:
        environment = {
            "PYTHONPATH": str(HERE.parents[1] / "src"),
            "TORCHINDUCTOR_CACHE_DIR": str(cache or self.folder),
        }
        if task["tuning"] == "our allocator":
            environment |= runtime.allocator_environment()
        return Contestant([self.torch, str(HERE / "torch_contestant.py")], task, environment)

    def check_same(self, name: str, tunings: Sequence[str]) -> None:
        """That the same weights give the same loss here and there."""
        task = {"net": name, "batch": 8, "work": "check", "dtype": "float32"}
        task["weights"] = str(self.folder / "weights.npz")
        us = self.ours(task)
        for tuning in tunings:
            them = self.theirs(task | {"tuning": tuning})
            if abs(us.said["loss"] - them.said["loss"]) > 1e-4 * abs(us.said["loss"]):
                raise UserError(f"{name}, {tuning}: not the same work: {us.said}, {them.said}")
            them.end()
        us.end()

    def races(self, name: str, job: str, batch: int, dtype: str) -> dict:
        """One row of the table: this project against every kind of PyTorch, one at a time."""
        task = {"net": name, "work": job, "batch": batch, "dtype": dtype}
        has_norm = any(isinstance(row, Norm) and row.over == "maps" for row in work.net(name).rows)
        tunings = [tuning for tuning in TUNINGS if has_norm or tuning != "by hand"]
        self.check_same(name, tunings)
        first = self.ours(task)  # compiles; that takes memory and is not to count
        first.end()
        us = self.ours(task)
        row = task | {"compile": first.said["compile"], "seconds": [], "them": []}
        for tuning, mode in itertools.product(tunings, self.modes):
            try:
                them = self.theirs(task | {"mode": mode, "tuning": tuning})
            except ChildProcessError as error:
                print(f"  {tuning}, {mode}: not run: {error}", flush=True)
                continue
            ours, theirs = self._turns(us, them)
            them.end()
            ratio = statistics.median(theirs) / statistics.median(ours)
            found = {"tuning": tuning, "mode": mode, "ratio": ratio, "seconds": theirs}
            row["them"].append(found | {"peak": them.peak, "compile": them.said["compile"]})
            row["seconds"] += ours
            print(f"  {tuning}, {mode}: {ratio:.2f}", flush=True)
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
        task = {"net": name, "work": "train", "batch": batch, "dtype": "float32"}
        stock = task | {"mode": "eager", "tuning": "stock"}
        for who, start, what in (
            ("this project", self.ours, task),
            ("PyTorch, eager", self.theirs, stock),
            ("PyTorch, compile", self.theirs, stock | {"mode": "compile"}),
        ):
            with tempfile.TemporaryDirectory() as cache:
                for when in ("first time", "again"):
                    contestant = start(what, Path(cache))
                    yield f"{who}, {when}", contestant.said["start"], contestant.said["compile"]
                    contestant.end()


def line(row: dict) -> str:
    """A row of the table, as in HEADER."""
    seconds = statistics.median(row["seconds"])
    cells = [row["net"], row["work"], str(row["batch"]), f"{row['batch'] / seconds:,.1f}"]
    net = work.net(row["net"])
    flop = sum(
        (layer.training if row["work"] == "train" else layer.forward) * net.towers
        for layer in cost.costs(net, row["batch"])
    )
    cells.append(f"{flop / row['floor'] / seconds:.0%}")
    for tuning in TUNINGS:
        best = min((x for x in row["them"] if x["tuning"] == tuning), key=_ratio, default=None)
        cells.append(f"{best['ratio']:.2f} ({best['mode']})" if best else "")
    best = min(row["them"], key=_ratio)
    cells += [f"{peak / 2**20:,.0f}" for peak in (row["peak"], best["peak"])]
    cells.append(f"{row['compile']:.0f}")
    return f"| {' | '.join(cells)} |"


def _ratio(found: dict) -> float:
    return found["ratio"]


def _some(name: str, text: str) -> list[str]:
    """Those of the default's words that `--name=text` asks for."""
    if unknown := set(text.split(",")) - set(OPTIONS[name].split(",")):
        raise UserError(f"--{name}={text}: no {min(unknown)!r}; choose from {OPTIONS[name]}")
    return text.split(",")


def main(argv: list[str]) -> None:
    options = OPTIONS | arguments(argv, OPTIONS)
    parts, modes, works = (_some(name, options[name]) for name in ("only", "modes", "work"))
    batches = [count("batches", text) for text in options["batches"].split(",")]
    rounds = count("rounds", options["rounds"])
    if not Path(options["torch"]).exists():
        raise UserError(f"--torch={options['torch']}: no such Python; `make bench` makes one")
    out = Path(options["out"])
    out.mkdir(parents=True, exist_ok=True)
    title = f"{os.cpu_count()} cores, {rounds} rounds, {options['dtype']}"
    tasks = []
    if "alexnet" in parts:
        tasks += itertools.product(ALEXNETS, works, batches)
    if "cifar" in parts:
        tasks += itertools.product(CIFARS, ("train",), (128,))
    rows, starts = [], []
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options["torch"], modes, rounds, Path(folder))
        for name, job, batch in tasks:
            print(f"{name}, {job}, batch {batch}: times as fast as PyTorch", flush=True)
            rows.append(bench.races(name, job, batch, options["dtype"]))
            store(out, title, rows, starts)
        if "start" in parts:
            for start in bench.starts("alexnet", 32):
                starts.append(start)
                store(out, title, rows, starts)
    print(f"\n{(out / 'bench.md').read_text()}\nstored in {out}")


def store(out: Path, title: str, rows: list[dict], starts: list[tuple]) -> None:
    """Writes what is known so far, as tables and as numbers."""
    text = [title]
    if rows:
        rates = sorted(row["floor"] / 1e9 for row in rows)
        text += ["", HEADER, "|" + "---|" * (HEADER.count("|") - 1), *map(line, rows)]
        text += ["", f"matrix product: {rates[0]:.0f} to {rates[-1]:.0f} GFLOP/s"]
    if starts:
        text += ["", "| AlexNet, batch 32 | first step after, s | of it compiling, s |"]
        text += ["|---|---|---|"]
        text += [f"| {what} | {start:.1f} | {compiling:.1f} |" for what, start, compiling in starts]
    (out / "bench.md").write_text("\n".join([*text, ""]))
    (out / "bench.json").write_text(json.dumps({"races": rows, "starts": starts}, indent=1) + "\n")


if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
