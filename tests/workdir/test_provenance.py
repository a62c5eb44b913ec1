"""The record of how a run was made."""

import json
import os

import pytest

from alexnet.workdir.provenance import cores, provenance


def test_the_cores_that_xla_computes_with(monkeypatch):
    monkeypatch.setenv("PJRT_NPROC", "3")
    assert cores() == 3
    for nothing in ("", "0", "many"):
        monkeypatch.setenv("PJRT_NPROC", nothing)
        assert 1 <= cores() <= os.cpu_count()


@pytest.mark.parametrize(("count", "expected"), [(6, 6), (None, 1)])
def test_the_cores_of_systems_that_do_not_pin_processes(monkeypatch, count, expected):
    monkeypatch.delenv("PJRT_NPROC", raising=False)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: count)
    assert cores() == expected


def test_the_cores_are_recorded(tmp_path, monkeypatch):
    monkeypatch.setenv("PJRT_NPROC", "5")
    with provenance(tmp_path, "1 x cpu"):
        pass
    with pytest.raises(KeyError), provenance(tmp_path, "1 x cpu"):
        raise KeyError("x")
    first, second = json.loads((tmp_path / "provenance.json").read_text())
    assert (first["cores"], first["outcome"]) == (5, "done")
    assert second["outcome"] == "KeyError: 'x'"


def test_the_commit_is_that_of_the_code_that_was_loaded(monkeypatch):
    from alexnet.workdir import provenance as module

    module.commit.cache_clear()
    first = module.commit()
    monkeypatch.setattr(module, "ROOT", module.ROOT / "src")  # no longer a checkout
    assert module.commit() == first
    module.commit.cache_clear()
    assert module.commit() is None
    module.commit.cache_clear()
