"""What is said where jax finds no device."""

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
    ],
)
def test_a_missing_device_is_one_line(monkeypatch, asked, error, message):
    def devices():
        raise RuntimeError(error)

    monkeypatch.setenv("JAX_PLATFORMS", asked)
    monkeypatch.setattr(jax, "devices", devices)
    with pytest.raises(UserError, match=message):
        runtime.check_devices()
