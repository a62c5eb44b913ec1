"""Compares runs: what differs, by how much, and what that says about the paper's claims.

    python -m alexnet.compare DIR [DIR ...] [--metric=last|best] [--baseline=ARM]
        [--error=top1|top5] [--format=text|markdown|csv|json]
        [--experiment=experiments/lrn.py:small] [--collect=experiments/results/NAME]

DIR is the workdir of a sweep or a run, or a folder of runs or result files. An experiment compares
arms: configs that differ in a few settings. A run belongs to the arm that has its config, whatever
the run is called. The experiments are those recorded by the sweeps in DIR, or those named with
--experiment. By default, errors are those of the last checkpoint: on CIFAR-10 the best one was
chosen on the test set, which serves as the validation set. Failed runs are named, but not counted.

A pair is a run of the arm and one of the baseline with the same seed; an average of nets is
compared with the mean error of its members that are runs of the baseline, and an evaluation of
another arm with the baseline's evaluation of the same views, if there is one. A verdict rests on
the 95% interval of the mean difference in the pairs. It is "supported" if the interval lies on the
claim's side of 0, "contradicted" if it does not and excludes the claimed effect or, if only a
direction is claimed, lies on the other side of 0, else "cannot tell". A claimed error, such as 26%,
is rounded: it is "supported" if no part of the interval of the runs' mean lies more than half a
point above it, "contradicted" if all of it does, else "cannot tell".

There is no verdict while a run of the arm or of the baseline has begun and not finished. The
verdict is always "cannot tell" with fewer than 5 pairs (or runs), with too few to show the
claimed effect (or 1 point), if a run that it needs diverged or never reached the training error, if
averages share nets, or if the experiment says that its scale cannot test the claim. With
--baseline, only claimed errors get verdicts in the experiments that have this arm: the other claims
are about an experiment's own baseline.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from alexnet.cli import path, run, split
from alexnet.comparison import arms, comparison, formats
from alexnet.errors import UserError, choice, local_path
from alexnet.results import file, folders
from alexnet.sweeps import definition, plan
from alexnet.sweeps.experiment import Experiment
from alexnet.text import counted, some

OPTIONS = {
    "metric": ("last", "the errors of the last checkpoint, or of the best: last, best"),
    "error": ("top1", "which error to compare, and the claims about it to judge: top1, top5"),
    "baseline": ("", "the arm to compare with; by default the experiment's first"),
    "format": ("text", "text, markdown, csv or json"),
    "experiment": ("", "the runs' experiments, FILE[:SCALE] or a folder, separated by commas"),
    "collect": ("", "a folder to keep the results in: a JSON file for each run"),
}
FORMATS = {
    "text": formats.text,
    "markdown": formats.markdown,
    "csv": formats.as_csv,
    "json": formats.as_json,
}


def main(argv: Sequence[str]) -> None:
    """Reads, compares and prints."""
    places, options = split(argv, OPTIONS)
    for name, allowed in (
        ("metric", ("last", "best")),
        ("error", ("top1", "top5")),
        ("format", tuple(FORMATS)),
    ):
        choice(name, options[name], allowed)
    if not places:
        raise UserError("which runs? such as alexnet compare runs/lrn")
    paths = [local_path("DIR", place) for place in places]
    found = folders.read(paths)
    named = options["experiment"]
    planned = definition.named(named.split(",")) if named else folders.recorded(paths)
    metric = options["metric"]
    tables = comparison.tables(found.every, planned, metric, options["baseline"], options["error"])
    print(FORMATS[options["format"]](tables, metric))
    files = [text for text in named.split(",") if text and not Path(text).is_dir()]
    for one in definition.named(files):  # in a folder, most have no runs here
        if why := arms.stranger(found.every, one):
            print(f"no run belongs to {one.source}: {why}", file=sys.stderr)
    failed = [one.name for one in found.failed] + found.lost
    for names, why in ((found.unfinished, "have not finished"), (failed, "failed")):
        if names:
            print(f"left out, as they {why}: {some(names, 3)}", file=sys.stderr)
    if options["collect"]:
        collect(found, planned, path("collect", options["collect"]))


def collect(found: folders.Found, planned: Sequence[Experiment], target: Path) -> None:
    """Writes results and their experiments to a folder that can be committed."""
    written = file.collect(found.results + found.failed, target)
    for one in planned:
        plan.save(one, 0, target)
    print(f"{counted(len(written), 'result')} in {target}", file=sys.stderr)


if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
