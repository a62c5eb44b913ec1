"""What a sweep says of its jobs where there is no terminal."""

import io
import sys

import pytest
from support.runs import DIGITS

from alexnet.sweeps import board
from alexnet.sweeps.plan import Item
from alexnet.sweeps.runner import Job
from alexnet.training.settings import load_config


def job(name: str, state: str, **how) -> Job:
    return Job(Item(name, "a", load_config(DIGITS, {"epochs": 4.0})), state, **how)


@pytest.mark.parametrize(
    ("state", "how", "said"),
    [
        ("done", {"error": 0.25, "seconds": 61.7}, "error 25.00% (0:01:01)"),
        ("done", {"error": 0.25}, "error 25.00%"),
        ("done", {}, "error -"),
        ("failed", {"note": "no memory"}, "failed: no memory"),
        ("begun", {}, "stopped"),
        ("left out", {"note": "a-0 failed"}, "left out: a-0 failed"),
    ],
)
def test_how_a_job_ended(state, how, said):
    assert board.outcome(job("a-0", state, **how)) == said


def test_a_line_for_each_job_that_ends_and_one_every_minute(monkeypatch, capsys):
    now = [1000.0]
    monkeypatch.setattr(board.time, "monotonic", lambda: now[0])
    jobs = [job("a-0", "done", error=0.5), job("b-0", "running", epoch=1.0)]
    with board.Board(jobs) as shown:
        shown.show(jobs[0])
        assert capsys.readouterr().out.splitlines()[-1].startswith("a-0: error 50.00%; 1 of 2 done")
        now[0] += board.EVERY - 1
        shown.show(None)
        assert capsys.readouterr().out == ""
        now[0] += 1
        for _ in range(2):
            shown.show(None)
        [line] = capsys.readouterr().out.splitlines()
        assert line.startswith("b-0 at 25%; 1 of 2 done, 1 running")


def test_where_there_is_room_jobs_stay_in_order():
    jobs = [job("a-0", "done", error=0.5), job("b-0", "running"), job("c-0", "failed")]
    shown = board.Board(jobs)
    for room, expected in ((3, ["a-0", "b-0", "c-0"]), (2, ["b-0", "c-0"]), (0, [])):
        assert [line.split()[0] for line in shown.table(room)[1:]] == expected


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_that_cannot_move_its_cursor_gets_lines(monkeypatch):
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setenv("TERM", "dumb")
    jobs = [job("a-0", "done", error=0.5)]
    with board.Board(jobs) as shown:
        shown.show(jobs[0])
        assert sys.stdout.getvalue().startswith("a-0: error 50.00%; 1 of 1 done")


def test_a_terminal_shows_the_jobs_as_they_change(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    jobs = [job("a-0", "running", epoch=1.0)]
    with board.Board(jobs) as shown:
        shown.show(None)
        assert "1.0 of 4" in terminal.getvalue()
        jobs[0].state, jobs[0].error = "done", 0.25
    assert "25.00%" in terminal.getvalue()
    assert "1 of 1 done" in terminal.getvalue()


def test_a_line_is_in_the_file_at_once(monkeypatch):
    file = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(file))
    jobs = [job("a-0", "done", error=0.5), job("b-0", "running", epoch=1.0)]
    with board.Board(jobs) as shown:
        shown.show(jobs[0])
        assert file.getvalue().endswith(b"a-0: error 50.00%; 1 of 2 done, 1 running\n")
        monkeypatch.setattr(board, "EVERY", 0)
        shown.show(None)
        assert b"\nb-0 at 25%; 1 of 2 done" in file.getvalue()
