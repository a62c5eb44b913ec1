"""Compiled steps that are kept: whole, or not at all."""

import os

import pytest
from jax._src.lru_cache import LRUCache

from alexnet.devices import runtime


def test_a_process_killed_in_between_leaves_no_torn_entry(tmp_path, monkeypatch):
    def killed(*paths):
        raise KeyboardInterrupt

    runtime.write_compilations_whole()
    cache = LRUCache(str(tmp_path), max_size=-1)
    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            cache.put("step", b"compiled")
    assert cache.get("step") is None
    cache.put("step", b"torn")
    cache.put("step", b"compiled")  # as JAX does with a step that it could not read
    assert cache.get("step") == b"compiled"
    assert len(list(tmp_path.iterdir())) == 1
