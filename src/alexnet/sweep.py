"""Trains all arms of an experiment, or all combinations of some settings.

    python -m alexnet.sweep experiments/lrn.py[:digits|small|full] [experiments/...] --workdir=DIR
        [--seeds=5|8..15] [--jobs=N] [--config.x=y]
    python -m alexnet.sweep --config=configs/digits.py --config.net.remove={,conv3,conv4} \\
        --config.seed={0..4} --workdir=DIR

Without a scale, an experiment's first one runs. Without an experiment, repeat a setting, once for
each value, as the shell's braces do; all combinations are trained. Configs are values, too:
--config=configs/cifar10.py:{80sec,19pct}. Everything is checked before the first run starts. The
same command resumes a sweep exactly where it stopped, and repeats no finished run. A run's output
is in `output.txt` in its folder. If a run failed or was left out, the exit status is 1. `alexnet
compare DIR` compares the results.
"""

import contextlib
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from alexnet import cli
from alexnet import config as configs
from alexnet.cli import path, run
from alexnet.devices.cores import cpu_count
from alexnet.errors import Interrupted, UserError
from alexnet.sweeps import board, definition, plan, runner, slurm
from alexnet.sweeps.experiment import Experiment
from alexnet.sweeps.plan import Item
from alexnet.sweeps.runner import Job, Runner
from alexnet.sweeps.workers import Worker
from alexnet.text import aligned, counted, said, some
from alexnet.workdir.record import DIVERGED

OPTIONS = {
    "config": ("", "instead of an experiment: a file such as configs/digits.py"),
    "workdir": (None, "the folder of the sweep; each run gets a folder in it"),
    "seeds": (
        "",
        "how many, from 0, or 8..15 for those; by default as many as the experiment plans",
    ),
    "jobs": (
        "",
        "runs at a time, each on its share of the cores or GPUs; by default 1, with --slurm all",
    ),
    "cores": ("", "for each run; results depend on them, so a sweep cannot change them later"),
    "slurm": (
        "",
        "submit the runs as an array job to this partition; just --slurm: to the default one",
    ),
    "dry_run": ("false", "true, or just --dry_run: check and show the plan"),
    "retry": ("false", "true, or just --retry: run failed runs again"),
}


def main(argv: Sequence[str]) -> None:
    """Plans, checks, shows and runs a sweep."""
    if cli.asks_help(argv):
        print(cli.command_help(__doc__, OPTIONS))
        return
    files, options, texts = read(argv)
    dry, retry = (cli.typed(name, options[name], False) for name in ("dry_run", "retry"))
    workdir = path("workdir", options["workdir"]).absolute()
    plan.check_workdir(workdir)
    planned = experiments(files, options, texts)
    every = unique([item for found, seeds in planned for item in plan.items(found, seeds, workdir)])
    items = plan.shared(every, workdir, slurm.submitted(workdir))
    at_once = cli.count("jobs", options["jobs"]) if options["jobs"] else 0
    partition = options["slurm"]
    if partition and not dry:
        slurm.check()
    places = 1 if partition else at_once or 1
    cores = agreed_cores(options["cores"], workdir, places)
    cpus, gpus = runner.shares(places, cores), runner.gpu_shares(places)
    with contextlib.ExitStack() as held:
        keep = [] if dry else [held.enter_context(runner.alone(workdir))]
        jobs = runner.jobs(items, workdir, retry)
        if not partition:
            slurm.leave_submitted(jobs, workdir)
        print(described(planned, jobs, workdir, cores), flush=True)
        if dry or partition:  # else they are listed at the end
            list_failed(jobs, workdir)
        if fewer := len(every) - len(items):
            print(f"(arms with the same settings share {counted(fewer, 'run')})", flush=True)
        if places * cores > cpu_count() and not partition:
            here = counted(cpu_count(), "core")
            print(f"(runs at a time share {here}, so they take longer)", flush=True)
        running = Runner(
            jobs, workdir, places, lambda place: Worker(cores, cpus[place], gpus[place], keep)
        )
        with contextlib.closing(running):
            prepares = running.check(elsewhere=bool(partition), dry=dry)
            for name in prepares:
                print(f"({name} is not prepared, or has changed: the first run sees to that)")
            if dry:
                return
            if partition:  # a plan that SLURM does not take can still be changed
                slurm.hand_over(jobs, workdir, cores, partition, at_once)
            for found, _ in planned:
                plan.save(found, cores, workdir)
            if not partition:
                work_off(running, jobs, workdir)


