"""Parity with PyTorch: the same weights give the same outputs and gradients, and the same steps.

The torch nets are written out by hand from the paper and the authors' layer files, with torch's own
layers: grouped convolutions, local_response_norm, ceil_mode. Skipped where there is no PyTorch.
"""

import functools
from collections.abc import Callable

import jax
import numpy as np
import optax
import pytest

from alexnet.models import network, table
from alexnet.models.build import build
from alexnet.models.table import Activation, Conv, Dense, Dropout, Net, Pool
from alexnet.training import optimizer

torch = pytest.importorskip("torch")
F = torch.nn.functional

pytestmark = pytest.mark.slow

Weights = dict[str, tuple["torch.Tensor", "torch.Tensor"]]  # {layer: (weight, bias)}

# Of the largest. Both compute the same sums in another order, and come within 1e-14 in float64 and
# 3e-6 in float32. The rest is room for machines where rounding tips a ReLU or a maximum over, and
# with it the gradient at one position.
FLOAT64, FLOAT32 = (np.float64, 1e-12), (np.float32, 1e-4)


# --- The same weights, images and comparison for all ----------------------------------------------


def strong(net: Net) -> network.Params:
    """float64 weights under which activations neither vanish nor explode from layer to layer."""
    random = np.random.default_rng(0)

    def draw(shape: tuple[int, ...]) -> np.ndarray:
        inputs = {3: shape[-2:-1], 5: shape[-4:-1], 6: shape[-3:-1]}  # Dense, Conv, Local
        spread = np.sqrt(2 / np.prod(inputs[len(shape)])) if len(shape) in inputs else 1
        return random.standard_normal(shape) * spread

    shapes = jax.eval_shape(lambda: network.init(net, jax.random.key(0)))
    return {
        name: {"kernel": draw(of["kernel"].shape), "bias": draw(of["bias"].shape)}
        for name, of in shapes.items()
    }


def pixels(net: Net, batch: int) -> np.ndarray:
    """Images with the mean subtracted, NHWC: between -128 and 127."""
    shape = (batch, net.image_size, net.image_size, 3)
    return np.random.default_rng(1).integers(-128, 128, shape).astype(float)


def torchs(kernel_T: np.ndarray) -> np.ndarray:
    """Our [towers, ...] in torch's layout: groups one after the other, [outputs, inputs, ...]."""
    match kernel_T.ndim:
        case 5:  # [towers, height, width, in, out] of a convolution
            return np.concatenate(kernel_T.transpose(0, 4, 3, 1, 2))
        case 3:  # [towers, in, out] of a fully-connected layer
            return np.concatenate(kernel_T.transpose(0, 2, 1))
    return kernel_T[0]  # [1, height, width, size * size, in, out]: torch has no such layer


def torch_weights(params: network.Params, dtype: type) -> Weights:
    def leaf(array: np.ndarray) -> "torch.Tensor":
        return torch.tensor(np.ascontiguousarray(array, dtype), requires_grad=True)

    return {
        name: (leaf(torchs(of["kernel"])), leaf(np.concatenate(of["bias"])))
        for name, of in params.items()
    }


