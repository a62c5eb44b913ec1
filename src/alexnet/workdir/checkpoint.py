"""Checkpoints: written during training, verified when read. The best and the last two are kept.

Orbax writes and reads one directory per step, `<workdir>/checkpoints/<step>/`; this file decides
which steps are kept. A state is stored flat, one array per leaf under its path
("params/conv1/kernel"), so a reader needs none of our Python classes. Orbax loads a flipped bit
without a warning. So each checkpoint's metadata holds a record: every leaf's shape, dtype and
crc32, and the step and the run, which reveal a renamed checkpoint or one from another run.

Only the first process writes, and each process reads by itself. Otherwise Orbax would make them
wait for each other: for minutes, if one fails. Afterwards the processes agree on the outcome.
"""

import gc
import json
import logging
import os
import re
import shutil
import sys
import traceback
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from flax.traverse_util import unflatten_dict
from jax.experimental import multihost_utils
from orbax import checkpoint as v0
from orbax.checkpoint import v1 as ocp

from alexnet import files
from alexnet.devices import processes
from alexnet.errors import UserError
from alexnet.text import difference, say
from alexnet.workdir import damage
from alexnet.workdir.damage import DamagedError
from alexnet.workdir.record import Progress, Validation, best

_STEP = re.compile("0|[1-9][0-9]*")  # the name of a checkpoint
# The remains of a killed save or a killed deletion.
_LEFTOVER = re.compile(r"[0-9]+\.(orbax-checkpoint-tmp.*|deleted)")
_RECORD = "_CHECKPOINT_METADATA"
# Earlier versions' names for the leaves of the optimiser's state.
_FORMERLY = re.compile(r"(velocity|opt_state)/(?P<leaf>[^/]+/(kernel|bias))")
_PATTERN = "*?[\\"  # characters that Orbax takes for a glob pattern

Which = Literal["best", "last"] | int  # the best checkpoint, the last, or one by its step


