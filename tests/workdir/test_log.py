"""alexnet.workdir.log: every number once, whatever happens to the run."""

import io
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog

from alexnet.errors import UserError
from alexnet.workdir import log
from alexnet.workdir.log import Log


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still: clock.now += seconds."""

    class Clock:
        now = 0.0

    monkeypatch.setattr(log, "monotonic", lambda: Clock.now)
    return Clock


def train(run: Log, step: int, loss: float = 2.5) -> None:
    run.train(step, step / 10, loss, 0.5, 0.25, 0.01)


def train_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("step ")]


def events(workdir: Path) -> Iterator[Event]:
    """The events for TensorBoard, read without it: length, its crc, the event, its crc."""
    for path in sorted((workdir / "tensorboard").iterdir()):
        data = path.read_bytes()
        while data:
            size = int.from_bytes(data[:8], "little")
            yield Event.FromString(data[12 : 12 + size])
            data = data[16 + size :]


def scalars(workdir: Path) -> list[tuple[str, int, float]]:
    """(tag, step, value) of every scalar in the event files."""
    return [(v.tag, e.step, v.simple_value) for e in events(workdir) for v in e.summary.value]


def test_rows(tmp_path, clock):
    with Log(tmp_path / "run", 100, 128) as run:
        run.train(1, 0.5, np.float32(2.5), 0.5, 0.25, 0.01)
        assert len(log.read_log(tmp_path / "run")) == 1  # flushed
        clock.now = 4
        run.train(3, 0.75, 2.0, 0.5, 0.125, 0.01)
        run.validation(3, 1, 1.5, 0.4375, 0.25, 50_000)
    first, second, validation = log.read_log(tmp_path / "run")
    assert first == {
        "step": 1,
        "epoch": 0.5,
        "seconds": 0,
        "train/loss": 2.5,
        "train/top1_error": 0.5,
        "train/top5_error": 0.25,
        "train/rate": 0.01,
        "train/images_per_second": None,
    }
    assert second["train/images_per_second"] == 2 * 128 / 4
    assert validation == {
        "seconds": 4,
        "step": 3,
        "epoch": 1,
        "validation/loss": 1.5,
        "validation/top1_error": 0.4375,
        "validation/top5_error": 0.25,
        "validation/count": 50_000,
    }
    written = scalars(tmp_path / "run")
    assert ("train/loss", 1, 2.5) in written
    assert ("validation/top1_error", 3, 0.4375) in written
    assert len(written) == 4 + 5 + 4


def test_nan_is_valid_json(tmp_path, capsys):
    with Log(tmp_path, 10, 128) as run:
        train(run, 1, math.nan)
        train(run, 2, math.inf)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line, parse_constant=pytest.fail) for line in lines]
    assert [row["train/loss"] for row in rows] == [None, None]
    assert not [tag for tag, _, _ in scalars(tmp_path) if tag == "train/loss"]
    assert "loss nan" in capsys.readouterr().out


def test_resumed_reads_as_if_never_interrupted(tmp_path, clock):
    with Log(tmp_path / "whole", 6, 128) as run:
        for step in range(1, 7):
            train(run, step)
            run.validation(step, step / 10, 2.0, 0.5, 0.25, 100)
    with Log(tmp_path / "killed", 6, 128) as run:
        for step in range(1, 6):
            train(run, step)
            run.validation(step, step / 10, 2.0, 0.5, 0.25, 100)
    path = tmp_path / "killed" / "metrics.jsonl"
    with path.open("a") as file:
        file.write('{"step": 6, "epo')
    assert [row["step"] for row in log.read_log(tmp_path / "killed")][-1] == 5
    with Log(tmp_path / "killed", 6, 128, resume_step=3) as run:
        assert [row["step"] for row in log.read_log(tmp_path / "killed")] == [1, 1, 2, 2, 3, 3]
        for step in range(4, 7):
            train(run, step)
            run.validation(step, step / 10, 2.0, 0.5, 0.25, 100)
    assert path.read_bytes() == (tmp_path / "whole" / "metrics.jsonl").read_bytes()
    assert {p.name for p in path.parent.iterdir()} == {"metrics.jsonl", "tensorboard"}
    # TensorBoard is told to forget what it had from step 4 on.
    starts = [
        e.step for e in events(tmp_path / "killed") if e.session_log.status == SessionLog.START
    ]
    assert starts == [4]


def test_without_resume_the_file_starts_afresh(tmp_path):
    for _ in range(2):
        with Log(tmp_path, 6, 128) as run:
            run.validation(0, 0, 2.0, 0.5, 0.25, 100)
    assert len(log.read_log(tmp_path)) == 1
    assert len(scalars(tmp_path)) == 4


def test_read_says_what_is_wrong(tmp_path):
    with pytest.raises(UserError, match=r"is .* the workdir of a run"):
        log.read_log(tmp_path)
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"ste\n{"step": 3}\n')
    with pytest.raises(UserError, match="line 2 is not JSON"):
        log.read_log(tmp_path)


def test_other_processes_write_nothing(tmp_path, capsys):
    with Log(tmp_path / "run", 6, 128, enabled=False) as run:
        train(run, 1)
        run.validation(1, 1, 2.0, 0.5, 0.25, 100)
        run.message("hello")
        with run.pause():
            pass
    assert not (tmp_path / "run").exists()
    assert capsys.readouterr().out == ""


def test_plain_lines_are_rare(tmp_path, capsys, clock):
    with Log(tmp_path, 100, 128, interval=10) as run:
        for step in range(1, 31):
            clock.now += 1
            train(run, step)
        run.validation(30, 3, 2.0, 0.4375, 0.25, 50_000)
        train(run, 100)
    out = capsys.readouterr().out
    assert [line.split()[1] for line in train_lines(out)] == [
        "1/100",
        "11/100",
        "21/100",
        "100/100",
    ]
    assert train_lines(out)[1] == (
        "step 11/100  epoch 1.10  loss 2.5000  top-1 50.00%  top-5 25.00%  "
        "128 images/s  ETA 0:01:29"
    )
    assert (
        "validation  step 30/100  epoch 3.00  loss 2.0000  top-1 43.75%  top-5 25.00%  "
        "50000 images\n"
    ) in out
    assert "\r" not in out


def test_pauses_do_not_count(tmp_path, clock):
    with Log(tmp_path, 100, 10) as run:
        for step in range(1, 6):
            clock.now += 1
            train(run, step)
            with run.pause():
                clock.now += 1000
    assert [row["train/images_per_second"] for row in log.read_log(tmp_path)] == [
        None,
        10,
        10,
        10,
        10,
    ]


def test_speed_is_recent(tmp_path, clock):
    with Log(tmp_path, 1000, 10) as run:
        for step in range(100):
            clock.now += 100 if step < 50 else 1
            train(run, step)
    assert log.read_log(tmp_path)[-1]["train/images_per_second"] == 10


def test_live_line(tmp_path, monkeypatch, clock):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    with Log(tmp_path, 100, 128, resume_step=40) as run:
        for step in (41, 42):
            clock.now += 1
            train(run, step)
        run.message("saved")
        run.validation(42, 4.2, 2.0, 0.4375, 0.25, 50_000)
    out = re.sub(r"\x1b\[.", "", terminal.getvalue())
    live = "step 42/100  epoch 4.20  loss 2.5000  top-1 50.00%  top-5 25.00%  128 images/s"
    assert re.search(rf"\r 42% [^\r\n]* {live}  ETA 0:00:58", out)
    # Messages take a line of their own, and the live one comes back below them.
    assert re.search(rf"\rsaved\n[^\n]*{live}", out)
    assert re.search(r"\rvalidation  step 42/100 [^\n]*top-1 43.75%[^\n]*50000 images\n", out)
    assert out.endswith("\n")


def test_tensorflow_stays_out(tmp_path):
    (tmp_path / "tensorflow.py").write_text("")
    code = (
        "import sys\n"
        "from alexnet.workdir.log import Log\n"
        "with Log('run', 10, 128) as log: log.train(1, 0.1, 2.5, 0.5, 0.25, 0.01)\n"
        "assert 'tensorflow' not in sys.modules and 'jax' not in sys.modules\n"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
