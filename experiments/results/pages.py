"""Writes the pages that show the results in experiments/results.

These are experiments/README.md, and a table in README.md and README.ko.md.

python experiments/results/pages.py            # writes the pages
python experiments/results/pages.py --check    # exit status 1 if a page is out of date
"""

import dataclasses
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from alexnet.cli import run
from alexnet.comparison import comparison, formats
from alexnet.comparison.table import Row, Table
from alexnet.errors import UserError
from alexnet.models.filters import colour_selectivity
from alexnet.results import folders
from alexnet.results.result import Result
from alexnet.sweeps import definition
from alexnet.sweeps.experiment import Experiment

RESULTS = Path(__file__).parent
HERE = RESULTS.parent
ROOT = HERE.parent
BEGIN, END = "<!-- written by experiments/results/pages.py -->\n", "<!-- until here -->\n"
FIGURE_3 = "Figure 3, 96 filters of conv1"
# Of scale `imagenette`: {arm: conv1's kernel [T, H, W, C, O]}
FILTERS = RESULTS / "h100_2/filters.npz"
COLOURLESS = 0.1  # a tower of lower colour selectivity counts as colourless
# The rows of the paper and the source: (experiment, arm), or, for a row without an experiment,
# (claim, paper, log, reason). The tables come first, then the changes of the net and of training.
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
        "67.4 / 40.9; best before 78.1 / 60.9",
        "",
        "not run (`configs/imagenet.py:fall_2009`)",
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
    ("weight_decay", "no_decay"),
    ("single_tower", "one_tower"),
    ("single_tower", "cc2"),
    ("presets", "paper"),
    ("initial_weights", "init_original"),
    ("initial_weights", "init_paper"),
    ("initial_weights", "init_caffe"),
    ("cuda_convnet", "80sec"),
    ("cuda_convnet", "19pct"),
    ("cuda_convnet", "18pct"),
    ("cuda_convnet", "ten_crop_conv_local_13pct"),
    ("cuda_convnet", "ten_crop_conv_local_11pct"),
    ("cuda_convnet", "ten_crop_19pct_translations"),
    (FIGURE_3, "one tower without colour, one with, in every run", "", ""),
    ("Figure 4", "top-5 of 8 images; 6 nearest by fc7", "", "of any run: `alexnet report DIR`"),
    ("training time", "5 to 6 days, about 90 epochs, two GTX 580", "", "not measured"),
)
# The rows of the front pages, with their names in README.ko.md.
FRONT = {
    ROWS[0][0]: "표 1: ILSVRC-2010 시험, 크롭 10개",
    ROWS[4][0]: "표 2: 2012 검증, CNN 하나",
    "ten_crop/ten_crop": "중앙 대신 크롭 10개 (4.1)",
    "ensembles/five_nets": "표 2: CNN 다섯 개의 앙상블",
    "relu_tanh/tanh": "그림 1: 훈련 오류율 25%까지의 에폭, ReLU 대비 tanh",
    "two_gpus/one_gpu": "GPU 한 장, 커널 절반 (3.2)",
    "lrn/no_lrn": "LRN 없음 (3.3)",
    "overlapping_pooling/no_overlap": "중첩 없는 풀링 (3.4)",
    "colour_noise/no_colour_noise": "색 잡음 없음 (4.1)",
    "dropout/no_dropout": "드롭아웃 없음 (4.2)",
    "depth/no_conv4": "conv4 없음 (7)",
    "cuda_convnet/80sec": "cuda-convnet 80sec, CIFAR-10",
    "cuda_convnet/19pct": "cuda-convnet 19pct, CIFAR-10",
    "cuda_convnet/18pct": "cuda-convnet 18pct, CIFAR-10",
}
EIGHT = range(8, 16)  # the seeds of most arms at `small`
HEAD_KO = "| 주장 | 논문 | 2012년 기록 | 이 프로젝트 |"
KOREAN = {
    "not run": "미실행",
    "only `search` has run": "`search`만 실행",
    "worse by more than 1": "+1 초과",
    "worse by about ": "약 +",
    "worse by ": "+",
    "substantial overfitting": "심한 오버피팅",
    "2010 test": "2010 시험",
    "test top-5": "시험 top-5",
    " pairs with this spread could show the claimed effect": (
        "쌍이면 같은 산포에서 주장한 차이를 검출 가능"
    ),
    " runs with this spread could show a difference of one point": (
        "회 실행이면 같은 산포에서 1%p를 검출 가능"
    ),
    ": a verdict needs 5 pairs": ": 판정에는 다섯 쌍이 필요",
    ": a verdict needs 5 runs": ": 판정에는 실행 다섯 번이 필요",
    ": larger than claimed": ": 주장보다 큼",
    ": smaller than claimed": ": 주장보다 작음",
    ", one ": ", 하나 ",
    ", centre ": ", 중앙 ",
    "baseline ": "기준 ",
    "difference ": "차이 ",
    "factor ": "배수 ",
    "so far only": "지금까지",
    "8 epochs are too few to overfit": "8에폭은 오버피팅을 보기에 너무 짧음",
    " epochs": "에폭",
    "detectable ": "검출 가능 ",
    "*supported*": "*뒷받침됨*",
    "*contradicted*": "*반박됨*",
    "*cannot tell*": "*알 수 없음*",
    "*no pairs yet*": "*아직 쌍 없음*",
    " with seed 0 diverged or never reached a training error of 0.25": (
        ", 시드 0: 발산했거나 훈련 오류율 0.25에 이르지 못함"
    ),
}
HEAD = """\
# The paper's claims and this project's results

`python experiments/results/pages.py` writes this page from `experiments/results`; do not edit it.

- **Errors** are in per cent: top-1 / top-5 for the paper and the log, over ten crops unless marked
  *centre* (also cuda-convnet's 13, 11 and 14.2%). Ours are top-1 of the last checkpoint, over the
  centre crops of the validation images (on CIFAR-10, its test images) unless a row says otherwise
  (mean ± standard deviation over n runs, each with its own seed; for five or seven CNNs, over n
  averages). A row that counts epochs instead says so. The log is the comments in the authors' 2012
  source, by run; 145 is the main run. For cuda-convnet's nets it is what their web pages (for
  19pct, its files) report.
- **Net:** at scale `small`, a pocket AlexNet (28x28 crops, a quarter to a third of the kernels)
  that trains on CIFAR-10 for 8 epochs (`configs/cifar10.py:pocket`); in Figure 1, in the four-layer
  net's row and in their own rows, cuda-convnet's nets. `thumbnails` is the pocket net on Imagenette
  (9,469 photos of ten of ImageNet's classes), stored at 32 pixels, for 20 epochs. `imagenette` is
  the authors' full net on Imagenette for 30 epochs, with products in TF32; its photos, of 160
  pixels, are enlarged to 256. `full` is that net on ImageNet.
- **Difference:** the arm's error minus the baseline's, in points. It is the mean over pairs of runs
  with the same seed, with its 95% interval (Student's t). The baseline's error is over the
  same pairs; an arm's run without a partner counts only in the arm's error. An average of nets is
  compared with the mean error of its members that are runs of the baseline. For cuda-convnet's
  nets, the difference is the mean error minus the published one. {shared}
- **Detectable:** the smallest true difference (the factor nearest to 1) that this number of pairs,
  with this spread, would show in 80% of such experiments at the 5% level.
- **Verdict:** *supported* if the interval lies on the claim's side of 0 (a factor's, of 1),
  whatever the claimed size; a remark says if it excludes that size, given how it is rounded or
  worded ("about 2" is 1.5 to 2.5). *Contradicted* if it does not lie there and excludes the claimed
  size or, if only a direction is claimed, lies on the other side. Otherwise *cannot tell*. So a
  small true effect is *supported* with many pairs, and with few *contradicted*, as smaller than
  claimed. A published error counts as rounded to a point (14.2% is given to a tenth): *supported*
  if no part of the interval, and *contradicted* if all of it, lies more than half a point above it.
- **Always *cannot tell*:** with fewer than 5 pairs, or if they cannot show an effect as small as
  the claim (for a published error: 5 runs, a difference of 1 point); if a run that the row needs
  diverged or never reached the training error; if averages share nets; or if the training cannot
  test the claim: a remark then says why.
- **Changed after the runs:** these trainings no longer count as tests of dropout (before,
  *contradicted*), of crops and reflections (before, *cannot tell*) and of dropout's iterations
  (before, *supported*). conv5 is judged by its direction alone; by the 2 points claimed of the
  middle layers, it was *contradicted*. Their files say why. How claimed sizes are rounded was added
  as well: without that, ten crops and conv2 had the remark "larger than claimed". The differences
  are as they were.

Most claims are about ImageNet, on which this project has run nothing; a verdict holds for the
net, the dataset and the training in its row. The details:
`alexnet compare experiments/results --experiment=experiments`. [results](results/README.md) says
where and in which order the runs were made.

<picture>
  <source media="(prefers-color-scheme: dark)" srcset="results/claims-dark.png">
  <img src="results/claims.png" width="480"
       alt="Measured differences, their 95% intervals and the claimed ones, as in the table">
</picture>

The claims about a difference that at least two pairs of runs have measured: the mean difference,
its 95% interval and, as a diamond, the claimed one.

| claim | paper | 2012 log | ours |
| --- | --- | --- | --- |
"""
TOP5 = """
The rows above judge the top-1 half of each claim. The same rules for the top-5 half, with the same
runs (`--error=top5`): with ten classes the top-5 error is low, so its differences are small.

| claim | claimed, top-5 | ours | difference | detectable | verdict |
| --- | --- | --- | --- | --- | --- |
"""
TAIL = """
<picture>
  <source media="(prefers-color-scheme: dark)" srcset="results/figure3-dark.png">
  <img src="results/figure3.png" width="600" alt="48 small filters in each of two towers">
</picture>

Figure 3 of the paper, here conv1's filters after 30 epochs on Imagenette (the baseline). Beside
each tower is its colour selectivity: the share of a filter's energy that is not grey, averaged over
the tower's filters, so that noisy filters count as much as strong ones
(`src/alexnet/models/filters.py`). Many filters still have noise from the initial weights.

Each claim with a link has a file in this folder. Most files have three scales: `digits` (included
data, minutes; a demonstration without verdicts), `small` (hours on two CPU cores) and `full`
(ImageNet):

    python -m alexnet.sweep experiments/lrn.py:digits --workdir=runs/digits
    python -m alexnet.compare runs/digits
"""


