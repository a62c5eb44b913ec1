"""A workdir belongs to one run, and only one command at a time may train in it."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import monotonic, sleep
from typing import IO

import jax
from ml_collections import ConfigDict

from alexnet import config as configs
from alexnet.devices import processes
from alexnet.errors import UserError
from alexnet.locks import lock
from alexnet.text import say, some
from alexnet.workdir import record
from alexnet.workdir.checkpoint import FRESH

# What may change when a run is resumed; anything else would make it another run.
MAY_CHANGE = ("epochs", "schedule.", *record.ELSEWHERE)
# What commands write in a workdir.
OWN = (
    *("checkpoints", "config.json", "dataset", "diverged.json", "evaluation.json", "failure.txt"),
    *("features", "metrics.jsonl", "output.txt", "provenance.json", "tensorboard"),
    *("wandb", "wandb.json"),
)
LOCK = ".lock"
SAVED = "saved"  # in the lock file, once a checkpoint has been saved
EARLIER = "earlier-"  # prefix of the folders that `start_over` makes
STORY = ("provenance.json", "diverged.json", "wandb.json")  # of a run that trained nothing
LOOK_SECONDS = 2
SHARED_SECONDS = 90  # a client of NFS may take a minute to see a file that is new


class InUse(UserError):
    """Another run is using the workdir, and may be well."""


class Claim:
    """A workdir that is claimed by this run.

    Attributes:
        run: the run's id, which its checkpoints carry.
    """

    def __init__(self, workdir: Path, run: str, file: IO | None):
        self.run = run
        self._workdir, self._file, self._looked = workdir, file, monotonic()
        self._failing: float | None = None  # since when looking fails

    def check(self) -> None:
        """Raises UserError if the workdir was removed or replaced; looks every few seconds.

        A file server that does not answer for a while, or with other errors, ends no run.
        """
        if self._file is None or monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked = monotonic()
        try:
            if os.path.samestat(os.fstat(self._file.fileno()), (self._workdir / LOCK).stat()):
                self._failing = None
                return
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError:
            self._failing = self._looked if self._failing is None else self._failing
            if self._looked - self._failing < SHARED_SECONDS:
                return
            raise
        raise UserError(f"{self._workdir} was removed or replaced while the run was training there")

    def note_saved(self, step: int | None) -> None:
        """Records that a checkpoint was saved: if none is there later, it was taken away."""
        if step is not None and self._file is not None and not self._file.tell():
            with contextlib.suppress(OSError):  # a full disk: it is tried again
                self._file.write(SAVED.encode())


@contextlib.contextmanager
def claim(
    workdir: Path,
    config: ConfigDict,
    may_change: Sequence[str] = (),
    again: str = "the same command",
) -> Iterator[Claim]:
    """Claims the workdir for this run while it trains.

    Args:
        may_change: keys that may differ from those of the run there, beside MAY_CHANGE.
        again: what resumes the run.

    Raises:
        UserError: if the workdir is not writable, now or later; if another run is using it; if it
            holds another run, a run without config.json, or a run whose checkpoints are gone.
    """
    with contextlib.ExitStack() as stack:

        def take() -> IO | None:
            if jax.process_index() != 0:
                return None
            with _written(f"workdir={workdir}", "cannot write there"):
                file = _locked(workdir, stack)
                if makes_way(workdir, config, may_change, bool(file.tell())):
                    for name in STORY:  # of the old one, which may have lacked memory
                        (workdir / name).unlink(missing_ok=True)
                    record.save_config(config, workdir, anew=True)
                if not (workdir / "config.json").exists():
                    file.truncate(0)  # somebody may have emptied the workdir, but for this file
                    file.seek(0)
                    record.save_config(config, workdir)
                    return file
                check_kept(workdir, bool(file.tell()))
                if not record.run_of(workdir):  # an earlier version's: it gets an id
                    record.save_config(record.saved_config(workdir, resume=True), workdir)
                return file

        file = processes.together(take)
        run = _seen_by_all(workdir)
        with _written("", f"the run stopped, and {again} resumes it"):
            yield Claim(workdir, run, file)


def _seen_by_all(workdir: Path) -> str:
    """The id of the run, once all processes read the same.

    Raises:
        UserError: if one still reads another after SHARED_SECONDS.
    """
    for second in range(SHARED_SECONDS):
        first, *others = processes.gathered(record.run_of(workdir))
        if set(others) <= {first}:
            return first
        if second == LOOK_SECONDS and jax.process_index() == 0:
            say(f"waiting until all processes find the run in {workdir} ...")
        sleep(1)
    process = next(n for n, run in enumerate(others, 1) if run != first)
    raise UserError(
        f"process {process} does not find there the run that process 0 finds: all must share the "
        "folder",
        f"workdir={workdir}",
    )


def start_over(workdir: Path) -> None:
    """Moves the run in a workdir to a new folder there, earlier-N: the highest N plus 1.

    What is not the run's stays where it is.
    """

    def put_aside() -> None:
        if jax.process_index() != 0 or not workdir.is_dir():
            return
        with contextlib.ExitStack() as stack:
            stack.enter_context(_written(f"workdir={workdir}", "cannot start over there"))
            _locked(workdir, stack)
            names = {path.name for path in workdir.iterdir()} & {*OWN}
            if "config.json" not in names:
                return
            numbers = [p.name.removeprefix(EARLIER) for p in workdir.glob(f"{EARLIER}*")]
            last = max((int(number) for number in numbers if number.isdecimal()), default=0)
            earlier = workdir / f"{EARLIER}{last + 1}"
            earlier.mkdir()
            # The checkpoints first, and the config last: if a move fails, what is left is known to
            # be a run, and to have lost its checkpoints.
            for name in sorted(names, key=lambda x: (x != "checkpoints", x == "config.json")):
                os.replace(workdir / name, earlier / name)
            (workdir / LOCK).write_text("")
            print(f"starting over: the earlier run is in {earlier}", flush=True)

    processes.together(put_aside)


def _locked(workdir: Path, stack: contextlib.ExitStack) -> IO:
    """The lock file, positioned at its end and locked until the stack closes."""
    workdir.mkdir(parents=True, exist_ok=True)
    file = stack.enter_context((workdir / LOCK).open("ab", buffering=0))
    file.seek(0, os.SEEK_END)
    if not lock(file, wait=False):
        raise InUse(f"another run is using {workdir}: wait for it, or choose another workdir")
    return file


@contextlib.contextmanager
def _written(argument: str, what: str) -> Iterator[None]:
    """Turns an OSError into a UserError about `argument`: the message `what`, then the cause."""
    try:
        yield
    except OSError as error:
        if not error.strerror:
            raise
        where = f" ({error.filename})" if error.filename else ""
        raise UserError(f"{what}: {error.strerror}{where}", argument) from None


def check_free(workdir: Path, config: ConfigDict) -> None:
    """Raises UserError if the workdir holds another run, as far as that is known without images."""
    lock = workdir / LOCK
    saved = lock.is_file() and bool(lock.stat().st_size)
    makes_way(workdir, config, ("data.name",), saved)


def makes_way(workdir: Path, config: ConfigDict, may_change: Sequence[str], saved: bool) -> bool:
    """Whether another run is there that has trained nothing. Raises UserError if it has trained."""
    try:
        check_same_run(workdir, config, may_change)
    except UserError:
        if not is_untrained(workdir, saved):
            raise
        return True
    return False


def check_same_run(workdir: Path, config: ConfigDict, may_change: Sequence[str]) -> None:
    """Raises UserError if the workdir holds another run or several, or one without config.json."""
    if not (workdir / "config.json").exists():
        inside = sorted(path.parent.name for path in workdir.glob("*/config.json"))
        if others := [name for name in inside if not name.startswith(EARLIER)]:
            raise UserError(
                f"{workdir} holds other runs ({some(others, 3)}): give this one a folder of its own"
            )
        for name in ("metrics.jsonl", "tensorboard", "checkpoints"):
            if (workdir / name).exists():
                raise UserError(
                    f"{workdir} holds {name} but no run (no config.json): choose another workdir"
                )
        return
    saved = configs.absolute(record.saved_config(workdir, resume=True))
    for key, old, new in configs.differences(saved, config):
        if not key.startswith((*MAY_CHANGE, *may_change)):
            weights = "; to train its weights, name it in a new run's config.init_from"
            raise UserError(
                f"{workdir} holds a run with config.{key}={old!r}, not {new!r}: choose another "
                f"workdir, or {FRESH}{weights * record.begun(workdir)}"
            )


def is_untrained(workdir: Path, saved: bool) -> bool:
    """Whether a run began there and ended before it logged or saved anything.

    Args:
        saved: whether the run noted a saved checkpoint.
    """
    if not record.run_of(workdir) or saved or _are_taken(workdir) or record.begun(workdir):
        return False
    log = workdir / "metrics.jsonl"
    return not (log.exists() and log.stat().st_size)


def _are_taken(workdir: Path) -> bool:
    """Whether even the folder of the checkpoints is gone, which every run makes."""
    return (workdir / "metrics.jsonl").exists() and not (workdir / "checkpoints").exists()


def check_kept(workdir: Path, saved: bool) -> None:
    """Raises UserError for a run whose checkpoints are gone.

    Args:
        saved: whether the run noted a saved checkpoint; earlier versions noted nothing.
    """
    if record.begun(workdir):
        return
    if saved or _are_taken(workdir):
        raise UserError(
            f"{workdir} holds a run whose checkpoints are gone: bring {workdir / 'checkpoints'} "
            f"back, or {FRESH}"
        )
