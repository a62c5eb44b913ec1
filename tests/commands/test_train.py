"""Mistakes in the commands' arguments."""

import subprocess
import sys

import pytest
from support.tiny import ROOT

from alexnet import evaluate
from alexnet.errors import UserError


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "error: which config?"),
        pytest.param(["--config=configs/nothing.py"], "no such file", marks=pytest.mark.slow),
        pytest.param(
            ["--config=configs/digits.py"], "--workdir is missing", marks=pytest.mark.slow
        ),
        (
            ["--config=configs/digits.py", "--workdir=x", "--config.epoch=1"],
            "--config.epoch: the config has no",
        ),
    ],
)
def test_the_command_ends_with_status_2_and_one_line(argv, message):
    command = [sys.executable, "-m", "alexnet.train", *argv]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True)
    assert done.returncode == 2
    assert done.stdout == ""
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--workdir=/nowhere"], "holds no run"),
        ([], "--workdir is missing"),
        (["--workdir=x", "--view=centre"], "did you mean 'views'"),
        (["--workdir=x", "--views=eleven"], "choose one of centre, ten_crop"),
        (["--workdir=x", "--checkpoint=first"], "choose best, last or a step"),
    ],
)
def test_mistakes_in_evaluate(argv, message):
    with pytest.raises(UserError, match=message):
        evaluate.main(argv)
