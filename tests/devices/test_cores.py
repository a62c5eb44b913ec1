"""How many cores a process may use."""

import os

import pytest

from alexnet.devices.cores import CHUNK, cpu_count, in_chunks, in_order


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="Linux")
def test_the_cores_of_its_mask_count(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {7, 2, 3, 5, 4})
    assert cpu_count() == 5


def test_where_there_is_no_mask_all_cores_count(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    for counted, expected in ((6, 6), (None, 1)):
        monkeypatch.setattr(os, "cpu_count", lambda counted=counted: counted)
        assert cpu_count() == expected


def test_results_come_in_order_and_few_ahead_of_use():
    taken = []

    def items():
        for number in range(1000):
            taken.append(number)
            yield number

    results = in_order(lambda number: number * number, items())
    assert [next(results) for _ in range(5)] == [0, 1, 4, 9, 16]
    assert len(taken) <= 5 + 2 * cpu_count() + 1
    assert list(results) == [number * number for number in range(5, 1000)]
    assert list(in_order(abs, [])) == []


def test_an_error_comes_in_its_turn():
    results = in_order(lambda number: 1 // number, [1, 0, 1])
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)


@pytest.mark.parametrize("count", [0, 1, CHUNK, CHUNK + 1, 5 * CHUNK - 1])
def test_chunks_cover_all_numbers_once(count):
    chunks = list(in_chunks(list, count))
    assert [number for chunk in chunks for number in chunk] == list(range(count))
    assert all(len(chunk) <= CHUNK for chunk in chunks)
