"""alexnet.models.network: tables become the paper's computation, on one device and on several.

Run as a program, this file writes what four virtual devices find, for the tests below.
"""

import dataclasses
import functools
import itertools
import json
import math
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats
from flax import linen as nn
from flax.training import train_state
from PIL import Image
from sklearn.datasets import load_sample_images
from support import reference
from support.tiny import ROOT

from alexnet.analysis import cost
from alexnet.data.augment import Augmentation
from alexnet.data.statistics import Statistics
from alexnet.devices import mesh as meshes
from alexnet.errors import UserError
from alexnet.kernels import chunks, convolution
from alexnet.kernels.choose import CPU, GPU, compiler_options
from alexnet.models import network, table
from alexnet.models.build import build
from alexnet.models.network import PLAIN, Kernels
from alexnet.training import forward, optimizer, step
from alexnet.training.schedule import Milestones


@pytest.fixture
def optimised():
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", True)


PRESETS = ["paper", "original"]
LABELS = np.array([3, 0, 6])


pytestmark = pytest.mark.usefixtures("compile_quickly")


def thin(preset: str = "original", **options) -> table.Net:
    """The paper's net with few kernels, for images of 67 pixels: maps of 15, 7, 3 and 1."""
    sizes = {"kernels": (8, 12, 16, 12, 8), "hidden": (12, 8), "image_size": 67, "classes": 7}
    return build("alexnet", preset=preset, **(sizes | options))


def strong(net: table.Net) -> reference.Params:
    """float64 parameters under which every layer matters: norms divide, half the ReLUs are off."""
    random = np.random.default_rng(0)
    shapes = jax.eval_shape(lambda: network.init(net, jax.random.key(0)))
    return {
        name: {
            "kernel": random.normal(size=layer["kernel"].shape)
            / np.sqrt(np.prod(layer["kernel"].shape[-4:-1] if "conv" in name else 25)),
            "bias": random.normal(size=layer["bias"].shape),
        }
        for name, layer in shapes.items()
    }


def pixels(net: table.Net, batch: int) -> np.ndarray:
    """Images with the mean subtracted: between -128 and 127."""
    shape = (batch, net.image_size, net.image_size, 3)
    return np.random.default_rng(1).integers(-128, 128, shape).astype(float)


def float32(tree):
    return jax.tree.map(np.float32, tree)


def assert_close(found: jax.Array, expected: np.ndarray, tolerance: float = 1e-5) -> None:
    """`tolerance` is relative to the largest number."""
    assert found.shape == expected.shape
    atol = tolerance * np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=atol)


@functools.partial(jax.jit, static_argnums=0, static_argnames=("train", "kernels"))
def apply(net, params, x, **options):
    return network.apply(net, params, x, **options)


init = jax.jit(network.init, static_argnums=0)


# --- Against the paper's definitions --------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS)
def test_every_activation_is_the_papers(preset):
    net = thin(preset)
    params, x = strong(net), pixels(net, 3)
    expected, _ = reference.alexnet(params, x, preset)
    logits, found = apply(net, float32(params), np.float32(x))
    assert set(found) == set(expected) == {row.name for row in net.rows}
    expected["fc8"] = expected["fc8"][:, :7]  # the last of fc8's 2 x 4 outputs is no class
    for name, value in expected.items():
        assert_close(found[name], value)
    assert logits.shape == (3, 7)
    assert_close(logits, expected["fc8"])


@functools.partial(jax.jit, static_argnums=0)
def loss_and_gradient(net, params, x, dropout_key):
    """((mean loss, every output), gradient), in the floats of `params`; without a key test time."""

    def loss(params):
        train = dropout_key is not None
        logits, seen = network.apply(net, params, x, train=train, dropout_key=dropout_key)
        entropy = optax.softmax_cross_entropy_with_integer_labels(logits, LABELS)
        return entropy.mean(), seen

    return jax.value_and_grad(loss, has_aux=True)(params)


@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize("preset", PRESETS)
def test_the_loss_and_its_gradient_are_the_papers(preset, dropout):
    net = thin(preset)
    params, x = strong(net), pixels(net, 3)
    key = jax.random.key(0) if dropout else None
    # float32 is what training does; in float64 no wrong digit can hide behind rounding
    dtype, tolerance = (np.float64, 1e-11) if dropout else (np.float32, 1e-5)
    with jax.enable_x64(dtype is np.float64):
        arrays = jax.tree.map(dtype, (params, x))
        (loss, seen), gradient = jax.device_get(loss_and_gradient(net, *arrays, key))
    # where a ReLU gives 0, the mask is unknown, and changes nothing
    masks = {name: seen[name] != 0 for name in ("drop6", "drop7")} if dropout else None
    expected_loss, expected = reference.alexnet_loss(params, x, LABELS, 7, preset, masks)
    assert loss == pytest.approx(expected_loss, rel=tolerance)
    for layer, leaves in expected.items():
        for leaf, value in leaves.items():
            assert gradient[layer][leaf].dtype == dtype
            assert_close(gradient[layer][leaf], value, tolerance)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kernels",
    [*(pytest.param(kernels, marks=pytest.mark.slow) for kernels in (PLAIN, GPU)), CPU],
    ids=["plain", "gpu", "cpu"],
)
def test_the_optimised_program_of_a_whole_net_is_the_papers(kernels, optimised):
    """As training compiles it: with XLA's optimisations, in chunks, on float32."""
    net = thin()
    params, x = strong(net), pixels(net, 3)
    mesh = meshes.make(towers=2, batch_size=3, data=1, tower=1)
    kernels = in_chunks(2, kernels) if kernels is CPU else kernels
    everywhere = forward.on_mesh(net, mesh, kernels=kernels)

    def loss(params, x):
        logits = everywhere(params, x)
        return optax.softmax_cross_entropy_with_integer_labels(logits, LABELS).mean()

    program = jax.jit(jax.value_and_grad(loss), compiler_options=compiler_options(mesh))
    found, gradient = program(float32(params), np.float32(x))
    expected_loss, expected = reference.alexnet_loss(params, x, LABELS, 7, "original", None)
    assert found == pytest.approx(expected_loss, rel=1e-5)
    jax.tree.map(assert_close, gradient, expected)


