"""The one exception for mistakes a user can mend, and the checks that raise it."""

import difflib
import math
import re
import signal
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TypeVar

Word = TypeVar("Word", bound=str)


class UserError(ValueError):
    """One line for the user: what was wrong, where, and what to do about it.

    Anything else that escapes a command is a bug and keeps its traceback.

    Attributes:
        text: the line but for the argument.
        argument: the one that is wrong, such as "remove" or "dropout=1.5"; "" if it is none.
    """

    def __init__(self, text: str, argument: str = ""):
        super().__init__(text, argument)
        self.text = text
        self.argument = argument

    def __str__(self) -> str:
        return f"{self.argument}: {self.text}" if self.argument else self.text

    def within(self, section: str) -> "UserError":
        """The same error where the argument is in a section: "config.net" for "remove"."""
        return UserError(self.text, f"{section}.{self.argument}")

    def line(self) -> str:
        """What a command prints; an argument is an option there."""
        return f"error: {'--' if re.match(r'[a-z][a-z_.0-9]*(=|$)', self.argument) else ''}{self}"


class Interrupted(KeyboardInterrupt):
    """A run was asked to stop, by a signal of this `number`, and did so after a checkpoint."""

    def __init__(self, number: int):
        super().__init__(f"stopped by {signal.Signals(number).name}, after a checkpoint")
        self.number = number


def nearest(word: str, known: Iterable[str]) -> str:
    """A suffix for a message: "; did you mean 'conv4'?", or "" when nothing is near."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def require(name: str, value: object, good: bool, needs: str) -> None:
    """Raises UserError for an argument whose value is not `good`, saying what it `needs` to be.

    Conditions are written so that NaN fails them: `value >= 0`, not `not value < 0`.
    """
    if not good:
        raise UserError(needs, f"{name}={value!r}")


def is_number(value: object) -> bool:
    """Whether it is a finite number, and no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def choice(name: str, value: str, allowed: Collection[Word]) -> Word:
    """The allowed word that an argument is; raises UserError if it is none, naming the nearest."""
    for word in allowed:
        if value == word:
            return word
    near = nearest(str(value), allowed)
    raise UserError(f"choose one of {', '.join(allowed)}{near}", f"{name}={value!r}")


def local_path(name: str, text: str) -> Path:
    """A path as one writes it, with its `~` expanded; raises UserError if it cannot be one here."""
    if re.match(r"[A-Za-z][\w+.-]*://", text):
        raise UserError("only local paths work: mount it, or copy it here", f"{name}={text}")
    if "\0" in text:
        raise UserError("a path has no null bytes", f"{name}={text!r}")
    try:
        return Path(text).expanduser()
    except RuntimeError:
        user = Path(text).parts[0]
        mend = f"write ./{user} if it is a name" if user[1:] else "set HOME, or write all of it"
        raise UserError(f"nothing here says where {user} is: {mend}", f"{name}={text}") from None


def circumstance(error: BaseException) -> str:
    """What to say of an error that is the machine's and no bug here; "" of any other."""
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}"
    if isinstance(error, UnicodeEncodeError):
        return f"{error.object!a}: {error.encoding} has no such characters: set PYTHONUTF8=1"
    if "Unable to initialize backend" in str(error):
        return f"jax has no device ({one_line(error)})"
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
        what = " ".join(filter(None, ("out of memory", one_line(error) and f"({one_line(error)})")))
        return f"{what}: choose a smaller config.batch_size, or raise config.accumulate"
    return ""


def one_line(error: BaseException) -> str:
    """Another library's message, as a part of ours."""
    return " ".join(str(error).split())
