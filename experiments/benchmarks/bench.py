"""This project against PyTorch on the same work, in turns, on this machine.

    make bench                                     the first three parts, about an hour on two cores
    make bench ARGS='--only=cifar --rounds=3'      one part
    make bench ARGS='--batches=32 --modes=eager'   fewer batch sizes, fewer kinds of PyTorch
    make bench JAX=cuda13 ARGS=--only=short        on a GPU, what matters most, in four minutes

Parts:

    alexnet, cifar    throughput of the nets
    start             time from the start of the process to the end of the first step
    short             all rows, the important ones first, and, where they can run, loop and input in
                      the last 45 seconds; stops after 230 seconds by default
    loop              the training loop compared with its bare step
    input             batches read from disk

`loop` and `input` need all packages of this project; `make wheels` collects them for a machine
without a network. The other parts need only JAX, flax, optax, NumPy and PyTorch; this project need
not be installed.

Two processes hold the same net and take turns: each round times a few iterations of one, then of
the other. A check makes sure that the same weights give the same logits and loss. A ratio above 1
means that this project's median time is shorter. PyTorch runs eagerly, in channels_last, compiled
and, on GPUs, compiled in channels_last, and compiled and captured as one CUDA graph, in either
layout. "stock" uses PyTorch's LocalResponseNorm; "by hand" writes the norm as a convolution with a
band of ones; "our allocator" adds the allocator of this project's commands to "by hand" (to
"stock", if the net has no such norm). Each column shows PyTorch's fastest mode; its memory is that
of its fastest mode without our allocator.

The floor is the time of the step's multiply-adds at the rate of a large matrix product. On GPUs, a
layer counts with the time to copy its bytes, if that is longer. Both rates are measured in the same
process; see `jax_contestant.ceilings`. The table and the JSON file are written after every race, so
an interrupted run keeps its results, and --known=FILE.json continues it. Earlier results in --out
are moved to bench-1.json and so on.
"""

import importlib.util
import itertools
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import contestants
import numpy as np
import rows as tables
from contestants import Contestant, Stable
from results import Results
from rows import ALEXNETS, CIFARS, DTYPES, MODES, Race, Row

from alexnet.cli import arguments, count, run
from alexnet.errors import UserError, cannot_capture, choice
from alexnet.workdir import provenance

HERE = Path(__file__).parent
PARTS = ("alexnet", "cifar", "start", "short", "loop", "input")
OPTIONS = {
    "torch": ".venv-torch/bin/python",  # if missing: the Python that runs this, if it has PyTorch
    "only": "alexnet,cifar,start",
    "rounds": "7",
    "dtype": "float32",
    "modes": "",  # "": all that the device has
    "batches": "",  # "": 32,128 on a CPU and 128,1024 on a GPU
    "work": "train,forward",
    "kernels": "auto",  # as config.kernels
    "seconds": "",  # time limit; "": 230 for short, else no limit
    "processes": "",  # kept: for all rows (default on GPUs); new: for each race (on CPUs)
    "known": "",  # a bench.json whose races are not run again
    "cache": "",  # a folder that keeps compiled programs from run to run; "": none
    "out": "runs/bench",
}
ROUND_SECONDS = {"cpu": 0.5, "gpu": 0.15}  # length of a turn: short steps repeat many times
PROGRAMS = {  # parts that need all packages: script, arguments, and a package to look for
    "input": (("input.py", "--images=640"), "grain"),
    "loop": (("loop.py", "--config=configs/digits.py", "--steps=100", "--rounds=1"), "grain"),
}
PROGRAM_SECONDS = 45  # of the short part's time, for these programs
SOURCES = ("src", "experiments/benchmarks")  # what the results are of


