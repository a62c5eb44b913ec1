"""Checkpoints: written while training goes on, verified when read; the best and the last two kept.

Orbax writes and reads one directory per step, `<workdir>/checkpoints/<step>/`; which of them
exist is decided here. A state is stored flat, one array per leaf under its path
("params/conv1/kernel"), so a reader needs no class of ours. Orbax restores a flipped bit without
a word, hence the record in each checkpoint's metadata: shape, dtype and crc32 of every leaf.
"""

import gc
import json
import re
import shutil
import sys
import textwrap
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from flax.traverse_util import unflatten_dict
from jax.experimental import multihost_utils
from orbax.checkpoint import v1 as ocp

from alexnet.errors import UserError
from alexnet.text import difference
from alexnet.workdir.record import Progress, Validation, best

_LEFTOVERS = (".orbax-checkpoint-tmp", ".deleted")  # of a killed save, of a killed deletion
# What earlier versions called the leaves of the optimiser's state.
_FORMERLY = re.compile(r"(velocity|opt_state)/(?P<leaf>[^/]+/(kernel|bias))")
_PATTERN = "*?[\\"  # characters that Orbax takes for a glob pattern


class Checkpoints:
    """The checkpoints of one training run; every process makes one and calls it in step.

    At the start the leftovers of a killed process are removed, so only the training run may open
    its directory this way: everyone else uses `load_params`. Leave through `with` or `close`: a
    save still under way is then finished.
    """

    def __init__(self, directory: str | Path):
        check_path(directory)
        self.directory = Path(directory).absolute()
        self.directory.mkdir(parents=True, exist_ok=True)
        if jax.process_index() == 0:
            for path in self.directory.iterdir():
                if path.suffix in _LEFTOVERS:
                    shutil.rmtree(path)
        self._validations = _validations(self.directory)
        self._saving = None

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def save(
        self,
        step: int,
        state: Any,
        progress: Progress,
        error: float | None,
        loss: float | None = None,
    ) -> None:
        """Start saving `state`, a pytree of arrays; return once they are copied to the host.

        `error` is the validation top-1 error, a fraction, or None when this step was not
        evaluated, `loss` the validation loss. Once this one is complete, all are deleted but it,
        the one before and the best. Raises UserError if `step` is not after the last one saved.
        """
        self.wait()
        if self._validations and step <= max(self._validations):
            raise UserError(
                f"{self.directory} already holds step {max(self._validations)}, so step {step} "
                "cannot be saved there: resume from it, or choose another workdir"
            )
        found = Validation(*(None if value is None else float(value) for value in (error, loss)))
        leaves = _named(state)
        about = {"metadata": progress.to_json(), **found._asdict(), "leaves": _describe(leaves)}
        record = _sealed(about)
        with _orbax():
            path = self.directory / str(step)
            self._saving = step, found, ocp.save_async(path, leaves, custom_metadata=record)

    def wait(self) -> None:
        """Finish the save under way, if any, and delete what it makes superfluous."""
        if self._saving is None:
            return
        (step, found, response), self._saving = self._saving, None
        response.result()
        self._validations[step] = found
        # The last two, not one: the newest may turn out damaged.
        kept = {*sorted(self._validations)[-2:], best(self._validations)}
        for step in self._validations.keys() - kept:
            self._remove(step)

    def best(self) -> tuple[int, Validation] | None:
        """(step, what its validation found) of the best, or None if none was evaluated."""
        self.wait()
        step = best(self._validations)
        return None if step is None else (step, self._validations[step])

    def close(self) -> None:
        """Finish the save under way."""
        self.wait()

    def restore(self, like: Any) -> tuple[Any, int, Progress] | None:
        """(state, step, progress) of the newest good checkpoint, or None when there is none.

        `like` is the state with a jax.ShapeDtypeStruct, sharding included, for every array; the
        mesh may differ from the one that saved. A damaged checkpoint is reported on stderr, and
        once an older good one is found renamed to `<step>.damaged`. Raises UserError if all are
        damaged, if the leaves in the checkpoint are not those of `like`, or if the newest was never
        merged (`_check_merged`).
        """
        self.wait()
        damaged = []
        for step in sorted(self._validations, reverse=True):
            path = self.directory / str(step)
            try:
                leaves, progress = _read(path, lambda saved, path=path: _same(saved, like, path))
            except _Damaged as error:
                _report(f"{error}: trying the one before")
                damaged.append(step)
                continue
            for newer in damaged:
                self._remove(newer, keep_as=".damaged")
            today = {_today(name): leaf for name, leaf in leaves.items()}
            restored = [today[name] for name in _named(like)]
            return jax.tree.unflatten(jax.tree.structure(like), restored), step, progress
        if damaged:
            raise UserError(
                f"every checkpoint in {self.directory} is damaged: remove it to start from scratch"
            )
        return None

    def _remove(self, step: int, keep_as: str | None = None) -> None:
        """Forget a step. Renaming first makes it atomic: no half-deleted step is ever seen."""
        del self._validations[step]
        if jax.process_index() != 0:
            return
        path = self.directory / str(step)
        target = path.with_suffix(keep_as or ".deleted")
        shutil.rmtree(target, ignore_errors=True)
        path.rename(target)
        if keep_as is None:
            shutil.rmtree(target)


