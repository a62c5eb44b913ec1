"""A function as StableHLO, serialised by `jax.export`: it runs wherever there is JAX.

    import jax, pathlib
    net = jax.export.deserialize(bytearray(pathlib.Path("net.stablehlo").read_bytes()))
    logits = net.call(images)    # uint8 [b, image_size, image_size, 3] -> float32 [b, classes]

It needs none of this package; `print(net.mlir_module())` shows the StableHLO.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import export


def content(f: Callable[[jax.Array], jax.Array], image_size: int) -> bytes:
    """The file of f(images), for CPUs and NVIDIA GPUs and for any number b of images."""
    (b,) = export.symbolic_shape("b")
    images = jax.ShapeDtypeStruct((b, image_size, image_size, 3), jnp.uint8)
    return bytes(export.export(jax.jit(f), platforms=("cpu", "cuda"))(images).serialize())