class Bench:
    """Runs races and writes their results."""

    def __init__(self, stable: Stable, rounds: int, results: Results):
        self.stable, self.rounds, self.results = stable, rounds, results
        self.us: Contestant | None = None  # holds the row's task until the next row
        self.task: dict | None = None  # that task
        self.checked: dict[tuple[str, str], str] = {}  # nets and tunings: how they differ, or ""
        self.measured: set[tuple[Contestant, str]] = set()  # processes and the dtypes they know

    def about(self, processes: str) -> bool:
        """Records the contestants and decides whether to keep them. Returns whether on a GPU."""
        us, them = self.stable.ours(), self.stable.theirs()
        here = {"ours": us.about, "PyTorch's": them.about, "machine": machine()}
        here["commit"] = provenance.commit() or f"files {digest()}"
        known = {key: self.results.about.get(key, value) for key, value in here.items()}
        if self.results.races and known != here:
            raise UserError(
                f"--known: its races ran on {known['machine']} with other code, versions or "
                f"devices than this run ({here['machine']}): start without it"
            )
        self.results.about |= here
        self.results.store()
        if us.about["platform"] != them.about["platform"]:
            raise UserError(
                f"jax sees a {us.about['platform']}, PyTorch a {them.about['platform']}: install "
                f"wheels for one device (jax {us.about['jax']}, torch {them.about['torch']})"
                + (f"; jax says: {said}" if (said := us.words()) else "")
            )
        print(f"on {us.about['device']}, {here['machine']}", flush=True)
        gpu = us.about["platform"] == "gpu"
        self.stable.keeps = processes == "kept" or (gpu and not processes)
        if not self.stable.keeps:
            self.stable.end()
        return gpu

    def check_same(self, name: str, tuning: str) -> None:
        """Raises UserError unless both contestants compute the same from the same weights."""
        if (name, tuning) not in self.checked:
            self.checked[name, tuning] = self._difference(name, tuning)
        if different := self.checked[name, tuning]:
            raise UserError(f"not the same work: {different}")

    def _difference(self, name: str, tuning: str) -> str:
        """How the contestants' results for the same weights differ; "" if they agree."""
        task = {"net": name, "batch": 8, "work": "check", "dtype": "float32", "tuning": tuning}
        task["weights"] = str(self.stable.folder / "weights.npz")
        us = self.stable.ours().build(task)
        them = self.stable.theirs().build(task)
        self.stable.release(us), self.stable.release(them)
        here, there = us.said["loss"], them.said["loss"]
        if not abs(here - there) <= 1e-4 * abs(here):
            return f"the loss is {here:g} here and {there:g} in PyTorch"
        ours, theirs = (np.array(one.said["logits"]) for one in (us, them))
        if not (apart := abs(ours - theirs).max()) <= 1e-4 * abs(ours).max():
            return f"logits up to {abs(ours).max():g} differ by {apart:g}"
        return ""

    def run(self, races: Sequence[Race]) -> None:
        """Runs all races that the results lack, in order."""
        for row, group in itertools.groupby(races, lambda race: race.row):
            entry = self.results.row(row)
            have = {(found["tuning"], found["mode"]) for found in entry["them"]}
            for race in [race for race in group if (race.tuning, race.mode) not in have]:
                if self.over():
                    return
                print(
                    f"{', '.join(map(str, row))}, {race.tuning}, {race.mode}: ", end="", flush=True
                )
                if not self._race(race, entry):
                    break
            if self.us:
                self.stable.release(self.us)
            self.us = self.task = None

    def over(self) -> bool:
        """Whether the time is up."""
        return bool(self.stable.until) and time.time() >= self.stable.until

    def _race(self, race: Race, entry: dict) -> bool:
        """Runs a race and adds the result, or the reason for its failure, to the row's entry.

        Returns whether the row's next race can run.
        """
        found, them = {"tuning": race.tuning, "mode": race.mode}, None
        begun = time.time()
        try:
            self.check_same(race.row.net, race.tuning)
            them = self._ready(race, entry)
            seconds = ROUND_SECONDS[them.about["platform"]]
            ours, theirs = contestants.turns(self.us, them, self.rounds, seconds)
        except (ChildProcessError, UserError) as error:
            if self.over():  # left for a later run
                print("the time is up", flush=True)
                return False
            found["error"] = str(error)
            print(f"not run: {error}", flush=True)
            go_on = isinstance(error, UserError) or bool(self.us and self.us.alive)
        else:
            ratio = statistics.median(theirs) / statistics.median(ours)
            found |= {"ratio": ratio, "seconds": theirs, "peak": them.peak}
            found |= {"compile": them.said["compile"]}
            if entry.get("cuda_graphs") != self.us.said.get("cuda_graphs"):
                entry["seconds"] = []  # of an earlier run, in which the other form was timed
            entry["seconds"] += ours
            entry["peak"] = self.us.peak
            entry.update(
                (name, self.us.said[name])
                for name in ("floor", "copy", "cuda_graphs")
                if name in self.us.said
            )
            found["took"] = round(time.time() - begun, 1)
            print(f"{ratio:.2f} ({found['took']:.0f} s)", flush=True)
            go_on = True
        if them:
            self.stable.release(them)
        entry["them"].append(found)
        self.results.store()
        return go_on

    def _ready(self, race: Race, entry: dict) -> Contestant:
        """Prepares both contestants for a race, one after the other, and returns PyTorch's.

        At the same time, they would choose their algorithms by each other's times.
        """
        task = race.row._asdict()
        new = self.us is None or self.task != task
        self.task = task
        if self.stable.keeps and (self.stable.ours(), race.row.dtype) not in self.measured:
            self._measure(race.row.dtype)
            new = True
        if new and not self.stable.keeps:
            first = self.stable.ours().build(task)  # compiling takes memory, which must not count
            entry["compile"] = first.said["compile"]
            first.end()
        if new:
            self._build(task)
        them = self.stable.theirs(allocator=race.tuning == "our allocator")
        them.build(task | {"tuning": race.tuning, "mode": race.mode})
        entry.setdefault("compile", self.us.said["compile"])
        return them

    def _build(self, task: dict) -> None:
        """Lets our process build a task; if it must be, without a CUDA graph.

        That takes a new process: an algorithm of cuDNN that cannot be captured spoils the old one.
        """
        self.us = self.stable.ours()
        try:
            self.us.build(task)
        except ChildProcessError as error:
            if self.over() or not cannot_capture(error):
                raise
            print(f"no CUDA graph ({error}); ", end="", flush=True)
            self._measure(task["dtype"])
            self.us.build(task | {"cuda_graphs": False})

    def _measure(self, dtype: str) -> None:
        """Lets our process measure its rates, once, and while PyTorch has nothing to do."""
        self.us = self.stable.ours().build({"work": "ceilings", "dtype": dtype})
        self.measured.add((self.us, dtype))

    def starts(self, name: str, batch: int) -> Iterator[tuple[str, float, float]]:
        """(name, seconds from process start to the end of the first step, seconds of compiling).

        Each name starts twice: with an empty compilation cache, then with a full one.
        """
        task = {"net": name, "work": "train", "batch": batch, "dtype": "float32"}
        stock = task | {"mode": "eager", "tuning": "stock"}
        for who, start, what in (
            ("this project", self.stable.ours, task),
            ("PyTorch, eager", self.stable.theirs, stock),
            ("PyTorch, compile", self.stable.theirs, stock | {"mode": "compile"}),
        ):
            with tempfile.TemporaryDirectory() as cache:
                for when in ("first time", "again"):
                    contestant = start(cache=Path(cache)).build(what)
                    yield f"{who}, {when}", contestant.said["start"], contestant.said["compile"]
                    contestant.end()

    def program(self, name: str, until: float) -> None:
        """Runs one of PROGRAMS until a time, and stores its last line of output in the results."""
        (script, *options), needs = PROGRAMS[name]
        if importlib.util.find_spec(needs) is None:
            said = f"not run: {needs} is not installed (make wheels)"
        elif until and time.time() >= until:
            said = "not run: the time is up"
        else:
            command = [sys.executable, str(HERE / script), *options]
            left = until - time.time() if until else None
            root = HERE.parents[1]
            try:
                done = subprocess.run(
                    command, cwd=root, capture_output=True, text=True, timeout=left, check=False
                )
                lines = (done.stderr if done.returncode else done.stdout).strip().splitlines()
                said = ("not run: " if done.returncode else "") + (lines or ["no output"])[-1]
            except subprocess.TimeoutExpired:
                said = "not run: the time is up"
        print(f"{name}: {said}", flush=True)
        self.results.programs[name] = said
        self.results.store()


