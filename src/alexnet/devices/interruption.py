"""Signals that stop a run: it saves a checkpoint first, and all its processes agree on when."""

import os
import signal
import threading
import time
from typing import Any

import jax

from alexnet.devices import processes
from alexnet.text import say

EVENT_SECONDS = 2  # signals that come within this long are of one event
HAND_SECONDS = 0.5  # but Ctrl-C may be pressed again after this long
ASK_SECONDS = 3  # how often the processes ask each other whether to stop
SIGNALS = ("SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP")


def signal_numbers() -> list[signal.Signals]:
    """Those of SIGNALS that this system has."""
    return [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]


class Interruption:
    """A signal of SIGNALS asks the loop to save and stop; a second one ends the process at once.

    A thread listens, as Python's own handlers wait for the main thread, which may be compiling for
    minutes. Ignored signals, such as SIGHUP under nohup, stay ignored. Python lets only the main
    thread handle signals: in another thread this does nothing. Signals of one event count once:
    when a terminal closes, both the shell and the system send SIGHUP; when a machine is shut down,
    systemd sends SIGTERM and SIGHUP.

    Args:
        second_ends: if False, a second signal raises KeyboardInterrupt in the main thread.
        again: what resumes the run.

    Attributes:
        signal: the first signal that came, or 0.
        lived: when `agreed` was last called, by `time.monotonic`: a sign of life.
    """

    signal = 0
    _agreed = 0  # the signal agreed on
    _pause, _left = 1, 1  # calls of `agreed` from one exchange to the next, and calls left
    _asked: float | None = None  # when the last exchange was

    def __init__(self, second_ends: bool = True, again: str = "the same command"):
        self._second_ends, self._again = second_ends, again
        self._first: tuple[int, float] = 0, 0.0  # the first signal, and when the handler saw it
        self._heard = 0.0  # when the listener saw it
        self._before: dict[int, Any] = {}  # the handlers by signal
        self.lived = time.monotonic()

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is not threading.main_thread():
            return self
        listened, self._told = os.pipe()
        os.set_blocking(self._told, False)
        threading.Thread(target=self._listen, args=(listened,), daemon=True).start()
        self._wakeup = signal.set_wakeup_fd(self._told, warn_on_full_buffer=False)
        for number in signal_numbers():
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._interrupt)
        return self

    def __exit__(self, *exception) -> None:
        if not self._before:
            return
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before = {}
        signal.set_wakeup_fd(self._wakeup)
        os.close(self._told)

    def agreed(self) -> int:
        """The signal that all processes stop for, or 0.

        Every process must call it equally often: after each program of one or more steps, and each
        batch of a validation. The processes ask each other every few seconds.
        """
        self.lived = time.monotonic()
        if jax.process_count() == 1 or self._agreed:
            return self._agreed or self.signal
        self._left -= 1
        if self._left:
            return 0
        now = time.monotonic()
        pace = (now - self._asked) / self._pause if self._asked is not None else ASK_SECONDS
        answers = processes.gathered([self.signal, pace])
        slowest = max(pace for _, pace in answers)
        calls = int(ASK_SECONDS / max(slowest, 1e-6))
        self._pause = self._left = max(1, min(calls, 2 * self._pause))
        self._asked = now
        self._agreed = max(number for number, _ in answers)
        return self._agreed

    def begin_pace(self) -> None:
        """Measures anew how often to ask, as what follows may take longer; in every process."""
        self._pause, self._left, self._asked = 1, 1, None

    def _listen(self, listened: int) -> None:
        with os.fdopen(listened, "rb", buffering=0) as numbers:
            while number := numbers.read(1):
                if number[0] in self._before:
                    self._ask(number[0])

    def _ask(self, number: int) -> None:
        if not self.signal:
            self.signal, self._heard = number, time.monotonic()
            say("stopping after this step ...")
        elif self._second_ends and not _of_one_event(number, self.signal, self._heard):
            say(f"stopped at once; {self._again} goes on from the last checkpoint")
            os._exit(128 + number)

    def _interrupt(self, number: int, _) -> None:
        if not self._first[0]:
            self._first = number, time.monotonic()
        elif not self._second_ends and not _of_one_event(number, *self._first):
            raise KeyboardInterrupt


def _of_one_event(number: int, first: int, when: float) -> bool:
    """Whether a signal belongs to the event that sent the first one."""
    by_hand = number == first == signal.SIGINT
    return time.monotonic() - when < (HAND_SECONDS if by_hand else EVENT_SECONDS)
