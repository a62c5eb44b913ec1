"""A run that hangs says where, and goes on waiting."""

import threading
from time import monotonic, sleep

import pytest

from alexnet.training import loop
from alexnet.training.run import Run
from alexnet.training.watch import stall


def lines(capsys) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_a_line_after_ten_minutes_and_then_less_often(monkeypatch):
    now, said = [0.0], []

    class Ended:
        """The run ends after 65 minutes."""

        def wait(self, seconds: float) -> bool:
            now[0] += seconds
            return now[0] > 65 * 60

        def set(self) -> None:
            pass

    monkeypatch.setattr(stall, "monotonic", lambda: now[0])
    monkeypatch.setattr(stall.threading, "Event", Ended)
    monkeypatch.setattr(threading.Thread, "start", lambda thread: thread.run())
    monkeypatch.setattr(threading.Thread, "join", lambda thread: None)
    monkeypatch.setattr(stall, "say", lambda line: said.append((now[0] / 60, line)))
    with stall.watched(lambda: 0.0):
        pass
    assert [minutes for minutes, _ in said] == [10, 20, 40]
    for minutes, line in said:
        assert line.startswith(f"no step has ended for {minutes:.0f} minutes (in ")
        assert ": a disk, a device or another process may not answer" in line


def test_signs_of_life_keep_it_silent(capsys):
    with stall.watched(monotonic, quiet=0.05):
        sleep(0.3)
    assert lines(capsys) == []


def test_it_ends_with_the_run_whatever_ends_it():
    before = {*threading.enumerate()}
    with pytest.raises(KeyError), stall.watched(monotonic):
        raise KeyError
    assert {*threading.enumerate()} <= before


def test_a_thread_that_is_nowhere_in_this_program_has_no_place():
    assert stall.place(0) == ""
    assert stall.place(threading.get_ident()).startswith(" (in training/watch/stall.py, line ")


@pytest.mark.usefixtures("compile_quickly")
def test_a_hanging_step_is_reported_while_it_hangs(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(stall.watched.__wrapped__, "__defaults__", (0.2,))
    step = Run.train_steps

    def slow(*given):
        sleep(0.5)
        return step(*given)

    monkeypatch.setattr(Run, "train_steps", slow)
    tiny.epochs = 0.5  # three steps
    loop.train_and_evaluate(tiny, tmp_path)
    said = [line for line in lines(capsys) if line.startswith("no step has ended for 0 minutes")]
    assert any(" (in training/loop.py, line " in line for line in said)
