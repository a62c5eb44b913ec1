"""Rates are counted work divided by a measured time; here the time is made up."""

import time

import jax.numpy as jnp
import pytest

from alexnet.analysis import rates


@pytest.fixture
def half_a_second(monkeypatch):
    """The arrays of each program that would be measured."""
    found = []

    def fastest(f, *arrays):
        found.append(arrays)
        return 0.5

    monkeypatch.setattr(rates, "_fastest", fastest)
    return found


def test_a_product_takes_two_flop_for_each_pair_of_factors(half_a_second):
    assert rates.matmul_rate(16, "bfloat16") == 2 * 16 * 16 * 16 / 0.5
    [(a, b)] = half_a_second
    assert a.shape == b.shape == (16, 16)
    assert a.dtype == b.dtype == jnp.bfloat16
    assert a.tolist() != b.tolist()


def test_a_copy_reads_and_writes_its_bytes(half_a_second):
    assert rates.copy_rate(4096) == 2 * 4096 / 0.5
    [(x,)] = half_a_second
    assert x.nbytes == 4096
    rates.copy_rate()
    _, (usual,) = half_a_second
    assert 2**27 <= usual.nbytes <= 2**30  # more than caches hold, less than any memory


def test_the_fastest_call_counts_and_the_first_does_not(monkeypatch):
    ends = iter([0.0, 5.0, 5.0, 7.0, 7.0, 10.0])  # calls of 5, 2 and 3 seconds
    monkeypatch.setattr(time, "perf_counter", lambda: next(ends))
    calls = []
    assert rates._fastest(lambda x: calls.append(x) or x, jnp.zeros(1), times=3) == 2.0
    assert len(calls) == 4