def assert_close(found, expected, tolerance: float, what: str) -> None:
    """`tolerance` is relative to the largest number."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape, what
    assert np.abs(expected).max() > 0, what
    atol = tolerance * np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=atol, err_msg=what)


@functools.partial(jax.jit, static_argnums=0)
def ours(net, params, x, labels, dropout_key):
    """(loss, (logits, every output)), gradient."""

    def loss(params):
        train = dropout_key is not None
        logits, seen = network.apply(net, params, x, train=train, dropout_key=dropout_key)
        entropy = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        return entropy.mean(), (logits, seen)

    return jax.value_and_grad(loss, has_aux=True)(params)


def assert_parity(
    net: Net,
    theirs: Callable[[Weights, "torch.Tensor", dict], "torch.Tensor"],
    precision: tuple[type, float],
    batch: int = 2,
) -> None:
    """Logits, loss and the gradient of every weight.

    In float64 in training, where theirs drops what ours has dropped; in float32 at test time.
    """
    dtype, tolerance = precision
    training = dtype is np.float64
    params, x = strong(net), pixels(net, batch)
    labels = np.arange(batch) % net.classes
    key = jax.random.key(0) if training else None
    with jax.enable_x64(dtype is np.float64):
        arrays = jax.tree.map(dtype, (params, x))
        (loss, (logits, seen)), gradient = jax.device_get(ours(net, *arrays, labels, key))
    drops = [row.name for row in net.rows if isinstance(row, Dropout) and training]
    # where a ReLU gives 0, the mask is unknown, and changes nothing
    masks = {name: torch.tensor(seen[name] != 0) for name in drops}

    weights = torch_weights(params, dtype)
    expected = theirs(weights, torch.tensor(x.transpose(0, 3, 1, 2).astype(dtype)), masks)
    expected_loss = F.cross_entropy(expected, torch.tensor(labels))
    expected_loss.backward()
    assert logits.dtype == dtype
    assert_close(logits, expected.detach(), tolerance, "logits")
    assert_close(loss, expected_loss.detach(), tolerance, "loss")
    for name, (weight, bias) in weights.items():
        found = gradient[name]
        assert_close(torchs(found["kernel"]), weight.grad, tolerance, f"{name} kernel")
        assert_close(np.concatenate(found["bias"]), bias.grad, tolerance, f"{name} bias")


# --- The nets in torch ----------------------------------------------------------------------------


def dense(x, layer):
    """Our fully-connected layers read maps row by row, with the channels last."""
    maps_last = x.permute(0, 2, 3, 1) if x.ndim == 4 else x
    return F.linear(maps_last.flatten(1), *layer)


def drop(x, mask):
    """The paper's: nothing is scaled in training, all is halved at test time."""
    return x * 0.5 if mask is None else x * mask


def two_towers(preset: str, of: Weights, x, masks: dict):
    """Section 3.5 as grouped convolutions, and `layers-145.cfg`."""
    original = preset == "original"

    def norm(x):
        """torch divides alpha by n as the source does; each tower has its own maps."""
        towers = x.unflatten(1, (2, -1)).flatten(0, 1)
        alpha = 1e-4 if original else 5e-4
        return F.local_response_norm(towers, 5, alpha, 0.75, 2.0).view_as(x)

    def same_map_norm(x):
        mean = F.avg_pool2d(x * x, 5, 1, 2, count_include_pad=True)  # the sum over 25
        return x / (1 + 0.001 * mean) ** 0.75

    def pool(x):
        return F.max_pool2d(x, 3, 2, ceil_mode=True)

    x = F.conv2d(F.pad(x, (0, 3, 0, 3)), *of["conv1"], stride=4)
    x = pool(norm(x)).relu() if original else pool(norm(x.relu()))
    x = norm(F.conv2d(x, *of["conv2"], padding=2, groups=2).relu())
    x = pool(same_map_norm(x) if original else x)
    x = F.conv2d(x, *of["conv3"], padding=1).relu()
    x = F.conv2d(x, *of["conv4"], padding=1, groups=2).relu()
    x = pool(F.conv2d(x, *of["conv5"], padding=1, groups=2).relu())
    x = drop(dense(x, of["fc6"]).relu(), masks.get("drop6"))
    x = drop(dense(x, of["fc7"]).relu(), masks.get("drop7"))
    return dense(x, of["fc8"])


