"""Pages as programs: their blocks of code, and the commands in them as a shell reads them."""

import re
import subprocess
from pathlib import Path
from typing import NamedTuple

from support.tiny import ROOT

PAGES = (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "experiments/README.md")
NOTEBOOKS = tuple(ROOT.glob("experiments/notebooks/*.py"))
# The programs of the pages only say what they would have run; others are unknown, with no PATH.
# (The bash of macOS, 3.2, has no command_not_found_handle.)
SHELL = r"""
PATH=/nowhere
tell() { printf '%s\0' "$@"; printf '\n\0'; }
for program in alexnet make python python3 source srun; do
    eval "$program() { tell $program \"\$@\"; }"
done
"""


class Line(NamedTuple):
    """A command of a page.

    Attributes:
        arguments: as the shell hands them over, the program first.
        comment: what the page says behind it.
    """

    arguments: tuple[str, ...]
    comment: str


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of code in this language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def lines(page: Path) -> list[Line]:
    """Every command in the page's blocks for a shell."""
    found = []
    for text in "".join(blocks(page, "bash")).replace("\\\n", " ").splitlines():
        command, _, comment = text.partition(" # ")
        found += [Line(arguments, comment.strip()) for arguments in split(command)]
    return found


def spans(page: Path) -> list[Line]:
    """Commands with options that its sentences name."""
    text = page.read_text().replace("\n", " ")
    found = re.findall(r"`((?:python -m alexnet\.|alexnet )[^`]*)`", text)
    whole = [span for span in found if "=" in span or " -" in span]
    return [Line(arguments, "") for span in whole for arguments in split(span)]


def split(command: str) -> list[tuple[str, ...]]:
    """What bash would run, with quotes and braces read."""
    told = subprocess.run(["/bin/bash", "-c", SHELL + command], capture_output=True, text=True)
    assert told.returncode == 0, f"{command}: {told.stderr}"
    every = [words.split("\0")[:-1] for words in told.stdout.split("\n\0")[:-1]]
    return [tuple(words) for words in every]


def command_of(line: Line) -> tuple[str, list[str]] | None:
    """A command of this project and its arguments."""
    program, *rest = line.arguments
    if program.startswith("alexnet."):
        return program.removeprefix("alexnet."), rest
    if program == "alexnet":
        return (rest[0], rest[1:]) if rest else ("", [])
    if rest[:1] == ["-m"] and rest[1].startswith("alexnet."):
        return rest[1].removeprefix("alexnet."), rest[2:]
    return None
