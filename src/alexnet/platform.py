"""The one place where the kind of device decides anything, and only about speed."""

from jax.sharding import Mesh

# Images that go through the convolutional stage at a time on a CPU, where a chunk's activations
# stay in the cache. A GPU wants the whole batch at once.
CPU_CONV_CHUNK = 4
CPU_CHUNKS_AT_MOST = 32  # the stage is unrolled: compile time grows with the number of chunks


def conv_chunk(asked: int, mesh: Mesh, batch_size: int) -> int:
    """`config.conv_chunk`: images a chunk, 0 for whole batches, -1 for what suits the platform."""
    if asked >= 0:
        return asked
    on_cpu = mesh.devices.flat[0].platform == "cpu"
    if not on_cpu or mesh.size > 1:  # over several devices each chunk would communicate anew
        return 0
    return max(CPU_CONV_CHUNK, -(-batch_size // CPU_CHUNKS_AT_MOST))
