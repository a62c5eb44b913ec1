"""metrics.jsonl: a line of JSON for each row of a run's log, sealed with its checksum."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alexnet import files
from alexnet.errors import UserError
from alexnet.text import counted, say

FILE = "metrics.jsonl"
ROW = {"step": int, "epoch": float}  # what a row of any version has


class Rows:
    """Appends rows to a file.

    Rows that cannot be written wait for the next write; a single warning says so.
    """

    def __init__(self, path: Path):
        self._path, self._file = path, path.open("ab", buffering=0)
        self._waiting, self._warned = b"", False

    def write(self, row: Mapping[str, Any]) -> None:
        """Appends a row, as its line of JSON."""
        line = json.dumps(files.sealed(dict(row)), allow_nan=False)
        self._waiting += line.encode() + b"\n"
        self._try()

    def close(self) -> None:
        """Tries once more to write what waits."""
        if self._waiting:
            self._try()
        if self._waiting:
            rows = self._waiting.count(b"\n")
            say(f"warning: {self._path} lacks its last {counted(rows, 'row')}")
        self._file.close()

    def _try(self) -> None:
        try:
            while self._waiting:
                self._waiting = self._waiting[self._file.write(self._waiting) :]
        except OSError as error:
            if not self._warned:
                self._warned = True
                say(
                    f"warning: {self._path} cannot be written ({error.strerror}): its rows wait in "
                    "memory; training goes on"
                )


def read_log(workdir: str | Path) -> list[dict]:
    """The rows of a run, oldest first; a last line that a kill cut short is left out.

    NaN reads as None.

    Raises UserError if there is no metrics.jsonl, or another line is damaged.
    """
    path = Path(workdir).expanduser() / FILE
    if not path.is_file():
        raise UserError(f"there is no {path}: is {workdir} the workdir of a run?")
    rows = []
    lines = path.read_text(errors="replace").split("\n")
    for number, line in enumerate(lines[:-1], 1):
        try:
            found = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"{path}, line {number} is not JSON ({error}): remove it") from None
        where = f"{path}, line {number},"
        row = files.unsealed(found if isinstance(found, dict) else {}, where, "remove it")
        numbers = {name: float for name, value in row.items() if value is not None}
        files.check_fields(row, {**numbers, **ROW}, where, "remove it")
        rows.append(row)
    return rows


def read_history(workdir: str | Path) -> list[dict]:
    """A row for each validation of a run: step, epoch, loss, top1_error, top5_error, count."""
    return validations(read_log(workdir))


def validations(log: Sequence[dict]) -> list[dict]:
    """`read_history` of the rows that `read_log` gives."""
    rows = []
    for row in log:
        found = {
            name.removeprefix("validation/"): value
            for name, value in row.items()
            if name.startswith("validation/")
        }
        if found:
            rows.append({"step": row["step"], "epoch": row["epoch"]} | found)
    return rows


def drop_after(workdir: Path, step: int, due: bool) -> list[dict]:
    """Drops later steps' rows and a truncated line from metrics.jsonl; returns the rows kept.

    Also the step's own validation if that is `due`, as it was cut before it was recorded.
    """
    path = workdir / FILE
    if not path.exists():
        return []

    def last(row: dict) -> int:
        return step - (due and any(key.startswith("validation/") for key in row))

    rows = [row for row in read_log(workdir) if row["step"] <= last(row)]
    with files.whole(path) as partial:
        partial.write_text("".join(json.dumps(files.sealed(row)) + "\n" for row in rows))
    return rows


def plain(value: float | None) -> float | int | None:
    """A JSON number; None for NaN and the infinities, which JSON lacks."""
    if value is None or not math.isfinite(value):
        return None
    return value if isinstance(value, int) else float(value)
