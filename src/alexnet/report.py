"""A page on one run or several: curves, filters, predictions, neighbours, mistakes, ablation.

    python -m alexnet.report DIR ... [--output=report.html] [--parts=curves,filters,...]
        [--checkpoint=best|last|STEP] [--experiment=experiments/lrn.py:small] [--data_dir=DIR]
        [--config.data.*=...]

The page is one HTML file, which opens without a network; its figures are also saved beside it as
PNGs. DIR is a run, a sweep or another folder of runs. A page on several runs begins with their
curves and the ablation tables of `alexnet compare`, by default for the experiments that the sweeps
recorded; of the runs in a folder, only the first run of the baseline gets the other parts. A part
that cannot be made, such as predictions without the dataset, is named with the reason. Parts:
curves, ablation, filters (Figure 3), predictions and neighbours (Figure 4), mistakes, surest
(mistakes), net, config, provenance.
It needs matplotlib and jinja2: pip install matplotlib jinja2
"""

import contextlib
import functools
import importlib.util
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from alexnet.cli import changed_settings, data_dir, path, run, split, typed_overrides
from alexnet.errors import UserError, choice, local_path
from alexnet.text import counted

if TYPE_CHECKING:
    from alexnet.reports.part import Part
    from alexnet.reports.subject import Subject
    from alexnet.sweeps.experiment import Experiment

OPTIONS = {
    "output": ("report.html", "the file to write; figures go to a folder beside it"),
    "parts": ("all", "all, or some of them separated by commas"),
    "checkpoint": ("best", "best on the validation images, last, or the number of a step"),
    "experiment": ("", "the runs' experiments, FILE[:SCALE] or a folder, separated by commas"),
    "data_dir": ("", "where the datasets are prepared, if no longer where the runs found them"),
}
TOGETHER = ("curves", "ablation")  # parts on all runs
OWN = (
    *("filters", "predictions", "neighbours", "mistakes", "surest"),
    *("net", "config", "provenance"),
)
NEEDS = ("matplotlib", "jinja2")


def main(argv: Sequence[str]) -> None:
    """Writes the page, and says what is in it."""
    others, texts = changed_settings(argv, ("data",))
    given, options = split(others, OPTIONS)
    texts |= data_dir(options["data_dir"], texts)
    if not given:
        raise UserError("which runs? name the folder of one or more")
    wanted = (*TOGETHER, *OWN) if options["parts"] == "all" else options["parts"].split(",")
    for part in wanted:
        choice("parts", part, (*TOGETHER, *OWN))
    output, dirs = path("output", options["output"]), [local_path("DIR", name) for name in given]
    if output.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"--output={output}: write a name that ends in .html, as browsers need it")
    if missing := [name for name in NEEDS if importlib.util.find_spec(name) is None]:
        raise UserError(f"a report needs {' and '.join(missing)}: pip install {' '.join(NEEDS)}")
    from alexnet.reports.subject import Subject  # these import JAX: the checks above do not need it
    from alexnet.results import folders
    from alexnet.sweeps import definition
    from alexnet.training.programs import Programs
    from alexnet.workdir import checkpoint, record

    # In a sweep, `DIR/*` includes its plans, evaluations and jobs.
    beside = [
        one
        for one in dirs
        if one.exists() and (one.parent / record.SWEEP).is_dir() and not folders.workdirs(one)
    ]
    of_runs = [one for one in dirs if one not in beside] or dirs
    workdirs = list(dict.fromkeys(run for folder in of_runs for run in runs_in(folder)))
    if options["parts"] == "all" and len(workdirs) == 1:
        wanted = [part for part in wanted if part != "ablation"]
    which, programs = checkpoint.which(options["checkpoint"]), Programs()  # shared by an arm's runs
    subjects = []
    for workdir in workdirs:
        overrides = typed_overrides(record.saved_config(workdir), texts) if texts else {}
        subjects.append(Subject(workdir, which, overrides, programs))
    named = options["experiment"]
    experiments = definition.named(named.split(",")) if named else []
    command = shlex.join(["python", "-m", "alexnet.report", *argv])
    report(dirs, subjects, output, wanted, experiments, command)


