"""The reference's gradients, written by hand like its definitions, are the slopes of these."""

import numpy as np
import pytest
from support import reference


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def assert_slopes(f, gradient, x: np.ndarray, seed: int = 1) -> None:
    """gradient(dy) is that of (dy * f(x)).sum(), by central differences."""
    dy = random(*f(x).shape, seed=seed)
    expected = reference.numerical_gradient(lambda x: (dy * f(x)).sum(), x)
    np.testing.assert_allclose(gradient(dy), expected, rtol=0, atol=1e-8 * np.abs(expected).max())


def test_conv():
    x, kernel, how = random(2, 6, 6, 2), random(3, 3, 2, 3, seed=1), (2, (0, 3))
    for number, of in enumerate((x, kernel)):

        def f(moved, number=number):
            return reference.conv(*((moved, kernel), (x, moved))[number], *how)

        assert_slopes(f, lambda dy, n=number: reference.conv_gradient(x, kernel, dy, *how)[n], of)


def test_local():
    x, kernel, how = random(2, 4, 4, 2), random(4, 4, 9, 2, 3, seed=1), (3, 1)
    for number, of in enumerate((x, kernel)):

        def f(moved, number=number):
            return reference.local(*((moved, kernel), (x, moved))[number], *how)

        assert_slopes(f, lambda dy, n=number: reference.local_gradient(x, kernel, dy, *how)[n], of)


@pytest.mark.parametrize("over", ["maps", "space"])
def test_norm(over):
    x, how = random(2, 4, 5, 6), (5, 2.0, 0.3, 0.75, over)
    assert_slopes(
        lambda x: reference.norm(x, *how), lambda dy: reference.norm_gradient(x, dy, *how), x
    )


@pytest.mark.parametrize(("size", "stride"), [(3, 2), (2, 2)])
def test_pools(size, stride):
    x = random(2, 6, 5, 2)
    for f, gradient in (
        (np.max, reference.max_pool_gradient),
        (np.mean, reference.mean_pool_gradient),
    ):
        assert_slopes(
            lambda x, f=f: reference.pool(x, size, stride, f),
            lambda dy, gradient=gradient: gradient(x, dy, size, stride),
            x,
        )


def test_cross_entropy():
    labels = np.array([3, 0, 3])
    x = random(3, 5)
    expected = reference.numerical_gradient(lambda x: reference.cross_entropy(x, labels), x)
    np.testing.assert_allclose(reference.cross_entropy_gradient(x, labels), expected, atol=1e-9)