def work_off(running: Runner, jobs: Sequence[Job], workdir: Path) -> None:
    """Shows the jobs while they run, and how they ended; exit status 1 if any failed."""
    try:
        with board.Board(jobs) as shown:
            running.run(shown.show)
    except Interrupted:
        list_failed(jobs, workdir)
        print("stopped; the same command goes on from the last checkpoint of each run", flush=True)
        raise
    failed = list_failed(jobs, workdir)
    print(f"next: python -m alexnet.compare {shlex.quote(str(workdir))}")
    if failed:
        sys.exit(1)


def list_failed(jobs: Sequence[Job], workdir: Path) -> list[Job]:
    """Prints and returns the jobs that failed or were left out."""
    failed = [job for job in jobs if job.state in ("failed", "left out")]
    for job in failed:
        output = workdir / job.item.name / plan.OUTPUT
        see = f"; see {output}" if output.exists() else ""
        print(f"{job.item.name} {board.outcome(job)}{see}")
    notes = [job.note for job in failed if job.state == "failed"]
    if any(DIVERGED not in note for note in notes):
        print("the same command with --retry runs the failed ones again", flush=True)
    if any(DIVERGED in note for note in notes):
        print(
            "a run that diverged would diverge again: change its arm's settings, such as "
            "schedule.rate, delete its folder, and repeat the command",
            flush=True,
        )
    return failed


def read(argv: Sequence[str]) -> tuple[list[str], dict[str, str], dict[str, list[str]]]:
    """(the experiments, the options, the values of each setting) of the command line.

    The config files are the values of `plan.CONFIG`.

    Raises:
        UserError: for any mistake in them.
    """
    files: list[str] = []
    plain: list[str] = []
    texts: dict[str, list[str]] = {}
    for before, argument in zip(["", *argv], argv, strict=False):
        name, equals, text = argument.removeprefix("--config.").partition("=")
        if argument.startswith("--config.") and not equals:
            raise UserError(f"{argument}: write {argument}=value, without a space")
        if argument.startswith("--config."):
            texts.setdefault(name, []).append(text)
        elif argument.startswith("--config="):
            texts.setdefault(plan.CONFIG, []).append(text)
        elif argument == "--slurm=":
            raise UserError("--slurm= is empty: write --slurm=PARTITION, or just --slurm")
        elif argument.startswith("-"):
            plain.append("--slurm=true" if argument == "--slurm" else argument)
        elif before.startswith("-") and "=" not in before and before not in cli.switches(OPTIONS):
            plain.append(argument)  # a value after a space, as `cli.values` will say
        else:
            files.append(argument)
    options = cli.values(plain, OPTIONS)
    chosen = texts.get(plan.CONFIG, [])
    if files and chosen:
        raise UserError(f"give {files[0]} or --config, not both: an experiment names its configs")
    if not (files or chosen) or "" in chosen:
        raise UserError(
            "which runs? give an experiment such as experiments/lrn.py, or --config=configs/X.py"
        )
    return files, options, texts


