"""Logits and gradients that PyTorch gave for a thin net, where there is no PyTorch, too."""

from pathlib import Path

import jax
import numpy as np
import optax
import pytest

from alexnet.models import network
from alexnet.models.build import build

HERE = Path(__file__).parent

pytestmark = pytest.mark.usefixtures("compile_quickly")


@pytest.mark.parametrize("preset", ["paper", "original"])
def test_a_thin_net_agrees_with_pytorch(preset):
    net = build(
        "alexnet",
        classes=8,
        preset=preset,
        image_size=67,
        kernels=(8, 12, 12, 8, 8),
        hidden=(12, 10),
        dropout=0.0,
    )
    with np.load(HERE / "pytorch.npz") as arrays:
        theirs = {
            name.removeprefix(f"{preset}/"): array
            for name, array in arrays.items()
            if name.startswith(f"{preset}/")
        }
    params = {}
    for name, array in theirs.items():
        if name.startswith("params/"):
            _, layer, part = name.split("/")
            params.setdefault(layer, {})[part] = array

    def loss(params):
        logits, _ = network.apply(net, params, theirs["images"].astype(np.float64))
        entropy = optax.softmax_cross_entropy_with_integer_labels(logits, np.array([0, 3, 6]))
        return entropy.mean(), logits

    with jax.enable_x64(True):
        gradient, logits = jax.device_get(jax.jit(jax.grad(loss, has_aux=True))(params))
    assert logits.dtype == np.float64
    close = {"rtol": 0, "atol": 1e-12 * np.abs(theirs["logits"]).max()}
    np.testing.assert_allclose(logits, theirs["logits"], **close)
    for layer, parts in gradient.items():
        towers, *kernel, outputs = parts["kernel"].shape
        weight = np.moveaxis(parts["kernel"], -1, 1).reshape(towers * outputs, *kernel)
        weight = np.moveaxis(weight, -1, 1)  # [outputs, inputs, height, width], as PyTorch has it
        for found, part in ((weight, "weight"), (parts["bias"].reshape(-1), "bias")):
            expected = theirs[f"gradient/{layer}/{part}"]
            atol = 1e-12 * np.abs(expected).max()
            np.testing.assert_allclose(
                found, expected, rtol=0, atol=atol, err_msg=f"{layer}.{part}"
            )