@pytest.mark.slow
def test_the_plain_net_has_directional_derivatives_and_hessian_products():
    """Against finite differences of the float64 reference's loss and gradient."""
    net, random = thin("paper"), np.random.default_rng(3)
    params, x = strong(net), pixels(net, 3)
    direction = jax.tree.map(lambda leaf: random.normal(size=leaf.shape), params)

    def loss(params):
        logits, _ = network.apply(net, params, jnp.array(x))
        return optax.softmax_cross_entropy_with_integer_labels(logits, LABELS).mean()

    with jax.enable_x64(True):
        _, slope = jax.jit(lambda p, d: jax.jvp(loss, (p,), (d,)))(params, direction)
        _, hessian = jax.jit(lambda p, d: jax.jvp(jax.grad(loss), (p,), (d,)))(params, direction)
        slope, hessian = jax.device_get((slope, hessian))

    def moved(distance):
        there = jax.tree.map(lambda leaf, along: leaf + distance * along, params, direction)
        return reference.alexnet_loss(there, x, LABELS, 7, "paper", None)

    (after, gradient_after), (before, gradient_before) = moved(1e-6), moved(-1e-6)
    assert slope == pytest.approx((after - before) / 2e-6, rel=1e-6)
    for name, layer in hessian.items():
        for part, found in layer.items():
            expected = (gradient_after[name][part] - gradient_before[name][part]) / 2e-6
            assert_close(found, expected, 1e-5)


@pytest.mark.slow
@pytest.mark.usefixtures("compile_quickly")
def test_network_is_a_flax_module_in_somebody_elses_loop():
    net = thin()
    model, x, labels = network.Network(net), np.float32(pixels(net, 3)) / 128, jnp.array(LABELS)
    params = jax.jit(model.init)(jax.random.key(0), x)["params"]
    jax.tree.map(np.testing.assert_array_equal, params, init(net, jax.random.key(0)))
    state = train_state.TrainState.create(apply_fn=model.apply, params=params, tx=optax.adam(1e-3))

    @jax.jit
    def train_step(state, key):
        def loss(params):
            logits = state.apply_fn({"params": params}, x, train=True, rngs={"dropout": key})
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

        value, gradient = jax.value_and_grad(loss)(state.params)
        return state.apply_gradients(grads=gradient), value

    losses = []
    for number in range(100):
        state, loss = train_step(state, jax.random.key(number))
        losses.append(float(loss))
    assert losses[0] != float(train_step(state.replace(params=params), jax.random.key(9))[1])
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])
    logits = jax.jit(state.apply_fn)({"params": state.params}, x)
    assert_close(logits, np.asarray(apply(net, state.params, x)[0]))
    with pytest.raises(flax.errors.InvalidRngError, match="dropout"):
        model.apply({"params": params}, x, train=True)
    table_of_layers = nn.tabulate(model, jax.random.key(0))(x)
    assert "conv1" in table_of_layers
    assert "[3,7]" in table_of_layers.replace("float32", "")


@pytest.mark.parametrize("preset", PRESETS)
def test_the_references_gradient_is_the_slope_of_its_loss(preset):
    """Along a random direction of each kernel and bias, under random masks."""
    net, random = thin(preset), np.random.default_rng(2)
    params, x = strong(net), pixels(net, 3)
    masks = {name: random.random((3, width)) > 0.5 for name, width in (("drop6", 12), ("drop7", 8))}
    _, gradient = reference.alexnet_loss(params, x, LABELS, 7, preset, masks)
    for layer, leaves in params.items():
        for leaf, value in leaves.items():
            direction = random.normal(size=value.shape)

            def along(distance, layer=layer, leaf=leaf, value=value, direction=direction):
                moved = params[layer] | {leaf: value + distance * direction}
                moved = params | {layer: moved}
                return reference.alexnet_loss(moved, x, LABELS, 7, preset, masks)[0]

            size = np.linalg.norm(gradient[layer][leaf])
            assert size > 0, f"nothing flows to {layer} {leaf}"
            slope, expected = np.vdot(gradient[layer][leaf], direction), along(1e-7) - along(-1e-7)
            assert slope == pytest.approx(expected / 2e-7, abs=1e-5 * size), f"{layer} {leaf}"


