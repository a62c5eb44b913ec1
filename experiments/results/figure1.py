"""Draws Figure 1 from the results in experiments/results, for light and for dark pages.

python experiments/results/figure1.py            # writes the figure if the results have changed
python experiments/results/figure1.py --check    # exit status 1 if the figure is out of date
"""

import json
import sys
from pathlib import Path

import drawing

from alexnet.cli import run
from alexnet.figures import figure_1
from alexnet.results import curve, folders
from alexnet.results.result import Result, matches
from alexnet.sweeps import definition

RESULTS = Path(__file__).parent
GOAL = 0.25  # training error
NETS = {"relu": "ReLU", "tanh": "tanh"}  # the prefix of an arm's name: its net


def main(argv: list[str]) -> None:
    """Writes the figure, or checks that it is up to date."""
    shown = racers(folders.read([RESULTS]).results)
    numbers = json.dumps(shown).encode()
    drawing.write(
        argv, "figure1", numbers, lambda empty: figure_1.draw(empty, shown, GOAL), height=2.8
    )


def racers(found: list[Result]) -> dict[str, list[figure_1.Points]]:
    """The runs of Figure 1; until both nets have some, each net's fastest of the search."""
    chosen = raced(found, "small")
    if len(chosen) < len(NETS):
        searched = raced(found, "search")
        chosen = {}
        for net in NETS:
            arms = [name for name in searched if name.startswith(net)]
            fastest = min(arms, key=lambda name: speed(searched[name][0]))
            chosen[fastest] = searched[fastest]
    return {
        f"{NETS[name[:4]]}, rate {runs[0].config['schedule.rate']:g}": [
            curve.training_errors(run) for run in runs
        ]
        for name, runs in chosen.items()
    }


def raced(found: list[Result], scale: str) -> dict[str, list[Result]]:
    """The runs of each arm; arms without runs are left out."""
    arms = definition.load(f"{RESULTS.parent}/relu_tanh.py:{scale}").arms
    runs = {name: [run for run in found if matches(run, arm)] for name, arm in arms.items()}
    return {name: several for name, several in runs.items() if several}


def speed(run: Result) -> tuple[float, float]:
    """Sort key, smaller is faster: epochs to the goal, then the lowest training error."""
    errors = [error for _, error in curve.training_errors(run)]
    return curve.epochs_to(run, GOAL) or float("inf"), min(errors)


if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
