"""Measures the device's rates of matrix products and of copies: the two sides of a roofline."""

import time
from collections.abc import Callable

import jax
import jax.numpy as jnp

AHEAD = 5  # calls that a GPU gets before it is waited for


def matmul_rate(side: int = 2048, dtype: str = "float32", precision: str | None = None) -> float:
    """FLOP per second in a matrix product, the best of ten.

    Args:
        side: of the square factors; 2048 is enough for a CPU, a GPU needs 8192.
        dtype: of the factors.
        precision: of products of float32 numbers, as jax.default_matmul_precision takes it.
    """
    keys = jax.random.split(jax.random.key(0))
    a, b = (jax.random.normal(key, (side, side), dtype) for key in keys)
    with jax.default_matmul_precision(precision):
        return 2 * side**3 / _fastest(jax.jit(jnp.matmul).lower(a, b).compile(), a, b)


def copy_rate(size: int = 2**28) -> float:
    """Bytes per second, read and written, to add 1 to an array of `size` bytes: the best of ten."""
    x = jnp.zeros(size // 4, jnp.float32)
    return 2 * size / _fastest(jax.jit(lambda x: x + 1), x)


def _fastest(f: Callable[..., jax.Array], *arrays: jax.Array, times: int = 10) -> float:
    """The least time of a call, in seconds; a GPU gets several at once, as in training."""
    jax.block_until_ready(f(*arrays))
    ahead = 1 if jax.default_backend() == "cpu" else AHEAD
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        for _ in range(ahead):
            result = f(*arrays)
        jax.block_until_ready(result)
        seconds.append((time.perf_counter() - start) / ahead)
    return min(seconds)