def experiments(
    files: Sequence[str], options: dict[str, str], texts: dict[str, list[str]]
) -> list[tuple[Experiment, list[int]]]:
    """Each experiment, and the seeds to train its arms with. Raises UserError."""
    several = next((key for key, values in texts.items() if len(values) > 1), "")
    if files and several:
        raise UserError(
            "given twice; an experiment has one value for all its arms", f"config.{several}"
        )
    if (files or options["seeds"]) and "seed" in texts:
        raise UserError(
            "the seeds of an experiment are 0, 1, ...: write --seeds=N or --seeds=M..N",
            "config.seed",
        )
    asked = asked_seeds(options["seeds"]) if options["seeds"] else []
    if not files:
        product, seeds = plan.product(texts)
        return [(product, asked or seeds)]
    single = {key: values[0] for key, values in texts.items()}
    loaded = [definition.load(file, single) for file in files]
    return [(one, asked or list(range(one.seeds))) for one in loaded]


def asked_seeds(text: str) -> list[int]:
    """The seeds that `--seeds=text` asks for: 0 to 4 for "5", 8 to 15 for "8..15".

    Raises:
        UserError: if the text is neither, or names no seed.
    """
    if ".." not in text:
        return list(range(cli.count("seeds", text)))
    ends = re.fullmatch(r"(\d{1,9})\.\.(\d{1,9})", text, re.ASCII)
    if found := ends and range(int(ends[1]), int(ends[2]) + 1):
        return list(found)
    raise UserError(f"--seeds={text}: expected the first and the last, such as 8..15")


def unique(items: Sequence[Item]) -> list[Item]:
    """Each item once: experiments in one workdir share the runs that have one name.

    Raises:
        UserError: if two different items have one name.
    """
    found: dict[str, Item] = {}
    for item in items:
        if (first := found.setdefault(item.name, item)) != item:
            differing = configs.differences(first.config, item.config)
            differ = [f"config.{key}={old!r} and {new!r}" for key, old, new in differing]
            how = f" ({some(differ, 2)})" if differ else ""
            raise UserError(
                f"two different runs are called {item.name}{how}: sweep their experiments in "
                "different workdirs"
            )
    return list(found.values())


def agreed_cores(text: str, workdir: Path, jobs: int) -> int:
    """The cores for each run: `text`, else as many as the sweep began with, else a job's share.

    Raises:
        UserError: if `text` is another number than the sweep began with.
    """
    known = {found["cores"] for found in plan.saved(workdir)}
    asked = cli.count("cores", text) if text else 0
    if known and asked and known != {asked}:
        raise UserError(
            f"the runs in {workdir} use {', '.join(map(str, known))}, and results depend on the "
            "number of cores: choose another workdir",
            f"cores={asked}",
        )
    return asked or next(iter(known), 0) or max(1, cpu_count() // jobs)


def described(
    planned: Sequence[tuple[Experiment, list[int]]],
    jobs: Sequence[Job],
    workdir: Path,
    cores: int,
) -> str:
    """The plan in words: arms, seeds, and how many runs are in which state."""
    lines = []
    for found, seeds in planned:
        lines.append(f"{found.source}: {found.title}" if found.source else found.title)
        lines += aligned(
            [
                (f"  {arm.name}", said(arm.overrides) or "no overrides")
                for arm in found.arms.values()
            ],
            2,
        )
        lines.append(f"  seeds {', '.join(map(str, seeds))}")
        lines += [
            f"  {arm.name}: needs {needed} seeds, has {len(seeds)}"
            for arm in found.arms.values()
            if (needed := max(arm.of.values(), default=0)) > len(seeds)
        ]
    states = [job.state for job in jobs]
    counts = [
        f"{states.count(state):,} {words}"
        for state, words in (
            ("done", "done already"),
            ("begun", "to resume"),
            ("new", "new"),
            ("failed", "failed (--retry tries again)"),
            ("left out", "left to SLURM"),
        )
        if state in states
    ]
    trained = sum(job.item.trains for job in jobs)
    what = counted(trained, "run")
    if trained < len(jobs):
        what += f" and {counted(len(jobs) - trained, 'evaluation')}"
    lines.append(f"{what} in {workdir}: {', '.join(counts)}")
    lines.append(f"cores of a run: {cores}")
    return "\n".join(lines)


if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