def main(argv: list[str]) -> None:
    """Writes the pages, or checks that they are up to date."""
    if argv not in ([], ["--check"]):
        raise UserError(f"stray argument {argv[0]!r}: only --check")
    stale = {path: text for path, text in pages().items() if path.read_text() != text}
    if argv and stale:
        names = ", ".join(str(path.relative_to(ROOT)) for path in stale)
        sys.exit(f"{names}: run python experiments/results/pages.py")
    for path, text in stale.items():
        path.write_text(text)
        print(f"wrote {path.relative_to(ROOT)}")


def pages() -> dict[Path, str]:
    """The text that each page should have."""
    planned, found = everything()
    tables = comparison.tables(found, planned)
    tops = comparison.tables(found, planned, error="top5")
    cells = {"/".join(row): claimed(*row, planned, tables) for row in ROWS if len(row) == 2}
    cells[FIGURE_3] = (*next(row for row in ROWS if row[0] == FIGURE_3)[:3], specialised())
    lines = {row[0]: row for row in ROWS if len(row) == 4} | cells
    front = {
        ROOT / "README.md": [lines[key] for key in FRONT],
        ROOT / "README.ko.md": [renamed(lines[key], name) for key, name in FRONT.items()],
    }
    made = {HERE / "README.md": page([cells.get(_key(row), row) for row in ROWS], tables, tops)}
    for path, rows in front.items():
        before, begin, rest = path.read_text().partition(BEGIN)
        _, end, after = rest.partition(END)
        if not end:
            raise UserError(f"expected {BEGIN.strip()} and {END.strip()}", str(path))
        made[path] = before + begin + table_of(rows, path.stem == "README.ko") + end + after
    return made


