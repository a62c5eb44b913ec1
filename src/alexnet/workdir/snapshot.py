"""One checkpoint on disk: written and read by Orbax, sealed and verified by us.

A state is stored flat, one array per leaf under its path ("params/conv1/kernel"), so a reader needs
none of our Python classes. Orbax loads a flipped bit without a warning. So each checkpoint's
metadata holds a record: every leaf's shape, dtype and crc32, and the step and the run, which reveal
a renamed checkpoint or one from another run.

Each process reads by itself. Otherwise Orbax would make them wait for each other: for minutes, if
one fails. Afterwards the processes agree on the outcome.
"""

import gc
import json
import logging
import re
import sys
import traceback
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import jax
import numpy as np
from orbax import checkpoint as v0
from orbax.checkpoint import v1 as ocp

from alexnet import files
from alexnet.devices import processes
from alexnet.devices.mesh import whole
from alexnet.errors import UserError, check_utf8
from alexnet.text import difference
from alexnet.workdir import damage
from alexnet.workdir.damage import DamagedError
from alexnet.workdir.record import Progress

Writer: TypeAlias = v0.AsyncCheckpointer

_RECORD = "_CHECKPOINT_METADATA"
PATTERN = "*?[\\"  # characters that Orbax takes for a glob pattern
# Earlier versions' names for the leaves of the optimiser's state.
_FORMERLY = re.compile(r"(velocity|opt_state)/(?P<leaf>[^/]+/(kernel|bias))")


def named(tree: Any) -> dict[str, Any]:
    """The leaves of a pytree by path, in the tree's order: {"params/conv1/kernel": ...}."""
    leaves = jax.tree.leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def make_record(leaves: dict[str, Any], about: dict) -> dict:
    """The record of some leaves: what is known `about` them, and what they should read as."""
    each = {
        name: {"shape": list(leaf.shape), "dtype": str(leaf.dtype), "crc32": _crc32(leaf)}
        for name, leaf in leaves.items()
    }
    return _sealed(about | {"leaves": each})


def write(writer: Writer, path: Path, leaves: dict[str, Any], record: dict) -> None:
    """Starts writing leaves and their record; returns once they are copied to the host."""
    state = v0.args.PyTreeSave(leaves)
    writer.save(path, args=v0.args.Composite(state=state), custom_metadata=record)


def amend(path: Path, about: dict) -> None:
    """Replaces the fields `about` in the record of a checkpoint, and seals it again."""
    content = json.loads((path / _RECORD).read_text())
    found = content["custom_metadata"] | about
    found.pop("crc32")
    files.write_json(content | {"custom_metadata": _sealed(found)}, path / _RECORD)


def make_writer() -> Writer:
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


def _crc32(leaf: jax.Array | np.ndarray) -> int:
    """The crc32 of the whole array's bytes in C order."""
    return zlib.crc32(np.ascontiguousarray(whole(leaf)).view(np.uint8).data)


def _sealed(record: dict) -> dict:
    """The record after a round trip through JSON, with its crc32."""
    record = json.loads(json.dumps(record))
    return record | {"crc32": zlib.crc32(json.dumps(record, sort_keys=True).encode())}


# --- Reading ------------------------------------------------------------------------------------


def read_like(path: Path, like: Any, run: str = "") -> tuple[Any, Progress]:
    """(state, progress); see `Checkpoints.restore` for `like`. Raises as `read` does."""
    leaves, progress = read(path, lambda saved: _same(saved, like, path), run)
    by_name = {_today(name): leaf for name, leaf in leaves.items()}
    restored = [by_name[name] for name in named(like)]
    return jax.tree.unflatten(jax.tree.structure(like), restored), progress


def read(
    path: Path, choose: Callable[[dict], dict], run: str = ""
) -> tuple[dict[str, Any], Progress]:
    """(leaves by name, progress); `choose` maps the record's leaves to the wanted ones.

    Every process reads its parts of the wanted leaves; then all processes together verify each
    whole leaf. Raises DamagedError, or UserError if the content may be sound or from `choose`. An
    exception in one process is raised in all.
    """

    def attempt() -> tuple[dict, dict]:
        return _judging(path, lambda: _read_alone(path, choose, run))

    leaves, record = processes.together(attempt, DamagedError)
    found = {name: _crc32(leaf) for name, leaf in leaves.items()}

    def verify() -> None:
        for name, crc32 in found.items():
            if crc32 != record["leaves"][name]["crc32"]:
                raise ValueError(f"{name} changed since it was written")

    processes.together(lambda: _judging(path, verify), DamagedError)
    return leaves, Progress.from_json(record["metadata"])


def only_params(saved: dict[str, dict]) -> dict[str, np.ndarray]:
    """Numpy arrays to read leaves into: the leaves under "params/", or all if there are none."""
    names = [name for name in saved if name.startswith("params/")] or list(saved)
    return {
        name: np.empty(saved[name]["shape"], jax.numpy.dtype(saved[name]["dtype"]))
        for name in names
    }


def read_record(path: Path, run: str = "") -> dict:
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
        raise UserError(
            f"checkpoint {path} belongs to another run: move it to another folder; or, if "
            f'config.json is a copy from another workdir, set "run" in it to "{owner}"'
        )
    return record


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
    check_utf8(path.absolute())
    _check_merged(path)
    damage.check_readable(path)
    record = read_record(path, run)
    with _reading():
        leaves = ocp.load(path, choose(record["leaves"]), checkpointable_name="state")
    return leaves, record


def _reading() -> ocp.Context:
    """A context in which a process may read some leaves, without waiting for other processes."""
    context = ocp.Context()
    context.pytree.loading.partial_load = True
    context.multiprocessing.primary_host = jax.process_index()
    context.multiprocessing.active_processes = {jax.process_index()}
    context.multiprocessing.barrier_sync_key_prefix = f"process{jax.process_index()}"
    return context


def _check_merged(path: Path) -> None:
    """Raises UserError for a checkpoint whose files Orbax never merged.

    Earlier versions could save below paths such as "runs[1]" (see `checkpoint.check_path`). With a
    backslash in the path, the files are in another folder, as TensorStore takes it for a slash.
    """
    state = path / "state"
    if not state.is_dir() or (state / "manifest.ocdbt").exists() or (state / "d").exists():
        return
    split = Path(f"{path}.orbax-checkpoint-tmp".replace("\\", "/"))
    for part in (state / "ocdbt.process_0", split / "state" / "ocdbt.process_0"):
        if part.is_dir():
            raise UserError(
                f"checkpoint {path} has all its files, but Orbax did not merge them, because a "
                f"folder in its path has, or had, one of {' '.join(PATTERN)} in its name: copy "
                f"everything in {part} to {state}, and rename the folder with that name"
            )


def _same(saved: dict[str, dict], like: Any, path: Path) -> dict[str, Any]:
    """The leaves of `like` by their saved names.

    Raises UserError, naming the first leaf that differs: Orbax might cast it silently.
    """
    wanted = named(like)
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
