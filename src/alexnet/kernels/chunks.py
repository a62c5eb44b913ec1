"""The convolutional stage over a few images at a time, so that their maps stay in the cache.

AlexNet, batch 32, 16 images at a time: 618 -> 594 ms. With each chunk compiled separately from its
gradient, a step's maps take 595 -> 328 MB; at batch 128, 1,899 -> 858 MB.
"""

import jax
import jax.numpy as jnp
from jax.experimental.xla_metadata import set_xla_metadata

from alexnet.models.network import Activations, Stage, Towers

PIXELS = 16 * 227**2  # 16 images of AlexNet; a batch of small images is not divided
AT_MOST = 4  # chunks: each is compiled, and more of them take more memory


def chunk_size(batch: int, image_size: int) -> int:
    """Images that go through the stage at a time; 0 for the whole batch at once."""
    size = max(1, PIXELS // image_size**2, -(-batch // AT_MOST))
    return 0 if size >= batch else size


def in_chunks(
    stage: Stage, x_BHWC: jax.Array, examples_B: jax.Array, train: bool, size: int
) -> tuple[Towers, Activations]:
    """`stage(x_BHWC, examples_B)`, a pytree of arrays [B, ...], `size` images at a time."""
    batch = x_BHWC.shape[0]
    if size >= batch:
        return stage(x_BHWC, examples_B)
    if train:
        stage = compiled_separately(stage)
    # A Python loop: lax.scan would copy what each chunk keeps for its gradient into one array.
    pieces = [
        stage(x_BHWC[start : start + size], examples_B[start : start + size])
        for start in range(0, batch, size)
    ]
    return jax.tree.map(lambda *parts: jnp.concatenate(parts), *pieces)


def compiled_separately(stage: Stage) -> Stage:
    """`stage`, compiled separately from its gradient, so that little is kept for the gradient.

    Otherwise XLA on CPUs finds that the gradient recomputes values of the forward pass, and keeps
    them all.
    """

    def inlined(*args):
        # Without this, jitted functions within, such as jnp.where, would not be fused.
        with set_xla_metadata(inlineable="true"):
            return stage(*args)

    return set_xla_metadata(inlineable="false")(jax.jit(inlined))