def everything() -> tuple[list[Experiment], list[Result]]:
    """All experiments and all results, failed runs among them."""
    found = folders.read([RESULTS])
    return definition.named([str(HERE)]), found.results + found.failed


def _key(row: tuple[str, ...]) -> str:
    """The name of a row: its experiment and arm, or its claim."""
    return "/".join(row) if len(row) == 2 else row[0]


def specialised() -> str:
    """How much the towers of each run respond to colour."""
    found = {arm: colour_selectivity(kernel) for arm, kernel in np.load(FILTERS).items()}
    arms = [f"{arm} {' / '.join(f'{one:.2f}' for one in towers)}" for arm, towers in found.items()]
    seen = sum(min(towers) < COLOURLESS for towers in found.values())
    return (
        "imagenette/160px-v2, `imagenette`: colour selectivity of towers 1 / 2 "
        f"(colourless 0, random weights 0.67): {', '.join(arms)}; a tower below {COLOURLESS} in "
        f"{seen} of {len(found)} runs"
    )


def renamed(cells: tuple[str, ...], name: str) -> tuple[str, ...]:
    """The same row with another name and the same link."""
    claim, *rest = cells
    _, link, target = claim.partition("](")
    return (f"[{name}{link}{target}" if link else name, *rest)


def table_of(rows: Sequence[tuple[str, ...]], korean: bool) -> str:
    """The table of a front page; its links start at the project's root."""
    head = HEAD_KO if korean else "| claim | paper | 2012 log | ours |"
    text = head + "\n|---|---|---|---|\n"
    text += "".join(f"| {' | '.join(cells)} |\n" for cells in rows).replace("](", "](experiments/")
    for english, own in KOREAN.items() if korean else ():
        text = text.replace(english, own)
    if korean:
        text = re.sub(r" has (\d+) of the (\d+) planned runs", r": 계획한 \2회 중 \1회", text)
    return text


