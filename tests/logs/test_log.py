"""The log, metrics.jsonl and the terminal: every number once, whatever happens to the run."""

import contextlib
import fcntl
import io
import json
import math
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.charts import events, pictures
from tensorboardX.proto.event_pb2 import SessionLog

from alexnet.errors import UserError
from alexnet.logs import charts, log, metrics, terminal
from alexnet.logs.log import Log


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still: clock.now += seconds."""

    class Clock:
        now = 0.0

    for module in (log, terminal):
        monkeypatch.setattr(module, "monotonic", lambda: Clock.now)
    return Clock


def train(run: Log, step: int, loss: float = 2.5) -> None:
    run.train(step, step / 10, loss, 0.5, 0.25, 2, 0.01)


def train_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("step ")]


def scalars(workdir: Path) -> list[tuple[str, int, float]]:
    """(run/tag, step, value) of every scalar in the event files."""
    return [
        (f"{run}/{value.tag}", event.step, value.simple_value)
        for run, event in events(workdir)
        for value in event.summary.value
        if not value.HasField("tensor")
    ]


def on_terminal(code: str, columns: int, directory: Path) -> str:
    """The output of a program on a terminal that reports `columns` columns and as many rows."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", columns, columns, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=directory,
        env=environment | {"TERM": "dumb"},
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    written = b""
    with contextlib.suppress(OSError), open(master, "rb", buffering=0) as terminal:  # EIO: the end
        while part := terminal.read(4096):
            written += part
    assert process.wait() == 0, written
    return written.decode()


def test_rows_are_in_the_file_at_once_and_charted(tmp_path, clock):
    with Log(tmp_path / "run", 100, 128) as run:
        run.train(1, 0.5, np.float32(2.5), 0.5, 0.25, 1, 0.01)
        assert len(metrics.read_log(tmp_path / "run")) == 1  # flushed
        clock.now = 4
        run.train(3, 0.75, 2.0, 0.5, 0.125, 2, 0.01)
        run.validation(3, 1, 1.5, 0.4375, 0.25, 50_000)
    first, second, validation = metrics.read_log(tmp_path / "run")
    assert first == {
        "step": 1,
        "epoch": 0.5,
        "seconds": 0,
        "train/loss": 2.5,
        "train/top1_error": 0.5,
        "train/top5_error": 0.25,
        "train/steps": 1,
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
    assert len(written) == 4 + 5 + 3


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
    assert [row["step"] for row in metrics.read_log(tmp_path / "killed")][-1] == 5
    with Log(tmp_path / "killed", 6, 128, resume_step=3) as run:
        assert [row["step"] for row in metrics.read_log(tmp_path / "killed")] == [1, 1, 2, 2, 3, 3]
        for step in range(4, 7):
            train(run, step)
            run.validation(step, step / 10, 2.0, 0.5, 0.25, 100)
    assert path.read_bytes() == (tmp_path / "whole" / "metrics.jsonl").read_bytes()
    assert {p.name for p in path.parent.iterdir()} == {"metrics.jsonl", "tensorboard"}
    # TensorBoard is told to forget what it had from step 4 on, in both of its runs.
    starts = [
        (name, event.step)
        for name, event in events(tmp_path / "killed")
        if event.session_log.status == SessionLog.START
    ]
    assert starts == [("train", 4), ("validation", 4)]


def test_seconds_go_on_after_the_last_row_that_is_kept(tmp_path, clock):
    with Log(tmp_path, 6, 128) as run:
        for step in (1, 2, 3):
            clock.now += 10
            train(run, step)
    clock.now = 1000  # another process
    with Log(tmp_path, 6, 128, resume_step=2) as run:
        clock.now += 5
        train(run, 3)
    assert [row["seconds"] for row in metrics.read_log(tmp_path)] == [10, 20, 25]


def test_train_and_validation_share_a_chart_beside_the_config(tmp_path):
    (tmp_path / "config.json").write_text('{"seed": 0}\n')
    for resume_step in (None, 3):
        with Log(tmp_path, 6, 128, resume_step=resume_step) as run:
            run.validation(resume_step or 3, 1, 2.0, 0.5, 0.25, 100)
            train(run, resume_step or 3)
    tags = {(name, value.tag) for name, event in events(tmp_path) for value in event.summary.value}
    for tag in ("loss", "top1_error", "top5_error"):
        assert {("train", tag), ("validation", tag)} <= tags
    texts = [
        (name, event.step, value.tensor.string_val[0].decode())
        for name, event in events(tmp_path)
        for value in event.summary.value
        if value.tag.startswith("config")
    ]
    assert texts == [("train", step, '    {"seed": 0}\n') for step in (0, 3)]


def test_rows_of_an_earlier_version_are_charted_anew(tmp_path):
    row = {"step": 2, "epoch": 0.2, "seconds": 1.5, "train/loss": 2.5, "train/rate": None}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    for _ in range(2):
        with Log(tmp_path, 6, 128, resume_step=2):
            pass
    assert scalars(tmp_path) == [("train/loss", 2, 2.5)]


def test_without_resume_the_file_starts_afresh(tmp_path):
    for _ in range(2):
        with Log(tmp_path, 6, 128) as run:
            run.validation(0, 0, 2.0, 0.5, 0.25, 100)
    assert len(metrics.read_log(tmp_path)) == 1
    assert len(scalars(tmp_path)) == 3


def test_read_says_what_is_wrong(tmp_path):
    with pytest.raises(UserError, match=r"is .* the workdir of a run"):
        metrics.read_log(tmp_path)
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "epoch": 1}\n{"ste\n')
    with pytest.raises(UserError, match="line 2 is not JSON"):
        metrics.read_log(tmp_path)


def test_other_processes_write_nothing(tmp_path, capsys):
    with Log(tmp_path / "run", 6, 128, enabled=False) as run:
        train(run, 1)
        run.validation(1, 1, 2.0, 0.5, 0.25, 100)
        run.message("hello")
        run.status("compiling")
        run.picture("filters", 1, np.zeros((1, 1, 3), np.uint8))
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
        "step 11/100  loss 2.50  error 50.0% (top-5 25.0%)  128 images/s  ETA 0:01:29"
    )
    assert (
        "validation  step 30/100  epoch 3.00  loss 2.0000  error 43.75% (top-5 25.00%)\n"
    ) in out
    assert "\r" not in out


