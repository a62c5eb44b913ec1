"""The one place where the kind of device decides anything, and only about speed."""

import os
from pathlib import Path
from typing import NamedTuple

import jax
from jax.sharding import Mesh

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


class Tuning(NamedTuple):
    """How a net is computed, which changes its results by rounding at most."""

    conv_chunk: int = 0  # images that go through the convolutional stage at a time, 0 for all
    apart: bool = False  # the gradient of a chunk is compiled apart from its forward pass
    eigen: bool = False  # convolutions are in forms that suit Eigen
    # With `config.dtype="bfloat16"` convolutions stay in float32: XLA on CPUs has bfloat16 matrix
    # products, but no bfloat16 convolutions worth the name.
    wide_convs: bool = False


def tuning(conv_chunk: int, mesh: Mesh, batch_size: int, image_size: int) -> Tuning:
    """What suits the platform; `config.conv_chunk` is -1, or else what the user wants."""
    chunk, on_cpu = _chunk(conv_chunk, mesh, batch_size, image_size), _on_cpu(mesh)
    return Tuning(chunk, apart=on_cpu, eigen=on_cpu, wide_convs=on_cpu)


def _chunk(asked: int, mesh: Mesh, batch_size: int, image_size: int) -> int:
    if asked >= 0:
        return asked
    if not _on_cpu(mesh) or mesh.size > 1:  # over several devices each chunk would communicate anew
        return 0
    chunk = max(1, CPU_CHUNK_PIXELS // image_size**2, -(-batch_size // CPU_CHUNKS_AT_MOST))
    return 0 if chunk >= batch_size else chunk


def compiler_options(mesh: Mesh) -> dict[str, str | bool]:
    """What jax.jit is told when it compiles a net; what the user has put in XLA_FLAGS stands."""
    if not _on_cpu(mesh):
        return {}
    flags = os.environ.get("XLA_FLAGS", "")
    return {name: value for name, value in _CPU_COMPILER_OPTIONS.items() if name not in flags}


def _on_cpu(mesh: Mesh) -> bool:
    return mesh.devices.flat[0].platform == "cpu"


def cache_compilations() -> None:
    """Keeps compiled steps between commands, where the user has not chosen a place for them."""
    if not jax.config.jax_compilation_cache_dir:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "alexnet"
        jax.config.update("jax_compilation_cache_dir", str(cache))
