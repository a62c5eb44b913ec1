"""A function as StableHLO, serialised by `jax.export`: JAX runs it on CPUs and NVIDIA GPUs.

    import json, pathlib, jax
    net = jax.export.deserialize(bytearray(pathlib.Path("net.stablehlo").read_bytes()))
    logits = net.call(images)    # uint8 [b, image_size, image_size, 3] -> float32 [b, classes]
    classes = json.loads(net.fun_name)    # their names, in the logits' order

The images are RGB: scale the shorter side of a photo to the run's `config.data.image_size`, then
take the central square of the net's size. The file needs nothing of this package;
`print(net.mlir_module())` shows the StableHLO. JAX promises to read such a file for
six months, with the version that wrote it or a later one.
"""

import json
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import export


def content(f: Callable[[jax.Array], jax.Array], image_size: int, classes: Sequence[str]) -> bytes:
    """The file of f(images), for CPUs and NVIDIA GPUs and for any number b of images.

    The format stores one text, the function's name, so the name holds the classes.
    """

    def named(images: jax.Array) -> jax.Array:
        return f(images)

    named.__name__ = json.dumps(list(classes))
    (b,) = export.symbolic_shape("b")
    images = jax.ShapeDtypeStruct((b, image_size, image_size, 3), jnp.uint8)
    return bytes(export.export(jax.jit(named), platforms=("cpu", "cuda"))(images).serialize())
