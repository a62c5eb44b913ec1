"""How a run was made: `<workdir>/provenance.json`, a list of its commands, newest last."""

import contextlib
import datetime
import functools
import os
import platform
import shlex
import subprocess
import sys
import zlib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from alexnet import files
from alexnet.devices.cores import cpu_count
from alexnet.errors import UserError, one_line
from alexnet.text import say

FILE = "provenance.json"
MEND = "restore or delete it"
PACKAGES = ("alexnet", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")
ROOT = Path(__file__).parents[3]  # of a checkout


@contextlib.contextmanager
def provenance(workdir: Path, device: str, enabled: bool = True, **more: Any) -> Iterator[None]:
    """Notes the command, when it began and, at the end, when and how it ended.

    Args:
        device: the devices that the run uses, in words.
        enabled: False in all processes but the first.
        more: what else to note.
    """
    if not enabled:
        yield
        return
    path = workdir / FILE
    entry = {
        "command": shlex.join(sys.orig_argv),
        "began": _now(),
        "ended": None,  # stays None if the process is killed
        "outcome": None,
        "commit": commit(),
        "device": device,
        "cores": cores(),
        "host": platform.node(),
        "versions": {"python": platform.python_version()} | versions(),
        **more,
    }
    try:
        earlier = commands(workdir)
    except UserError:  # damaged, such as after a power cut: no reason to stop a run
        os.replace(path, path.with_name(path.name + ".damaged"))
        earlier = []

    def write() -> None:
        try:
            files.write_json([*map(files.sealed, earlier), files.sealed(entry)], path)
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


def commands(workdir: Path) -> list[dict[str, Any]]:
    """An entry for each command that began, trained or imported a run, oldest first.

    `trains` is False for an import, and for a command that found the run finished.

    Raises:
        UserError: if provenance.json is damaged.
    """
    path = workdir / FILE
    try:
        found = files.read_json(path, list, MEND)
    except FileNotFoundError:
        return []
    if strange := [entry for entry in found if not isinstance(entry, dict)]:
        raise UserError(f"{path} is damaged (an entry is {strange[0]!r:.40}): {MEND}")
    return [files.unsealed(entry, str(path), MEND) for entry in found]


def commit() -> str | None:
    """The git commit of this code's checkout; None without a checkout, or if git fails.

    If files other than notebooks have changed since, or `src` has new modules, "+" and a digest of
    the changes follow: "<commit>+1b2c3d4e".
    """
    return _git()[0]


def git_error() -> str:
    """Why git does not tell the commit, such as another owner of the checkout; "" if it does."""
    return _git()[1]


@functools.cache
def _git() -> tuple[str | None, str]:
    """(commit, error), looked up once: a process goes on with the code that it has loaded."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(ROOT), *arguments]
        done = subprocess.run(command, capture_output=True, timeout=10, check=True)
        return done.stdout.decode(errors="surrogateescape").strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != ROOT.resolve():
            return None, "not a checkout"  # but installed inside another project's
        plain = ("--binary", "--no-color", "--no-ext-diff", "--no-textconv")
        changes = git("diff", "HEAD", *plain, "--", ".", ":(exclude)*.ipynb")
        new = git("ls-files", "-z", "--others", "--exclude-standard", "--", "src/*.py")
        for path in (ROOT / name for name in new.split("\0") if name):
            if path.is_file():  # no lock of an editor, which is a link to nowhere
                changes += path.name + path.read_bytes().decode(errors="surrogateescape")
        digest = f"+{zlib.crc32(changes.encode(errors='surrogateescape')):08x}" if changes else ""
        return git("rev-parse", "HEAD") + digest, ""
    except subprocess.CalledProcessError as error:
        return None, one_line(error.stderr.decode(errors="replace")) or one_line(error)
    except (OSError, subprocess.SubprocessError) as error:
        return None, one_line(error)


def cores() -> int:
    """How many CPU cores XLA uses; the last bits of a result depend on it."""
    pinned = os.environ.get("PJRT_NPROC", "")
    if pinned.isdecimal() and int(pinned):
        return int(pinned)
    return cpu_count()


def versions() -> dict[str, str]:
    """The versions of this package and of those that results depend on."""
    found = {}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
