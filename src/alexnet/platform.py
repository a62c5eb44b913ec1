"""The one place where the kind of device decides anything, and only about speed."""

import os
from pathlib import Path

import jax
from jax.sharding import Mesh

# On a CPU the convolutional stage runs over a few images at a time: their maps stay in the cache,
# and XLA's weight gradients are several times faster over few images. A GPU wants the whole batch.
CPU_CHUNK = 4
CPU_CHUNKS_AT_MOST = 16  # the stage is unrolled: compile time grows with the number of chunks


def conv_chunk(asked: int, mesh: Mesh, batch_size: int) -> int:
    """`config.conv_chunk`: images a chunk, 0 for whole batches, -1 for what suits the platform."""
    if asked >= 0:
        return asked
    if not _on_cpu(mesh) or mesh.size > 1:  # over several devices each chunk would communicate anew
        return 0
    return max(CPU_CHUNK, -(-batch_size // CPU_CHUNKS_AT_MOST))


def winograd(asked: int, mesh: Mesh) -> bool:
    """`config.winograd`: 1 for 3x3 convolutions by `alexnet.winograd`, 0, or -1 for on CPUs only.

    cuDNN has its own; XLA on CPUs has not.
    """
    return asked == 1 or (asked < 0 and _on_cpu(mesh))


def wide_convs(mesh: Mesh) -> bool:
    """Whether `config.dtype="bfloat16"` leaves convolutions in float32.

    XLA on CPUs has bfloat16 matrix products, but no bfloat16 convolutions worth the name.
    """
    return _on_cpu(mesh)


def _on_cpu(mesh: Mesh) -> bool:
    return mesh.devices.flat[0].platform == "cpu"


def cache_compilations() -> None:
    """Keeps compiled steps between commands, where the user has not chosen a place for them."""
    if not jax.config.jax_compilation_cache_dir:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "alexnet"
        jax.config.update("jax_compilation_cache_dir", str(cache))