def digest() -> str:
    """A checksum of the code, for a tree without its history."""
    root, found = HERE.parents[1], 0
    for folder in SOURCES:
        for file in sorted((root / folder).rglob("*.py")):
            found = zlib.crc32(file.read_bytes(), found)
    return f"{found:08x}"


def machine() -> str:
    """The number of cores and, from nvidia-smi, the card, the driver and the card's limits."""
    if (tool := shutil.which("nvidia-smi")) is None:
        return f"{os.cpu_count()} cores"
    query = "--query-gpu=name,driver_version,memory.total,power.limit,clocks.max.sm"
    done = subprocess.run(
        [tool, query, "--format=csv,noheader"], capture_output=True, text=True, check=False
    )
    return f"{os.cpu_count()} cores; {' / '.join(done.stdout.strip().splitlines())}"


def words(name: str, text: str, allowed: Sequence[str]) -> list[str]:
    """The words in `--name=text`. Raises UserError for one that is not allowed."""
    for word in text.split(","):
        choice(f"--{name}", word, allowed)
    return text.split(",")


def races(options: dict[str, str], parts: Sequence[str], gpu: bool) -> list[Race]:
    """The races that the options ask for, in order."""
    modes = words("modes", options["modes"] or ",".join(MODES if gpu else MODES[:3]), MODES)
    sizes = options["batches"] or ("128,1024" if gpu else "32,128")
    batches = [count("batches", text) for text in sizes.split(",")]
    works = words("work", options["work"], ("train", "forward"))
    how = options["dtype"], options["kernels"]
    found = tables.short(modes, batches, gpu) if "short" in parts else []
    asked = []
    if "alexnet" in parts:
        asked += [Row(*it, *how) for it in itertools.product(ALEXNETS, works, batches)]
    if "cifar" in parts:
        asked += [Row(net, "train", 128, *how) for net in CIFARS]
    return found + list(tables.full(asked, modes, gpu))


