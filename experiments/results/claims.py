"""Draws the measured claims of the paper, for light and for dark pages.

These are the claims about a difference from a baseline of which at least two pairs of runs say
something, in the order of the page on the claims.

python experiments/results/claims.py            # writes the figure if the results have changed
python experiments/results/claims.py --check    # exit status 1 if the figure is out of date
"""

import json
import sys

import drawing
import pages
from matplotlib.figure import Figure

from alexnet.cli import run
from alexnet.comparison import comparison
from alexnet.comparison.table import Table
from alexnet.figures import ablation
from alexnet.figures.ablation import Arm
from alexnet.reports.ablation import drawn_arm

CLAIM = 0.36  # inches


def main(argv: list[str]) -> None:
    """Writes the figure, or checks that it is up to date."""
    planned, found = pages.everything()
    tables = comparison.tables(found, planned)
    points, factors = (measured([one for one in tables if one.ratio == it]) for it in (False, True))

    def draw(figure: Figure) -> None:
        parts = figure.subplots(2, 1, height_ratios=[len(points) + 1, len(factors) + 1])
        ablation.differences(parts[0], points)
        ablation.differences(parts[1], factors, epochs=True)
        parts[1].set_xscale("log", base=2)
        parts[1].xaxis.set_major_formatter("{x:g}")

    numbers = json.dumps([points, factors]).encode()
    drawing.write(argv, "claims", numbers, draw, CLAIM * (len(points) + len(factors) + 3))


def measured(tables: list[Table]) -> list[Arm]:
    """The claims that have an interval."""
    found: dict[tuple[str, ...], list[Arm]] = {}
    for table in tables:
        for row in table.rows:
            if row.has_target or not (row.claim and row.verdict and row.against):
                continue
            if row.against.n > 1:
                scale = table.experiment.scale
                name = row.claim.claim + (f", {scale}" if scale != "small" else "")
                known = found.setdefault((table.experiment.name, row.arm), [])
                known.append(drawn_arm(table, row, name))
    return [arm for row in pages.ROWS for arm in found.get(row, ())]


if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