# torchvision's `alexnet`: one tower, no response norm, dropout before its layers
TORCHVISION = Net(
    "torchvision",
    224,
    1000,
    1,
    (
        *(Conv("conv1", 64, 11, stride=4, pad=2), Activation("relu1"), Pool("pool1")),
        *(Conv("conv2", 192, 5, pad=2), Activation("relu2"), Pool("pool2")),
        *(Conv("conv3", 384, 3, pad=1), Activation("relu3")),
        *(Conv("conv4", 256, 3, pad=1), Activation("relu4")),
        *(Conv("conv5", 256, 3, pad=1), Activation("relu5"), Pool("pool5")),
        *(Dropout("drop5", inverted=True), Dense("fc6", 4096), Activation("relu6")),
        *(Dropout("drop6", inverted=True), Dense("fc7", 4096), Activation("relu7")),
        Dense("fc8", 1000),
    ),
)


def torchvision(of: Weights, x, masks: dict):
    for name, stride, pad, pooled in (
        ("conv1", 4, 2, True),
        ("conv2", 1, 2, True),
        ("conv3", 1, 1, False),
        ("conv4", 1, 1, False),
        ("conv5", 1, 1, True),
    ):
        x = F.conv2d(x, *of[name], stride=stride, padding=pad).relu()
        x = F.max_pool2d(x, 3, 2) if pooled else x
    if masks:  # as torch.nn.Dropout does
        x = x * 2 * masks["drop5"].permute(0, 3, 1, 2)
    x = dense(x, of["fc6"]).relu()
    x = x * 2 * masks["drop6"] if masks else x
    return dense(dense(x, of["fc7"]).relu(), of["fc8"])


def cifar_pool(x, kind: str):
    if kind == "max":
        return F.max_pool2d(x, 3, 2, ceil_mode=True)
    return F.avg_pool2d(x, 3, 2, ceil_mode=True, count_include_pad=False)


def quick(same_map_norm: bool, of: Weights, x, masks: dict):
    """layers-80sec.cfg, -19pct.cfg, -18pct.cfg."""

    def norm(x):
        mean = F.avg_pool2d(x * x, 3, 1, 1, count_include_pad=True)
        return x / (1 + 5e-5 * mean) ** 0.75 if same_map_norm else x

    x = norm(cifar_pool(F.conv2d(x, *of["conv1"], padding=2), "max").relu())
    x = norm(cifar_pool(F.conv2d(x, *of["conv2"], padding=2).relu(), "avg"))
    x = cifar_pool(F.conv2d(x, *of["conv3"], padding=2).relu(), "avg")
    if "fc64" in of:
        x = dense(x, of["fc64"]).relu()
    return dense(x, of["fc10"])


def conv_local(across_maps: bool, of: Weights, x, masks: dict):
    """layers-conv-local-13pct.cfg, -11pct.cfg."""

    def norm(x):
        return F.local_response_norm(x, 9, 1e-3, 0.75, 1.0) if across_maps else x

    def local(x, layer):
        weight_HWKIO, bias_HWO = layer
        height, width, _, channels, _ = weight_HWKIO.shape
        patches = F.unfold(x, 3, padding=1).unflatten(1, (channels, 9))  # [B, I, K, H * W]
        y = torch.einsum("bikp,pkio->bop", patches, weight_HWKIO.flatten(0, 1))
        return y.unflatten(2, (height, width)) + bias_HWO.permute(2, 0, 1)

    x = norm(cifar_pool(F.conv2d(x, *of["conv1"], padding=2).relu(), "max"))
    x = cifar_pool(norm(F.conv2d(x, *of["conv2"], padding=2).relu()), "max")
    x = local(local(x, of["local3"]).relu(), of["local4"]).relu()
    return dense(x, of["fc10"])


# --- Nets -----------------------------------------------------------------------------------------


PRECISION = pytest.mark.parametrize("precision", [FLOAT64, FLOAT32], ids=["float64", "float32"])


@PRECISION
@pytest.mark.parametrize("preset", ["paper", "original"])
def test_the_full_net_of_two_towers(preset, precision):
    net = build("alexnet", classes=1000, preset=preset)
    assert_parity(net, functools.partial(two_towers, preset), precision)


