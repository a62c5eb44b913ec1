"""A run that hangs says where, and goes on waiting."""

import threading
from time import monotonic, sleep

import pytest

from alexnet.training import loop, stall
from alexnet.training.run import Run


def lines(capsys) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_a_line_after_a_while_and_then_less_often(monkeypatch):
    began, said = monotonic(), []
    monkeypatch.setattr(stall, "say", lambda line: said.append((monotonic() - began, line)))
    with stall.watched(lambda: began, quiet=0.1):
        sleep(0.65)
    times = [when for when, _ in said]
    assert len(times) == 3
    for when, due in zip(times, (0.1, 0.2, 0.4), strict=True):
        assert due <= when < due + 0.15
    assert all(line.startswith("no step has ended for 0 minutes: a disk") for _, line in said)


def test_signs_of_life_keep_it_silent(capsys):
    with stall.watched(monotonic, quiet=0.05):
        sleep(0.3)
    assert lines(capsys) == []


def test_it_ends_with_the_run_whatever_ends_it():
    before = threading.active_count()
    with pytest.raises(KeyError), stall.watched(monotonic):
        raise KeyError
    assert threading.active_count() == before


def test_a_thread_that_is_nowhere_in_this_program_has_no_place():
    assert stall.place(0) == ""
    assert stall.place(threading.get_ident()).startswith(" (in training/stall.py, line ")


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
