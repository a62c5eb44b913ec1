"""How many cores a process may use."""

import os

import pytest

from alexnet.devices.cores import cpu_count


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="Linux")
def test_the_cores_of_its_mask_count(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {7, 2, 3, 5, 4})
    assert cpu_count() == 5


def test_where_there_is_no_mask_all_cores_count(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    for counted, expected in ((6, 6), (None, 1)):
        monkeypatch.setattr(os, "cpu_count", lambda counted=counted: counted)
        assert cpu_count() == expected
