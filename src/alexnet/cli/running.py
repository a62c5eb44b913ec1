"""What a command ends with: its exit status, and one line for whatever stopped it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from alexnet import errors
from alexnet.errors import Interrupted, UserError


def run(command: Callable[[], None]) -> None:
    """Runs a command; a UserError becomes one line on stderr and exit status 2.

    So does a failure of the machine, such as a full disk or too little memory. If the reader of the
    output stops early, as `head` does, the command ends silently.
    """
    for stream in (sys.stdout, sys.stderr):  # for names that the terminal cannot show
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        command()
    except UserError as error:
        print(error.line(), file=sys.stderr)
        sys.exit(2)
    except Interrupted as stopped:
        sys.exit(128 + stopped.number)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # So that the flush at exit does not fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + 13)  # as if by SIGPIPE
    except Exception as error:
        if not (line := errors.circumstance(error)):
            raise
        print(f"error: {line}", file=sys.stderr)
        sys.exit(2)