def by_top5(tables: Sequence[Table]) -> str:
    """The measured claims about the top-5 error, by tables of that error, in the order of ROWS."""
    found = {
        (table.experiment.name, row.arm): (row, table.missed(row))
        for table in tables
        for row in table.rows
        if not table.ratio
        if row.claim and row.claim.effect and row.against and row.against.n > 1
    }
    lines = "".join(
        f"| {row.claim.claim} | {formats.claim_of(row, False)} | {formats.value_of(row)} "
        f"| {formats.difference_of(row, False)} | {formats.smallest_of(row, False)} "
        f"| *{row.verdict}*{missed and f', {missed} than claimed'} |\n"
        for row, missed in (found[key] for key in ROWS if key in found)
    )
    return lines and TOP5 + lines


def page(
    lines: Sequence[tuple[str, ...]], tables: Sequence[Table], tops: Sequence[Table] = ()
) -> str:
    """The text of experiments/README.md.

    Args:
        tops: tables of the top-5 errors.
    """
    text = HEAD.replace("{shared}", shared(tables)) + "".join(
        f"| {' | '.join(cells)} |\n" for cells in lines
    )
    if chance := formats.chance(tables):
        text += f"\n{chance}\n"
    text += by_top5(tops)
    if mixed := [table for table in tables if table.experiment.claims and table.run_notes]:
        text += "\nWhat differs between an experiment's runs, beside arm and seed:\n\n"
        text += "".join(f"- {one.experiment.source}: {'; '.join(one.run_notes)}\n" for one in mixed)
    if others := [table for table in tables if not table.experiment.claims]:
        text += f"\nOther runs, without a verdict:\n\n{formats.markdown(others, 'last')}\n"
    return text + TAIL


def shared(tables: Sequence[Table]) -> str:
    """That most rows have the same baselines."""
    of_nets = (one.rows[0] for one in tables if one.experiment.source == "ensembles.py:small")
    every = next(of_nets, None)
    if every is None or not {*EIGHT} <= every.values.keys():
        return ""
    eight = [every.values[seed] for seed in EIGHT]
    return (
        f"Most rows at `small`\n  have the same eight runs of the baseline (seeds {EIGHT[0]} to "
        f"{EIGHT[-1]}, mean error {np.mean(eight):.2f}%; all {len(every.values)}: "
        f"{every.mean:.2f}%),\n  so their differences err together."
    )


def claimed(name: str, arm: str, planned: list[Experiment], tables: list[Table]) -> tuple[str, ...]:
    """The cells of an experiment's row."""
    claim = next(one.claims[arm] for one in planned if one.name == name and arm in one.claims)
    own = [table for table in tables if table.experiment.name == name]
    ours = [
        told(table, row) for table in own for row in table.rows if row.arm == arm and row.claim
    ] or [
        f"only `{table.experiment.scale}` has run" for table in own if not table.experiment.claims
    ]
    if claim.target is None:
        ours += [partly(table) for table in own if lacks(table, arm)]
    return f"[{claim.claim}]({name}.py)", claim.paper, claim.log, "<br>".join(ours) or "not run"


def lacks(table: Table, arm: str) -> bool:
    """Whether an arm with a claim has not run."""
    return arm in table.experiment.claims and arm not in [row.arm for row in table.rows]


def partly(table: Table) -> str:
    """The results at a scale whose claimed arm has not run."""
    known = ", ".join(f"{row.arm} {formats.value_of(row)}" for row in table.rows)
    return f"{table.dataset}, `{table.experiment.scale}`: so far only {known}"


def told(table: Table, row: Row) -> str:
    """The result at one scale."""
    ratio = table.ratio
    runs = f"{table.dataset}, `{table.experiment.scale}`, n = {formats.count_of(row)}"
    unit = " epochs" if ratio else ""
    said = f"{runs}: {formats.value_of(row)}{unit}"
    if row.claim.target is None:
        known = {seed: value for seed, value in row.base.items() if row.values[seed] is not None}
        base, name = dataclasses.replace(row, values=known), table.experiment.baseline
        said += f", {name} {formats.value_of(base)}{unit}" if known else ""
    if row.against is not None:
        said += f"; {'factor' if ratio else 'difference'} {formats.difference_of(row, ratio)}"
    if smallest := formats.smallest_of(row, ratio):
        said += f", detectable {smallest}"
    needed = {row.arm, *table.experiment.arms[row.arm].of}
    if not row.has_target:
        needed.add(table.experiment.baseline)
    others = tuple(
        f"{other.arm}{next_word}"
        for other in table.rows
        for next_word in (": ", " with ", " has ", " is ", " and ")
        if other.arm not in needed
    )
    notes = "".join(f" ({note})" for note in table.arm_notes if not note.startswith(others))
    verdict = row.verdict or ("no pairs yet" if row.against is None else "no number is claimed")
    return f"{said}: *{verdict}*{notes}"


if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
