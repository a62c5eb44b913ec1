"""Chooses the form of each operation for a device, and XLA's compiler options.

Nothing else in a net depends on the kind of device. The choice affects speed, memory and rounding:
on CPUs, convolutions stay in float32 when the net computes in bfloat16.
"""

import functools
import os
import warnings
from typing import Literal, get_args

import jax
from jax.sharding import Mesh

from alexnet.errors import choice
from alexnet.kernels import chunks, convolution, dense, pooling, relu, response_norm
from alexnet.models.network import PLAIN, Kernels

Choice = Literal["auto", "plain", "cpu", "gpu"]
KERNELS: tuple[Choice, ...] = get_args(Choice)

CPU = Kernels(
    conv=convolution.towers,
    dense=dense.towers,
    relu=relu.relu,
    response_norm=response_norm.response_norm,
    max_pool=pooling.max_pool,
    avg_pool=pooling.avg_pool,
    # XLA on CPUs has bfloat16 matrix products, but no fast bfloat16 convolutions.
    wide_convs=True,
)

# Gradients of pools need no scatter, and those of norms only the input. conv1 reads blocks. Towers
# share one convolution where they read the same maps, and one matrix product. See docs/gpu.md.
GPU = Kernels(
    conv=convolution.gpu_towers,
    dense=dense.gpu_towers,
    relu=relu.relu,
    response_norm=response_norm.response_norm,
    max_pool=pooling.max_pool,
    avg_pool=pooling.avg_pool,
)

_CPU_COMPILER_OPTIONS: dict[str, str | bool | int] = {
    # XLA on CPUs hands convolutions to YNNPACK, whose weight gradients over many images take up to
    # ten times as long as Eigen's. With this option, YNNPACK gets only matrix products. Eigen
    # takes six times as long for those with a transposed kernel, as in input gradients.
    # jaxlib 0.10.2 gives YNNPACK sums of products as well, and gets some wrong (jax#39103).
    "xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT",
    # Without this option, every step copies the kernels of fc6 to fc8 before it updates them: XLA
    # does not see that the input gradients, which read the kernels, can be computed first.
    "xla_cpu_copy_insertion_use_region_analysis": True,
}

_GPU_COMPILER_OPTIONS: dict[str, str | bool | int] = {
    # XLA times every algorithm for each convolution and product, several times and in Triton too:
    # on an H100 that takes minutes for AlexNet at batch 1024. With these three options it takes
    # half a minute; the first two left 80sec as fast. Level 2 leaves out a check that only warns.
    "xla_gpu_enable_triton_gemm": False,
    "xla_gpu_experimental_enable_fusion_autotuner": False,
    "xla_gpu_autotune_level": 2,
}

# XLA's default list, plus CONVOLUTION: cuDNN's convolutions, which it leaves out
_CUDA_GRAPHS: dict[str, str | bool | int] = {
    "xla_gpu_enable_command_buffer": (
        "FUSION,CUBLAS,CUBLASLT,CUSTOM_CALL,CUDNN,DYNAMIC_SLICE_FUSION,CONVOLUTION"
    ),
}


def choose(kernels: str, mesh: Mesh | None, batch_size: int, image_size: int) -> Kernels:
    """The kernels by name, one of KERNELS; `auto` is `cpu` on CPUs, `gpu` on GPUs, else `plain`.

    Args:
        mesh: None for one device.
        batch_size: images that go through the net at once, on all devices together.
        image_size: side of what the net sees, in pixels.
    """
    choice("kernels", kernels, KERNELS)
    found = {"cpu": CPU, "gpu": GPU}.get(_platform(mesh) if kernels == "auto" else kernels, PLAIN)
    size = chunks.chunk_size(batch_size, image_size)
    several_devices = mesh is not None and mesh.size > 1  # each chunk would communicate anew
    if found is not CPU or not size or several_devices:
        return found
    return CPU._replace(stage=functools.partial(chunks.in_chunks, size=size))


def compiler_options(mesh: Mesh | None, cuda_graphs: bool = False) -> dict[str, str | bool | int]:
    """Options for jax.jit when it compiles a net; the user's XLA_FLAGS take precedence.

    Args:
        cuda_graphs: on GPUs, whether CUDA graphs hold convolutions as well. If cuDNN cannot capture
            them, the second step fails.
    """
    gpu = _GPU_COMPILER_OPTIONS | (_CUDA_GRAPHS if cuda_graphs else {})
    options = {"cpu": _CPU_COMPILER_OPTIONS, "gpu": gpu}
    flags = os.environ.get("XLA_FLAGS", "")
    return {
        name: value
        for name, value in options.get(_platform(mesh), {}).items()
        if name not in flags and _known(name, value)
    }


@functools.cache
def _known(name: str, value: str | bool | int) -> bool:
    """Whether this XLA accepts an option; warns if not, as training is then slower."""
    program = jax.jit(lambda: 0, compiler_options={name: value}).lower()
    try:
        program.compile()
    except Exception as error:  # jaxlib raises its own types
        reason = str(error).splitlines()[0]
        warnings.warn(f"XLA does not know {name}={value} ({reason}): it is left out", stacklevel=2)
        return False
    return True


def on_cpu(mesh: Mesh | None) -> bool:
    """Whether the mesh's devices are CPUs; without a mesh, JAX's default device."""
    return _platform(mesh) == "cpu"


def _platform(mesh: Mesh | None) -> str:
    device = mesh.devices.flat[0] if mesh else jax.devices()[0]
    return device.platform
