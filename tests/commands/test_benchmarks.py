"""experiments/benchmarks/convolutions.py, as a user runs it."""

import subprocess
import sys

import pytest
from support.tiny import ROOT

from alexnet.models import table
from alexnet.models.build import build


def convolutions(*arguments: str) -> subprocess.CompletedProcess:
    script = ROOT / "experiments/benchmarks/convolutions.py"
    line = [sys.executable, str(script), *arguments]
    return subprocess.run(line, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.slow
def test_every_convolution_of_a_net_has_its_work_and_rates():
    done = convolutions("--net=80sec", "--images=64", "--rounds=1")
    assert done.returncode == 0, done.stderr
    layers = build("cifar_80sec", classes=10).layers
    expected = {
        layer.row.name: f"{2 * 64 * layer.multiply_adds / 1e9:.1f}"
        for layer in layers
        if isinstance(layer.row, table.Conv)
    }
    _, _, *lines = done.stdout.splitlines()
    assert {line.split()[0]: line.split()[1] for line in lines} == expected
    rates = [[cell for cell in line.split()[2:] if cell not in "/-"] for line in lines]
    assert [len(cells) for cells in rates] == [4, 6, 6]  # images need no gradient
    assert all(int(cell) > 0 for cells in rates for cell in cells)


@pytest.mark.slow
def test_an_unknown_net_is_one_line():
    done = convolutions("--net=80sek")
    assert done.returncode == 2
    assert done.stderr == "error: --net: no net '80sek'; did you mean '80sec'?\n"
