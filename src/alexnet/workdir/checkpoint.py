"""The checkpoints of a run: written during training; the best and the last two are kept.

Each is a folder, `<workdir>/checkpoints/<step>/`. `snapshot` writes and reads one; this file
decides which are kept, and finds the best and the last. Only the first process writes.
"""

import os
import re
import shutil
from pathlib import Path
from typing import Any, Literal

import jax
from flax.traverse_util import unflatten_dict

from alexnet.devices import processes
from alexnet.devices.mesh import whole
from alexnet.errors import UserError, check_utf8
from alexnet.text import say
from alexnet.workdir import damage, snapshot
from alexnet.workdir.damage import DamagedError
from alexnet.workdir.record import STEP, Progress, Validation, best
from alexnet.workdir.snapshot import Writer

# The remains of a killed save or a killed deletion.
_LEFTOVER = re.compile(r"[0-9]+\.(orbax-checkpoint-tmp.*|deleted)")

Which = Literal["best", "last"] | int  # the best checkpoint, the last, or one by its step

FRESH = "start over with --fresh, which first moves what is there to another folder"


class Checkpoints:
    """The checkpoints of one training run; every process makes this object and calls its methods.

    The constructor removes the leftovers of a killed process, so only the command that writes the
    run may make this object: all others use `load_step`. Use `with` or call `wait`, either of
    which finishes a save under way.

    Args:
        run: the run's id; "" if it is not known.

    Attributes:
        failure: why the last finished save failed; "" if it did not.
        saved: the newest step that is known to be complete; None if there is none.

    Raises:
        UserError: if the directory cannot be read or written, or a checkpoint was renamed or is
            from another run.
    """

    def __init__(self, directory: str | Path, run: str = ""):
        check_path(directory)
        self.directory, self.run = Path(directory).absolute(), run
        self.failure = ""
        self._saving: tuple[int, Validation, str] | None = None
        self._writer: Writer | None = None
        survey = processes.together(lambda: self._survey() if _first() else None)
        # Each step's validation; None if its record cannot be read. Such a step is never deleted.
        self._found = {
            step: None if found is None else Validation(*found)
            for step, found in processes.gathered(survey)[0]
        }

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, error: type | None, *more) -> None:
        if error is None or jax.process_count() == 1:
            self.wait()
        elif self._saving is not None:  # other processes may have ended: ask none
            (step, _, why), self._saving = self._saving, None
            self._outcome(step, why)

    @property
    def saved(self) -> int | None:
        """The newest step that is complete."""
        return max(self._found, default=None)

    def save(
        self,
        step: int,
        state: Any,
        progress: Progress,
        error: float | None,
        loss: float | None = None,
    ) -> None:
        """Starts saving `state`, a pytree of arrays; returns once they are copied to the host.

        `error` is the validation top-1 error, a fraction, or None if this step was not validated;
        `loss` is the validation loss. Once the save is complete, all checkpoints are deleted except
        this one, the one before, the best, and those whose record cannot be read. A failed save is
        reported in a line on stderr, `failure` says why, and the other checkpoints stay. Raises
        UserError unless `step` is later than every saved step.
        """
        self.wait()
        if self._found and step <= max(self._found):
            raise UserError(
                f"{self.directory} already holds step {max(self._found)}, so step {step} "
                "cannot be saved there: resume from it, or choose another workdir"
            )
        found = Validation(*(None if value is None else float(value) for value in (error, loss)))
        leaves = snapshot.named(state)
        if jax.process_count() > 1:
            every = ((name, whole(leaf)) for name, leaf in leaves.items())
            leaves = {name: leaf for name, leaf in every if _first()}  # one process writes them
        about = {"step": step, "run": self.run, "metadata": progress.to_json(), **found._asdict()}
        self._saving = step, found, self._begin(step, leaves, about) if _first() else ""

    def validated(self, step: int, progress: Progress, found: Validation) -> None:
        """Adds a validation's result to the last step, which was saved without one."""
        self.wait()
        self._found[step] = found
        if _first():
            about = {"metadata": progress.to_json(), **found._asdict()}
            snapshot.amend(self.directory / str(step), about)

    def is_validated(self, step: int) -> bool:
        """Whether a step is kept with the result of its validation."""
        return self._known.get(step, Validation(None)).error is not None

    def wait(self) -> None:
        """Finishes the save under way, if any, and deletes superfluous checkpoints."""
        if self._saving is None:
            return
        (step, found, why), self._saving = self._saving, None
        self.failure = processes.gathered(self._outcome(step, why))[0]
        if self.failure:
            kept = f"step {self.saved} stays" if self._found else "no step is saved yet"
            _report(f"step {step} could not be saved ({self.failure}): {kept}")
            return
        self._found[step] = found
        self._clear()
        known = self._known
        # The last two, not one: the newest may turn out to be damaged.
        staying = {*sorted(known)[-2:], best(known)}
        for step in known.keys() - staying:
            self._remove(step)

    def best(self) -> tuple[int, Validation] | None:
        """(step, validation) of the best checkpoint; None if none was validated."""
        self.wait()
        step = best(self._known)
        return None if step is None else (step, self._known[step])

    @property
    def _known(self) -> dict[int, Validation]:
        """The validations of the steps whose record can be read."""
        return {step: found for step, found in self._found.items() if found is not None}

    def restore(self, like: Any) -> tuple[Any, int, Progress] | None:
        """(state, step, progress) of the newest good checkpoint, or None if there is none.

        `like` is the state with a jax.ShapeDtypeStruct, including its sharding, for every array;
        the mesh may differ from the saved one. A checkpoint that is damaged for one process
        counts as damaged for all. It is reported on stderr and, once an older good checkpoint is
        found, renamed to `<step>.damaged`. Raises UserError if all checkpoints are damaged, if one
        cannot be read for another reason, if its leaves are not those of `like`, or if Orbax left
        its files unmerged (see `snapshot._check_merged`).
        """
        self.wait()
        damaged = []
        for step in sorted(self._found, reverse=True):
            path = self.directory / str(step)
            try:
                state, progress = snapshot.read_like(path, like, self.run)
            except DamagedError as error:
                _report(f"{error}: looking for an earlier checkpoint")
                damaged.append(step)
                continue
            for newer in damaged:
                self._remove(newer, keep_as=".damaged")
            return state, step, progress
        if damaged:
            raise UserError(
                f"every checkpoint in {self.directory} is damaged: bring one back from a copy, or "
                f"{FRESH}"
            )
        return None

    def _survey(self) -> list[tuple[int, Validation | None]]:
        """Removes leftovers, reports strays, and returns the validation of each step."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._clear()
            paths = sorted(self.directory.iterdir())
        except OSError as error:
            raise UserError(f"cannot read {self.directory}: {damage.reason(error)}") from None
        if not os.access(self.directory, os.W_OK | os.X_OK):
            raise UserError(f"cannot write in {self.directory}: checkpoints are saved there")
        for path in paths:
            if not (path.is_dir() and (STEP.fullmatch(path.name) or path.suffix == ".damaged")):
                _report(f"{path} is not a checkpoint: it is ignored")
        return list(_validations(self.directory, self.run).items())

    def _begin(self, step: int, leaves: dict[str, Any], about: dict) -> str:
        """Starts writing; returns why that failed, or ""."""
        record = snapshot.make_record(leaves, about)
        try:
            self._writer = self._writer or snapshot.make_writer()
            snapshot.write(self._writer, self.directory / str(step), leaves, record)
        except Exception as error:
            return self._cleared(error)
        return ""

    def _outcome(self, step: int, why: str) -> str:
        """Waits for the save under way; returns why it failed, or ""."""
        if why or self._writer is None:  # it failed at once, or another process writes
            return why
        try:
            self._writer.wait_until_finished()
            if not (self.directory / str(step)).is_dir():
                raise FileNotFoundError(2, "it is gone", str(self.directory / str(step)))
        except Exception as error:
            return self._cleared(error)
        return ""

    def _cleared(self, error: Exception) -> str:
        """Frees the space that a failed save took; returns why it failed."""
        self._writer = None
        self._clear()
        return damage.reason(error)

    def _clear(self) -> None:
        """Removes what failed or killed saves and killed deletions left behind.

        Orbax may go on writing arrays of a save after one of them has failed, so the folder may
        come back: the next successful save, or the next run, removes it.
        """
        if not _first():
            return
        for path in self.directory.glob("*.*"):
            if _LEFTOVER.fullmatch(path.name) and path.is_dir():
                shutil.rmtree(path, ignore_errors=True)

    def _remove(self, step: int, keep_as: str | None = None) -> None:
        """Deletes a step, or renames it; a deletion begins with a rename, which is atomic."""
        del self._found[step]
        if not _first():
            return
        path = self.directory / str(step)
        target = path.with_suffix(keep_as or ".deleted")
        try:
            shutil.rmtree(target, ignore_errors=True)
            path.rename(target)
            if keep_as is None:
                shutil.rmtree(target)
        except OSError as error:
            _report(f"{path} could not be removed ({damage.reason(error)})")


def check_path(directory: str | Path) -> None:
    """Raises UserError if Orbax could not read checkpoints below this path.

    It takes names as UTF-8. It globs for the files of a save, and does not complain if nothing
    matches.
    """
    check_utf8(Path(directory).absolute())
    path = str(Path(directory).absolute())
    if found := [character for character in snapshot.PATTERN if character in path]:
        raise UserError(
            f"{path}: checkpoints cannot be saved below a folder with {' '.join(found)} in its "
            "path; choose another, or make a symbolic link to it and train there"
        )


def which(text: str) -> Which:
    """The checkpoint that `--checkpoint=text` names. Raises UserError."""
    match text:
        case "best" | "last":
            return text
        case _ if text.isdecimal() and len(text) < 10:
            return int(text)
        case _:
            raise UserError("choose best, last or a step", f"checkpoint={text}")


def load_params(directory: str | Path, step: Which = "best") -> tuple[dict, Progress]:
    """(params, progress) of a checkpoint; see `load_step`."""
    return load_step(directory, step)[1:]


def load_step(directory: str | Path, which: Which = "best") -> tuple[int, dict, Progress]:
    """(step, params, progress) of a checkpoint; writes nothing.

    `directory` is a workdir or its checkpoints directory. `params` is a nested dict of numpy
    arrays: the "params" subtree (nothing else is read), or the whole state if it has no such
    subtree. Raises UserError if there is no such checkpoint or it is damaged.
    """
    directory = _directory(directory)
    while True:
        step = find(directory, which)
        path = directory / str(step)
        try:
            leaves, progress = snapshot.read(path, snapshot.only_params)
        except DamagedError as error:
            if not path.is_dir():  # a run training there has just replaced it with a newer one
                continue
            sound = [known for known, found in _validations(directory).items() if found]
            others = ", ".join(str(known) for known in sound if known != step)
            there = f"others are there: step {others}" if others else "there is no other"
            raise UserError(f"{error}; {there}") from None
        tree = unflatten_dict(leaves, sep="/")
        return step, tree.get("params", tree), progress


def find(directory: str | Path, step: Which = "best") -> int:
    """The step of the best or last checkpoint, or `step`, if it is there. Raises UserError.

    Where none was validated, as after an import, the best is the last.
    """
    step = which(step) if isinstance(step, str) else step
    directory = _directory(directory)
    stored = _validations(directory) if directory.is_dir() else {}
    found = {number: one or Validation(None) for number, one in stored.items()}
    if not found:
        raise UserError(f"there is no checkpoint in {directory}")
    wanted = step
    if step in ("best", "last"):
        known = best(found) if step == "best" else None
        wanted = max(found) if known is None else known
    if wanted not in found:
        raise UserError(f"there is no step {wanted} in {directory}, only {sorted(found)}")
    return wanted


def _directory(directory: str | Path) -> Path:
    """The folder of checkpoints in a workdir, or `directory` itself if it has none."""
    directory = Path(directory).absolute()
    inside = directory / "checkpoints"
    return inside if inside.is_dir() else directory


def _validations(directory: Path, run: str = "") -> dict[int, Validation | None]:
    """Each complete step's validation; its error is None if the step was not validated.

    A damaged record gives None, and is reported. Raises UserError as `snapshot.read_record` does,
    and if a record that may be sound cannot be read.
    """
    found: dict[int, Validation | None] = {}
    for step in sorted(int(p.name) for p in directory.iterdir() if STEP.fullmatch(p.name)):
        path = directory / str(step)
        try:
            about = snapshot.read_record(path, run)
            found[step] = Validation(about["error"], about.get("loss"))
        except UserError:
            raise
        except Exception as error:
            wrong = damage.judged(error, f"checkpoint {path}")
            if isinstance(wrong, UserError):
                raise wrong from None
            if path.is_dir():  # else it was deleted while we looked
                _report(str(wrong))
                found[step] = None
    return found


def _first() -> bool:
    return jax.process_index() == 0


def _report(line: str) -> None:
    if _first():
        say(line)
