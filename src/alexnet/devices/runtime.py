"""The process: its allocator and its compiled programs.

On CPUs under Linux, commands use mimalloc instead of the C library's malloc. XLA allocates a step's
feature maps as one block and frees it after the step. glibc returns the block to the kernel, which
zeroes it for the next step. If glibc is set to keep the block, it puts small blocks inside, until a
step needs a new block. mimalloc keeps the block, in huge pages. With a single arena it reuses the
block; with several, each thread prefers its own, and soon small blocks are in every arena.

The allocator must be set before a process starts, so a command restarts itself before it imports
anything large; nothing here imports JAX before it needs it. To choose another allocator, set
LD_PRELOAD or one of SETTINGS; "" will do. Only `python -m alexnet`, `python -m alexnet.X` and
the script `alexnet` restart, not notebooks or other programs that import this package. With a GPU
plugin they do not restart either, as feature maps are then in the GPU's memory.
"""

import collections
import errno
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from importlib import metadata, util
from pathlib import Path
from types import TracebackType

from alexnet.errors import UserError, one_line

MIMALLOC, LIBRARY = "cmeel-mimalloc", "libmimalloc.so"
SETTINGS = {
    "MIMALLOC_ARENA_RESERVE": "16GiB",  # one arena: address space only, committed on use
    "MIMALLOC_PURGE_DELAY": "60000",  # ms; keeps unused memory for many steps
}
UNREACHABLE = ("UNAVAILABLE", "DEADLINE_EXCEEDED")  # in errors of a lost or late process
LEAST_COMPILATION = 0.2  # s; 0.05 keeps more files and starts no faster


def begin_command() -> None:
    """Prepares a command before it imports anything large; does nothing in other programs."""
    if is_command(sys.argv, sys.orig_argv):
        sys.excepthook = _quiet_interrupt  # Ctrl-C may come before `cli.run` does
        restart_with_mimalloc()


def is_command(argv: Sequence[str], orig_argv: Sequence[str]) -> bool:
    """Whether this process is a command of ours whose module does not run yet.

    Args:
        argv: `sys.argv`, whose first item is "-m" while Python looks for the module of `python -m`.
        orig_argv: `sys.orig_argv`, which names that module.
    """
    option, program = what_runs(orig_argv)
    if option == "m":
        return argv[:1] == ["-m"] and program.partition(".")[0] == "alexnet"
    return option == "" and argv[:1] == [program] and Path(program).name == "alexnet"


def what_runs(orig_argv: Sequence[str]) -> tuple[str, str]:
    """What Python runs, and how: ("m", module), ("c", code) or ("", script)."""
    words = iter(orig_argv[1:])
    for word in words:
        if word in ("-", "--") or not word.startswith("-"):
            return "", next(words, "") if word == "--" else word
        if word.startswith("--"):
            if word == "--check-hash-based-pycs":
                next(words, "")
            continue
        # One letter of a word such as -Im may take a value: the rest of the word, or the next one.
        if letter := next((letter for letter in word if letter in "cmWX"), ""):
            value = word.partition(letter)[2] or next(words, "")
            if letter in "cm":
                return letter, value
    return "", ""


