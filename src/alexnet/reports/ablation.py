"""Several runs as arms of an ablation: the tables of `alexnet compare`, with figures."""

from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from alexnet.comparison import comparison, formats
from alexnet.comparison.arms import placed
from alexnet.comparison.table import Row, Table
from alexnet.figures import ablation as figures
from alexnet.figures.style import Drawing, drawn
from alexnet.reports.part import Part, Shown
from alexnet.reports.part import Table as Shape
from alexnet.results import folders
from alexnet.results.run import from_workdir
from alexnet.sweeps.experiment import Experiment
from alexnet.text import said


def arms(workdirs: Sequence[Path], experiments: Sequence[Experiment] = ()) -> dict[Path, str]:
    """{workdir of a validated run: its arm's overrides or name}, a baseline before its arms."""
    planned = experiments or folders.recorded(workdirs)
    found = {path: from_workdir(path, begun=True) for path in workdirs}
    paths = {id(result): path for path, result in found.items()}
    named: dict[Path, str] = {}
    every = placed([one for one in found.values() if one.counts or one.failure], planned)
    for experiment, runs in every:
        source = f"{experiment.source}: " if len(every) > 1 and experiment.source else ""
        for name, several in runs.items():
            label = source + (said(experiment.arms[name].overrides) or name)
            for result in sorted(several, key=lambda one: bool(one.failure)):  # failed ones last
                named.setdefault(paths[id(result)], label)
    return named


def part(paths: Sequence[Path], experiments: Sequence[Experiment] = ()) -> Part:
    """The tables and their figures; the experiments are by default those that sweeps recorded."""
    found = folders.read(paths, begun=True)
    planned = experiments or folders.recorded(paths)
    tables = comparison.tables(found.every, planned)
    shown = []
    for number, table in enumerate(tables):
        which = f"_{number + 1}" if number else ""
        title = table.experiment.title if len(tables) > 1 else ""
        shown += _figures(table, which, f"{title} " if title else "")
    text = formats.legends(tables, "last")
    text += [f"Note: {note}." for table in tables for note in table.notes]
    text += [f"Note: {path} failed: left out." for path in found.lost]
    text += [line] if (line := formats.chance(tables)) else []
    made = [_shape(table) for table in tables]
    return Part(text="\n".join(text), figures=shown, tables=made)


def _figures(table: Table, which: str, title: str) -> list[Shown]:
    found = [drawn_arm(table, row, said(row.overrides)) for row in table.rows if row.known]
    if not found:
        return []
    height, values = figures.height(found), "Epochs" if table.ratio else "Errors"
    reached = " that reached the training error" if table.ratio else ""
    factors = "Factors relative to" if table.ratio else "Differences from"
    compared = "the first arm" + " or a claimed error" * any(row.has_target for row in table.rows)

    def drawing(draw: Callable[[Figure, Sequence[figures.Arm], bool], None]) -> Drawing:
        return drawn(lambda figure: draw(figure, found, table.ratio), height)

    shown = [
        Shown(
            f"errors{which}",
            f"{title}{values} of all runs{reached}, and their means",
            drawing(figures.draw_values),
        )
    ]
    if any(arm.difference is not None for arm in found):
        title = f"{title}{factors} {compared}, and 95% intervals"
        shown.append(Shown(f"differences{which}", title, drawing(figures.draw_differences)))
    return shown


def drawn_arm(table: Table, row: Row, name: str) -> figures.Arm:
    """A row of a table as the figures show it; a row without a `name` has its arm's."""
    arm = figures.Arm(name or row.arm, row.known, verdict=row.verdict)
    if table.experiment.judges:
        arm = arm._replace(claimed=table.effect(row))
    if row.against is None:
        return arm
    n, mean, _, low, high, _ = row.against
    return arm._replace(difference=mean, low=low, high=high, pairs=n)


def _shape(table: Table) -> Shape:
    """A table for the page, with a column for the arms' overrides."""
    (arm, *head), *lines = formats.cells(table)
    rows = [
        (name, said(row.overrides), *rest)
        for row, (name, *rest) in zip(table.rows, lines, strict=True)
    ]
    title = ": ".join(part for part in (table.dataset, table.experiment.title) if part)
    return Shape((arm, "overrides", *head), rows, words=2, title=title)