@pytest.mark.parametrize(
    ("seconds", "left"),
    [(86_399, "23:59:59"), (86_400, "1d 0h"), (172_799, "1d 23h"), (172_800, "2d 0h")],
)
def test_the_time_left_is_told_in_days_from_the_first_day_on(
    tmp_path, capsys, clock, seconds, left
):
    with Log(tmp_path, 2 + seconds, 128, interval=0) as run:
        for step in (1, 2):
            clock.now += 1
            train(run, step)
    assert capsys.readouterr().out.endswith(f" ETA {left}\n")


def test_top5_is_left_out_where_it_means_nothing(tmp_path, capsys, clock):
    with Log(tmp_path, 100, 128, top5=False) as run:
        for step in (99, 100):
            clock.now += 10
            train(run, step)
        run.validation(100, 10, 2.0, 0.4375, 0.0, 50_000)
    out = capsys.readouterr().out
    assert train_lines(out)[1] == (
        "step 100/100  epoch 10.0  loss 2.50  error 50.0%  13 images/s  ETA 0:00:00"
    )
    assert "error 43.75%\n" in out
    assert "top-5" not in out
    assert "train/top5_error" in metrics.read_log(tmp_path)[0]


@pytest.mark.parametrize("total", [700, 900_000])
@pytest.mark.parametrize("seconds", [0.05, 3.0], ids=["fast", "slow"])
def test_lines_fit_80_columns(tmp_path, capsys, clock, total, seconds):
    with Log(tmp_path, total, 128, interval=0) as run:
        for step in (total // 2, total // 2 + 50):
            clock.now += 50 * seconds
            run.train(step, 45.1, 6.91, 0.999, 0.995, 50, 0.01)
        run.validation(step, 45, 6.91, 0.999, 0.995, 50_000)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert re.search(r"error 99.9% .*images/s  ETA (\d+d \d+h|\d+:\d\d:\d\d)$", lines[1])
    assert "error 99.90% (top-5 99.50%)" in lines[2]


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (76, "  loss 2.50  error 50.0% (top-5 25.0%)  128 images/s"),
        (75, "  loss 2.50  error 50.0%  128 images/s"),
        (61, "  loss 2.50  error 50.0%"),
    ],
)
def test_a_narrow_line_keeps_the_time_left(tmp_path, capsys, clock, monkeypatch, width, shown):
    monkeypatch.setattr(terminal, "WIDTH", width)
    with Log(tmp_path, 100, 128, interval=0) as run:
        for step in (10, 11):
            clock.now += 1
            train(run, step)
    assert capsys.readouterr().out.splitlines()[-1] == f"step 11/100{shown}  ETA 0:01:29"


def test_the_time_left_has_as_much_for_pauses_as_they_have_taken(tmp_path, capsys, clock):
    """100 steps of a second; a validation of five after each tenth step."""
    with Log(tmp_path, 100, 128, interval=0) as run:
        for step in range(1, 41):
            clock.now += 1
            train(run, step)
            if step % 10 == 0 and step < 40:
                with run.pause():
                    clock.now += 5
    # 40 seconds of 55 were steps: 60 more take 82.5
    assert capsys.readouterr().out.endswith("128 images/s  ETA 0:01:22\n")