def _quiet_interrupt(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Shows exceptions as Python does, except for Ctrl-C."""
    if issubclass(kind, KeyboardInterrupt):
        sys.exit(130)
    sys.__excepthook__(kind, error, trace)


def allocator_environment() -> dict[str, str]:
    """The environment with which a process uses mimalloc.

    Empty if its wheel is not installed, if the linker would split its path or not find what the
    library needs, and where JAX may use a GPU, as it is untried there.
    """
    if sys.platform != "linux" or util.find_spec("jax_plugins"):
        return {}
    try:
        files = metadata.files(MIMALLOC) or []
    except metadata.PackageNotFoundError:
        return {}
    paths = [str(file.locate()) for file in files if file.name == LIBRARY]
    if not paths or re.search(r"[\s:]", paths[0]):
        return {}
    import ctypes  # slow to import, and most processes need none of this

    try:
        ctypes.CDLL(paths[0])  # it needs libatomic, which small systems and containers lack
    except OSError:
        return {}
    return {"LD_PRELOAD": paths[0], **SETTINGS}


def restart_with_mimalloc() -> None:
    """Restarts this command with mimalloc, unless the user has chosen an allocator."""
    if os.environ.keys() & {"LD_PRELOAD", *SETTINGS}:
        return
    if settings := allocator_environment():
        os.environ |= settings
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def cache_compilations() -> None:
    """Keeps compiled programs for later commands: in ~/.cache/alexnet, or where the user chose.

    JAX keeps what takes a second to compile. No program of a prediction does; together they do.

    Raises:
        UserError: if there is no device to compile for.
    """
    import jax

    check_devices()
    write_compilations_whole()
    if not chosen_cache() and (cache := writable_cache()):
        jax.config.update("jax_compilation_cache_dir", str(cache))
    least = "jax_persistent_cache_min_compile_time_secs"
    if getattr(jax.config, least) == 1.0:  # nobody has chosen another
        jax.config.update(least, LEAST_COMPILATION)


def write_compilations_whole() -> None:
    """Makes JAX write a compiled step to a temporary folder and then move it into its cache.

    JAX itself writes in place, so another process may read half a file. JAX never replaces a file,
    so it warns at every start about a file that a kill cut short. If a later JAX has no LRUCache,
    nothing changes.
    """
    try:
        from jax._src.lru_cache import LRUCache
    except ImportError:
        return
    if LRUCache.put.__module__ == __name__:
        return
    in_place = LRUCache.put

    def put(self: LRUCache, key: str, value: bytes) -> None:
        if self.eviction_enabled or not os.path.isdir(self.path):  # JAX locks it, or it is remote
            return in_place(self, key, value)
        with tempfile.TemporaryDirectory(dir=self.path, ignore_cleanup_errors=True) as folder:
            in_place(LRUCache(folder, max_size=-1), key, value)
            for name in os.listdir(folder):
                os.replace(os.path.join(folder, name), os.path.join(self.path, name))

    LRUCache.put = put  # type: ignore[method-assign]  # JAX has no setting for this


def check_devices() -> None:
    """Raises UserError if jax finds no device, or processes have different numbers of them.

    There is none when JAX_PLATFORMS names a platform that is missing. Where another process of the
    run is at fault, jax's own error is raised, for `processes.ends_clearly`.
    """
    import jax

    try:
        devices = jax.devices()
    except Exception as error:  # plugins raise their own
        if jax.distributed.is_initialized() and any(word in str(error) for word in UNREACHABLE):
            raise
        asked = os.environ.get("JAX_PLATFORMS", "")
        why = one_line(error).partition(". (set JAX_PLATFORMS")[0] or "it is not here"
        mend = "unset it, or name one it has: cpu, cuda" if asked else "see JAX's install guide"
        at_fault = f"JAX_PLATFORMS={asked}" if asked else ""
        raise UserError(f"jax has no device ({why}): {mend}", at_fault) from None
    each = collections.Counter(device.process_index for device in devices)
    if len({*each.values()}) > 1:
        seen = ", ".join(f"process {process} has {each[process]}" for process in sorted(each))
        raise UserError(
            f"devices: {seen}: give each process the same number (CUDA_VISIBLE_DEVICES), or find "
            "out why some are missing"
        )


def chosen_cache() -> str | None:
    """The folder for compiled steps that the user has chosen, by JAX's own setting."""
    import jax

    return jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]  # made at run time


def cache_dir() -> Path:
    """The folder for compiled steps, unless the user chooses another. Raises RuntimeError."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "alexnet"


def writable_cache() -> Path | None:
    """The folder for compiled steps; None, with a line on stderr, if it is not writable."""
    try:
        cache = cache_dir()
        cache.mkdir(parents=True, exist_ok=True)
        if not os.access(cache, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(cache))
        return cache
    except (OSError, RuntimeError) as error:  # home is read-only, or unknown
        why = getattr(error, "strerror", None) or one_line(error)
        print(f"compiled steps are not kept ({why}): set XDG_CACHE_HOME", file=sys.stderr)
        return None
