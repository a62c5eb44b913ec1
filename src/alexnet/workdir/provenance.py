"""How a run was made: `<workdir>/provenance.json`, a list of its commands, newest last."""

import contextlib
import datetime
import functools
import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from alexnet import files
from alexnet.devices.cores import cpu_count
from alexnet.text import say

PACKAGES = ("alexnet", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")
ROOT = Path(__file__).parents[3]  # of a checkout


@contextlib.contextmanager
def provenance(workdir: Path, device: str, enabled: bool = True) -> Iterator[None]:
    """Notes the command, when it began and, at the end, when and how it ended.

    Args:
        device: the devices that the run uses, in words.
        enabled: False in all processes but the first.
    """
    if not enabled:
        yield
        return
    path = workdir / "provenance.json"
    entry = {
        "command": shlex.join(sys.orig_argv),
        "began": _now(),
        "ended": None,  # stays None if the process is killed
        "outcome": None,
        "commit": commit(),
        "device": device,
        "cores": cores(),
        "host": platform.node(),
        "versions": {"python": platform.python_version()} | _versions(),
    }
    earlier = _earlier(path)

    def write() -> None:
        try:
            files.write_json([*earlier, files.sealed(entry)], path)
        except FileNotFoundError:  # the workdir is gone, which is reported elsewhere
            pass
        except OSError as error:  # no reason to stop a run
            say(f"warning: {path} cannot be written ({error.strerror})")

    write()
    try:
        yield
    except BaseException as error:
        entry["outcome"] = f"{type(error).__name__}: {error}"
        raise
    else:
        entry["outcome"] = "done"
    finally:
        entry["ended"] = _now()
        write()


def _earlier(path: Path) -> list[dict[str, Any]]:
    try:
        return json.loads(path.read_text()) if path.exists() else []
    except ValueError:  # such as after a power cut: no reason to stop a run
        os.replace(path, path.with_name(path.name + ".damaged"))
        return []


@functools.cache
def commit() -> str | None:
    """The git commit of this code's checkout, with "+" if it has changes; None without a checkout.

    Looked up once: a process that runs for hours goes on with the code that it has loaded.
    """

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(ROOT), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != ROOT.resolve():
            return None  # installed inside another project's checkout
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None


def cores() -> int:
    """How many CPU cores XLA uses; the last bits of a result depend on it."""
    pinned = os.environ.get("PJRT_NPROC", "")
    if pinned.isdecimal() and int(pinned):
        return int(pinned)
    return cpu_count()


def _versions() -> dict[str, Any]:
    found = {}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