def test_pauses_do_not_count(tmp_path, clock):
    with Log(tmp_path, 100, 10) as run:
        for step in range(1, 6):
            clock.now += 1
            train(run, step)
            with run.pause():
                clock.now += 1000
    assert [row["train/images_per_second"] for row in metrics.read_log(tmp_path)] == [
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
    assert metrics.read_log(tmp_path)[-1]["train/images_per_second"] == 10


def test_the_live_line_comes_back_below_messages(tmp_path, monkeypatch, clock):
    terminal = Terminal()
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(sys, "stdout", terminal)
    with Log(tmp_path, 100, 128, resume_step=40) as run:
        for step in (41, 42):
            clock.now += 1
            train(run, step)
        run.message("saved")
        run.validation(42, 4.2, 2.0, 0.4375, 0.25, 50_000)
    out = re.sub(r"\x1b\[.", "", terminal.getvalue())
    live = r"step 42/100  epoch 4.2  loss 2.50  error 50.0% \(top-5 25.0%\)  128 images/s"
    assert re.search(rf"\r 42% [^\r\n]* {live}  ETA 0:00:58", out)
    # Each message takes a whole line, and the live line comes back below.
    assert re.search(rf"\rsaved\n[^\n]*{live}", out)
    assert re.search(r"\rvalidation  step 42/100 [^\n]*error 43.75% [^\n]*\n", out)
    assert out.endswith("\n")


@pytest.mark.parametrize("columns", [80, 0, 200])
@pytest.mark.parametrize("total", [700, 900_000])
def test_lines_fit_a_terminal_and_the_live_line_is_the_last(tmp_path, columns, total):
    """A terminal that does not know its size, such as a serial line, reports 0."""
    code = f"""
from alexnet.logs import charts, log, terminal
now = 0
log.monotonic = terminal.monotonic = lambda: now
with log.Log("run", {total}, 128) as run:
    run.message("starting")
    run.status("compiling")
    for step in range(50, 301, 50):
        now += 20
        run.train(step, step / 10, 6.91, 0.999, 0.995, 50, 0.01)
    run.validation(300, 30, 6.91, 0.999, 0.995, 50_000)
"""
    written = on_terminal(code, columns, tmp_path)
    width = (columns or 80) - 1
    parts = re.split(r"[\r\n]+", written)
    assert max(map(len, parts)) <= width
    assert "\x1b" not in written
    lines = [part.rstrip() for part in parts if part.strip()]
    assert lines[0] == "starting"
    assert [line.endswith("compiling") for line in lines].count(True) == 1
    live = [line for line in lines if "images/s" in line]
    assert re.search(r" 320 images/s  ETA (\d+d \d+h|\d+:\d\d:\d\d)$", live[-1])
    assert f"step 300/{total}" in live[-1]
    assert "error 99.9%" in live[-1]
    assert ("%" in live[-1][:5]) == (columns == 200)  # a bar where there is room
    assert live[-1] == lines[-1]  # the last thing there, below the validation
    assert any(line.startswith("validation") for line in lines)
    assert written.count("\n") == 3  # what stays: starting, validation, the live line


def test_tensorflow_stays_out(tmp_path):
    (tmp_path / "tensorflow.py").write_text("")
    code = (
        "import sys\n"
        "from alexnet.logs.log import Log\n"
        "with Log('run', 10, 128) as log: log.train(1, 0.1, 2.5, 0.5, 0.25, 1, 0.01)\n"
        "assert 'tensorflow' not in sys.modules and 'jax' not in sys.modules\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)


def test_a_picture_is_a_png_of_its_pixels(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    with Log(tmp_path, 6, 128) as run:
        run.picture("filters", 3, pixels)
    [(step, png)] = pictures(tmp_path, "filters")
    assert step == 3
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png))), pixels)


def test_every_chart_of_a_row_is_on_disk_ten_seconds_later_and_when_a_pause_ends(
    tmp_path, clock, monkeypatch
):
    monkeypatch.setattr(charts, "monotonic", lambda: clock.now)
    with Log(tmp_path / "run", 100, 128) as run:
        train(run, 1)
        assert scalars(tmp_path / "run") == []
        clock.now = charts.FLUSH_SECONDS
        train(run, 2)
        found = scalars(tmp_path / "run")
        tags = {tag for tag, step, _ in found if step == 2}
        assert {"train/loss", "train/top1_error", "train/top5_error", "train/rate"} <= tags
        with run.pause():
            run.validation(2, 1, 1.5, 0.4375, 0.25, 50_000)
        assert len(scalars(tmp_path / "run")) == len(found) + 3
