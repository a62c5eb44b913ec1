"""The process: its allocator, its compiled programs, and what suits the kind of device it has.

This is the one place where the kind of device decides anything, and only about speed.

On CPUs under Linux commands take mimalloc in place of the C library's malloc. XLA takes memory for
the maps of a step in one block and gives it back after the step. glibc hands it back to the kernel,
which zeroes it for the next step. Told to keep it, glibc lets small blocks settle there, until a
step needs new room. mimalloc keeps the block, in huge pages, and finds it again if it has one area
for everything: of several, each thread prefers another, and soon something is in the way in all of
them. A process has to begin with its allocator, so a command starts itself anew before anything
large is imported; nothing here imports JAX before it needs it. Set LD_PRELOAD or one of SETTINGS,
even to nothing, to choose for yourself. Notebooks and other programs that import this package are
left alone, and so are environments with a plugin for GPUs, whose maps are not in this memory: only
`python -m alexnet`, `python -m alexnet.train` and the script `alexnet` begin anew.
"""

import os
import sys
from collections.abc import Sequence
from importlib import metadata, util
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from jax.sharding import Mesh

MIMALLOC, LIBRARY = "cmeel-mimalloc", "libmimalloc.so"
SETTINGS = {
    "MIMALLOC_ARENA_RESERVE": "16GiB",  # an area; addresses only, memory is taken when it is used
    "MIMALLOC_PURGE_DELAY": "60000",  # ms that unused memory is kept, many steps long
}

# On a CPU the convolutional stage runs over a few images at a time, whose maps stay in the cache:
# 16 of AlexNet's 224 pixels; small images go as one batch. A GPU always wants the whole batch.
CPU_CHUNK_PIXELS = 16 * 227**2
CPU_CHUNKS_AT_MOST = 4  # the stage is unrolled: more of them take longer to compile and more memory

_CPU_COMPILER_OPTIONS = {
    # XLA on CPUs hands convolutions to YNNPACK, whose weight gradients over many images take up to
    # ten times as long as Eigen's. This names all that YNNPACK shall have: matrix products, as
    # Eigen takes six times as long for those with a transposed kernel, the input gradients.
    "xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT",
    # Without it every step copies the kernels of fc6 to fc8 before it updates them in place: XLA
    # does not see that the input gradients, which read them, can be computed first.
    "xla_cpu_copy_insertion_use_region_analysis": True,
}


def begin_command() -> None:
    """What a command does before it imports anything large; in other programs it does nothing."""
    if is_command(sys.argv, sys.orig_argv):
        sys.excepthook = _quiet_interrupt  # the imports take seconds, before `cli.run`
        restart_with_mimalloc()


def is_command(argv: Sequence[str], orig_argv: Sequence[str]) -> bool:
    """Whether this process is a command of ours that has not begun yet.

    Args:
        argv: `sys.argv`, whose first is "-m" while Python looks for the module of `python -m`.
        orig_argv: `sys.orig_argv`, which names that module.
    """
    option, program = _program(orig_argv)
    if option == "m":
        return argv[:1] == ["-m"] and program.partition(".")[0] == "alexnet"
    return option == "" and argv[:1] == [program] and Path(program).name == "alexnet"


def _program(orig_argv: Sequence[str]) -> tuple[str, str]:
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


def _quiet_interrupt(kind: type, error: BaseException, trace: object) -> None:
    """Shows exceptions as Python does, except for Ctrl-C."""
    if issubclass(kind, KeyboardInterrupt):
        sys.exit(130)
    sys.__excepthook__(kind, error, trace)


def allocator_environment() -> dict[str, str]:
    """What a process must begin with to use mimalloc; nothing where its wheel is not installed."""
    if sys.platform != "linux":
        return {}
    try:
        files = metadata.files(MIMALLOC) or []
    except metadata.PackageNotFoundError:
        return {}
    paths = [str(file.locate()) for file in files if file.name == LIBRARY]
    return {"LD_PRELOAD": paths[0], **SETTINGS} if paths else {}


def restart_with_mimalloc() -> None:
    """Replaces this process by the same command with mimalloc, unless the user has chosen."""
    if os.environ.keys() & {"LD_PRELOAD", *SETTINGS} or util.find_spec("jax_plugins"):
        return
    if settings := allocator_environment():
        os.environ |= settings
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


class Tuning(NamedTuple):
    """How a net is computed, which changes its results by rounding at most."""

    conv_chunk: int = 0  # images that go through the convolutional stage at a time, 0 for all
    # The gradient of a chunk is compiled apart from its forward pass.
    separate_gradient: bool = False
    eigen: bool = False  # convolutions are in forms that suit Eigen
    # With `config.dtype="bfloat16"` convolutions stay in float32: XLA on CPUs has bfloat16 matrix
    # products, but no fast bfloat16 convolutions.
    wide_convs: bool = False


def tuning(conv_chunk: int, mesh: "Mesh", batch_size: int, image_size: int) -> Tuning:
    """What suits the platform; `config.conv_chunk` is -1, or else what the user wants."""
    chunk, on_cpu = _chunk(conv_chunk, mesh, batch_size, image_size), _on_cpu(mesh)
    return Tuning(chunk, separate_gradient=on_cpu, eigen=on_cpu, wide_convs=on_cpu)


def _chunk(asked: int, mesh: "Mesh", batch_size: int, image_size: int) -> int:
    if asked >= 0:
        return asked
    if not _on_cpu(mesh) or mesh.size > 1:  # over several devices each chunk would communicate anew
        return 0
    chunk = max(1, CPU_CHUNK_PIXELS // image_size**2, -(-batch_size // CPU_CHUNKS_AT_MOST))
    return 0 if chunk >= batch_size else chunk


def compiler_options(mesh: "Mesh") -> dict[str, str | bool]:
    """Options for jax.jit when it compiles a net; those in the user's XLA_FLAGS go first."""
    if not _on_cpu(mesh):
        return {}
    flags = os.environ.get("XLA_FLAGS", "")
    return {name: value for name, value in _CPU_COMPILER_OPTIONS.items() if name not in flags}


def _on_cpu(mesh: "Mesh") -> bool:
    return mesh.devices.flat[0].platform == "cpu"


def cache_compilations() -> None:
    """Keeps compiled steps between commands, where the user has not chosen a place for them."""
    import jax

    if not jax.config.jax_compilation_cache_dir:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "alexnet"
        jax.config.update("jax_compilation_cache_dir", str(cache))
