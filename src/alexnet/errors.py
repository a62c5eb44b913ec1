"""The one exception for mistakes a user can mend, and the checks that raise it."""

import difflib
import signal
from collections.abc import Collection, Iterable


class UserError(Exception):
    """One line for the user: what was wrong, where, and what to do about it.

    Anything else that escapes a command is a bug and keeps its traceback.
    """


class Interrupted(KeyboardInterrupt):
    """A run was asked to stop, by a signal of this `number`, and did so after a checkpoint."""

    def __init__(self, number: int):
        super().__init__(f"stopped by {signal.Signals(number).name}, after a checkpoint")
        self.number = number


def nearest(word: str, known: Iterable[str]) -> str:
    """A suffix for a message: "; did you mean 'conv4'?", or "" when nothing is near."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def require(key: str, value: object, good: bool, needs: str) -> None:
    """Raises UserError for a setting whose value is not `good`, saying what it `needs` to be.

    Conditions are written so that NaN fails them: `value >= 0`, not `not value < 0`.
    """
    if not good:
        raise UserError(f"config.{key}={value!r}: {needs}")


def choice(key: str, value: str, allowed: Collection[str]) -> None:
    """Raises UserError if a setting is none of the allowed words, naming the nearest."""
    if value not in allowed:
        choices = ", ".join(allowed)
        raise UserError(
            f"config.{key}={value!r}: choose one of {choices}{nearest(str(value), allowed)}"
        )


def one_line(error: Exception) -> str:
    """Another library's message, as a part of ours."""
    return " ".join(str(error).split())
