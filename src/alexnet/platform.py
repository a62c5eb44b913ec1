"""The one place where the kind of device decides anything, and only about speed."""

import os
from pathlib import Path

import jax
from jax.sharding import Mesh

from alexnet.table import Net, layers

# On a CPU the convolutional stage runs over a few images at a time, so that the maps of its largest
# layer stay in the cache: 4 images of AlexNet. A GPU wants the whole batch at once.
CPU_CHUNK_NEURONS = 4 * 290_400
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