def check_path(directory: str | Path) -> None:
    """Raises UserError for a path below which Orbax's checkpoints would be unreadable.

    Orbax globs for the files of a save, and does not complain if nothing matches.
    """
    path = str(Path(directory).absolute())
    if found := [character for character in _PATTERN if character in path]:
        raise UserError(
            f"{path}: checkpoints cannot be saved below a folder with {' '.join(found)} in its "
            "path; choose another, or make a symbolic link to it and train there"
        )


def which(text: str) -> Literal["best", "last"] | int:
    """What `--checkpoint=text` asks `load_params` for. Raises UserError."""
    if text in ("best", "last"):
        return text
    if not (text.isdecimal() and len(text) < 10):
        raise UserError("choose best, last or a step", f"checkpoint={text}")
    return int(text)


def load_params(
    directory: str | Path, step: Literal["best", "last"] | int = "best"
) -> tuple[dict, Progress]:
    """(params, progress) of a checkpoint, for evaluation and notebooks; writes nothing.

    `directory` is a workdir or its checkpoints directory. `params` is a nested dict of numpy
    arrays: the "params" subtree, without reading the rest, when the state has one, else the whole
    state. Raises UserError if there is no such checkpoint or it is damaged.
    """
    directory = _directory(directory)
    path = directory / str(find(directory, step))
    try:
        leaves, progress = _read(path, _params)
    except _Damaged as error:
        raise UserError(str(error)) from None
    whole = unflatten_dict(leaves, sep="/")
    return whole.get("params", whole), progress


def find(directory: str | Path, step: Literal["best", "last"] | int = "best") -> int:
    """The step of the best or last checkpoint, or that very step. Raises UserError."""
    directory = _directory(directory)
    found = _validations(directory) if directory.is_dir() else {}
    if not found:
        raise UserError(f"there is no checkpoint in {directory}")
    wanted = {"best": best(found), "last": max(found)}.get(step, step)
    if wanted is None:
        raise UserError(f"no checkpoint in {directory} was evaluated: ask for 'last'")
    if wanted not in found:
        raise UserError(f"there is no step {wanted} in {directory}, only {sorted(found)}")
    return wanted


def _directory(directory: str | Path) -> Path:
    """Of a workdir its checkpoints."""
    directory = Path(directory).absolute()
    inside = directory / "checkpoints"
    return inside if inside.is_dir() else directory


def begun(workdir: str | Path) -> bool:
    """Whether `workdir` has a checkpoint, good or not, that a run there would go on from."""
    return any(path.name.isdigit() for path in Path(workdir).glob("checkpoints/*"))


class _Damaged(Exception):
    """A checkpoint that cannot be read, or not as it was written; says which and why."""


def _orbax() -> ocp.Context:
    """Uncompressed (float noise shrinks by 8% for 6 times the work); subsets may be read."""
    context = ocp.Context()
    context.array.saving.use_compression = False
    context.pytree.loading.partial_load = True
    return context


def _validations(directory: Path) -> dict[int, Validation]:
    """What is stored with each complete step, an error of None where it was not evaluated."""
    found = {}
    for step in sorted(int(path.name) for path in directory.iterdir() if path.name.isdigit()):
        try:
            about = _read_record(directory / str(step))
            found[step] = Validation(about["error"], about.get("loss"))
        except Exception as error:
            _report(f"checkpoint {directory / str(step)} is damaged ({_reason(error)})")
            found[step] = Validation(None)
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
    """Of the whole array's bytes in C order."""
    return zlib.crc32(np.ascontiguousarray(whole(leaf)).view(np.uint8))


