"""The one place where the kind of device decides anything, and only about speed."""

import ctypes
import os
from pathlib import Path

import jax
from jax.sharding import Mesh

from alexnet.table import Net, layers

# On a CPU the convolutional stage runs over a few images at a time, so that the maps of its largest
# layer stay in the cache: 4 images of AlexNet. A GPU wants the whole batch at once.
CPU_CHUNK_NEURONS = 4 * 290_400
MALLOPT = {  # of malloc.h
    -3: 2**30,  # M_MMAP_THRESHOLD: blocks below it come from the heap, not from the system
    -1: 2**31 - 1,  # M_TRIM_THRESHOLD: the heap is not given back
    -2: 2**28,  # M_TOP_PAD: it grows by so much at a time
    -8: 1,  # M_ARENA_MAX: one heap for all threads, so that one can use what another freed
}
CPU_CHUNKS_AT_MOST = 16  # the stage is unrolled: compile time grows with the number of chunks


def conv_chunk(asked: int, net: Net, mesh: Mesh, batch_size: int) -> int:
    """`config.conv_chunk`: images a chunk, 0 for whole batches, -1 for what suits the platform."""
    if asked >= 0:
        return asked
    on_cpu = mesh.devices.flat[0].platform == "cpu"
    if not on_cpu or mesh.size > 1:  # over several devices each chunk would communicate anew
        return 0
    fits = CPU_CHUNK_NEURONS // max(layer.neurons for layer in layers(net))
    return max(fits, -(-batch_size // CPU_CHUNKS_AT_MOST))


def cache_compilations() -> None:
    """Keeps compiled steps between commands, where the user has not chosen a place for them."""
    if not jax.config.jax_compilation_cache_dir:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "alexnet"
        jax.config.update("jax_compilation_cache_dir", str(cache))


def tune_allocator() -> None:
    """Makes glibc keep the memory that XLA frees, where the user has not tuned it by environment.

    XLA on CPUs takes and frees the large maps of every step; giving them back to the system costs
    100,000 page faults a step of AlexNet. To be called before threads start.
    """
    if any(name == "GLIBC_TUNABLES" or name.startswith("MALLOC_") for name in os.environ):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # not glibc: macOS, musl
        return
    for parameter, value in MALLOPT.items():
        mallopt(parameter, value)
