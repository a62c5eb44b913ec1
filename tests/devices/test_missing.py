"""What is said where jax finds no device."""

from types import SimpleNamespace

import jax
import pytest

from alexnet.devices import runtime
from alexnet.errors import UserError


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        (
            "cuda",
            "Unable to use 'cuda': none here. (set JAX_PLATFORMS='' to choose one)",
            r"^JAX_PLATFORMS=cuda: jax has no device \(Unable to use 'cuda': none here\): unset it",
        ),
        ("tpu", "", r"^JAX_PLATFORMS=tpu: jax has no device \(it is not here\): unset it, or name"),
        ("", "no\nluck", r"no device \(no luck\): see JAX's install guide$"),
        ("", "UNAVAILABLE: no driver", r"no device \(UNAVAILABLE: no driver\): see JAX's install"),
    ],
)
def test_a_missing_device_is_one_line(monkeypatch, asked, error, message):
    def devices():
        # jax raises a bare AssertionError for cuda without a plugin
        raise RuntimeError(error) if error else AssertionError

    monkeypatch.setenv("JAX_PLATFORMS", asked)
    monkeypatch.setattr(jax, "devices", devices)
    with pytest.raises(UserError, match=message):
        runtime.check_devices()


def test_another_process_whose_devices_do_not_come_is_at_fault(monkeypatch):
    def devices():
        raise RuntimeError("Unable to initialize backend 'cuda': DEADLINE_EXCEEDED: local topology")

    monkeypatch.setattr(jax, "devices", devices)
    monkeypatch.setattr(jax.distributed, "is_initialized", lambda: True)
    with pytest.raises(RuntimeError, match="DEADLINE_EXCEEDED"):  # for `processes.ends_clearly`
        runtime.check_devices()


def test_processes_have_as_many_devices_each(monkeypatch):
    owners = [0, 0, 1, 1]
    monkeypatch.setattr(
        jax, "devices", lambda: [SimpleNamespace(process_index=owner) for owner in owners]
    )
    runtime.check_devices()
    owners.pop()
    with pytest.raises(UserError, match="0 has 2, process 1 has 1: give each process the same"):
        runtime.check_devices()