def test_a_norm_has_the_power_of_its_row():
    rows = (table.Norm("norm1", 3, 2.0, 0.1, beta=0.5, over="space"), table.Dense("fc2", 4))
    net = table.Net("norm", 6, 4, 1, rows)
    x = pixels(net, 2)
    _, seen = apply(net, float32(strong(net)), float32(x))
    assert_close(seen["norm1"], reference.norm(x, 3, 2.0, 0.1 / 9, 0.5, "space"))


@pytest.mark.parametrize("with_norm", [False, True])
def test_the_conv_local_nets_are_cuda_convnets(with_norm):
    net = build(f"cifar_conv_local_{11 if with_norm else 13}pct", classes=10)
    params, x = strong(net), pixels(net, 2)
    logits, _ = apply(net, float32(params), np.float32(x))
    assert_close(logits, reference.cifar_conv_local(params, x, with_norm))


def test_the_18pct_net_is_cuda_convnets():
    net = build("cifar_18pct", classes=10)
    params, x = strong(net), pixels(net, 2)
    logits, _ = apply(net, float32(params), np.float32(x))
    assert_close(logits, reference.cifar_18pct(params, x))


# --- Towers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS)
def test_a_tower_reads_the_other_from_conv3_on(preset):
    net = thin(preset)
    params, x = float32(strong(net)), np.float32(pixels(net, 2))
    changed = jax.tree.map(np.copy, params)
    changed["conv2"]["kernel"][0] += 0.1
    changed["conv2"]["bias"][0] += 100  # beyond any ReLU
    _, before = apply(net, params, x)
    _, after = apply(net, changed, x)
    names = [row.name for row in net.rows]
    for name in names:
        half = before[name].shape[-1] // 2
        first, second = (
            not np.array_equal(before[name][..., part], after[name][..., part])
            for part in (slice(0, half), slice(half, None))
        )
        assert first == (names.index(name) >= names.index("conv2")), name
        assert second == (names.index(name) >= names.index("conv3")), name


def test_a_norm_over_all_towers_sees_an_image_once():
    """Before the first weights, both towers have the same three maps, not six."""
    rows = (
        table.Norm("norm1", size=5, k=1.0, alpha=0.1, reads="all"),
        table.Conv("conv2", 4, 3, pad=1),
        table.Norm("norm2", size=5, k=1.0, alpha=0.1, reads="all"),
        table.Dense("fc8", 4),
    )
    net = table.Net("norm first", 6, 4, 2, rows)
    x = pixels(net, 2)
    _, seen = apply(net, float32(strong(net)), float32(x))
    expected = reference.norm(x, 5, 1.0, 0.1 / 5)
    assert_close(seen["norm1"], np.concatenate([expected] * 2, -1))
    maps = np.asarray(seen["conv2"], float)
    assert_close(seen["norm2"], reference.norm(maps, 5, 1.0, 0.1 / 5))


