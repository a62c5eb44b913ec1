"""The one exception for mistakes a user can correct, and the checks that raise it."""

import difflib
import math
import os
import re
import signal
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TypeVar

Word = TypeVar("Word", bound=str)


class UserError(ValueError):
    """One line for the user: what was wrong, where, and what to do about it.

    A command prints an error of the machine (`circumstance`) in one line as well. Any other error
    that escapes it is a bug and keeps its traceback.

    Attributes:
        text: the line without the argument.
        argument: the argument at fault, such as "remove" or "dropout=1.5"; "" if there is none.
    """

    def __init__(self, text: str, argument: str = ""):
        super().__init__(text, argument)
        self.text = text
        self.argument = argument

    def __str__(self) -> str:
        return f"{self.argument}: {self.text}" if self.argument else self.text

    def within(self, section: str) -> "UserError":
        """The same error with the section in the argument's name: config.net.remove for remove."""
        return UserError(self.text, f"{section}.{self.argument}")

    def line(self) -> str:
        """The line that a command prints: an argument gets the `--` of an option."""
        return f"error: {'--' if re.match(r'[a-z][a-z_.0-9]*(=|$)', self.argument) else ''}{self}"


class Interrupted(KeyboardInterrupt):
    """A run has saved a checkpoint and stopped, as the signal `number` asked."""

    def __init__(self, number: int):
        super().__init__(f"stopped by {signal.Signals(number).name}, after a checkpoint")
        self.number = number


def nearest(word: str, known: Iterable[str]) -> str:
    """A suffix for a message: "; did you mean 'conv4'?", or "" when nothing is near.

    The only word that begins with `word` is near, as validation is to val.
    """
    known = list(known)
    longer = [one for one in known if word and one.startswith(word)]
    close = longer if len(longer) == 1 else difflib.get_close_matches(word, known, 1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def require(name: str, value: object, good: bool, needs: str) -> None:
    """Raises UserError for an argument whose value is not `good`, saying what it `needs` to be.

    Conditions are written so that NaN fails them: `value >= 0`, not `not value < 0`.
    """
    if not good:
        raise UserError(needs, f"{name}={value!r}")


def is_number(value: object) -> bool:
    """Whether a value is a finite number, and not a bool."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an int beyond the largest float
        return False


def choice(name: str, value: str, allowed: Collection[Word]) -> Word:
    """The allowed word equal to `value`; raises UserError, naming the nearest, if none is."""
    for word in allowed:
        if value == word:
            return word
    near = nearest(str(value), allowed)
    words = ", ".join(filter(None, allowed))
    raise UserError(f"choose one of {words}{near}", f"{name}={value!r}")


def local_path(name: str, text: str) -> Path:
    """The path that a user wrote, with `~` expanded. Raises UserError for a URL or a bad path."""
    if re.match(r"[A-Za-z][\w+.-]*://", text):
        what = "only local paths work: mount the remote folder, or copy it here"
        raise UserError(what, f"{name}={text}")
    if "\0" in text:
        raise UserError("a path has no null bytes", f"{name}={text!r}")
    try:
        return Path(text).expanduser()
    except RuntimeError:
        user = Path(text).parts[0]
        advice = f"write ./{user} if that is a file's name" if user[1:] else "set HOME"
        what = f"there is no home folder {user}: {advice}, or write the whole path"
        raise UserError(what, f"{name}={text}") from None


def check_utf8(path: Path) -> None:
    """Raises UserError for a path that is not UTF-8 on disk.

    TensorStore and ArrayRecord write names as UTF-8, whatever the locale: into another folder.
    """
    if os.fsencode(path) != str(path).encode("utf-8", "surrogatepass"):
        raise UserError(
            f"{str(path)!a}: checkpoints and datasets need a path in UTF-8: choose one with ASCII "
            "letters only, or a locale with UTF-8 (or set PYTHONUTF8=1)"
        )


def circumstance(error: BaseException) -> str:
    """A line about an error of the machine, not of this program; "" for any other error."""
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}"
    if isinstance(error, UnicodeEncodeError):
        return f"{error.object!a}: {error.encoding} lacks these characters; set PYTHONUTF8=1"
    if "Unable to initialize backend" in str(error):
        return f"jax has no device ({one_line(error)})"
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
        what = " ".join(filter(None, ("out of memory", one_line(error) and f"({one_line(error)})")))
        advice = "choose a smaller config.batch_size or raise config.accumulate"
        return f"{what}: when training, {advice}; on a GPU, another process may hold the memory"
    if cannot_capture(error):
        return (
            f"cuDNN failed ({one_line(error)}): with config.cuda_graphs=true, set it to false, as "
            "no CUDA graph may hold the algorithm; else see with nvidia-smi whether the GPU is "
            "there and has free memory"
        )
    return ""


def cannot_capture(error: BaseException) -> bool:
    """Whether cuDNN failed, as it does if one of its algorithms cannot be part of a CUDA graph."""
    return bool(re.search("cudnn[ _]status", str(error), re.IGNORECASE))


def one_line(error: BaseException | str) -> str:
    """Another library's message on one line, to go into ours."""
    return " ".join(str(error).split())
