"""alexnet train, and mistakes in the arguments of train and of evaluate."""

import subprocess
import sys

import pytest
from support.tiny import ROOT

from alexnet import evaluate, train
from alexnet.errors import UserError
from alexnet.training.settings import load_config
from alexnet.workdir import record


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        pytest.param([], "error: which config?", marks=pytest.mark.slow),
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


@pytest.mark.parametrize("fresh", [True, False])
def test_processes_join_before_anything_is_compiled(tmp_path, monkeypatch, fresh):
    said = []
    monkeypatch.setattr(train.processes, "join", lambda **options: said.append(options))
    monkeypatch.setattr(train.runtime, "cache_compilations", lambda: said.append("cache"))
    monkeypatch.setattr(
        train, "train_and_evaluate", lambda config, workdir, fresh: said.append((workdir, fresh))
    )
    where = {"coordinator": "127.0.0.1:9", "processes": "2", "process": "1", "cpu_devices": ""}
    argv = [f"--config={ROOT}/configs/digits.py", f"--workdir={tmp_path}"]
    argv += [f"--{name}={value}" for name, value in where.items()] + ["--fresh"] * fresh
    train.main(argv)
    assert said == [where, "cache", (tmp_path, fresh)]


def test_without_a_config_the_run_goes_on_with_its_own(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(train, "train_and_evaluate", lambda config, *_, **__: asked.append(config))
    config = load_config(f"{ROOT}/configs/digits.py", {"seed": 7, "net.norm": False})
    record.save_config(config, tmp_path)
    train.main([f"--workdir={tmp_path}", "--config.epochs=3"])
    train.main([f"--workdir={tmp_path}", f"--config={ROOT}/configs/digits.py"])
    assert [(one.seed, one.net.norm, one.epochs) for one in asked] == [(7, False, 3), (0, True, 30)]
    for argv, message in (
        ([f"--workdir={tmp_path / 'empty'}"], "which config"),
        ([f"--workdir={tmp_path}", "--dry_run"], "--dry_run: no such option"),
        ([f"--workdir={tmp_path}", "--config.epochs"], "write --config.epochs=value"),
        ([f"--workdir={tmp_path}", "--coordinator"], "write --coordinator=value"),
    ):
        with pytest.raises(UserError, match=message):
            train.main(argv)


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