def whole(leaf: jax.Array | np.ndarray) -> np.ndarray:
    """An array on the host, whatever its sharding; every process calls it, and gets all of it."""
    if isinstance(leaf, jax.Array) and not (leaf.is_fully_addressable or leaf.is_fully_replicated):
        leaf = multihost_utils.process_allgather(leaf, tiled=True)
    return np.asarray(leaf)


def _sealed(record: dict) -> dict:
    """The record as JSON gives it back, with its own crc32."""
    record = json.loads(json.dumps(record))
    return record | {"crc32": zlib.crc32(json.dumps(record, sort_keys=True).encode())}


def _read_record(path: Path) -> dict:
    """{"metadata", "error", "loss", "leaves": {name: {"shape", "dtype", "crc32"}}}.

    Raises if it is damaged. Earlier versions stored no loss.
    """
    # ocp.metadata would open every array as well: 25 times slower, noisy when damaged.
    record = json.loads((path / "_CHECKPOINT_METADATA").read_text())["custom_metadata"]
    seal = record.pop("crc32")
    if _sealed(record)["crc32"] != seal:
        raise ValueError("its metadata changed since it was written")
    return record


def _read(path: Path, choose: Callable[[dict], dict]) -> tuple[dict[str, Any], Progress]:
    """(leaves by name, progress); `choose` maps the record's leaves to the wanted ones.

    Raises _Damaged, and what `choose` raises.
    """
    _check_merged(path)
    try:
        record = _read_record(path)
        like = choose(record["leaves"])
        with _orbax():
            leaves = ocp.load(path, like, checkpointable_name="state")
        for name, leaf in leaves.items():
            if _crc32(leaf) != record["leaves"][name]["crc32"]:
                raise ValueError(f"{name} changed since it was written")
        return leaves, Progress.from_json(record["metadata"])
    except UserError:
        raise
    except Exception as error:
        reason = _reason(error)
    # Orbax abandons its other reads, and Python reports each when it is collected. Collect now, so
    # that our message comes last.
    gc.collect()
    raise _Damaged(f"checkpoint {path} is damaged ({reason})")


def _check_merged(path: Path) -> None:
    """Raises UserError for a checkpoint whose files Orbax never merged.

    Earlier versions could save below paths such as "runs[1]" (see `check_path`). With a backslash
    in the path the files lie in another folder, as TensorStore takes it for a slash.
    """
    state = path / "state"
    if not state.is_dir() or (state / "manifest.ocdbt").exists() or (state / "d").exists():
        return
    split = Path(f"{path}{_LEFTOVERS[0]}".replace("\\", "/"))
    for part in (state / "ocdbt.process_0", split / "state" / "ocdbt.process_0"):
        if part.is_dir():
            raise UserError(
                f"checkpoint {path} is whole but its files were not put together, as a folder in "
                f"its path has, or had, a name with one of {' '.join(_PATTERN)}: copy all that is "
                f"in {part} to {state}, give that folder another name, and it can be read"
            )


def _params(saved: dict[str, dict]) -> dict[str, np.ndarray]:
    """Numpy arrays to read into: those under "params/" if there are any, else all."""
    names = [name for name in saved if name.startswith("params/")] or list(saved)
    return {
        name: np.empty(saved[name]["shape"], jax.numpy.dtype(saved[name]["dtype"]))
        for name in names
    }


def _same(saved: dict[str, dict], like: Any, path: Path) -> dict[str, Any]:
    """`like` by saved name; UserError names the first leaf that differs, which Orbax might cast."""
    wanted = _named(like)
    there = {_today(name): f"{leaf['dtype']}{leaf['shape']}" for name, leaf in saved.items()}
    here = {name: f"{leaf.dtype}{list(leaf.shape)}" for name, leaf in wanted.items()}
    if line := difference(there, f"checkpoint {path}", here, "this run"):
        raise UserError(f"{line}: resume with the config that saved it, or choose another workdir")
    return {name: wanted[_today(name)] for name in saved}


def _today(name: str) -> str:
    """A leaf's name, where an earlier version called it otherwise."""
    if found := _FORMERLY.fullmatch(name):
        return f"opt_state/momentum/trace/{found['leaf']}"
    return name


def _reason(error: BaseException) -> str:
    """The error at the root, which Orbax wraps several times, in at most a line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return textwrap.shorten(f"{type(error).__name__}: {error}", 160, placeholder=" ...")


def _report(line: str) -> None:
    if jax.process_index() == 0:
        print(line, file=sys.stderr, flush=True)
