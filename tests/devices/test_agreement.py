"""What several processes agree on, in one process that makes up the others' answers."""

import contextlib
import itertools
import os
import re
import signal
import time

import jax
import pytest

from alexnet.devices import processes
from alexnet.devices.interruption import ASK_SECONDS, SIGNALS, Interruption
from alexnet.errors import UserError


@pytest.fixture
def others(monkeypatch):
    """Answers of the other processes, as functions of this one's; it is process 0."""
    found = []
    monkeypatch.setattr(jax, "process_count", lambda: 1 + len(found))
    monkeypatch.setattr(processes, "gathered", lambda own: [own, *(f(own) for f in found)])
    return found


def fail():
    raise UserError("no such file")


def test_alone_an_error_stays_as_it_is(others, monkeypatch):
    monkeypatch.setattr(processes, "gathered", lambda _: pytest.fail("nobody is there to ask"))
    processes.check_same({"seed": 1})
    with pytest.raises(UserError, match=r"^no such file$"):
        processes.together(fail)


def test_an_error_names_its_process_unless_all_have_it(others):
    others[:] = [lambda own: None]
    with pytest.raises(UserError, match=r"^process 0: no such file$"):
        processes.together(fail)
    others[:] = [lambda own: [0, "disk full"]]
    with pytest.raises(UserError, match=r"^process 1: disk full$"):
        processes.together(lambda: 3)
    others[:] = [lambda own: own]
    with pytest.raises(UserError, match=r"^no such file$"):
        processes.together(fail)
    others[:] = [lambda own: None]
    assert processes.together(lambda: 3) == 3


def test_a_users_mistake_goes_before_other_expected_errors(others):
    def broken():
        raise OSError("late")

    others[:] = [lambda own: [0, "the user's"]]
    with pytest.raises(UserError, match=r"^process 1: the user's$"):
        processes.together(broken, OSError)
    others[:] = [lambda own: [1, "late"]]
    with pytest.raises(OSError, match=r"^late$"):
        processes.together(broken, OSError)


def test_settings_that_differ_are_named(others):
    others[:] = [lambda own: own, lambda own: own | {"seed": 2}]
    message = "process 0 has seed=1, process 2 has seed=2: start all with the same"
    with pytest.raises(UserError, match=re.escape(message)):
        processes.check_same({"seed": 1, "a": 3})
    others[:] = [lambda own: own]
    processes.check_same({"seed": 1, "a": 3})
    others[:] = [lambda own: {"seed": 1, "new": 4} if "but" not in own else pytest.fail("a secret")]
    processes.check_same({"seed": 1, "new": 4, "but": 5}, ["but"])
    with pytest.raises(UserError, match="process 0 has new=None, process 1 has new=4"):
        processes.check_same({"seed": 1})


def test_alone_a_value_comes_back_as_others_would_get_it_and_a_signal_counts_at_once(monkeypatch):
    monkeypatch.setattr(
        processes.multihost_utils, "process_allgather", lambda _: pytest.fail("nobody is there")
    )
    assert processes.gathered({"seeds": (1, 2)}) == [{"seeds": [1, 2]}]
    interruption = Interruption()
    assert [interruption.agreed() for _ in range(9)] == [0] * 9
    interruption.signal = signal.SIGTERM
    assert interruption.agreed() == signal.SIGTERM


@pytest.mark.parametrize("second_ends", [True, False])
@pytest.mark.parametrize(
    ("first", "second", "seconds"),
    [
        # when a terminal is closed, and when systemd shuts a machine down: the run would lose its
        # checkpoint
        (signal.SIGHUP, signal.SIGHUP, 2.0),
        (signal.SIGTERM, signal.SIGHUP, 2.0),
        (signal.SIGINT, signal.SIGTERM, 2.0),
        # pressed twice by a person who does not want to wait
        (signal.SIGINT, signal.SIGINT, 0.5),
    ],
)
def test_signals_of_one_event_count_once_and_a_later_one_ends_the_process(
    monkeypatch, second_ends, first, second, seconds
):
    """Or, for a sweep, is Python's Ctrl-C."""
    ended, now = [], [100.0]
    monkeypatch.setattr(os, "_exit", ended.append)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    interruption = Interruption(second_ends)
    interruption._ask(first)
    interruption._interrupt(first, None)
    for later in (0.001, seconds - 0.01):
        now[0] = 100.0 + later
        interruption._ask(second)
        interruption._interrupt(second, None)
    assert ended == []
    assert interruption.signal == first
    now[0] = 100.0 + seconds
    interruption._ask(second)
    assert ended == ([128 + second] if second_ends else [])
    with contextlib.nullcontext() if second_ends else pytest.raises(KeyboardInterrupt):
        interruption._interrupt(second, None)


def test_after_a_run_signals_do_what_they_did_before():
    numbers = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]
    before = [signal.getsignal(number) for number in numbers]
    with Interruption():
        assert [signal.getsignal(number) for number in numbers] != before
    assert [signal.getsignal(number) for number in numbers] == before


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (UserError("no such file"), "error: no such file\n"),
        (RuntimeError("UNAVAILABLE: gone\nmore"), f"error: {processes.LOST} (UNAVAILABLE: gone)\n"),
        (OSError(28, "No space left on device"), "error: No space left on device\n"),
        (ValueError("a bug"), "Traceback"),
    ],
)
def test_one_of_several_processes_ends_at_once_and_says_why(monkeypatch, capsys, error, said):
    assert code_of_end(monkeypatch, error) == 2
    assert capsys.readouterr().err.startswith(said)


def test_ctrl_c_ends_one_of_several_processes_without_a_word(monkeypatch, capsys):
    assert code_of_end(monkeypatch, KeyboardInterrupt()) == 130  # as it does one alone
    assert capsys.readouterr().err == ""


def code_of_end(monkeypatch, error: BaseException) -> int:
    """How one of several processes exits on an error."""

    class Ended(BaseException):
        pass

    def end(code):
        raise Ended(code)

    monkeypatch.setattr(jax.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(os, "_exit", end)
    with pytest.raises(Ended) as ended, processes.ends_clearly():
        raise error
    return ended.value.args[0]


def test_alone_an_error_ends_python_as_usual():
    with pytest.raises(ValueError, match="a bug"), processes.ends_clearly():
        raise ValueError("a bug")


@pytest.mark.parametrize(("own", "other"), [(0.05, 0.05), (0.2, 0.05), (0.05, 0.2)])
def test_processes_ask_each_other_every_few_seconds_at_the_slowest_ones_pace(
    others, monkeypatch, own, other
):
    """A pace is the seconds between two calls."""
    asked, now = [], 0.0

    def gathered(answer):
        asked.append(now)
        return [answer, [0, other]]

    others[:] = [lambda own: own]
    monkeypatch.setattr(processes, "gathered", gathered)
    monkeypatch.setattr(time, "monotonic", lambda: now)
    interruption = Interruption()
    for _ in range(1000):
        assert interruption.agreed() == 0
        now += own
    between = [later - earlier for earlier, later in itertools.pairwise(asked)]
    expected = ASK_SECONDS * own / max(own, other)
    assert between[-3:] == pytest.approx([expected] * 3, abs=2 * own)
    assert between[0] < expected / 2  # it begins with a question after each step
    count = len(asked)
    interruption.begin_pace()
    interruption.agreed()
    assert len(asked) == count + 1  # as at the beginning
