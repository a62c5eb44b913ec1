"""Compiled steps that are kept: whole, or not at all."""

import os

import jax
import pytest
from jax._src.lru_cache import LRUCache

from alexnet.devices import runtime


def test_a_process_killed_while_it_writes_leaves_no_torn_entry(tmp_path, monkeypatch):
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


@pytest.fixture
def no_choice(monkeypatch, tmp_path):
    """A user who has chosen no folder; what the command sets is undone."""
    chosen = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    yield
    jax.config.update("jax_compilation_cache_dir", chosen)


@pytest.mark.usefixtures("no_choice")
def test_compiled_steps_are_kept_at_home_or_where_the_user_says(tmp_path, monkeypatch):
    runtime.cache_compilations()
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / ".cache/alexnet")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "fast"))
    runtime.cache_compilations()  # a choice that stands
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / ".cache/alexnet")
    jax.config.update("jax_compilation_cache_dir", None)
    runtime.cache_compilations()
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "fast/alexnet")
    assert (tmp_path / "fast/alexnet").is_dir()


@pytest.mark.usefixtures("no_choice")
@pytest.mark.parametrize(("chosen", "kept_from"), [(1.0, 0.2), (0.0, 0.0), (5.0, 5.0)])
def test_short_compilations_are_kept_unless_the_user_has_chosen(chosen, kept_from):
    name = "jax_persistent_cache_min_compile_time_secs"
    before = getattr(jax.config, name)
    try:
        jax.config.update(name, chosen)
        runtime.cache_compilations()
        assert getattr(jax.config, name) == kept_from
    finally:
        jax.config.update(name, before)


@pytest.mark.usefixtures("no_choice")
def test_a_folder_that_is_not_writable_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(os, "access", lambda *_: False)
    runtime.cache_compilations()
    assert jax.config.jax_compilation_cache_dir is None
    said = "compiled steps are not kept (Permission denied): set XDG_CACHE_HOME\n"
    assert capsys.readouterr().err == said
