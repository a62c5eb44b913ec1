"""Writes experiments/README.md from the results in experiments/results.

python experiments/readme.py            # writes it
python experiments/readme.py --check    # exit status 1 if it is not what would be written
"""

import sys
from pathlib import Path

from alexnet.cli import run
from alexnet.errors import UserError
from alexnet.sweeps import comparison, experiment, formats, results
from alexnet.sweeps.comparison import Row, Table
from alexnet.sweeps.experiment import DEMONSTRATION, Experiment

HERE = Path(__file__).parent
RESULTS = HERE / "results"
# The rows of the paper and the source, in the paper's order: (experiment, arm), or a row that no
# experiment is behind: (claim, paper, log, why).
ROWS = (
    (
        "Table 1, ILSVRC-2010 test, ten-crop",
        "37.5 / 17.0",
        "145-2010: 37.4727 / 16.9987",
        "not run (`configs/ilsvrc2010.py`)",
    ),
    (
        "the same, centre",
        "39.0 / 18.3",
        "145-2010: 39.0247 / 18.2953",
        "not run",
    ),
    ("ten_crop", "ten_crop"),
    (
        "Table 1, others",
        "sparse coding 47.1 / 28.2; SIFT + FVs 45.7 / 25.7",
        "",
        "other methods",
    ),
    (
        "Table 2, 2012 validation, one CNN",
        "40.7 / 18.2",
        "145: 40.6640 / 18.2100",
        "not run (`configs/imagenet.py`)",
    ),
    ("ensembles", "five_nets"),
    ("pretraining", "fine_tuned"),
    ("pretraining", "seven_nets"),
    ("Table 2, other", "SIFT + FVs, test top-5 26.2", "", "another method"),
    (
        "ImageNet Fall 2009, 10,184 classes",
        "67.4 / 40.9",
        "",
        "not run (`configs/imagenet.py:six_conv` on a folder)",
    ),
    ("two_gpus", "one_gpu"),
    ("lrn", "no_lrn"),
    ("lrn_cifar10", "no_norm"),
    ("overlapping_pooling", "no_overlap"),
    ("communication", "no_communication"),
    ("colour_noise", "no_colour_noise"),
    ("crops_and_flips", "no_crops"),
    ("crops_and_flips", "no_flips"),
    ("crops_and_flips", "neither"),
    ("depth", "no_conv2"),
    ("depth", "no_conv3"),
    ("depth", "no_conv4"),
    ("depth", "no_conv5"),
    ("depth", "sixth_conv"),
    ("relu_tanh", "tanh"),
    ("dropout", "no_dropout"),
    ("dropout_iterations", "no_dropout"),
    ("single_tower", "one_tower"),
    ("presets", "paper"),
    ("initial_weights", "init_original"),
    ("initial_weights", "init_paper"),
    ("initial_weights", "init_caffe"),
    ("cuda_convnet", "80sec"),
    ("cuda_convnet", "19pct"),
    ("cuda_convnet", "18pct"),
    ("cuda_convnet", "nine_crop_conv_local_13pct"),
    ("cuda_convnet", "nine_crop_conv_local_11pct"),
    (
        "Figure 3, 96 filters of conv1",
        "one tower without colour, one with, in every run",
        "",
        "a figure",
    ),
    ("Figure 4", "top-5 of 8 images; 6 nearest by fc7", "", "a figure"),
    ("training time", "5 to 6 days, about 90 epochs, two GTX 580", "", "not run"),
)
HEAD = """\
# The paper's claims, and what came out here

Written by `python experiments/readme.py` from the results in `experiments/results`: do not edit it.
Errors are top-1 / top-5 in per cent in the columns of the paper and of the comments in the authors'
2012 source ("log"); ours are top-1 of the last checkpoint. A difference is the arm's error less the
baseline's in points, the mean over pairs of runs with the same seed, with its 95% interval
(Student's t). "Can show" is the smallest true difference that so many pairs of this spread would
show, in 80% of such experiments, at the 5% level. The verdict is computed: *supported* if the
interval lies on the claim's side of 0, *contradicted* if it does not and the claimed effect is
outside of it, else *cannot tell*; always that with fewer than 5 pairs, or if they can show less
than the claim. Most claims are about ImageNet, where nothing was run here; a verdict is about the
dataset beside it. `alexnet compare experiments/results` has the details.

| claim | paper | 2012 log | ours |
| --- | --- | --- | --- |
"""
TAIL = """
Each claim is a file in this folder, at up to three scales: `digits` (embedded data, minutes, a
demonstration without verdicts), `small` (two CPU cores, hours) and `full` (ImageNet):

    python -m alexnet.sweep experiments/lrn.py:digits --workdir=runs/digits
    python -m alexnet.compare runs/digits
"""


def main(argv: list[str]) -> None:
    """Writes the page, or checks it."""
    target = HERE / "README.md"
    if argv == ["--check"]:
        if target.read_text() != page():
            sys.exit("experiments/README.md: run python experiments/readme.py")
    elif argv:
        raise UserError(f"stray argument {argv[0]!r}: only --check")
    else:
        target.write_text(page())


def page() -> str:
    """The whole README."""
    planned = experiments()
    found = results.read([RESULTS]).results
    tables = comparison.tables(found, planned)
    lines = [row if len(row) == 4 else claimed(*row, planned, tables) for row in ROWS]
    text = HEAD + "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
    if chance := formats.chance(tables):
        text += f"\n{chance}\n"
    if others := [table for table in tables if not table.experiment.claims]:
        text += f"\nOf no claim by themselves:\n\n{formats.markdown(others, 'last')}\n"
    return text + TAIL


def claimed(name: str, arm: str, planned: list[Experiment], tables: list[Table]) -> tuple[str, ...]:
    """The cells of an experiment's row."""
    claim = next(one.claims[arm] for one in planned if one.name == name and arm in one.claims)
    ours = [
        told(table, row)
        for table in tables
        if table.experiment.name == name
        for row in table.rows
        if row.arm == arm and row.claim
    ]
    return f"[{claim.claim}]({name}.py)", claim.paper, claim.log, "<br>".join(ours) or "not run"


def told(table: Table, row: Row) -> str:
    """What came out at one scale."""
    first, ratio = table.rows[0], table.ratio
    runs = f"{table.dataset}, `{table.experiment.scale}`, n = {len(row.values)}"
    said = f"{runs}: {formats.value_of(row)}"
    if row.claim.target is None:
        said += f", {first.arm} {formats.value_of(first)}" if first.arm != row.arm else ""
    if row.against is not None:
        said += f"; {'factor' if ratio else 'difference'} {formats.difference_of(row, ratio)}"
    if smallest := formats.smallest_of(row, ratio):
        said += f", can show {smallest}"
    notes = "".join(f" ({note})" for note in table.notes)
    verdict = row.verdict or ("no pairs yet" if row.against is None else "no number is claimed")
    return f"{said}: *{verdict}*{notes}"


def experiments() -> list[Experiment]:
    """All of them at all scales but the demonstration."""
    names = dict.fromkeys(row[0] for row in ROWS if len(row) == 2)
    return [
        experiment.load(f"{HERE / name}.py:{scale}")
        for name in names
        for scale in experiment.scales(HERE / f"{name}.py")
        if scale != DEMONSTRATION
    ]


if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