def report(
    dirs: Sequence[Path],
    subjects: Sequence["Subject"],
    output: Path,
    wanted: Sequence[str],
    experiments: Sequence["Experiment"],
    command: str,
) -> None:
    """Writes the page with the `wanted` parts on the runs in `dirs`."""
    from alexnet.reports import ablation, about, page
    from alexnet.reports.part import Part, made

    workdirs = [one.workdir for one in subjects]
    named, arms, together = dict(zip(workdirs, names(workdirs), strict=True)), {}, []
    with contextlib.suppress(UserError):  # the ablation part will name the error
        arms = ablation.arms(workdirs, experiments)
    if "curves" in wanted:
        # All seeds of an arm have one colour
        labels = arms if len(arms) > len({*arms.values()}) else named
        order = {workdir: place for place, workdir in enumerate(arms)}  # as in the ablation
        in_order = sorted(subjects, key=lambda one: order.get(one.workdir, len(order)))
        curves = [(labels.get(one.workdir, named[one.workdir]), one) for one in in_order]
        together.append(made("Curves", functools.partial(about.curve_part, curves)))
    if "ablation" in wanted and len(workdirs) == 1:
        together.append(Part("Ablation", missing="one run: nothing to compare"))
    elif "ablation" in wanted:
        together.append(made("Ablation", functools.partial(ablation.part, dirs, experiments)))
    every = [*arms, *workdirs]
    firsts = {next((one for one in every if folder in one.parents), None) for folder in dirs}
    runs = []
    for one in (one for one in subjects if one.workdir in {*dirs, *firsts}):
        label = f" of {arms[one.workdir]}" if one.workdir in arms else ""
        note = "" if one.workdir in dirs else f"an example{label}"
        runs.append(page.Run(named[one.workdir], about.facts(one), own(one, wanted), note))
        one.release()
    single = len(workdirs) == 1
    title = runs[0].name if single else f"{len(workdirs)} runs"
    nets = {f"{one.config.net.name} on {one.config.data.name}": None for one in subjects}
    text = page.html(title, ", ".join(nets), together, runs, command, single)
    figures = page.pngs(together, runs)
    folder = page.write(output, text, figures)
    for where, parts in [("", together), *((f"{one.name}: ", one.parts) for one in runs)]:
        for part in (part for part in parts if part.missing):
            print(f"left out: {where}{part.title}: {part.missing}", file=sys.stderr)
    print(f"{output} ({len(text) / 1e6:.1f} MB), and {counted(len(figures), 'figure')} in {folder}")


def runs_in(path: Path) -> list[Path]:
    """The runs in a folder, or the folder if it is a run. Raises UserError if there is none."""
    from alexnet.results import folders
    from alexnet.results.file import from_file
    from alexnet.workdir import record

    found = folders.workdirs(path)
    if not found:
        if not path.exists():
            raise UserError(f"{path}: no such folder")
        if path.is_dir() and any(map(from_file, path.rglob("*.json"))):
            raise UserError(f"{path} holds result files, not runs: alexnet compare shows them")
        record.saved_config(path)  # raises: this is no run
    return found


def names(dirs: Sequence[Path]) -> list[str]:
    """The folders' names if these tell the runs apart, else their paths, without a common part."""
    last = [workdir.name for workdir in dirs]
    if all(last) and len({*last}) == len(last):
        return last
    whole = [os.path.abspath(workdir) for workdir in dirs]
    common = os.path.commonpath(whole)
    return [os.path.relpath(path, common) for path in whole]


def own(subject: "Subject", wanted: Sequence[str]) -> list["Part"]:
    """The parts of one run."""
    from alexnet.reports import about, pictures
    from alexnet.reports.part import made

    makers = {
        "filters": ("Filters (Figure 3)", pictures.filters),
        "predictions": ("Predictions (Figure 4, left)", pictures.predictions),
        "neighbours": ("Neighbours (Figure 4, right)", pictures.neighbours),
        "mistakes": ("Mistakes", pictures.mistakes),
        "surest": ("Surest mistakes", pictures.surest),
        "net": ("Net", about.net_part),
        "config": ("Config", about.config_part),
        "provenance": ("Provenance", about.provenance_part),
    }
    parts = []
    for title, make in (makers[name] for name in OWN if name in wanted):
        print(f"{subject.workdir}: {title} ...", file=sys.stderr, flush=True)
        parts.append(made(title, functools.partial(make, subject)))
    return parts


if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