def test_torchvisions_alexnet_has_61100840_parameters():
    assert sum(layer.parameters for layer in TORCHVISION.layers) == 61_100_840


@PRECISION
def test_torchvisions_alexnet(precision):
    assert_parity(TORCHVISION, torchvision, precision)


def test_the_torchvision_function_is_torchvisions_net():
    module = pytest.importorskip("torchvision").models.alexnet().eval()
    layers = [m for m in module.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    rows = [row for row in TORCHVISION.rows if isinstance(row, table.Weighted)]
    weights = {}
    for row, layer in zip(rows, layers, strict=True):
        weight = layer.weight
        if row.name == "fc6":  # of [256, 6, 6] maps; ours have their channels last
            weight = weight.unflatten(1, (256, 6, 6)).permute(0, 2, 3, 1).flatten(1)
        weights[row.name] = (weight, layer.bias)
    x = torch.randn(2, 3, 224, 224)
    found = torchvision(weights, x, {})
    torch.testing.assert_close(found, module(x))


@pytest.mark.parametrize("name", ["cifar_80sec", "cifar_19pct", "cifar_18pct"])
def test_the_quick_cifar_nets(name):
    assert_parity(build(name, classes=10), functools.partial(quick, "18" in name), FLOAT64, 4)


@pytest.mark.parametrize("name", ["cifar_conv_local_13pct", "cifar_conv_local_11pct"])
def test_the_conv_local_cifar_nets(name):
    theirs = functools.partial(conv_local, "11" in name)
    assert_parity(build(name, classes=10), theirs, FLOAT64, 4)


# --- The update rule ------------------------------------------------------------------------------

STEPS, DROP = 8, 5  # the rate is divided by 10 after five steps


def weights_after(rescale: bool) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """After each step: torch.optim.SGD's weights and ours, of one layer of 20 weights.

    `rescale`: at the drop, torch's velocity is multiplied by the factor that divides the rate. Its
    velocity holds gradients, which are multiplied by the current rate; the paper's holds changes of
    the weights, made at the rates of their steps.
    """
    random = np.random.default_rng(0)
    w, gradients = random.normal(size=20), random.normal(size=(STEPS, 20))
    theirs = torch.nn.Parameter(torch.tensor(w))
    sgd = torch.optim.SGD([theirs], lr=0.1, momentum=0.9, weight_decay=0.0005)
    their_history, our_history = [], []
    with jax.enable_x64(True):
        params = {"fc8": {"kernel": w, "bias": np.zeros(1)}}
        rule = optimizer.build(params=params)
        velocity = rule.init(params)
        for number, gradient in enumerate(gradients):
            if number == DROP:
                sgd.param_groups[0]["lr"] = 0.01
                if rescale:
                    sgd.state[theirs]["momentum_buffer"] *= 10
            theirs.grad = torch.tensor(gradient)
            sgd.step()
            their_history.append(theirs.detach().numpy().copy())

            eps = 0.1 if number < DROP else 0.01
            change, velocity = rule.update(
                {"fc8": {"kernel": gradient, "bias": np.zeros(1)}},
                velocity,
                params,
                rates={"fc8": {"kernel": eps, "bias": eps}},
            )
            params = optax.apply_updates(params, change)
            our_history.append(np.array(params["fc8"]["kernel"]))
    return their_history, our_history


def test_torchs_sgd_is_the_papers_rule_until_the_rate_drops():
    theirs, ours = weights_after(rescale=False)
    np.testing.assert_allclose(ours[:DROP], theirs[:DROP], rtol=0, atol=1e-13)
    for one, other in zip(ours[DROP:], theirs[DROP:], strict=True):
        assert np.abs(one - other).max() > 0.1


def test_rescaling_the_velocity_at_a_drop_makes_torchs_sgd_the_papers_rule():
    theirs, ours = weights_after(rescale=True)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-13)