class Checkpoints:
    """The checkpoints of one training run; every process makes this object and calls its methods.

    The constructor removes the leftovers of a killed process, so only the command that writes the
    run may make this object: all others use `load_params`. Use `with` or call `close`, either of
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
        self._writer: v0.AsyncCheckpointer | None = None
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
            self.close()
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
        leaves = _named(state)
        if jax.process_count() > 1:
            leaves = {name: whole(leaf) for name, leaf in leaves.items()}
        about = {"step": step, "run": self.run, "metadata": progress.to_json(), **found._asdict()}
        self._saving = step, found, self._begin(step, leaves, about) if _first() else ""

    def validated(self, step: int, progress: Progress, found: Validation) -> None:
        """Adds a validation's result to the last step, which was saved without one."""
        self.wait()
        self._found[step] = found
        if not _first():
            return
        path = self.directory / str(step) / _RECORD
        whole_file = json.loads(path.read_text())
        record = whole_file["custom_metadata"] | {"metadata": progress.to_json()} | found._asdict()
        record.pop("crc32")
        files.write_json(whole_file | {"custom_metadata": _sealed(record)}, path)

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

    def close(self) -> None:
        """Finishes the save under way."""
        self.wait()

    def restore(self, like: Any) -> tuple[Any, int, Progress] | None:
        """(state, step, progress) of the newest good checkpoint, or None if there is none.

        `like` is the state with a jax.ShapeDtypeStruct, including its sharding, for every array;
        the mesh may differ from the saved one. A checkpoint that is damaged for one process
        counts as damaged for all. It is reported on stderr and, once an older good checkpoint is
        found, renamed to `<step>.damaged`. Raises UserError if all checkpoints are damaged, if one
        cannot be read for another reason, if its leaves are not those of `like`, or if Orbax left
        its files unmerged (see `_check_merged`).
        """
        self.wait()
        damaged, choose = [], lambda path: lambda saved: _same(saved, like, path)
        for step in sorted(self._found, reverse=True):
            path = self.directory / str(step)
            try:
                leaves, progress = _read(path, choose(path), self.run)
            except DamagedError as error:
                _report(f"{error}: looking for an earlier checkpoint")
                damaged.append(step)
                continue
            for newer in damaged:
                self._remove(newer, keep_as=".damaged")
            today = {_today(name): leaf for name, leaf in leaves.items()}
            restored = [today[name] for name in _named(like)]
            return jax.tree.unflatten(jax.tree.structure(like), restored), step, progress
        if damaged:
            raise UserError(
                f"every checkpoint in {self.directory} is damaged: bring one back from a copy, or "
                "start over with --fresh, which first moves what is there to another folder"
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
            if not (path.is_dir() and (_STEP.fullmatch(path.name) or path.suffix == ".damaged")):
                _report(f"{path} is not a checkpoint: it is ignored")
        return list(_validations(self.directory, self.run).items())

    def _begin(self, step: int, leaves: dict[str, Any], about: dict) -> str:
        """Starts writing; returns why that failed, or ""."""
        record = _sealed(about | {"leaves": _describe(leaves)})
        try:
            self._writer = self._writer or _make_writer()
            self._writer.save(
                self.directory / str(step),
                args=v0.args.Composite(state=v0.args.PyTreeSave(leaves)),
                custom_metadata=record,
            )
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

    Orbax globs for the files of a save, and does not complain if nothing matches.
    """
    path = str(Path(directory).absolute())
    if found := [character for character in _PATTERN if character in path]:
        raise UserError(
            f"{path}: checkpoints cannot be saved below a folder with {' '.join(found)} in its "
            "path; choose another, or make a symbolic link to it and train there"
        )


def which(text: str) -> Which:
    """The argument of `load_params` for `--checkpoint=text`. Raises UserError."""
    match text:
        case "best" | "last":
            return text
        case _ if text.isdecimal() and len(text) < 10:
            return int(text)
        case _:
            raise UserError("choose best, last or a step", f"checkpoint={text}")


def load_params(directory: str | Path, step: Which = "best") -> tuple[dict, Progress]:
    """(params, progress) of a checkpoint, for evaluation and notebooks; writes nothing.

    `directory` is a workdir or its checkpoints directory. `params` is a nested dict of numpy
    arrays: the "params" subtree (nothing else is read), or the whole state if it has no such
    subtree. Raises UserError if there is no such checkpoint or it is damaged.
    """
    return load_step(directory, step)[1:]


def load_step(directory: str | Path, which: Which = "best") -> tuple[int, dict, Progress]:
    """(step, params, progress) of a checkpoint; see `load_params`."""
    directory = _directory(directory)
    while True:
        step = find(directory, which)
        path = directory / str(step)
        try:
            leaves, progress = _read(path, _params)
        except DamagedError as error:
            if not path.is_dir():  # a run training there has just replaced it with a newer one
                continue
            raise UserError(str(error)) from None
        whole = unflatten_dict(leaves, sep="/")
        return step, whole.get("params", whole), progress


def find(directory: str | Path, step: Which = "best") -> int:
    """The step of the best or last checkpoint, or `step`, if it is there. Raises UserError.

    Where none was validated, as after an import, the best is the last.
    """
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


def begun(workdir: str | Path) -> bool:
    """Whether a run in `workdir` has begun: a checkpoint is there, good or not."""
    return any(_STEP.fullmatch(path.name) for path in Path(workdir).glob("checkpoints/*"))


def _reading() -> ocp.Context:
    """A context in which a process may read some leaves, without waiting for other processes."""
    context = ocp.Context()
    context.pytree.loading.partial_load = True
    context.multiprocessing.primary_host = jax.process_index()
    context.multiprocessing.active_processes = {jax.process_index()}
    context.multiprocessing.barrier_sync_key_prefix = f"process{jax.process_index()}"
    return context


def _make_writer() -> v0.AsyncCheckpointer:
    """A writer for this process alone. Files are not compressed: 8% less would take 6x the work.

    It has Orbax's older interface, as the newer one compares the path across processes even if only
    one writes. When a save fails, Orbax logs a traceback from each thread; these are hidden, as we
    report the failure.
    """
    for name in ("absl", "asyncio"):
        logging.getLogger(name).addFilter(_is_not_orbax)
    if sys.unraisablehook is not _without_orbax:
        _hooks.append(sys.unraisablehook)
        sys.unraisablehook = _without_orbax
    here = jax.process_index()
    alone = v0.options.MultiprocessingOptions(
        primary_host=here, active_processes={here}, barrier_sync_key_prefix=f"process{here}"
    )
    state = v0.PyTreeCheckpointHandler(use_compression=False, multiprocessing_options=alone)
    options = v0.CompositeOptions(multiprocessing_options=alone)
    return v0.AsyncCheckpointer(
        v0.CompositeCheckpointHandler(composite_options=options, state=state),
        multiprocessing_options=alone,
        # In the background, Orbax would wait for minutes for a directory that cannot be made.
        async_options=v0.options.AsyncOptions(create_directories_asynchronously=False),
    )


def _is_not_orbax(record: logging.LogRecord) -> bool:
    trace = "".join(traceback.format_exception(record.exc_info[1])) if record.exc_info else ""
    return not any("orbax" in text for text in (record.pathname, record.getMessage(), trace))


_hooks: list[Callable[[Any], object]] = []  # the `sys.unraisablehook` before ours


def _without_orbax(what: Any) -> None:
    """Hides "Event loop is closed", which the abandoned writes of a failed save report."""
    if str(what.exc_value) != "Event loop is closed":
        _hooks[-1](what)


def _validations(directory: Path, run: str = "") -> dict[int, Validation | None]:
    """Each complete step's validation; its error is None if the step was not validated.

    A damaged record gives None, and is reported. Raises UserError as `_read_record` does, and if a
    record that may be sound cannot be read.
    """
    found: dict[int, Validation | None] = {}
    for step in sorted(int(p.name) for p in directory.iterdir() if _STEP.fullmatch(p.name)):
        path = directory / str(step)
        try:
            about = _read_record(path, run)
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


def _named(tree: Any) -> dict[str, Any]:
    """The leaves of a pytree by path, in the tree's order: {"params/conv1/kernel": ...}."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def _describe(leaves: dict[str, jax.Array]) -> dict[str, dict]:
    return {
        name: {"shape": list(leaf.shape), "dtype": str(leaf.dtype), "crc32": _crc32(leaf)}
        for name, leaf in leaves.items()
    }


def _crc32(leaf: jax.Array | np.ndarray) -> int:
    """The crc32 of the whole array's bytes in C order."""
    return zlib.crc32(np.ascontiguousarray(whole(leaf)).view(np.uint8).data)


def whole(leaf: jax.Array | np.ndarray) -> np.ndarray:
    """The whole array on the host, whatever its sharding; every process must call it."""
    if isinstance(leaf, jax.Array) and not (leaf.is_fully_addressable or leaf.is_fully_replicated):
        leaf = multihost_utils.process_allgather(leaf, tiled=True)
    return np.asarray(leaf)


def _sealed(record: dict) -> dict:
    """The record after a round trip through JSON, with its crc32."""
    record = json.loads(json.dumps(record))
    return record | {"crc32": zlib.crc32(json.dumps(record, sort_keys=True).encode())}


def _read_record(path: Path, run: str = "") -> dict:
    """A checkpoint's record.

    {"step", "run", "metadata", "error", "loss", "leaves": {name: {"shape", "dtype", "crc32"}}}.
    Raises UserError if the record is sound but from another step or `run`, and other exceptions if
    it is damaged. Earlier versions stored no step, no run and no loss.
    """
    # ocp.metadata would open every array as well: 25 times slower, noisy when damaged.
    record = json.loads((path / _RECORD).read_text())["custom_metadata"]
    seal = record.pop("crc32")
    if _sealed(record)["crc32"] != seal:
        raise ValueError("its metadata changed since it was written")
    step, owner = record.get("step", int(path.name)), record.get("run", "")
    if step != int(path.name):
        raise UserError(
            f"{path} is the checkpoint of step {step}, renamed: name it {step} again, or move it "
            "to another folder"
        )
    if run and owner not in ("", run):
        raise UserError(f"checkpoint {path} belongs to another run: move it to another folder")
    return record


def _read(
    path: Path, choose: Callable[[dict], dict], run: str = ""
) -> tuple[dict[str, Any], Progress]:
    """(leaves by name, progress); `choose` maps the record's leaves to the wanted ones.

    Every process reads its parts of the wanted leaves; then all processes together verify each
    whole leaf. Raises DamagedError, or UserError if the content may be sound or from `choose`. An
    exception in one process is raised in all.
    """

    def read() -> tuple[dict, dict]:
        return _judging(path, lambda: _read_alone(path, choose, run))

    leaves, record = processes.together(read, DamagedError)
    found = {name: _crc32(leaf) for name, leaf in leaves.items()}

    def verify() -> None:
        for name, crc32 in found.items():
            if crc32 != record["leaves"][name]["crc32"]:
                raise ValueError(f"{name} changed since it was written")

    processes.together(lambda: _judging(path, verify), DamagedError)
    return leaves, Progress.from_json(record["metadata"])


def _judging(path: Path, attempt: Callable[[], Any]) -> Any:
    """The result of `attempt`; its exceptions become UserError or DamagedError."""
    try:
        return attempt()
    except UserError:
        raise
    except Exception as error:
        wrong = damage.judged(error, f"checkpoint {path}")
    # Orbax abandons its other reads, and Python reports each on garbage collection. Collect now, so
    # that our message comes last.
    gc.collect()
    raise wrong


def _read_alone(path: Path, choose: Callable[[dict], dict], run: str) -> tuple[dict, dict]:
    """(leaves by name, the record); the leaves are not verified yet."""
    _check_merged(path)
    damage.check_readable(path)
    record = _read_record(path, run)
    with _reading():
        leaves = ocp.load(path, choose(record["leaves"]), checkpointable_name="state")
    return leaves, record


def _check_merged(path: Path) -> None:
    """Raises UserError for a checkpoint whose files Orbax never merged.

    Earlier versions could save below paths such as "runs[1]" (see `check_path`). With a backslash
    in the path, the files are in another folder, as TensorStore takes the backslash for a slash.
    """
    state = path / "state"
    if not state.is_dir() or (state / "manifest.ocdbt").exists() or (state / "d").exists():
        return
    split = Path(f"{path}.orbax-checkpoint-tmp".replace("\\", "/"))
    for part in (state / "ocdbt.process_0", split / "state" / "ocdbt.process_0"):
        if part.is_dir():
            raise UserError(
                f"checkpoint {path} has all its files, but Orbax did not merge them, because a "
                f"folder in its path has, or had, one of {' '.join(_PATTERN)} in its name: copy "
                f"everything in {part} to {state}, and rename the folder with that name"
            )


def _params(saved: dict[str, dict]) -> dict[str, np.ndarray]:
    """Numpy arrays to read leaves into: the leaves under "params/", or all if there are none."""
    names = [name for name in saved if name.startswith("params/")] or list(saved)
    return {
        name: np.empty(saved[name]["shape"], jax.numpy.dtype(saved[name]["dtype"]))
        for name in names
    }


def _same(saved: dict[str, dict], like: Any, path: Path) -> dict[str, Any]:
    """The leaves of `like` by their saved names.

    Raises UserError, naming the first leaf that differs: Orbax might cast it silently.
    """
    wanted = _named(like)
    there = {_today(name): f"{leaf['dtype']}{leaf['shape']}" for name, leaf in saved.items()}
    here = {name: f"{leaf.dtype}{list(leaf.shape)}" for name, leaf in wanted.items()}
    if line := difference(there, f"checkpoint {path}", here, "this run"):
        raise UserError(f"{line}: resume with the config that saved it, or choose another workdir")
    return {name: wanted[_today(name)] for name in saved}


def _today(name: str) -> str:
    """A leaf's current name, given its name in any version."""
    if found := _FORMERLY.fullmatch(name):
        return f"opt_state/momentum/trace/{found['leaf']}"
    return name


def _first() -> bool:
    return jax.process_index() == 0


def _report(line: str) -> None:
    if _first():
        say(line)
