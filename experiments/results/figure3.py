"""Draws Figure 3 from conv1's filters of the runs on Imagenette, for light and for dark pages.

python experiments/results/figure3.py            # writes the figure if the filters have changed
python experiments/results/figure3.py --check    # exit status 1 if the figure is out of date
"""

import sys
from pathlib import Path

import drawing
import numpy as np

from alexnet.cli import run
from alexnet.figures import figure_3

FILTERS = Path(__file__).parent / "h100_2/filters.npz"  # {arm: conv1's kernel [T, H, W, C, O]}
SHOWN = "baseline"


def main(argv: list[str]) -> None:
    """Writes the figure, or checks that it is up to date."""
    kernel_THWCO = np.load(FILTERS)[SHOWN]
    drawing.write(
        argv,
        "figure3",
        kernel_THWCO.tobytes(),
        lambda empty: figure_3.draw(empty, kernel_THWCO),
        figure_3.height(kernel_THWCO),
    )


if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