def test_without_communication_the_towers_meet_in_fc8_only():
    net = thin(communicate=False, hidden=(64, 64))
    params, x = float32(strong(net)), np.float32(pixels(net, 2))
    changed = jax.tree.map(np.copy, params)
    changed["conv1"]["kernel"][0] *= -1
    both = [apply(net, each, x)[1] for each in (params, changed)]
    second = [
        name
        for name in both[0]
        if not np.array_equal(*(seen[name][..., -(-seen[name].shape[-1] // 2) :] for seen in both))
    ]
    assert second == ["fc8"]


def in_chunks(size: int, kernels: Kernels = PLAIN) -> Kernels:
    return kernels._replace(stage=functools.partial(chunks.in_chunks, size=size))


def test_chunks_change_nothing():
    net = thin()
    params, x = float32(strong(net)), np.float32(pixels(net, 5))
    logits, named = apply(net, params, x)
    chunked, named_in_chunks = apply(net, params, x, kernels=in_chunks(2))  # and 1 in the last
    assert_close(chunked, logits, 1e-6)
    assert named.keys() == named_in_chunks.keys()
    for name, value in named.items():
        assert_close(named_in_chunks[name], value, 1e-6)


def gradient_of_squares(net, mesh, params, x, kernels, dtype=jnp.float32):
    """(gradient of the sum of squared logits, logits), compiled."""
    everywhere = forward.on_mesh(net, mesh, kernels=kernels, dtype=jnp.dtype(dtype))

    def squares(params):
        logits = everywhere(params, x, jax.random.key(0))
        return (logits**2).sum(), logits

    return jax.jit(jax.grad(squares, has_aux=True)).lower(params).compile()


@pytest.mark.slow
def test_a_gradient_compiled_apart_is_the_same_and_keeps_less(monkeypatch):
    net = thin()
    params, x = float32(strong(net)), np.float32(pixels(net, 6))
    mesh = meshes.make(towers=2, batch_size=6, data=1, tower=1)
    apart = gradient_of_squares(net, mesh, params, x, in_chunks(2, CPU))
    monkeypatch.setattr(chunks, "compiled_separately", lambda stage: stage)
    together = gradient_of_squares(net, mesh, params, x, in_chunks(2, CPU))
    jax.tree.map(assert_close, apart(params)[0], together(params)[0])
    kept, expected = (it.memory_analysis().temp_size_in_bytes for it in (apart, together))
    assert kept < 0.75 * expected


def test_eigens_forms_are_used_and_change_nothing():
    net = build("cifar_80sec", classes=10)
    params, x = init(net, jax.random.key(0)), np.float32(pixels(net, 3))
    mesh = meshes.make(towers=1, batch_size=3, data=1, tower=1)
    plain, eigens = (forward.on_mesh(net, mesh, kernels=kernels) for kernels in (PLAIN, CPU))
    assert_close(jax.jit(eigens)(params, x), np.array(jax.jit(plain)(params, x)))
    adjacent = "f32[3,32,8,128] = conv_general_dilated"  # four of conv1's outputs in each
    assert [adjacent in str(jax.make_jaxpr(f)(params, x)) for f in (plain, eigens)] == [0, 1]


# --- Initialisation -------------------------------------------------------------------------------


def test_initial_values_are_the_tables():
    net = thin(kernels=(32, 32, 32, 32, 32), hidden=(128, 128))
    params = init(net, jax.random.key(0))
    for layer in net.layers:
        if not isinstance(layer.row, table.Weighted):
            continue
        kernel, bias = (np.array(params[layer.row.name][leaf]) for leaf in ("kernel", "bias"))
        assert (bias == layer.row.bias).all()
        scaled = kernel.ravel() / layer.row.std
        five_sigma = 5 / math.sqrt(scaled.size)
        assert abs(scaled.mean()) < five_sigma
        assert abs(scaled.std() - 1) < five_sigma / math.sqrt(2)
        # neither truncated nor uniform: a normal's kurtosis is 3
        assert abs(scipy.stats.kurtosis(scaled)) < five_sigma * math.sqrt(24)
        # the towers' weights are drawn independently
        assert abs(np.corrcoef(kernel[0].ravel(), kernel[1].ravel())[0, 1]) < 2 * five_sigma


def test_layers_draw_different_weights_that_depend_on_the_key_alone():
    rows = (*(table.Dense(name, 20) for name in ("fc1", "fc2", "fc3")), table.Dense("fc4", 2))
    net = table.Net("alike", 2, 2, 2, rows)
    first, again, other = (init(net, jax.random.key(key)) for key in (0, 0, 1))
    jax.tree.map(np.testing.assert_array_equal, first, again)
    kernels = [params[name]["kernel"] for name in ("fc2", "fc3") for params in (first, other)]
    kernels = np.array(kernels).reshape(4, -1)
    assert np.abs(np.corrcoef(kernels) - np.eye(4)).max() < 5 / math.sqrt(kernels.shape[1])


# --- Dropout --------------------------------------------------------------------------------------


def dropping(**how) -> table.Net:
    """fc1 of 2 x 100, all ones, dropped twice; fc2 sums them for a linear end."""
    rows = (
        table.Conv("conv1", 2, 1),
        table.Dense("fc1", 200, bias=1.0),
        table.Dropout("drop1", **how),
        table.Dense("fc2", 200, bias=1.0),
        table.Dropout("drop2", **how),
        table.Dense("fc3", 2),
    )
    return table.Net("dropping", 2, 2, 2, rows)


def dropped(net: table.Net, batch: int, key: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Ones after drop1 and drop2: [batch, tower, neuron]."""
    params = init(net, jax.random.key(0))
    params = {name: layer | {"kernel": 0 * layer["kernel"]} for name, layer in params.items()}
    x = np.zeros((batch, 2, 2, 3), np.float32)
    _, named = apply(net, params, x, train=True, dropout_key=jax.random.key(key))
    return tuple(np.array(named[name]).reshape(batch, 2, 100) for name in ("drop1", "drop2"))


@pytest.mark.parametrize("rate", [0.5, 0.2])
def test_dropout_drops_at_its_rate_and_scales_nothing(rate):
    left, _ = dropped(dropping(rate=rate), 100)
    assert set(np.unique(left)) == {0, 1}
    assert abs((left == 0).mean() - rate) < 5 * math.sqrt(rate * (1 - rate) / left.size)


def test_inverted_dropout_divides_in_training():
    left, _ = dropped(dropping(rate=0.2, inverted=True), 10)
    assert set(np.unique(left)) == {0, np.float32(1 / 0.8)}


def test_no_two_dropout_masks_are_equal():
    first, second = dropped(dropping(), 20)
    masks = np.concatenate([first, second]).reshape(-1, 100)  # layers, examples, towers
    assert len(np.unique(masks, axis=0)) == len(masks)
    correlations = np.corrcoef(masks) - np.eye(len(masks))
    assert np.abs(correlations).max() < 0.55  # 5.5 sigma of 100 coins


def test_the_same_key_gives_the_same_masks():
    once, again, other = (dropped(dropping(), 5, key)[0] for key in (3, 3, 4))
    np.testing.assert_array_equal(once, again)
    assert not np.array_equal(once, other)


@pytest.mark.parametrize("inverted", [False, True])
def test_test_time_is_the_mean_over_masks(inverted):
    net = dropping(rate=0.2, inverted=inverted)
    rows = tuple(row for row in net.rows if row.name not in ("fc2", "drop2"))
    net = dataclasses.replace(net, rows=rows)
    params = init(net, jax.random.key(0))
    x = np.ones((4000, 2, 2, 3), np.float32)
    logits, named = apply(net, params, x)
    np.testing.assert_allclose(named["drop1"], named["fc1"] * (1 if inverted else 0.8), rtol=1e-6)
    sampled, _ = apply(net, params, x, train=True, dropout_key=jax.random.key(1))
    five_sigma = 5 * np.std(sampled, 0) / math.sqrt(len(x))
    assert (five_sigma > 0).all()
    assert (np.abs(np.mean(sampled, 0) - logits[0]) < five_sigma).all()


# --- Meshes ---------------------------------------------------------------------------------------


def small_with_weights():
    """A net of two towers, and weights of numpy's: nothing is compiled to draw them."""
    net = build("pocket", classes=6, image_size=18, remove="conv4,conv5,fc7")
    shapes = jax.eval_shape(lambda: network.init(net, jax.random.key(0)))
    random = np.random.default_rng(0)
    return net, jax.tree.map(lambda leaf: 0.1 * random.normal(size=leaf.shape).astype("f"), shapes)


def test_towers_computed_apart_give_the_same_as_together():
    """Here `jax.vmap` stands for two devices: one tower each, all that they exchange named."""
    net, params = small_with_weights()
    x_BHWC = np.random.default_rng(1).normal(size=(2, 18, 18, 3)).astype("f")
    together, maps = jax.jit(functools.partial(network.apply, net))(params, x_BHWC)

    def tower(params):
        one = network.Network(net, local_towers=1, axis="tower")
        return one.apply({"params": params}, x_BHWC, method="activations")

    each = jax.tree.map(lambda leaf: leaf[:, None], params)
    apart, maps_apart = jax.jit(jax.vmap(tower, axis_name="tower"))(each)
    np.testing.assert_allclose(np.concatenate(apart, -1), together, rtol=1e-4, atol=1e-5)
    for name, found in maps.items():
        both = np.concatenate(maps_apart[name], -1)
        np.testing.assert_allclose(both[..., : found.shape[-1]], found, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("kernels", "convs"), [(PLAIN, jnp.bfloat16), (CPU, jnp.float32)])
def test_what_is_computed_in_half_precision(kernels, convs):
    net, params = small_with_weights()
    half = network.Network(net, dtype=jnp.bfloat16, kernels=kernels)
    x_BHWC = np.zeros((2, 18, 18, 3), np.float32)
    logits, maps = jax.eval_shape(
        lambda: half.apply({"params": params}, x_BHWC, method="activations")
    )
    dtypes = {name: maps[name].dtype for name in ("conv1", "conv3", "fc6")}
    assert dtypes == {"conv1": convs, "conv3": convs, "fc6": jnp.bfloat16}
    assert logits.dtype == jnp.float32


def test_norms_of_a_bfloat16_net_compute_in_float32():
    seen = []

    def noted(x_BHWC, *how):
        seen.append(x_BHWC.dtype)
        return PLAIN.response_norm(x_BHWC, *how)

    net, params = small_with_weights()
    half = network.Network(net, dtype=jnp.bfloat16, kernels=PLAIN._replace(response_norm=noted))
    x_BHWC = np.zeros((2, 18, 18, 3), np.float32)
    _, maps = jax.eval_shape(lambda: half.apply({"params": params}, x_BHWC, method="activations"))
    assert set(seen) == {jnp.dtype("float32")}
    assert maps["norm1"].dtype == jnp.bfloat16


@pytest.mark.slow
def test_on_mesh_with_one_device_equals_apply():
    net = thin()
    params, x = float32(strong(net)), np.float32(pixels(net, 3))
    mesh = meshes.make(towers=2, batch_size=3, data=1, tower=1)
    key = jax.random.key(0)
    everywhere = jax.jit(forward.on_mesh(net, mesh, kernels=in_chunks(2)))
    np.testing.assert_allclose(everywhere(params, x), apply(net, params, x)[0], rtol=1e-5)
    expected, _ = apply(net, params, x, train=True, dropout_key=key)
    np.testing.assert_allclose(everywhere(params, x, key), expected, rtol=1e-5)


MESHES = ["1x1", "2x2", "1x2", "2x1"]  # data x tower
FEW = MESHES[:2]  # each of which compiles for seconds
BATCH = 4


def on_four_devices(directory: Path, every: bool = False) -> None:
    """For each mesh: <mesh>.npz with logits, losses, gradients; and the compiled forward pass."""
    convolution.IMAGES = 1  # so that a few images are several parts
    net = thin()
    params, x = float32(strong(net)), np.float32(pixels(net, BATCH))
    statistics = Statistics(
        np.full((70, 70, 3), 120, np.float32), np.float32([9, 4, 1]), np.eye(3, dtype=np.float32)
    )
    images = np.random.default_rng(3).integers(0, 256, (BATCH, 70, 70, 3), np.uint8)
    images = {"image": images, "label": np.arange(BATCH, dtype=np.int32)}
    how = Augmentation(crop=67, crop_chunk=3)
    hyperparameters = Milestones(rate=3e-5)(0, [], params)
    sgd = optimizer.build(params=params)
    for name in MESHES if every else FEW:
        data, tower = map(int, name.split("x"))
        mesh = meshes.make(towers=2, batch_size=BATCH, data=data, tower=tower)
        placed = meshes.by_tower(mesh, params)
        shardings = step.state_shardings(sgd, params, placed, meshes.replicated(mesh))
        init = functools.partial(network.init, net)
        born = step.make_init(init, sgd, shardings)(step.key_of(0))
        state = born._replace(params=jax.device_put(params, shardings.params))
        train_step = step.make_train_step(
            forward.training(net, mesh, how, kernels=CPU), sgd, shardings
        )
        losses = []
        for _ in range(5):
            batch = jax.device_put(images, meshes.batch_sharding(mesh))
            state, sums = train_step(state, batch, hyperparameters, statistics, step.key_of(0))
            losses.append(sums.loss)
            if len(losses) == 1:  # nothing but the gradient, and a little decay
                opt_state = flat(state.opt_state)

        forms = {"plain": PLAIN}
        if name == "1x1" or every:
            forms |= {"cpu": CPU, "cpu in chunks": in_chunks(1, CPU)}
        gradients, logits = {}, {}
        for form, kernels in forms.items():
            gradient, logits[form] = gradient_of_squares(net, mesh, params, x, kernels)(params)
            gradients[form] = flat(gradient)
        half = gradient_of_squares(net, mesh, params, x, GPU, jnp.bfloat16)
        gradients["bfloat16"] = flat(half(params)[0])
        np.savez(
            directory / name,
            born=flat(born.params),
            logits=logits["plain"],
            gradient=opt_state,
            losses=np.array(losses),
            **gradients,
        )

    net = thin(classes=6)
    mesh = meshes.make(towers=2, batch_size=BATCH, data=1, tower=2)
    shapes = jax.eval_shape(lambda: network.init(net, jax.random.key(0)))
    where = meshes.by_tower(mesh, shapes)
    together = jax.jit(forward.on_mesh(net, mesh)).lower(meshes.shapes(shapes, where), x).compile()
    (directory / "forward.hlo").write_text(together.as_text())
    mesh = meshes.make(towers=2, batch_size=BATCH, data=1, tower=1)
    where = meshes.by_tower(mesh, shapes)
    alone = jax.jit(forward.on_mesh(net, mesh)).lower(meshes.shapes(shapes, where), x).compile()
    flops = [compiled.cost_analysis()["flops"] for compiled in (alone, together)]
    (directory / "flops.json").write_text(json.dumps(flops))

    net = thin(classes=6, communicate=False)
    params = network.init(net, jax.random.key(1))
    for tower in (1, 2):
        mesh = meshes.make(towers=2, batch_size=BATCH, data=1, tower=tower)
        where = meshes.by_tower(mesh, params)
        compiled = (
            jax.jit(forward.on_mesh(net, mesh)).lower(meshes.shapes(params, where), x).compile()
        )
        np.save(directory / f"apart-{tower}", compiled(jax.device_put(params, where), x))
        (directory / f"apart-{tower}.hlo").write_text(compiled.as_text())

    # Caffe's norm reads all towers
    net = across(thin("paper"))
    params = float32(strong(net))
    for tower in (1, 2):
        mesh = meshes.make(towers=2, batch_size=BATCH, data=2, tower=tower)
        everywhere = forward.on_mesh(net, mesh)

        def squares(params, x, everywhere=everywhere):
            logits = everywhere(params, x)
            return (logits**2).sum(), logits

        where = meshes.by_tower(mesh, params)
        step_ = jax.jit(jax.grad(squares, has_aux=True), out_shardings=(where, None))
        gradient, logits = step_(jax.device_put(params, where), x)
        np.savez(directory / f"across-{tower}", logits=logits, gradient=flat(gradient))

    # Data parallelism, of a net of one tower
    net = one_tower()
    params = network.init(net, jax.random.key(1))
    labels = images["label"] % 8
    for devices in (1, 4):
        mesh = meshes.make(towers=1, batch_size=BATCH, data=devices)
        everywhere = forward.on_mesh(net, mesh)

        def mean_loss(params, x, everywhere=everywhere):
            log_probs = jax.nn.log_softmax(everywhere(params, x, jax.random.key(5)))
            return -jnp.take_along_axis(log_probs, labels[:, None], axis=1).mean()

        where = meshes.by_tower(mesh, params)
        step_ = jax.jit(jax.value_and_grad(mean_loss), out_shardings=(None, where))
        compiled = step_.lower(meshes.shapes(params, where), x).compile()
        loss, gradient = compiled(jax.device_put(params, where), x)
        np.savez(directory / f"data-{devices}", loss=loss, gradient=flat(gradient))
        (directory / f"data-{devices}.hlo").write_text(compiled.as_text())


def one_tower() -> table.Net:
    return dataclasses.replace(thin(classes=8), towers=1)


def across(net: table.Net) -> table.Net:
    """With norms that read all towers."""
    rows = (
        dataclasses.replace(row, reads="all") if isinstance(row, table.Norm) else row
        for row in net.rows
    )
    return dataclasses.replace(net, rows=tuple(rows))


def flat(tree) -> np.ndarray:
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


@pytest.fixture(scope="module")
def four_devices(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("four_devices")
    run_on_four_devices(directory)
    return directory


def run_on_four_devices(directory: Path, *options: str) -> None:
    line = [sys.executable, __file__, str(directory), *options]
    paths = [str(ROOT / "tests"), os.environ["PYTHONPATH"]]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(
        line, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("mesh", FEW[1:])
@pytest.mark.parametrize("what", ["born", "logits", "gradient", "losses", "plain"])
def test_four_devices_agree_with_one(four_devices, mesh, what):
    expected, found = (np.load(four_devices / f"{name}.npz")[what] for name in ("1x1", mesh))
    assert len(np.unique(expected)) > 4
    assert np.isfinite(expected).all()
    assert_close(found, expected, 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("mesh", FEW[1:])
def test_four_devices_agree_with_one_in_bfloat16(four_devices, mesh):
    """Both come near float32. A gradient without the other devices' would be half, or far off."""
    alone, found = (np.load(four_devices / f"{name}.npz")["bfloat16"] for name in ("1x1", mesh))
    exact = np.load(four_devices / "1x1.npz")["plain"]
    assert (alone.dtype, found.dtype) == (np.float32, np.float32)
    errors = [np.linalg.norm(one - exact) / np.linalg.norm(exact) for one in (alone, found)]
    assert min(errors) > 0
    assert max(errors) < 0.2


@pytest.mark.slow
@pytest.mark.parametrize("how", ["cpu", "cpu in chunks"])
def test_every_choice_of_kernels_gives_the_same_gradients(four_devices, how):
    """On one device; four agree with it above, with plain kernels and, in training, cpu's."""
    found = np.load(four_devices / "1x1.npz")
    assert_close(found[how], found["plain"], 1e-5)


@pytest.mark.slow
def test_every_form_on_every_mesh_gives_the_same_gradient(tmp_path):
    run_on_four_devices(tmp_path, "every")
    expected = np.load(tmp_path / "1x1.npz")["plain"]
    for mesh in MESHES[1:]:
        for what in ("born", "logits", "gradient", "losses"):
            alone = np.load(tmp_path / "1x1.npz")[what]
            assert_close(np.load(tmp_path / f"{mesh}.npz")[what], alone, 1e-5)
    for mesh, how in itertools.product(MESHES, ["plain", "cpu", "cpu in chunks"]):
        assert_close(np.load(tmp_path / f"{mesh}.npz")[how], expected, 1e-5)


@pytest.mark.slow
def test_the_towers_communicate_four_times_and_only_what_the_paper_says(four_devices):
    hlo = re.sub(r"/\*.*?\*/", "", (four_devices / "forward.hlo").read_text())
    pattern = r"= .*?\w+\[([\d,]*)\].* (all-\w+|reduce-scatter|collective-\w+)(?:-start)?\("
    found = [
        (name.removesuffix("-start"), math.prod(map(int, shape.split(","))))
        for shape, name in re.findall(pattern, hlo)
    ]
    maps, fc6, fc7 = 3 * 3 * 12, 12, 8  # pool2's 12 maps, and what fc6 and fc7 give
    expected = [BATCH * size for size in (maps, 8, fc6, fc7)]
    assert sorted(found) == sorted(("all-gather", size) for size in expected)


@pytest.mark.slow
def test_without_communication_one_collective_is_left(four_devices):
    alone, together = (np.load(four_devices / f"apart-{tower}.npy") for tower in (1, 2))
    assert_close(together, alone, 1e-5)
    hlo = (four_devices / "apart-2.hlo").read_text()
    assert len(re.findall(r" all-gather(?:-start)?\(", hlo)) == 1
    assert not re.search(r" (all-reduce|reduce-scatter|collective-permute|all-to-all)\(", hlo)


@pytest.mark.slow
def test_a_norm_across_towers_is_the_same_when_they_are_apart(four_devices):
    alone, together = (np.load(four_devices / f"across-{tower}.npz") for tower in (1, 2))
    assert_close(together["logits"], alone["logits"], 1e-5)
    assert_close(together["gradient"], alone["gradient"], 1e-5)
    net = thin("paper")  # whose norms read their own tower: another net
    own, _ = apply(net, float32(strong(net)), np.float32(pixels(net, BATCH)))
    assert np.abs(own - alone["logits"]).max() > 0.01 * np.abs(own).max()


@pytest.mark.slow
def test_each_device_does_half_the_work(four_devices):
    alone, together = json.loads((four_devices / "flops.json").read_text())
    assert together == pytest.approx(alone / 2, rel=0.02)


def collective_bytes(path: Path) -> int:
    """Bytes of the results of a compiled program's collectives, as the benchmark reads them."""
    script = ROOT / "experiments/benchmarks/collectives.py"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(script.parent)  # as if the script were run
        results = runpy.run_path(str(script))["results"]
    return sum(map(sum, results(path.read_text()).values()))


@pytest.mark.slow
def test_data_parallelism_of_one_tower_is_the_same_net(four_devices):
    alone, together = (np.load(four_devices / f"data-{devices}.npz") for devices in (1, 4))
    assert_close(together["loss"], alone["loss"], 1e-5)
    assert_close(together["gradient"], alone["gradient"], 1e-4)


@pytest.mark.slow
def test_the_compiled_programs_exchange_the_bytes_that_the_arithmetic_says(four_devices):
    gathered = [c for c in cost.tower_exchange(thin(classes=6), BATCH, 2) if c.kind == "all-gather"]
    assert collective_bytes(four_devices / "forward.hlo") == cost.results(gathered)
    gradient, loss = cost.results(cost.gradient_exchange(one_tower(), 4)), 4
    assert collective_bytes(four_devices / "data-4.hlo") == gradient + loss
    assert collective_bytes(four_devices / "data-1.hlo") == 0


@pytest.mark.slow
def test_there_are_no_grouped_convolutions(four_devices):
    hlo = (four_devices / "forward.hlo").read_text()
    assert "convolution" in hlo
    assert "feature_group_count" not in hlo
    assert "batch_group_count" not in hlo


# --- Why nets get stuck ---------------------------------------------------------------------------


def photos(count: int) -> np.ndarray:
    """Random crops of scikit-learn's two photos, their mean subtracted: [B, 224, 224, 3]."""
    random = np.random.default_rng(0)
    crops = []
    for photo, side in zip(
        itertools.cycle(load_sample_images().images), random.integers(150, 427, count), strict=False
    ):
        x, y = (random.integers(0, length - side + 1) for length in (640, 427))
        box = (x, y, x + side, y + side)
        crops.append(Image.fromarray(photo).resize((224, 224), Image.Resampling.BICUBIC, box))
    images = np.stack(crops).astype(np.float32)
    return images - images.mean(0)


def image_to_noise(net: table.Net, images_BHWC: np.ndarray) -> float:
    """How much the logits tell images apart, against what dropout does to them, at initialisation.

    The deviation over images of the logits without masks, by the deviation of the difference of
    two passes of one image with different masks; root mean squares over the classes.
    """
    params = network.init(net, jax.random.key(0))
    logits_BK, _ = jax.jit(functools.partial(network.apply, net))(params, images_BHWC)
    masked = functools.partial(network.apply, net, train=True, dropout_key=jax.random.key(1))
    noisy_BK, _ = jax.jit(masked)(params, np.repeat(images_BHWC[:1], len(images_BHWC), 0))
    signal, noise = (np.asarray(x).var(0, ddof=1).mean() for x in (logits_BK, noisy_BK))
    return float(np.sqrt(signal / (2 * noise)))


@pytest.mark.slow
def test_how_images_compare_with_the_noise_of_dropout():
    """Measured on ImageNet: .006 for the text, .032 with biases of .1, .064 for the source."""

    def net(init: str) -> table.Net:
        return build("alexnet", classes=1000, preset="paper", init=init)

    small_biases = dataclasses.replace(
        net("paper"),
        rows=tuple(
            dataclasses.replace(row, bias=0.1 * row.bias) if hasattr(row, "bias") else row
            for row in net("paper").rows
        ),
    )
    tables = {"text": net("paper"), "biases of .1": small_biases, "source": net("original")}
    images_BHWC = photos(24)
    found = {name: image_to_noise(table, images_BHWC) for name, table in tables.items()}
    expected = {"text": 0.006, "biases of .1": 0.032, "source": 0.064}
    assert found == pytest.approx(expected, rel=0.3)
    # bvlc_alexnet's biases are .1, but its fc6 and fc7 start from half the deviation
    assert found["text"] < image_to_noise(net("caffe"), images_BHWC) < found["biases of .1"]


# --- Tables written by hand -----------------------------------------------------------------------


def by_hand(*rows: table.Row, classes: int = 10, towers: int = 1) -> table.Net:
    return table.Net("mine", 8, classes, towers, rows)


@pytest.mark.parametrize(
    ("net", "words"),
    [
        (by_hand(table.Dense("fc", 100)), "net mine must end in 10 outputs, one per class; its"),
        (by_hand(table.Conv("conv", 10, 3)), "last row gives 6x6x10"),
        (by_hand(), "last row gives none"),
        (
            by_hand(table.Activation("relu"), table.Activation("relu"), table.Dense("fc", 10)),
            "net mine: two rows are called 'relu'",
        ),
        (by_hand(table.Dense("fc", 7), towers=2), "last row gives 4 for each tower"),
    ],
)
def test_a_table_that_is_no_classifier_is_refused(net, words):
    with pytest.raises(UserError, match=re.escape(words)):
        init(net, jax.random.key(0))


def test_a_net_may_end_without_a_dense_layer():
    """As Network in Network does."""
    net = by_hand(table.Conv("conv", 10, 3), table.GlobalPool("pool"))
    params = init(net, jax.random.key(0))
    x_BHWC = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)
    logits, maps = apply(net, params, x_BHWC)
    np.testing.assert_allclose(logits, np.mean(maps["conv"], (1, 2)), rtol=1e-5, atol=1e-6)
    half = network.Network(net, dtype=jnp.bfloat16, kernels=GPU)
    assert half.apply({"params": params}, x_BHWC).dtype == jnp.float32


if __name__ == "__main__":
    jax.config.update("jax_num_cpu_devices", 4)
    jax.config.update("jax_disable_most_optimizations", True)  # else it compiles for minutes
    on_four_devices(Path(sys.argv[1]), every=sys.argv[2:] == ["every"])