def python_with_torch(asked: str) -> str:
    """The Python that runs PyTorch's contestant."""
    if Path(asked).exists():
        return asked
    if asked == OPTIONS["torch"] and importlib.util.find_spec("torch"):
        return sys.executable
    raise UserError(f"--torch={asked}: no such Python; `make bench` makes one")


def kept_cache(text: str) -> Path | None:
    """The folder of --cache, created if missing. Raises UserError if it cannot be."""
    if not text:
        return None
    try:
        Path(text).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--cache={text}: {error}") from None
    return Path(text).resolve()


def opened(options: dict[str, str]) -> Results:
    """The results of this run.

    Raises:
        UserError: if --out cannot be written or --known cannot be read.
    """
    out = Path(options["out"])
    try:
        out.mkdir(parents=True, exist_ok=True)
        known = Path(options["known"]) if options["known"] else None
        title = f"{os.cpu_count()} cores, {options['rounds']} rounds"
        title += f", {options['dtype']}" if "short" not in options["only"] else ""
        set_aside(out, known)
        results = Results(out, title, known)
        results.store()
    except (OSError, ValueError) as error:
        raise UserError(f"--out={out}, --known={options['known']}: {error}") from None
    return results


def set_aside(out: Path, known: Path | None) -> None:
    """Moves the results of an earlier run to names of their own, unless this run continues it."""
    file = out / "bench.json"
    if not file.exists() or (known and known.exists() and known.samefile(file)):
        return
    number = next(n for n in itertools.count(1) if not (out / f"bench-{n}.json").exists())
    for suffix in ("json", "md"):
        if (old := out / f"bench.{suffix}").exists():
            os.replace(old, out / f"bench-{number}.{suffix}")
    print(f"the earlier results are now {out / f'bench-{number}.json'}", flush=True)


def main(argv: list[str]) -> None:
    options = OPTIONS | (given := arguments(argv, OPTIONS))
    parts = words("only", options["only"], PARTS)
    if parts == ["short"] and (idle := given.keys() & {"dtype", "work", "kernels"}):
        raise UserError(f"--{min(idle)} has no effect on short, which has its own rows")
    words("dtype", options["dtype"], DTYPES)
    words("processes", options["processes"], ("", "kept", "new"))
    rounds = count("rounds", options["rounds"])
    limit = options["seconds"] or ("230" if "short" in parts else "")
    until = time.time() + count("seconds", limit) if limit else 0
    torch = python_with_torch(options["torch"])
    kept_cache(options["cache"])
    races(options, parts, gpu=True)  # a mistake is found before earlier results are replaced
    results = opened(options)
    programs = [name for name in PROGRAMS if name in parts or "short" in parts]
    can_run = any(importlib.util.find_spec(PROGRAMS[name][1]) for name in programs)
    reserved = PROGRAM_SECONDS if until and can_run else 0
    with tempfile.TemporaryDirectory() as folder:
        stable = Stable(torch, Path(folder), max(0, until - reserved), kept_cache(options["cache"]))
        bench = Bench(stable, rounds, results)
        try:
            gpu = bench.about(options["processes"])
            bench.run(races(options, parts, gpu))
            if "start" in parts:
                for start in bench.starts("alexnet", 32):
                    results.starts.append(start)
                    results.store()
            for name in programs:
                bench.program(name, until)
        finally:
            stable.end()
    print(f"\n{(results.out / 'bench.md').read_text()}\nstored in {results.out}")


if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
